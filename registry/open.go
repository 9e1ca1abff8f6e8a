package registry

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math/bits"
	"strings"
	"unicode/utf8"
)

// Open reads what Pack made. Everything in it is checked first, so that a
// damaged file is an error here and never a panic or a wrong answer later. The
// Registry does not share blob's memory.
func Open(blob []byte) (*Registry, error) {
	s := string(blob)
	if len(s) < runsAt || !strings.HasPrefix(s, magic) {
		return nil, errors.New("not a packed registry of this version")
	}
	if sum := sha256.Sum256(blob[headerAt:]); string(sum[:]) != s[len(magic):headerAt] {
		return nil, errors.New("the checksum does not fit: the packed registry is damaged")
	}
	r, rest, err := cut(s)
	switch {
	case err != nil:
		return nil, err
	case rest != "":
		return nil, fmt.Errorf("%d bytes after the end of the packed registry", len(rest))
	}
	if err := checkHeader(r.source, r.date); err != nil {
		return nil, err
	}
	for i, t := range Transports {
		if err := r.indexes[i].check(len(r.records) / recordSize); err != nil {
			return nil, fmt.Errorf("index of %s: %w", t, err)
		}
	}
	return r, r.checkRecords()
}

// cut divides the packed form into its parts, going by the lengths in its
// header, and returns what follows them.
func cut(s string) (*Registry, string, error) {
	r := &Registry{sum: s[len(magic):headerAt]}
	var sizes [headerWords]int
	for i := range sizes {
		sizes[i] = uint32At(s, headerAt+4*i)
	}
	rest := s[runsAt:]
	short := false
	take := func(n int) string {
		if n > len(rest) {
			short, n = true, len(rest)
		}
		part := rest[:n]
		rest = rest[n:]
		return part
	}
	for i := range r.indexes {
		index := s[indexesAt+i*indexSize:][:indexSize]
		r.indexes[i].bitmap, r.indexes[i].ranks = index[:bitmapSize], index[bitmapSize:]
		r.indexes[i].runs = take(2 * sizes[4+i])
	}
	r.records = take(recordSize * sizes[1])
	r.text = take(sizes[0])
	r.source = take(sizes[2])
	r.date = take(sizes[3])
	if short {
		return nil, "", errors.New("the packed registry ends early")
	}
	return r, rest, nil
}

// check reports an index that would lead out of its runs or out of the records.
func (x *index) check(records int) error {
	if x.bitmap[0]&1 == 0 {
		return errors.New("no run begins at port 0")
	}
	begun := 0
	for word := range portCount / 64 {
		if uint16At(x.ranks, 2*word) != begun {
			return fmt.Errorf("wrong count of runs at port %d", 64*word)
		}
		begun += bits.OnesCount64(uint64At(x.bitmap, 8*word))
	}
	if begun*2 != len(x.runs) {
		return fmt.Errorf("%d runs where the bitmap has %d", len(x.runs)/2, begun)
	}
	for i := 0; i < len(x.runs); i += 2 {
		if id := uint16At(x.runs, i); id >= records {
			return fmt.Errorf("record %d of %d", id, records)
		}
	}
	return nil
}

// checkRecords reports a record whose texts are out of bounds or unfit to show.
func (r *Registry) checkRecords() error {
	for n := range len(r.records) / recordSize {
		rec := r.records[n*recordSize:][:recordSize]
		names, description, note, end := uint16At(rec, 4), uint16At(rec, 6), uint16At(rec, 8), uint16At(rec, 10)
		inOrder := names <= description && description <= note && note <= end
		if !inOrder || uint32At(rec, 0)+end > len(r.text) || State(rec[12]) > Assigned {
			return fmt.Errorf("record %d is out of bounds", n)
		}
		e := r.entry(n)
		for name := range e.AllNames() {
			if !isName(name) {
				return fmt.Errorf("record %d: %.80q is no service name", n, name)
			}
		}
		for _, s := range []string{e.Description(), e.Note(), e.Unauthorized()} {
			if !utf8.ValidString(s) {
				return fmt.Errorf("record %d: a text is not UTF-8", n)
			}
		}
	}
	return nil
}
