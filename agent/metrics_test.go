package agent

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portaudit/portaudit/agent/alert"
	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/agent/listen"
)

// telling is metrics and when they were told.
type telling struct {
	after time.Duration
	alert.Metrics
}

// tellFor lets the agent work on h, as runFor does, and returns the metrics.
func tellFor(t *testing.T, h *host, d time.Duration, change func(*Options)) []telling {
	t.Helper()
	var all []telling
	began := time.Now()
	runFor(t, t.TempDir(), h, mustPolicy(t, alertAll), d, func(o *Options) {
		o.Metrics = func(m alert.Metrics) { all = append(all, telling{time.Since(began), m}) }
		if change != nil {
			change(o)
		}
	})
	return all
}

func TestMetricsAreTold(t *testing.T) {
	// A snapshot with a generation is left aside once it is known.
	known := listening(8080, 9090)
	known.Generation = 1
	tests := []struct {
		reason string
		host   *host
		d      time.Duration
		change func(*Options)
		when   []time.Duration
		check  func(alert.Metrics) bool // of the last
	}{
		{"at the start, when something was recorded, and at the end", &host{snapshot: listening(8080)}, 5500 * time.Millisecond, nil,
			[]time.Duration{0, time.Second, 5500 * time.Millisecond},
			func(m alert.Metrics) bool {
				return m.Listeners[alert.ListenerKind{Transport: "tcp", Verdict: "alert"}] == 1 && len(m.Listeners) == 1 &&
					m.Findings[alert.FindingKind{Rule: "all", Severity: "high"}] == 1 && len(m.Findings) == 1 &&
					m.Audits.Count == 6 && m.Failed == 0 && m.Complete && m.Version == "test" && m.Records == 6
			}},
		{"each minute where nothing changes, and a loop that rests knows still", &host{snapshot: known}, 90500 * time.Millisecond, nil,
			[]time.Duration{0, time.Second, time.Minute, 90500 * time.Millisecond},
			func(m alert.Metrics) bool {
				return m.Listeners[alert.ListenerKind{Transport: "tcp", Verdict: "alert"}] == 2 && m.Audits.Count == 91 &&
					m.Findings[alert.FindingKind{Rule: "all", Severity: "high"}] == 2
			}},
		{"each minute where audits are further apart", &host{snapshot: known}, 150 * time.Second, func(o *Options) { o.Interval = time.Hour },
			[]time.Duration{0, time.Minute, 2 * time.Minute, 150 * time.Second},
			func(m alert.Metrics) bool { return m.Audits.Count == 1 }},
		{"what is required and missing", &host{snapshot: listening(8080)}, 1500 * time.Millisecond, func(o *Options) {
			o.Policy = policyOf(t, "- {id: web, verdict: require, severity: high, grace: 1s, match: {port: 80/tcp}}\n")
		}, []time.Duration{0, time.Second, 1500 * time.Millisecond},
			func(m alert.Metrics) bool {
				return len(m.Findings) == 1 && m.Findings[alert.FindingKind{Rule: "web", Severity: "high"}] == 1
			}},
		{"audits that fail are counted each, and are no audits", &host{err: errors.New("no")}, 3500 * time.Millisecond, nil,
			[]time.Duration{0, 3500 * time.Millisecond},
			func(m alert.Metrics) bool { return m.Failed == 4 && m.Audits.Count == 0 && m.LastAudit.IsZero() }},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				all := tellFor(t, tt.host, tt.d, tt.change)
				var when []time.Duration
				for _, m := range all {
					when = append(when, m.after)
				}
				if !slices.Equal(when, tt.when) {
					t.Fatalf("told after %v, want %v", when, tt.when)
				}
				if last := all[len(all)-1].Metrics; !tt.check(last) {
					t.Errorf("told at last %+v", last)
				}
			})
		})
	}
}

// TestMetricsAreHandedOn: what was told stays as it was, and hidden sockets are
// counted beside listeners.
func TestMetricsAreHandedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &host{snapshot: listening(8080)}
		var first alert.Metrics
		var before map[alert.FindingKind]int
		all := tellFor(t, h, 10500*time.Millisecond, func(o *Options) {
			tell := o.Metrics
			o.Metrics = func(m alert.Metrics) {
				if len(m.Listeners) > 0 && first.Listeners == nil {
					first, before = m, maps.Clone(m.Findings)
					h.snapshot = listening()
				}
				tell(m)
			}
			o.CrossEvery = time.Hour
			o.CrossCheck = func(context.Context) (listen.CrossReport, error) { return hidden(tcpAt("::1", 80)), nil }
		})
		if len(first.Listeners) != 1 || !maps.Equal(first.Findings, before) {
			t.Errorf("what was told is now %+v, was %v", first, before)
		}
		last := all[len(all)-1]
		if len(last.Listeners) != 0 || len(last.Findings) != 1 || last.Findings[alert.FindingKind{Rule: "hidden-port", Severity: "critical"}] != 1 {
			t.Errorf("told at last %+v", last)
		}
	})
}

func TestMetricsOfChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := tellFor(t, &host{snapshot: listen.Snapshot{}}, time.Second, func(o *Options) {
			lost := make(chan listen.Change, 1)
			lost <- listen.Change{}
			o.Realtime = Realtime{
				Changes: lost, Lost: func() uint64 { return 3 },
				Admit: func(listen.Change) (listen.Socket, bool) { return listen.Socket{}, false },
			}
		})
		if last := all[len(all)-1]; last.Told != 1 || last.Lost != 3 {
			t.Errorf("told at last %+v", last)
		}
	})
}

// TestMetricsOfCheckpoints holds that the last checkpoint among what became durable
// is the one that is told of.
func TestMetricsOfCheckpoints(t *testing.T) {
	at := time.Date(2026, 11, 29, 1, 2, 3, 0, time.UTC)
	var m measured
	m.recorded([]audit.Event{{Event: audit.ListenerOpened, Time: at.Add(time.Hour)}})
	if !m.signed.IsZero() {
		t.Errorf("a checkpoint of %v that nobody made", m.signed)
	}
	m.recorded([]audit.Event{{Event: audit.LogCheckpoint, Time: at}, {Event: audit.LogCheckpoint, Time: at.Add(time.Minute)}, {Event: audit.AgentStopped, Time: at.Add(time.Hour)}})
	m.recorded(nil)
	if !m.signed.Equal(at.Add(time.Minute)) {
		t.Errorf("the last checkpoint is of %v", m.signed)
	}
}
