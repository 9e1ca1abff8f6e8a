package firewall

import (
	"bytes"
)

// The ways to compare: enum nft_cmp_ops. Those of range are the first two.
const (
	equal = iota
	notEqual
	less
	lessOrEqual
	greater
	greaterOrEqual
)

// compare compares a register with constant bytes.
func (b *branch) compare(a *attributes) {
	d, err := parseData(a.value[compareData])
	cells := b.registers.at(a.number(compareFrom), len(d.bytes))
	if err != nil || cells == nil {
		b.rule.action = opaque
		return
	}
	how := a.number(compareHow)
	if how == equal {
		for _, g := range groupCells(cells) {
			b.require(g.equals(cells, d.bytes))
		}
		return
	}
	if how == notEqual {
		b.require(differs(cells, d.bytes))
		return
	}
	first, last := bytes.Repeat([]byte{0}, len(cells)), bytes.Repeat([]byte{0xff}, len(cells))
	ok := true
	switch how {
	case less:
		ok = !bytes.Equal(d.bytes, first)
		last = decrement(d.bytes)
	case lessOrEqual:
		last = d.bytes
	case greater:
		first, ok = increment(d.bytes)
	case greaterOrEqual:
		first = d.bytes
	default:
		b.rule.action = opaque
		return
	}
	if !ok {
		b.require(never())
		return
	}
	b.require(between(cells, first, last))
}

// inRange compares a register with a range, both ends included.
func (b *branch) inRange(a *attributes) {
	first, err := parseData(a.value[rangeFirst])
	last, err2 := parseData(a.value[rangeLast])
	cells := b.registers.at(a.number(rangeFrom), len(first.bytes))
	if err != nil || err2 != nil || cells == nil || len(first.bytes) != len(last.bytes) {
		b.rule.action = opaque
		return
	}
	m := between(cells, first.bytes, last.bytes)
	m.not = a.number(rangeHow) == notEqual
	b.require(m)
}

// require adds a condition, and learns from it which packets come so far.
func (b *branch) require(m match) {
	b.rule.matches = append(b.rule.matches, m)
	if len(m.fields) != 1 || m.not || m.open || b.family != familyInet {
		return
	}
	for _, f := range []family{familyIPv4, familyIPv6} {
		p := packet{family: f}
		p.point(fieldFamily, uint64(f))
		p.point(fieldEtherType, map[family]uint64{familyIPv4: 0x0800, familyIPv6: 0x86dd}[f])
		if field := m.fields[0]; field == fieldFamily || field == fieldEtherType {
			if t, _ := m.holds(&p); t == yes {
				b.family = f
			}
		}
	}
}

// equals is the condition that a group of cells equals its part of data.
func (g group) equals(cells []cell, data []byte) match {
	data = data[g.start:g.end]
	mask, v, ok := g.point(cells, data)
	switch {
	case !ok:
		return never()
	case g.constant:
		return always()
	case g.end-g.start > 16:
		return some(g.field)
	}
	return masked(g.field, mask, v)
}

// differs is the condition that not all cells equal data. Constants that do are
// left out; with more than one field it is not understood.
func differs(cells []cell, data []byte) match {
	var fields []group
	for _, g := range groupCells(cells) {
		switch _, _, ok := g.point(cells, data[g.start:g.end]); {
		case !ok:
			return always()
		case !g.constant:
			fields = append(fields, g)
		}
	}
	switch len(fields) {
	case 0:
		return never()
	case 1:
		m := fields[0].equals(cells, data)
		m.not = true
		return m
	}
	return some(append(fieldsOf(fields), fieldUnknown)...)
}

// between is the condition that the cells, as a number, lie between two.
func between(cells []cell, first, last []byte) match {
	groups := groupCells(cells)
	if len(groups) == 1 && !groups[0].constant {
		if i, ok := groups[0].interval(cells, first, last); ok {
			return one(groups[0].field, i)
		}
	}
	return some(append(fieldsOf(groups), fieldUnknown)...)
}
