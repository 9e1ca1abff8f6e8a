package policy

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
	Outcome  Outcome
	// Failed says in words which condition did not hold, for NotMatched.
	Failed string
}

// Explain tells how Decide comes to its verdict on l: every rule in order, the
// default last.
func (p *Policy) Explain(l Listener) []Step {
	steps := make([]Step, 0, len(p.rules)+1)
	ended := false
	for i := range p.rules {
		r := &p.rules[i]
		s := Step{Rule: r.id, Verdict: r.verdict, Severity: r.severity, Reason: r.reason}
		switch {
		case ended:
		case r.holds(&l) == Yes:
			s.Outcome = Matched
			ended = r.verdict == Allow
		default:
			s.Outcome, s.Failed = NotMatched, r.failed(&l)
		}
		steps = append(steps, s)
	}
	s := Step{Rule: DefaultRule, Verdict: p.fallback.verdict, Severity: p.fallback.severity, Outcome: Matched}
	if ended {
		s.Outcome = NotReached
	}
	return append(steps, s)
}

// failed names the first condition that does not hold, for the first owner for
// whom the rule does not.
func (r *rule) failed(l *Listener) string {
	owners := l.Owners
	if len(owners) == 0 || !r.match.owners {
		owners = []Owner{{}}
	}
	for i := range owners {
		for _, c := range r.match.conditions {
			switch c.test(l, &owners[i]) {
			case No:
				return c.key + " is " + c.value(l, &owners[i]) + ", not " + c.want
			case Unknown:
				return c.key + " is unknown"
			}
		}
	}
	return ""
}
