package policy

import "time"

// Unsure returns the rules of which it depends on an unknown fact whether they
// match l, among those that a decision at the time comes to: if there are any,
// another look at the same listener may decide otherwise.
func (p *Policy) Unsure(l Listener, now time.Time) []string {
	asked := p.ask(l, now)
	defer p.answered(asked)
	var ids []string
	rules := p.index.candidates(&asked.listener, p.facets)
	for i, more := rules.next(); more; i, more = rules.next() {
		r := &p.rules[i]
		switch r.holds(&asked.listener) {
		case Unknown:
			ids = append(ids, r.id)
		case Yes:
			if r.verdict == Allow && !r.over(now) {
				return ids
			}
		}
	}
	return ids
}
