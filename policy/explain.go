package policy

import (
	"slices"
	"strings"
	"time"
)

// Outcome is what became of a rule in a decision.
type Outcome uint8

// The outcomes.
const (
	NotReached Outcome = iota // an allow rule before it ended the search
	NotMatched
	Matched
)

// String returns "matched", "not matched" or "not reached".
func (o Outcome) String() string {
	switch o {
	case Matched:
		return "matched"
	case NotMatched:
		return "not matched"
	default:
		return "not reached"
	}
}

// Step is what became of one rule in a decision.
type Step struct {
	Rule     string
	Verdict  Verdict
	Severity Severity // None for an allow rule
	Reason   string
	Owner    string // who answers for the rule
	Fix      string // of an alert rule, with placeholders
	Outcome  Outcome
	// Failed says in words which condition did not hold, for NotMatched.
	Failed string
}

// Explain tells how Decide comes to its verdict on l at a time: every rule in
// order, then which requirements l fulfils, which has no part in the verdict, and
// the default last.
func (p *Policy) Explain(l Listener, now time.Time) []Step {
	l = l.owned()
	l.now = now
	steps := make([]Step, 0, len(p.rules)+len(p.required)+1)
	ended := false
	for i := range p.rules {
		r := &p.rules[i]
		s := r.step()
		switch {
		case ended:
		case r.holds(&l) == Yes && r.over(now):
			s.Outcome, s.Failed = NotMatched, "it ended on "+lastDay(r.expires)
		case r.holds(&l) == Yes:
			s.Outcome = Matched
			ended = r.verdict == Allow
		default:
			s.Outcome, s.Failed = NotMatched, r.failed(&l)
		}
		steps = append(steps, s)
	}
	for i := range p.required {
		s := p.required[i].step()
		if s.Outcome = Matched; p.required[i].holds(&l) != Yes {
			s.Outcome, s.Failed = NotMatched, p.required[i].failed(&l)
		}
		steps = append(steps, s)
	}
	s := Step{Rule: DefaultRule, Verdict: p.fallback.verdict, Outcome: Matched}
	if s.Verdict == Alert {
		s.Severity = p.fallback.severity
	}
	if ended {
		s.Outcome = NotReached
	}
	return append(steps, s)
}

func (r *rule) step() Step {
	return Step{Rule: r.id, Verdict: r.verdict, Severity: r.severity, Reason: r.reason, Owner: r.owner, Fix: r.fix}
}

// failed says why a rule does not match, for the first owner for whom it does
// not: by the first condition that does not hold, else the first unknown one.
func (r *rule) failed(l *Listener) string {
	for i := range l.Owners {
		if r.match.holds(l, &l.Owners[i]) != Yes {
			return r.match.failed(l, &l.Owners[i])
		}
	}
	return ""
}

func (m *match) failed(l *Listener, o *Owner) string {
	for _, c := range m.conditions {
		if c.test(l, o) != No {
			continue
		}
		if c.inner != nil {
			return "left out by not: " + c.inner.facts(l, o)
		}
		if c.any != nil {
			return "none of any: " + c.each(func(m *match) string { return m.failed(l, o) })
		}
		if c.port && l.portless() {
			return c.key + " does not apply: a " + l.Transport.String() + " socket has no port of IANA's"
		}
		return c.key + " is " + c.value(l, o) + ", not " + c.want
	}
	for _, c := range m.conditions {
		switch {
		case c.test(l, o) != Unknown:
		case c.inner != nil:
			return c.inner.failed(l, o)
		case c.any != nil:
			return "none of any for certain: " + c.each(func(m *match) string { return m.failed(l, o) })
		default:
			return c.key + " is unknown"
		}
	}
	return ""
}

// each says something of each of the alternatives.
func (c *condition) each(say func(*match) string) string {
	var parts []string
	for i := range c.any {
		parts = append(parts, say(&c.any[i]))
	}
	return strings.Join(parts, "; ")
}

// facts says of conditions that all hold by which facts they do.
func (m *match) facts(l *Listener, o *Owner) string {
	var parts []string
	for _, c := range m.conditions {
		switch {
		case c.inner != nil:
			parts = append(parts, "not so: "+c.inner.wanted())
		case c.any != nil:
			i := slices.IndexFunc(c.any, func(m match) bool { return m.holds(l, o) == Yes })
			parts = append(parts, c.any[i].facts(l, o))
		default:
			parts = append(parts, c.key+" is "+c.value(l, o))
		}
	}
	return strings.Join(parts, " and ")
}

// wanted repeats conditions as they are written.
func (m *match) wanted() string {
	var parts []string
	for _, c := range m.conditions {
		switch {
		case c.inner != nil:
			parts = append(parts, "not ("+c.inner.wanted()+")")
		case c.any != nil:
			parts = append(parts, "any of ("+c.each((*match).wanted)+")")
		default:
			parts = append(parts, c.key+" "+c.want)
		}
	}
	return strings.Join(parts, " and ")
}
