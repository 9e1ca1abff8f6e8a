package policy

import (
	"cmp"
	"slices"

	"github.com/portaudit/portaudit/registry"
)

// index finds the rules that may match a listener by its port: most rules of a
// long policy ask for one. It only leaves out rules whose match is certainly
// false.
type index struct {
	general  []candidate // in order, those that ask for no port, or for very many
	segments []segment
}

// candidate is a rule by its number, and the listeners that it may match. It is
// apart from the rule because all of them are looked at, and most rules not.
type candidate struct {
	rule     int
	possible fingerprint
}

// segment is the rules that ask for the ports from one on, up to the next
// segment.
type segment struct {
	first registry.Port
	rules []candidate
}

// maxSegments is how many segments a rule may be in, so that an index never takes
// more than so many times the policy.
const maxSegments = 64

// indexOf makes the index of rules.
func indexOf(rules []rule, list []facet) index {
	var all index
	starts := []registry.Port{0}
	for i := range rules {
		for _, r := range rules[i].match.portRanges() {
			starts = append(starts, r.first)
			if r.last < 65535 {
				starts = append(starts, r.last+1)
			}
		}
	}
	slices.Sort(starts)
	for _, first := range slices.Compact(starts) {
		all.segments = append(all.segments, segment{first: first})
	}
	for i := range rules {
		one := candidate{i, rules[i].match.possible(list)}
		in := all.within(rules[i].match.portRanges())
		if len(in) == 0 || len(in) > maxSegments {
			all.general = append(all.general, one)
			continue
		}
		for _, k := range in {
			all.segments[k].rules = append(all.segments[k].rules, one)
		}
	}
	return all
}

// within returns the numbers of the segments that ranges are made of, in order,
// and no more than tell that they are too many.
func (x *index) within(ranges []portRange) []int {
	var in []int
	for _, r := range ranges {
		for k := x.find(r.first); k < len(x.segments) && x.segments[k].first <= r.last && len(in) <= maxSegments; k++ {
			in = append(in, k)
		}
	}
	slices.Sort(in)
	return slices.Compact(in)
}

// find returns the number of the segment that a port is in.
func (x *index) find(p registry.Port) int {
	i, exact := slices.BinarySearchFunc(x.segments, p, func(s segment, p registry.Port) int { return cmp.Compare(s.first, p) })
	if exact {
		return i
	}
	return i - 1
}

// portRanges returns the ports that a match asks for by itself, nil if it does not.
func (m *match) portRanges() []portRange {
	for i := range m.conditions {
		if m.conditions[i].key == "port" {
			return m.conditions[i].ports
		}
	}
	return nil
}

// candidates are the rules that may match a listener.
type candidates struct {
	bits             fingerprint
	general, special []candidate // the next of each are numbers g and s
	g, s             int
}

func (x *index) candidates(l *Listener, list []facet) candidates {
	c := candidates{bits: fingerprintOf(l, list), general: x.general}
	if !l.portless() && len(x.segments) > 0 {
		c.special = x.segments[x.find(l.Port)].rules
	}
	return c
}

// next returns the number of the next one, in the order of the policy; false if
// there is none.
func (c *candidates) next() (int, bool) {
	for c.g < len(c.general) && c.bits&^c.general[c.g].possible != 0 {
		c.g++
	}
	for c.s < len(c.special) && c.bits&^c.special[c.s].possible != 0 {
		c.s++
	}
	switch {
	case c.s < len(c.special) && (c.g == len(c.general) || c.special[c.s].rule < c.general[c.g].rule):
		c.s++
		return c.special[c.s-1].rule, true
	case c.g < len(c.general):
		c.g++
		return c.general[c.g-1].rule, true
	}
	return 0, false
}
