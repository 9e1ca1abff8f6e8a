package agent

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/policy"
)

// LogSum is what the records of a log come to.
type LogSum struct {
	Records  uint64      `json:"records"`
	First    *LogEnd     `json:"first"` // null: there is none
	Last     *LogEnd     `json:"last"`
	Kinds    []Count     `json:"kinds"` // the most frequent first
	Rules    []RuleCount `json:"rules"` // the gravest first
	Span     string      `json:"span"`  // day or hour
	Spans    []SpanCount `json:"spans"` // in order, those without a record left out
	Ports    []Count     `json:"ports"` // those with most records
	Programs []Count     `json:"programs"`
	Short    Short       `json:"short"`
}

// LogEnd is the first or last record.
type LogEnd struct {
	Record uint64    `json:"record"`
	Time   time.Time `json:"time"`
}

// RuleCount is how often a rule raised and cleared findings of one severity.
type RuleCount struct {
	Rule     string `json:"rule"`
	Severity string `json:"severity"`
	Raised   uint64 `json:"raised"`
	Cleared  uint64 `json:"cleared"`
}

// SpanCount is what was recorded in an hour or a day.
type SpanCount struct {
	Since   time.Time `json:"since"`
	Records uint64    `json:"records"`
	Raised  uint64    `json:"raised"` // findings
}

// Short is by how much counts may be too small, where there was more than fits into
// memory.
type Short struct {
	Kinds    uint64 `json:"kinds"`
	Rules    uint64 `json:"rules"`
	Ports    uint64 `json:"ports"`
	Programs uint64 `json:"programs"`
	Spans    uint64 `json:"spans"` // records that are in none, of times without an end
}

// What is counted apart, at the most.
const (
	maxKinds    = 256
	maxRules    = 4096
	maxPorts    = 65536
	maxPrograms = 8192
	maxHours    = 72
	maxDays     = 20000 // 55 years
	maxText     = 256   // bytes of the name of a program or rule
)

// Summing sums up a log, of which each line is given to Take.
type Summing struct {
	filter Filter
	zone   *time.Location
	sum    LogSum
	last   LogEnd

	kinds, raised, cleared, ports, programs tally
	hours, days                             map[time.Time]*SpanCount // hours is nil where there were too many
	day                                     *SpanCount               // of the line before
	line                                    glimpse
	text                                    []byte
}

// NewSumming returns a sum of nothing. Days are those of the zone.
func NewSumming(s Selection, zone *time.Location) *Summing {
	return &Summing{
		filter: s.Filter(), zone: zone,
		kinds: newTally(maxKinds), raised: newTally(maxRules), cleared: newTally(maxRules), ports: newTally(maxPorts), programs: newTally(maxPrograms),
		hours: map[time.Time]*SpanCount{}, days: map[time.Time]*SpanCount{},
	}
}

// Take takes the next line.
func (s *Summing) Take(l audit.Line) error {
	if taken, err := s.filter.Takes(l); err != nil || !taken {
		return err
	}
	s.sum.Records++
	s.last = LogEnd{l.Seq, l.Time}
	if s.sum.First == nil {
		s.sum.First = &LogEnd{l.Seq, l.Time.UTC()}
	}
	s.kinds.add([]byte(l.Kind))
	raised := l.Kind == audit.FindingRaised
	s.at(l.Time, raised)
	if !raised && l.Kind != audit.FindingCleared && !strings.HasPrefix(l.Kind, "listener.") {
		return nil
	}
	g := &s.line
	if err := g.look(l); err != nil {
		return err
	}
	if raised || l.Kind == audit.FindingCleared {
		key := append(append(s.key(g.severity), ' '), g.rule[:min(len(g.rule), maxText)]...)
		if raised {
			s.raised.add(key)
		} else {
			s.cleared.add(key)
		}
	}
	if len(g.port) > 0 {
		s.ports.add(append(append(s.key(g.port), '/'), g.transport...))
	}
	for _, p := range g.programs {
		s.programs.add(s.key(p))
	}
	return nil
}

// key returns a copy of a text, bounded, good until the next one.
func (s *Summing) key(text []byte) []byte {
	s.text = append(s.text[:0], text[:min(len(text), maxText)]...)
	return s.text
}

// at counts a record in its hour and its day.
func (s *Summing) at(t time.Time, raised bool) {
	t = t.In(s.zone)
	if d := s.day; d == nil || t.Before(d.Since) || t.Sub(d.Since) >= 22*time.Hour { // a day may have 23
		midnight := time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, s.zone)
		if s.day = s.days[midnight]; s.day == nil && len(s.days) < maxDays {
			s.day = &SpanCount{Since: midnight}
			s.days[midnight] = s.day
		}
	}
	if s.day == nil {
		s.sum.Short.Spans++
	} else {
		s.day.count(raised)
	}
	if s.hours == nil {
		return
	}
	hour := t.Add(-time.Duration(t.Minute())*time.Minute - time.Duration(t.Second())*time.Second - time.Duration(t.Nanosecond()))
	if s.hours[hour] == nil {
		if len(s.hours) >= maxHours {
			s.hours = nil
			return
		}
		s.hours[hour] = &SpanCount{Since: hour}
	}
	s.hours[hour].count(raised)
}

