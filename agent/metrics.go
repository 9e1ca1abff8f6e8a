package agent

import (
	"maps"
	"time"

	"github.com/portaudit/portaudit/agent/alert"
	"github.com/portaudit/portaudit/agent/audit"
)

// tellEvery is how old the metrics may become where nothing happens.
const tellEvery = time.Minute

// measured is what the loop counts for the metrics alone.
type measured struct {
	audits  alert.Durations
	failed  uint64    // audits
	last    time.Time // audit that worked
	signed  time.Time // of the last checkpoint of the log
	changed bool      // whether something was recorded since the metrics were told

	// What was remembered when it was counted last: while the loop rests, it cannot
	// be counted again, and does not change.
	listeners map[alert.ListenerKind]int
	findings  map[alert.FindingKind]int // without those of cross-checks and of the host
}

// recorded notes what of the acknowledged records the metrics tell.
func (m *measured) recorded(acknowledged []audit.Event) {
	for _, e := range acknowledged {
		if e.Event == audit.LogCheckpoint {
			m.signed = e.Time
		}
	}
}

// worked notes an audit that began at a time, and could be made.
func (l *loop) worked(began time.Time) {
	l.measured.audits, l.measured.last = l.measured.audits.With(time.Since(began)), l.audited
}

// tell hands the metrics on.
func (l *loop) tell() {
	if l.Metrics == nil {
		return
	}
	l.measured.changed = false
	l.count()
	health := l.Log.Health()
	m := alert.Metrics{
		Version: l.Version, Listeners: l.measured.listeners, Findings: maps.Clone(l.measured.findings),
		Audits: l.measured.audits, Failed: l.measured.failed, LastAudit: l.measured.last,
		Complete: l.state.Coverage != nil && l.state.Coverage.Complete, Records: l.Log.Seq(),
		Unlogged: health.Err != nil, LogLost: health.Lost, Waiting: health.Waiting, Signed: l.measured.signed,
		Told: l.state.Tally.Told, Brief: l.state.Tally.Brief, Unsettled: l.state.Tally.Unsettled, Lost: l.state.Tally.Lost,
	}
	for _, s := range l.state.Suspects {
		m.Findings[alert.FindingKind{Rule: s.Finding.Rule, Severity: s.Finding.Severity}]++
	}
	for _, h := range l.state.Standing {
		if h.Raised {
			m.Findings[alert.FindingKind{Rule: h.Finding.Rule, Severity: h.Finding.Severity}]++
		}
	}
	l.Metrics(m)
}

// count counts what is remembered, as Status does, into maps of their own: those
// before were handed on.
func (l *loop) count() {
	if l.resting {
		return
	}
	l.measured.listeners, l.measured.findings = map[alert.ListenerKind]int{}, map[alert.FindingKind]int{}
	for _, t := range l.state.Tracks {
		if t.Confirmed {
			l.measured.listeners[alert.ListenerKind{Transport: t.Listener.Transport, Verdict: t.Listener.Verdict}]++
		}
		for _, f := range t.Raised {
			l.measured.findings[alert.FindingKind{Rule: f.Rule, Severity: f.Severity}]++
		}
	}
}
