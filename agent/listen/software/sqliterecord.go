package software

import "encoding/binary"

// varint reads a number of SQLite: seven bits a byte, the highest first, eight
// in the ninth. Of bytes that end too early it makes what it can; the number
// of bytes read is at most their length.
func varint(b []byte) (v uint64, n int) {
	for n < len(b) && n < 8 {
		v = v<<7 | uint64(b[n]&0x7f)
		n++
		if b[n-1] < 0x80 {
			return v, n
		}
	}
	if n == 8 && len(b) > 8 {
		return v<<8 | uint64(b[8]), 9
	}
	return v, n
}

// record is a row of a table or index as SQLite stores it
// (fileformat2.html#record_format): the length of the head, the type of each
// column, the values.
type record []byte

// column returns the type and the bytes of a column; false if the record has
// no such column, or is shorter than it says.
func (r record) column(i int) (kind uint64, value []byte, ok bool) {
	size, n := varint(r)
	if n == 0 || size > uint64(len(r)) || size < uint64(n) {
		return 0, nil, false
	}
	kinds, values := r[n:size], r[size:]
	for ; len(kinds) > 0; i-- {
		kind, n := varint(kinds)
		kinds = kinds[n:]
		length := columnSize(kind)
		if length > uint64(len(values)) {
			return 0, nil, false
		}
		if i == 0 {
			return kind, values[:length], true
		}
		values = values[length:]
	}
	return 0, nil, false
}

// columnSize returns the bytes of a value by its type.
func columnSize(kind uint64) uint64 {
	switch {
	case kind >= 12:
		return (kind - 12) / 2
	case kind <= 4:
		return kind
	case kind == 5:
		return 6
	case kind == 6, kind == 7:
		return 8
	}
	return 0 // 8 and 9 are the numbers 0 and 1
}

func isText(kind uint64) bool { return kind >= 13 && kind%2 == 1 }
func isBlob(kind uint64) bool { return kind >= 12 && kind%2 == 0 }

// integer returns a column of an integer type.
func (r record) integer(i int) (int64, bool) {
	kind, value, ok := r.column(i)
	if !ok || kind == 0 || kind == 7 || kind > 9 {
		return 0, false
	}
	if kind >= 8 {
		return int64(kind - 8), true
	}
	var b [8]byte
	if value[0] >= 0x80 { // a negative number of fewer bytes
		b = [8]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	}
	copy(b[8-len(value):], value)
	return int64(binary.BigEndian.Uint64(b[:])), true
}

// text returns a column of text.
func (r record) text(i int) ([]byte, bool) {
	kind, value, ok := r.column(i)
	return value, ok && isText(kind)
}

// blob returns a column of bytes.
func (r record) blob(i int) ([]byte, bool) {
	kind, value, ok := r.column(i)
	return value, ok && isBlob(kind)
}

// entry returns what an index on one column of text has: the text and the id
// of its row.
func (r record) entry() (text []byte, id int64, ok bool) {
	text, isText := r.text(0)
	id, isID := r.integer(1)
	return text, id, isText && isID
}
