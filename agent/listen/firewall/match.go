package firewall

// field is a thing that conditions are about. The zero value is one that is not
// understood.
type field uint8

const (
	fieldUnknown field = iota
	fieldFamily        // NFPROTO_*
	fieldEtherType
	fieldProtocol // IPPROTO_*
	fieldSource
	fieldDestination
	fieldSourcePort
	fieldPort
	fieldFlags         // of TCP
	fieldInterface     // by name
	fieldInterfaceType // ARPHRD_*
	fieldIndex         // of the interface
	fieldDevice        // what else distinguishes interfaces
	fieldState         // of connection tracking, a bit each (NF_CT_STATE_BIT)
	fieldStatus        // of connection tracking (IPS_*)
	fieldDirection
	fieldMark
	fieldConnectionMark
	fieldSourceType      // of the address (RTN_*)
	fieldDestinationType // of the address (RTN_*)
	fieldPacketType      // PACKET_*
	fieldReversePath     // is there a route back?
	fieldRouteIndex      // of the interface of the route back
	fieldRate            // limits, quotas, counts, chance
	fieldTime
	fieldContent // of the packet, beside the above
	fieldSet     // the content of a set that changes
	fieldCount
)

// width is the length of a field in bytes, 16 where it has none.
func (f field) width() int {
	switch f {
	case fieldFamily, fieldProtocol, fieldFlags, fieldDirection, fieldPacketType, fieldReversePath:
		return 1
	case fieldEtherType, fieldSourcePort, fieldPort, fieldInterfaceType:
		return 2
	case fieldState, fieldStatus, fieldMark, fieldConnectionMark, fieldSourceType, fieldDestinationType,
		fieldIndex, fieldRouteIndex:
		return 4
	}
	return 16
}

// match is a condition on one field, or on several together.
type match struct {
	fields []field
	not    bool
	mask   *value       // of the field before it is looked up; nil: all of it
	values set          // of one field
	rows   [][]interval // of several: alternatives, in the order of fields
	open   bool         // what it is compared with is not known, or changes
}

// one is the condition that a field is in a set.
func one(f field, values ...interval) match {
	return match{fields: []field{f}, values: newSet(values...)}
}

// some is a condition on fields of which no more is known.
func some(f ...field) match { return match{fields: f, open: true} }

// always is a condition that holds for every packet.
func always() match { return one(fieldFamily, everything()...) }

// never is a condition that does not hold for any packet.
func never() match { return one(fieldFamily) }

// bits is the condition that a field has one of the bits set.
func bits(f field, mask uint64) match {
	w := f.width()
	m := number(w, mask)
	return match{fields: []field{f}, mask: &m, values: newSet(numbers(w, 0, 0)), not: true}
}

// masked is the condition that a field under a mask has a value. It may have
// bits outside of the mask, and then never holds.
func masked(f field, mask, v value) match {
	if v.and(mask) != v {
		return never()
	}
	if mask.isPrefix() {
		last := v
		for i := range last {
			last[i] |= ^mask[i]
		}
		return one(f, interval{v, last})
	}
	return match{fields: []field{f}, mask: &mask, values: newSet(interval{v, v})}
}

// holds says whether the condition is true of the packet, and what it depends
// on where it may be.
func (m *match) holds(p *packet) (truth, Dependence) {
	if m.open {
		return maybe, p.dependence(m.fields)
	}
	if len(m.fields) != 1 {
		return m.rowsHold(p)
	}
	f := m.fields[0]
	d := &p.fields[f]
	t := d.in(m.values, m.mask, f.width()).negate(m.not)
	if t != maybe {
		return t, 0
	}
	return maybe, p.dependence(m.fields)
}

// rowsHold says whether one of the rows is true in all of its fields.
func (m *match) rowsHold(p *packet) (truth, Dependence) {
	result := no
	for _, row := range m.rows {
		t := yes
		for i, f := range m.fields {
			t = min(t, p.fields[f].in(set(row[i:i+1]), nil, f.width()))
			if t == no {
				break
			}
		}
		if result = max(result, t); result == yes {
			break
		}
	}
	if result = result.negate(m.not); result != maybe {
		return result, 0
	}
	return maybe, p.dependence(m.fields)
}
