package firewall

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
)

// value is a field of a packet: its bytes, the most significant first, then
// zeros. So values of one field compare as bytes, and a prefix of an address or
// of a name is an interval.
type value [16]byte

// interval is a range of values, both ends included.
type interval struct{ first, last value }

// set is a normal set of values: its intervals are sorted and neither overlap
// nor touch.
type set []interval

func number(width int, n uint64) value {
	var v value
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], n)
	copy(v[:], b[8-width:])
	return v
}

// prefix is the interval of the values that begin with b, at most 16 bytes.
func prefix(b []byte) interval { return span(b, b) }

// span is the interval from those that begin with first to those that begin
// with last, two byte strings of one length of at most 16.
func span(first, last []byte) interval {
	var i interval
	copy(i.first[:], first)
	for k := copy(i.last[:], last); k < len(i.last); k++ {
		i.last[k] = 0xff
	}
	return i
}

func numbers(width int, first, last uint64) interval {
	a, b := number(width, first), number(width, last)
	return span(a[:width], b[:width])
}

func addresses(first, last netip.Addr) interval {
	return span(first.AsSlice(), last.AsSlice())
}

// addressPrefix is the interval of the addresses of p.
func addressPrefix(p netip.Prefix) interval {
	first := p.Masked().Addr().AsSlice()
	last := slices.Clone(first)
	for bit := p.Bits(); bit < len(last)*8; bit++ {
		last[bit/8] |= 0x80 >> (bit % 8)
	}
	return span(first, last)
}

// name is the interval of one interface's name, with the zeros after it.
func name(s string) interval {
	var v value
	copy(v[:], s)
	return interval{v, v}
}

// isPrefix says whether mask is ones followed by zeros.
func (v value) isPrefix() bool {
	i := 0
	for i < len(v) && v[i] == 0xff {
		i++
	}
	if i < len(v) {
		if low := ^v[i]; low&(low+1) != 0 {
			return false
		}
		i++
	}
	return bytes.Count(v[min(i, len(v)):], []byte{0}) == len(v)-min(i, len(v))
}

func (v value) and(mask value) value {
	for i := range v {
		v[i] &= mask[i]
	}
	return v
}

func (v value) compare(w value) int { return bytes.Compare(v[:], w[:]) }

// next is the value after v; the greatest has none.
func (v value) next() (value, bool) {
	for i := len(v) - 1; i >= 0; i-- {
		v[i]++
		if v[i] != 0 {
			return v, true
		}
	}
	return v, false
}

// previous is the value before v; zero has none.
func (v value) previous() (value, bool) {
	for i := len(v) - 1; i >= 0; i-- {
		v[i]--
		if v[i] != 0xff {
			return v, true
		}
	}
	return v, false
}

// newSet returns the set of the values of all intervals; empty ones are left out.
func newSet(intervals ...interval) set {
	s := slices.DeleteFunc(slices.Clone(intervals), func(i interval) bool { return i.first.compare(i.last) > 0 })
	slices.SortFunc(s, func(a, b interval) int { return a.first.compare(b.first) })
	out := s[:0]
	for _, i := range s {
		if n := len(out); n > 0 {
			after, more := out[n-1].last.next()
			if !more || i.first.compare(after) <= 0 {
				if i.last.compare(out[n-1].last) > 0 {
					out[n-1].last = i.last
				}
				continue
			}
		}
		out = append(out, i)
	}
	return set(out)
}

// everything is the set of all values.
func everything() set { return set{prefix(nil)} }

// complement returns the set of the values that are not in s.
func (s set) complement() set {
	var out set
	var from value
	for _, i := range s {
		if before, ok := i.first.previous(); ok && from.compare(before) <= 0 {
			out = append(out, interval{from, before})
		}
		var more bool
		if from, more = i.last.next(); !more {
			return out
		}
	}
	return append(out, interval{from, prefix(nil).last})
}

// intersect returns the set of the values that are in both.
func (s set) intersect(t set) set {
	var out set
	for i, k := 0, 0; i < len(s) && k < len(t); {
		both := interval{s[i].first, s[i].last}
		if t[k].first.compare(both.first) > 0 {
			both.first = t[k].first
		}
		if t[k].last.compare(both.last) < 0 {
			both.last = t[k].last
		}
		if both.first.compare(both.last) <= 0 {
			out = append(out, both)
		}
		if s[i].last.compare(t[k].last) < 0 {
			i++
		} else {
			k++
		}
	}
	return out
}

// at returns the first interval that does not end before v.
func (s set) at(v value) (interval, bool) {
	i, _ := slices.BinarySearchFunc(s, v, func(i interval, v value) int { return i.last.compare(v) })
	if i == len(s) {
		return interval{}, false
	}
	return s[i], true
}

// relation says how much of i lies in s: all (yes), some (maybe) or nothing (no).
func (s set) relation(i interval) truth {
	k, ok := s.at(i.first)
	switch {
	case !ok || k.first.compare(i.last) > 0:
		return no
	case k.first.compare(i.first) <= 0 && k.last.compare(i.last) >= 0:
		return yes
	}
	return maybe
}

// truth is the value of a condition whose subject may be partly unknown.
type truth uint8

const (
	no truth = iota
	maybe
	yes
)

func (t truth) negate(not bool) truth {
	if not {
		return yes - t
	}
	return t
}
