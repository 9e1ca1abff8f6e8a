package policy

import (
	"slices"

	"github.com/portaudit/portaudit/registry"
)

// fingerprint is what is known of a listener in a few facts with few values each,
// a bit for each value. Rules have the bits that they may match, so that most of
// them are passed over by one comparison.
type fingerprint uint64

// facet is one of these facts: bits first to first+len(values)-1.
type facet struct {
	keys   []string // the conditions that ask for it, and for nothing else
	first  int
	values []func(*Listener) // how a listener of each value looks
	value  func(*Listener) int
}

// facets returns the facts of a fingerprint.
func facets() []facet {
	list := []facet{
		{keys: []string{"transport"}, value: func(l *Listener) int { return int(l.Transport) }, values: each(len(registry.TransportNames())+1, func(l *Listener, i int) { l.Transport = registry.Transport(i) })},
		{keys: []string{"scope", "reachable"}, value: func(l *Listener) int { return int(l.Scope) }, values: each(len(scopeNames), func(l *Listener, i int) { l.Scope = Scope(i) })},
		{keys: []string{"risk"}, value: func(l *Listener) int { return int(l.Risk) }, values: each(len(severityNames), func(l *Listener, i int) { l.Risk = Severity(i) })},
		{keys: []string{"privileged"}, value: func(l *Listener) int { return int(l.Privileged) }, values: each(int(Yes)+1, func(l *Listener, i int) { l.Privileged = Answer(i) })},
		{keys: []string{"ephemeral"}, value: func(l *Listener) int { return int(l.Ephemeral) }, values: each(int(Yes)+1, func(l *Listener, i int) { l.Ephemeral = Answer(i) })},
		{keys: []string{"dual_stack"}, value: func(l *Listener) int { return int(l.DualStack) }, values: each(int(Yes)+1, func(l *Listener, i int) { l.DualStack = Answer(i) })},
		{keys: []string{"shadows"}, value: func(l *Listener) int { return int(l.Shadows) }, values: each(int(Yes)+1, func(l *Listener, i int) { l.Shadows = Answer(i) })},
		{keys: []string{"new"}, value: func(l *Listener) int { return int(l.New) }, values: each(int(Yes)+1, func(l *Listener, i int) { l.New = Answer(i) })},
	}
	next := 0
	for i := range list {
		list[i].first = next
		next += len(list[i].values)
	}
	return list
}

func each(n int, set func(*Listener, int)) []func(*Listener) {
	var values []func(*Listener)
	for i := range n {
		values = append(values, func(l *Listener) { set(l, i) })
	}
	return values
}

// possible returns the bits with which a match may hold. A condition is asked of a
// listener of which nothing else is known: what it refuses then, it always does.
func (m *match) possible(list []facet) fingerprint {
	all := ^fingerprint(0)
	for i := range m.conditions {
		c := &m.conditions[i]
		k := slices.IndexFunc(list, func(f facet) bool { return slices.Contains(f.keys, c.key) })
		if k < 0 {
			continue
		}
		for v, set := range list[k].values {
			var l Listener
			if set(&l); c.test(&l, &Owner{}) == No {
				all &^= 1 << (list[k].first + v)
			}
		}
	}
	return all
}

// fingerprintOf returns the bits of a listener.
func fingerprintOf(l *Listener, list []facet) fingerprint {
	var bits fingerprint
	for i := range list {
		if v := list[i].value(l); v < len(list[i].values) {
			bits |= 1 << (list[i].first + v)
		}
	}
	return bits
}
