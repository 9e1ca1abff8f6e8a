package policy

import (
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Policy is a compiled policy. It is immutable and may be used concurrently.
type Policy struct {
	Source       string // where it came from
	SHA256       string // of its text, in hexadecimal
	CommandLines bool   // whether command lines may be logged

	rules    []rule // of listeners: alerts and allowances
	required []rule
	states   []rule // of the host
	fallback fallback
	index    index
	facets   []facet
	asked    map[string]bool // keys of the conditions
	ages     []time.Duration // of "older_than"

	questions *sync.Pool // of *question
}

// Len returns the number of rules.
func (p *Policy) Len() int { return len(p.rules) + len(p.required) + len(p.states) }

// Asks reports whether any rule has a condition of the key: what none asks for
// need not be found out.
func (p *Policy) Asks(key string) bool { return p.asked[key] }

// Ages returns the ages at which a listener is decided on anew.
func (p *Policy) Ages() []time.Duration { return p.ages }

// note remembers what a match asks for.
func (p *Policy) note(m *match) {
	for i := range m.conditions {
		c := &m.conditions[i]
		p.asked[c.key] = true
		if c.age > 0 && !slices.Contains(p.ages, c.age) {
			p.ages = append(p.ages, c.age)
		}
		if c.inner != nil {
			p.note(c.inner)
		}
		for k := range c.any {
			p.note(&c.any[k])
		}
	}
}

// fallback is what becomes of a listener that no rule allowed.
type fallback struct {
	verdict  Verdict
	severity Severity
}

// rule is one compiled rule.
type rule struct {
	id       string
	verdict  Verdict
	severity Severity
	match    match
	reason   string
	owner    string // who answers for the rule
	tags     []string
	expires  time.Time // when an allowance ends; zero: never
	ending   Finding   // what is found while it is about to
	ended    Finding   // and after
	message  string
	why      string
	fix      string

	shipped bool          // whether it is of the policy that this one extends
	grace   time.Duration // of what is required
	state   string        // of the host, that it alerts of; "" if it is of listeners
	always  bool          // whether it comes before all allowances
	place   place
}

// match is a list of conditions that must all hold. It is evaluated for one
// owner at a time; owners says whether any condition asks for one.
type match struct {
	conditions []condition
	trial      []*condition // the same, in the order in which they are tried: what is cheap first
	owners     bool
}

// condition is one fact that a rule asks for.
type condition struct {
	key   string
	test  func(*Listener, *Owner) Answer
	value func(*Listener, *Owner) string // what the fact is
	want  string                         // as written, for explanations
	inner *match                         // of a "not", which has no value and want of its own
	any   []match                        // of an "any", which has none either
	port  bool                           // whether it asks for a fact about a port

	values []string      // one by one, sets written out
	age    time.Duration // of "older_than"
	ports  []portRange   // of "port"
	globs  []glob        // of a pattern, one for each value

	prefixes []netip.Prefix // of "address"
}

// The texts of the default verdict's finding.
const (
	fallbackMessage = "{owners} listens on {endpoint} ({service}), and no rule of the policy allows it."
	fallbackWhy     = "A listener that nobody has thought of is the one that nobody watches."
	fallbackFix     = "If it belongs there, add a rule that allows it, with the reason; if not, stop it."
)

// Decide returns what the policy says of l at a time, by which allowances end. It
// is total and pure, and does not depend on the order of the owners.
func (p *Policy) Decide(l Listener, now time.Time) Decision {
	asked := p.ask(l, now)
	defer p.answered(asked)
	var d Decision
	allowed, ended := -1, -1
	rules := p.index.candidates(&asked.listener, p.facets)
	for i, more := rules.next(); more; i, more = rules.next() {
		r := &p.rules[i]
		switch {
		case r.holds(&asked.listener) != Yes:
		case r.verdict == Alert:
			d.Findings = append(d.Findings, r.finding())
		case !r.over(now):
			allowed = i
			return p.settled(d, allowed, ended, now)
		case ended < 0:
			ended = i
		}
	}
	return p.settled(d, allowed, ended, now)
}

// question is a listener that is being decided on. Conditions are functions that
// are not known before, so that what they are called with cannot lie on the stack;
// questions are therefore used again.
type question struct {
	listener Listener
	nobody   [1]Owner
}

func (p *Policy) ask(l Listener, now time.Time) *question {
	q, again := (*question)(nil), false
	if p.questions != nil {
		q, again = p.questions.Get().(*question)
	}
	if !again {
		q = &question{}
	}
	q.listener = l
	q.listener.now = now
	if len(l.Owners) == 0 {
		q.listener.Owners = q.nobody[:]
	}
	return q
}

func (p *Policy) answered(q *question) {
	q.listener = Listener{} // nothing of it is to be kept
	if p.questions != nil {
		p.questions.Put(q)
	}
}

// settled completes a decision by what became of the allowances: the first one
// that counted and the first one that has ended, -1 where there is none.
func (p *Policy) settled(d Decision, allowed, ended int, now time.Time) Decision {
	d.Rule = DefaultRule
	switch {
	case allowed >= 0 && p.rules[allowed].ends(now):
		d.Findings = append(d.Findings, p.rules[allowed].ending)
	case allowed >= 0:
	case p.fallback.verdict == Alert:
		d.Findings = append(d.Findings, Finding{
			Rule: DefaultRule, Severity: p.fallback.severity,
			Message: fallbackMessage, Why: fallbackWhy, Fix: fallbackFix,
		})
	}
	if ended >= 0 {
		d.Findings = append(d.Findings, p.rules[ended].ended)
	}
	if len(d.Findings) == 0 {
		d.Verdict = Allow
		if allowed >= 0 {
			d.Rule = p.rules[allowed].id
		}
		return d
	}
	worst := None
	for _, f := range d.Findings {
		if f.Severity > worst {
			worst, d.Rule = f.Severity, f.Rule
		}
	}
	return d
}

// finding is what an alert rule finds.
func (r *rule) finding() Finding {
	return Finding{Rule: r.id, Severity: r.severity, Message: r.message, Why: r.why, Fix: r.fix, Tags: r.tags}
}

// owned returns l with at least one owner: of one that nobody is seen to hold,
// everything about the owner is unknown.
func (l Listener) owned() Listener {
	if len(l.Owners) == 0 {
		l.Owners = []Owner{{}}
	}
	return l
}

// holds reports whether a rule matches a listener. Where conditions ask for an
// owner, one owner that fulfils all of them makes an alert, but an allowance
// takes every owner: a second program on a shared socket must not ride on the
// first one's permission. The listener is one that owned returned.
func (r *rule) holds(l *Listener) Answer {
	if !r.match.owners {
		return r.match.holds(l, &l.Owners[0])
	}
	if r.verdict == Allow {
		all := Yes
		for i := range l.Owners {
			all = and(all, r.match.holds(l, &l.Owners[i]))
		}
		return all
	}
	one := No
	for i := range l.Owners {
		one = or(one, r.match.holds(l, &l.Owners[i]))
	}
	return one
}

func (m *match) holds(l *Listener, o *Owner) Answer {
	all := Yes
	for _, c := range m.trial {
		if all = and(all, c.test(l, o)); all == No {
			return No
		}
	}
	return all
}

// inTrialOrder makes a match ready to be tried, and all that are in it.
func (m *match) inTrialOrder() {
	m.trial = make([]*condition, 0, len(m.conditions))
	for i := range m.conditions {
		c := &m.conditions[i]
		m.trial = append(m.trial, c)
		if c.inner != nil {
			c.inner.inTrialOrder()
		}
		for k := range c.any {
			c.any[k].inTrialOrder()
		}
	}
	slices.SortStableFunc(m.trial, func(a, b *condition) int { return a.cost() - b.cost() })
}

// cost ranks conditions by how long they take.
func (c *condition) cost() int {
	switch {
	case c.inner != nil || c.any != nil:
		return 2
	case len(c.globs) > 0 || c.key == "service" || c.key == "group":
		return 1
	}
	return 0
}

// and and not are those of three-valued logic (Kleene): what is unknown stays
// unknown unless the answer does not depend on it.
func and(a, b Answer) Answer {
	switch {
	case a == No || b == No:
		return No
	case a == Unknown || b == Unknown:
		return Unknown
	}
	return Yes
}

func or(a, b Answer) Answer { return not(and(not(a), not(b))) }

func not(a Answer) Answer {
	switch a {
	case Yes:
		return No
	case No:
		return Yes
	}
	return Unknown
}

func truth(b bool) Answer {
	if b {
		return Yes
	}
	return No
}
