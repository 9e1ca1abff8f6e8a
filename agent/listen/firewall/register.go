package firewall

// cell is one byte of a register of nftables: a byte of a field under a mask
// (its bits of "and" are of the field, then "xor" flips some), or, where "and"
// is 0, the constant xor. Knowing each byte by itself is what tells fields
// apart that were loaded or compared at once, such as source and destination
// port, and follows byte order and masks.
type cell struct {
	field    field
	load     uint8 // tells one load from the next
	place    uint8 // within the field: 0 is the most significant byte
	and, xor byte
}

// registers are those of a rule while it runs: 16 of 4 bytes. The numbers 1 to
// 4 are four of them each, 8 to 23 (NFT_REG32_00 on) one.
type registers struct {
	cells [64]cell
	loads uint8
}

// at returns the n bytes from a register on; nil for a register that is not there.
func (r *registers) at(register uint32, n int) []cell {
	start := -1
	switch {
	case register >= 1 && register <= 4:
		start = int(register-1) * 16
	case register >= 8 && register <= 23:
		start = int(register-8) * 4
	}
	if start < 0 || n < 0 || start+n > len(r.cells) {
		return nil
	}
	return r.cells[start : start+n]
}

// load puts a field of n bytes into a register; those up to the next multiple
// of 4 become 0. little says that the least significant byte comes first.
func (r *registers) load(register uint32, f field, n int, little bool) {
	r.loads++
	cells := r.padded(register, n)
	for i := range cells {
		cells[i] = cell{field: f, load: r.loads, place: uint8(i), and: 0xff}
		if little {
			cells[i].place = uint8(n - 1 - i)
		}
	}
}

// set puts constant bytes into a register.
func (r *registers) set(register uint32, b []byte) {
	cells := r.padded(register, len(b))
	for i := range cells {
		cells[i] = cell{xor: b[i]}
	}
}

// padded clears the bytes after the n of a register up to a multiple of 4, and
// returns the n.
func (r *registers) padded(register uint32, n int) []cell {
	if all := r.at(register, (n+3)&^3); all != nil {
		clear(all)
		return all[:n]
	}
	// No such registers: nothing can be said of any.
	r.forget(fieldUnknown)
	return nil
}

// bytes returns n constant bytes of a register; not ok where they are not all.
func (r *registers) bytes(register uint32, n int) ([]byte, bool) {
	cells := r.at(register, n)
	b := make([]byte, len(cells))
	for i, c := range cells {
		if c.and != 0 {
			return nil, false
		}
		b[i] = c.xor
	}
	return b, cells != nil
}

// forget makes all registers hold something that is not understood.
func (r *registers) forget(f field) {
	r.loads++
	for i := range r.cells {
		r.cells[i] = cell{field: f, load: r.loads, place: uint8(i % 16), and: 0xff}
	}
}

// group is the cells of one field, or of constants, that lie side by side.
type group struct {
	start, end int
	field      field
	constant   bool
}

func groupCells(cells []cell) []group {
	var groups []group
	for i, c := range cells {
		constant := c.and == 0
		if n := len(groups); n > 0 && groups[n-1].constant == constant &&
			(constant || cells[i-1].load == c.load && cells[i-1].field == c.field) {
			groups[n-1].end = i + 1
			continue
		}
		groups = append(groups, group{i, i + 1, c.field, constant})
	}
	return groups
}

// mask returns the mask under which the field is seen, and whether it hides a
// byte that a prefix of the field would show.
func (g group) mask(cells []cell) (mask value, partial bool) {
	for _, c := range cells[g.start:g.end] {
		mask[c.place%16] = c.and
	}
	return mask, !mask.isPrefix()
}

// point returns mask and value of the field where it equals data. Not ok: it
// never does, because data has bits that the mask hides.
func (g group) point(cells []cell, data []byte) (mask, v value, ok bool) {
	for i, c := range cells[g.start:g.end] {
		b := data[i] ^ c.xor
		if b&^c.and != 0 {
			return mask, v, false
		}
		mask[c.place%16], v[c.place%16] = c.and, b
	}
	return mask, v, true
}

// interval returns the values of the field from one to another. Not ok where
// the register does not hold the field in the order of its significance.
func (g group) interval(cells []cell, from, to []byte) (interval, bool) {
	if string(from) == string(to) {
		mask, v, ok := g.point(cells, from)
		switch {
		case !ok:
			return interval{number(1, 1), value{}}, true // an empty one
		case !mask.isPrefix():
			return interval{v, v}, g.end-g.start <= 16
		}
		last := v
		for i := range last {
			last[i] |= ^mask[i]
		}
		return interval{v, last}, true
	}
	for i, c := range cells[g.start:g.end] {
		if int(c.place) != i || c.and != 0xff || c.xor != 0 {
			return interval{}, false
		}
	}
	return span(from, to), len(from) <= 16
}
