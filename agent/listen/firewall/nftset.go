package firewall

import (
	"bytes"
	"slices"
)

// entry is an element with both ends of its interval, included.
type entry struct {
	from, to []byte
	data     data
}

// entries returns the elements of a set as intervals, and the catch-all of a
// map. Not ok: the set has another form than its flags say.
func (s *nftSet) entries() (list []entry, rest *data, ok bool) {
	var plain []element
	for i := range s.elements {
		e := &s.elements[i]
		switch {
		case e.flags&elementCatchall != 0:
			rest = &e.data
		case len(e.key) != s.keyLength || e.keyEnd != nil && len(e.keyEnd) != s.keyLength:
			return nil, nil, false
		case e.keyEnd != nil:
			list = append(list, entry{e.key, e.keyEnd, e.data})
		case s.flags&setInterval == 0 || s.flags&setConcat != 0:
			list = append(list, entry{e.key, e.key, e.data})
		default:
			plain = append(plain, *e)
		}
	}
	return append(list, intervals(plain)...), rest, true
}

// intervals pairs the ends of intervals that come apart: one that is not an end
// begins an interval, which goes up to the next of either kind and does not
// hold it (nft_set_rbtree.c). Without one it goes up to the greatest key.
func intervals(ends []element) []entry {
	ends = slices.Clone(ends)
	slices.SortStableFunc(ends, func(a, b element) int {
		if c := bytes.Compare(a.key, b.key); c != 0 {
			return c
		}
		return int(b.flags&elementIntervalEnd) - int(a.flags&elementIntervalEnd)
	})
	var list []entry
	for i, e := range ends {
		if e.flags&elementIntervalEnd != 0 {
			continue
		}
		to := bytes.Repeat([]byte{0xff}, len(e.key))
		if i+1 < len(ends) {
			to = decrement(ends[i+1].key)
		}
		if bytes.Compare(e.key, to) <= 0 {
			list = append(list, entry{e.key, to, e.data})
		}
	}
	return list
}

// decrement returns the number before b, big-endian.
func decrement(b []byte) []byte {
	b = slices.Clone(b)
	for i := len(b) - 1; i >= 0; i-- {
		b[i]--
		if b[i] != 0xff {
			break
		}
	}
	return b
}

// increment returns the number after b, big-endian; the greatest has none.
func increment(b []byte) ([]byte, bool) {
	b = slices.Clone(b)
	for i := len(b) - 1; i >= 0; i-- {
		b[i]++
		if b[i] != 0 {
			return b, true
		}
	}
	return b, false
}

// row translates one entry into a condition for each field of the key. Not ok:
// it is not understood. None at all with ok is an entry that applies to nothing.
func (e *entry) row(key []cell, groups []group) (row []interval, ok bool) {
	for _, g := range groups {
		from, to := e.from[g.start:g.end], e.to[g.start:g.end]
		if g.constant {
			for i, c := range key[g.start:g.end] {
				if c.xor < from[i] || c.xor > to[i] {
					return nil, true
				}
			}
			continue
		}
		i, ok := g.interval(key, from, to)
		if !ok {
			return nil, false
		}
		if i.first.compare(i.last) > 0 {
			return nil, true
		}
		row = append(row, i)
	}
	return row, true
}

// member returns the condition that the key is in the entries.
func member(key []cell, groups []group, list []entry) match {
	fields := fieldsOf(groups)
	if fields == nil {
		return some(fieldUnknown)
	}
	m := match{fields: fields}
	var single []interval
	for i := range list {
		row, ok := list[i].row(key, groups)
		switch {
		case !ok:
			return some(append(fields, fieldUnknown)...)
		case len(row) == 0:
		case len(row) == 1:
			single = append(single, row[0])
		default:
			m.rows = append(m.rows, row)
		}
	}
	if len(fields) == 1 {
		m.values = newSet(single...)
		if mask, partial := groups[slices.IndexFunc(groups, func(g group) bool { return !g.constant })].mask(key); partial {
			m.mask = &mask
		}
	}
	return m
}