func (c *SpanCount) count(raised bool) {
	c.Records++
	if raised {
		c.Raised++
	}
}

// Sum returns what it comes to.
func (s *Summing) Sum() LogSum {
	const few = 10
	sum := s.sum
	if sum.First != nil {
		sum.Last = &LogEnd{s.last.Record, s.last.Time.UTC()}
	}
	sum.Kinds, sum.Ports, sum.Programs = s.kinds.top(maxKinds), s.ports.top(few), s.programs.top(few)
	sum.Short.Kinds, sum.Short.Rules, sum.Short.Ports, sum.Short.Programs = s.kinds.short, max(s.raised.short, s.cleared.short), s.ports.short, s.programs.short
	sum.Rules = s.rules()
	spans := s.days
	sum.Span = "day"
	if s.hours != nil && len(s.days) <= 2 {
		sum.Span, spans = "hour", s.hours
	}
	sum.Spans = []SpanCount{}
	for _, at := range slices.SortedFunc(maps.Keys(spans), time.Time.Compare) {
		c := *spans[at]
		c.Since = c.Since.UTC()
		sum.Spans = append(sum.Spans, c)
	}
	return sum
}

func (s *Summing) rules() []RuleCount {
	by := map[string]RuleCount{}
	for _, c := range s.raised.top(maxRules) {
		by[c.Name] = RuleCount{Raised: c.Records}
	}
	for _, c := range s.cleared.top(maxRules) {
		by[c.Name] = RuleCount{Raised: by[c.Name].Raised, Cleared: c.Records}
	}
	all := []RuleCount{}
	for name, c := range by {
		c.Severity, c.Rule, _ = strings.Cut(name, " ")
		all = append(all, c)
	}
	grave := func(c RuleCount) policy.Severity {
		severity, _ := policy.ParseSeverity(c.Severity) // None of a word that is not known
		return severity
	}
	slices.SortFunc(all, func(a, b RuleCount) int {
		return cmp.Or(cmp.Compare(grave(b), grave(a)), cmp.Compare(b.Raised, a.Raised), cmp.Compare(a.Rule, b.Rule))
	})
	return all
}

// glimpse is what a sum takes from the record of a line.
type glimpse struct {
	rule, severity, port, transport []byte
	programs                        [][]byte // each once
}

// look takes it, by a glance if that is enough.
func (g *glimpse) look(l audit.Line) error {
	*g = glimpse{programs: g.programs[:0]}
	clear := members(l.Raw, func(key, value []byte) (ok bool) {
		ok = true
		switch string(key) {
		case "rule":
			g.rule, ok = plainText(value)
		case "severity":
			g.severity, ok = plainText(value)
		case "transport":
			g.transport, ok = plainText(value)
		case "port":
			g.port = value
			_, ok = plainNumber(value)
		case "owners":
			ok = members(value, g.owner)
		}
		return ok
	})
	if clear {
		return nil
	}
	e, err := l.Event()
	if err != nil {
		return err
	}
	*g = glimpse{rule: []byte(e.Rule), severity: []byte(e.Severity), transport: []byte(e.Transport), programs: g.programs[:0]}
	if e.Port > 0 {
		g.port = []byte(PortText(Listener{Port: e.Port}))
	}
	for _, o := range e.Owners {
		if file := cmp.Or(o.Executable, o.Command); file != "" {
			g.program([]byte(baseName(file)))
		}
	}
	return nil
}

// owner takes the program of one owner.
func (g *glimpse) owner(_, owner []byte) (ok bool) {
	var executable, command []byte
	clear := members(owner, func(key, value []byte) (ok bool) {
		ok = true
		switch string(key) {
		case "executable":
			executable, ok = plainText(value)
		case "command":
			command, ok = plainText(value)
		}
		return ok
	})
	if clear {
		if len(executable) == 0 {
			executable = command
		}
		if len(executable) > 0 { // a path without a backslash is none of Windows, or written with slashes
			executable = executable[bytes.LastIndexByte(executable, '/')+1:]
		}
		g.program(executable)
	}
	return clear
}

func (g *glimpse) program(name []byte) {
	if len(name) == 0 || slices.ContainsFunc(g.programs, func(p []byte) bool { return string(p) == string(name) }) {
		return
	}
	g.programs = append(g.programs, name)
}
