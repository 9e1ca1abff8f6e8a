package policy

import (
	"time"

	"gopkg.in/yaml.v3"
)

// defaultGrace is how long what is required may be missing: a service that is
// started anew is gone for some seconds.
const defaultGrace = time.Minute

// grace reads how long what is required may be missing.
func (d *decoder) grace(n *yaml.Node) time.Duration {
	text, ok := d.text(n)
	if !ok {
		return defaultGrace
	}
	age, err := parseAge(clip(text))
	if err != nil {
		d.errorf(n, "%v", err)
	}
	return age
}

// Requirement is a require rule: what is found if no listener fulfils it for
// longer than its grace.
type Requirement struct {
	Finding
	Grace time.Duration
}

// Requirements returns the require rules, in the order of the policy.
func (p *Policy) Requirements() []Requirement {
	var list []Requirement
	for i := range p.required {
		r := &p.required[i]
		list = append(list, Requirement{Finding: r.finding(), Grace: r.grace})
	}
	return list
}

// Meets reports which of the requirements a listener fulfils: whether one of its
// owners does. It adds to what met, which is as long as Requirements, says of the
// listeners before.
func (p *Policy) Meets(met []Answer, l Listener, now time.Time) {
	if len(p.required) == 0 {
		return
	}
	q := p.ask(l, now)
	defer p.answered(q)
	for i := range p.required {
		met[i] = or(met[i], p.required[i].holds(&q.listener))
	}
}

// States returns what a rule can alert of that is of the host and of no listener:
// the words of the key when.
func States() []string {
	return []string{"coverage-degraded", "unprivileged-ports-lowered", "published-without-socket"}
}

// statePlaceholder stands for what a state is, in the texts of its rule.
const statePlaceholder = "detail"

// State is something that is so of the host: one of States, of what (a namespace, a
// source of an audit, a port), and in a sentence.
type State struct {
	Word, Subject, Detail string
}

// StateFinding is what a rule found of a state.
type StateFinding struct {
	Finding
	Subject string
}

// Judge returns what the policy finds of the host, in the order of the rules.
func (p *Policy) Judge(states []State) []StateFinding {
	var found []StateFinding
	for i := range p.states {
		for _, s := range states {
			if s.Word != p.states[i].state {
				continue
			}
			f := p.states[i].finding()
			for _, text := range []*string{&f.Message, &f.Why, &f.Fix} {
				*text = fillIn(*text, statePlaceholder, s.Detail)
			}
			found = append(found, StateFinding{Finding: f, Subject: s.Subject})
		}
	}
	return found
}
