package alert

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
)

// A flood of one rule must not drown the others, nor what receives them.
const (
	// atOnce is how many alerts of a rule are delivered one by one before the
	// rest of the minute is counted.
	atOnce = 5
	// window is the time between two summaries of a rule, and how long a rule
	// must be silent before its alerts are delivered one by one again.
	window = time.Minute
	// maxOpen bounds the findings that are remembered because their end is told
	// one by one, as their beginning was.
	maxOpen = 4096
	// maxSample bounds the message of a summary's last record, in bytes.
	maxSample = 1 << 10
)

// flood decides which alerts of one output are delivered one by one, and counts
// the others exactly. It goes by the time of the records and not by the time at
// which they are delivered, so that an output which was away gets what it would
// have got, and so does one that is told again after a crash. The zero value is
// ready. It is a part of the cursor file.
type flood struct {
	Keys map[string]pending `json:"keys,omitempty"` // by rule, else by kind of event
	// Open are the findings that were delivered one by one, and not cleared: who
	// was told of one by name is told of its end so.
	Open map[string]bool `json:"open,omitempty"`
}

// pending is one rule, since it was last silent for a window.
type pending struct {
	Start  time.Time `json:"start"` // of the window
	Passed int       `json:"passed"`
	Held   Summary   `json:"held"` // of those that were held back; Count 0: none
}

// exempt reports whether each event of a kind is delivered: those of the log's
// own condition are few, and a checkpoint is a copy that has no other.
func exempt(kind string) bool {
	switch kind {
	case audit.LogCheckpoint, audit.LogDegraded, audit.LogRestored, audit.LogDamaged:
		return true
	}
	return false
}

// key returns what alerts are counted by.
func key(e audit.Event) string {
	if e.Rule != "" && (e.Event == audit.FindingRaised || e.Event == audit.FindingCleared) {
		return e.Rule
	}
	return e.Event
}

// passes reports whether e is to be delivered by itself. advance to its time goes
// before; passed comes after it was delivered, hold if it is not.
func (f *flood) passes(e audit.Event) bool {
	return exempt(e.Event) || f.ends(e) || f.Keys[key(e)].Passed < atOnce
}

// ends reports whether e is the end of a finding that was delivered by itself.
func (f *flood) ends(e audit.Event) bool { return e.Event == audit.FindingCleared && f.Open[e.ID] }

// passed notes that e was delivered by itself.
func (f *flood) passed(e audit.Event) {
	switch {
	case exempt(e.Event):
		return
	case f.ends(e):
		delete(f.Open, e.ID)
		return
	}
	f.open(e)
	f.change(e, func(p *pending) { p.Passed++ })
}

// hold counts e for the summary.
func (f *flood) hold(e audit.Event) {
	f.change(e, func(p *pending) { p.Held = p.Held.with(e) })
}

func (f *flood) change(e audit.Event, by func(*pending)) {
	p, ok := f.Keys[key(e)]
	if !ok {
		p.Start = e.Time
	}
	by(&p)
	if f.Keys == nil {
		f.Keys = map[string]pending{}
	}
	f.Keys[key(e)] = p
}

// open remembers a finding that is delivered.
func (f *flood) open(e audit.Event) {
	if e.Event != audit.FindingRaised || e.ID == "" || len(f.Open) >= maxOpen {
		return
	}
	if f.Open == nil {
		f.Open = map[string]bool{}
	}
	f.Open[e.ID] = true
}

// advance returns the summaries that are due at a time, by rule, and forgets the
// rules that were silent. A rule that has a summary begins a window in which
// nothing passes, so that a flood that goes on is one summary a minute.
func (f *flood) advance(now time.Time) []Summary {
	var due []Summary
	for _, k := range slices.Sorted(maps.Keys(f.Keys)) {
		p := f.Keys[k]
		if p.Start.After(now.Add(window)) {
			p.Start = now // the clock was set back: nobody waits for it
			f.Keys[k] = p
		}
		if p.Held.Count > 0 && now.Sub(p.Start) >= window {
			due = append(due, p.Held)
			p = pending{Start: p.Start.Add(window), Passed: atOnce} // not now: it may be told late
			f.Keys[k] = p
		}
		if p.Held.Count == 0 && now.Sub(p.Start) >= window {
			delete(f.Keys, k)
		}
	}
	return due
}

// next returns when advance has something to do, the zero time for never.
func (f *flood) next() time.Time {
	var at time.Time
	for _, p := range f.Keys {
		if end := p.Start.Add(window); at.IsZero() || end.Before(at) {
			at = end
		}
	}
	return at
}

// with returns the summary with one more record.
func (s Summary) with(e audit.Event) Summary {
	if s.Count == 0 {
		s.First, s.Kinds = e.Time, map[string]uint64{}
		if key(e) == e.Rule {
			s.Rule = e.Rule
		}
	}
	s.Count++
	s.Kinds[e.Event]++
	s.Last, s.Host = e.Time, e.Host
	if severityPriority(e.Severity) < severityPriority(s.Severity) || s.Severity == "" {
		s.Severity = e.Severity
	}
	if e.Seq == 0 {
		s.Unheld++
	} else {
		if s.FirstSeq == 0 {
			s.FirstSeq = e.Seq
		}
		s.LastSeq = e.Seq
	}
	s.Sample = audit.Visible(audit.Clip(e.Message, maxSample))
	return s
}

// message returns what is delivered for the summary.
func (s Summary) message() Message {
	return Message{Summary: &s, Event: audit.Event{
		Version: audit.Version, Event: Summarized, Time: s.Last, Host: s.Host,
		Rule: s.Rule, Severity: s.Severity, Message: s.text(),
	}}
}

func (s Summary) text() string {
	var kinds []string
	for _, kind := range slices.Sorted(maps.Keys(s.Kinds)) {
		kinds = append(kinds, fmt.Sprintf("%d %s", s.Kinds[kind], kind))
	}
	text := fmt.Sprintf("%d more not told one by one: %s", s.Count, strings.Join(kinds, ", "))
	if s.Rule != "" {
		text += " of rule " + s.Rule
	}
	text += fmt.Sprintf(" from %s to %s", s.First.UTC().Format(time.RFC3339), s.Last.UTC().Format(time.RFC3339))
	if s.FirstSeq != 0 {
		text += fmt.Sprintf(", records %d to %d", s.FirstSeq, s.LastSeq)
	}
	return text + "; the last: " + s.Sample
}
