package registry

import (
	"math/bits"
	"slices"
)

// Registry answers for every port of every transport. It is immutable and safe
// for concurrent use. Embedded, Open and Load make one.
type Registry struct {
	sum     string // SHA-256 of what follows it in the packed form
	indexes [len(Transports)]index
	records string
	text    string
	source  string
	date    string
}

// index finds the record of a port, see the packed form in pack.go.
type index struct {
	bitmap, ranks, runs string
}

// Lookup returns what the registry holds of p on t, the zero Entry for the zero
// Transport. It allocates nothing.
func (r *Registry) Lookup(p Port, t Transport) Entry {
	i := int(t) - 1
	if i < 0 || i >= len(r.indexes) {
		return Entry{}
	}
	return r.entry(r.indexes[i].record(p))
}

// record returns the number of the record of p.
func (x *index) record(p Port) int {
	word := uint64At(x.bitmap, int(p/64)*8)
	run := uint16At(x.ranks, int(p/64)*2) + bits.OnesCount64(word<<(63-p%64)) - 1
	return uint16At(x.runs, run*2)
}

// entry decodes record number n.
func (r *Registry) entry(n int) Entry {
	rec := r.records[n*recordSize:][:recordSize]
	return Entry{
		State: State(rec[12]),
		ends:  uint64At(rec, 4),
		text:  r.text[uint32At(rec, 0):][:uint16At(rec, 10)],
	}
}

// ByName returns every port and range whose entry has name, as preferred name
// or further one and without regard to case, by port and then transport. The
// entry may be reserved or unassigned: IANA keeps the names of some withdrawn
// rows and of widespread uses. It searches the whole registry.
func (r *Registry) ByName(name string) []Ref {
	var refs []Ref
	if !isName(name) {
		return refs
	}
	has := make([]bool, len(r.records)/recordSize)
	for n := range has {
		has[n] = r.entry(n).Has(name)
	}
	for i, t := range Transports {
		for run, n := range r.indexes[i].all {
			if has[n] {
				refs = append(refs, Ref{run.first, run.last, t})
			}
		}
	}
	slices.SortFunc(refs, Ref.compare)
	return refs
}

// all yields every run of ports, as a span without transport, with the number
// of its record.
func (x *index) all(yield func(run span, record int) bool) {
	first, run := 0, 0
	for next := 1; next <= portCount; next++ {
		if next < portCount && x.bitmap[next/8]>>(next%8)&1 == 0 {
			continue
		}
		if !yield(span{first: Port(first), last: Port(next - 1)}, uint16At(x.runs, run*2)) {
			return
		}
		first, run = next, run+1
	}
}

// The numbers are read from a string byte by byte, which the compiler turns
// into one load each: package encoding/binary wants a []byte, and converting
// the embedded string to one would copy it.

func uint16At(s string, i int) int {
	s = s[i:][:2]
	return int(s[0]) | int(s[1])<<8
}

func uint32At(s string, i int) int {
	s = s[i:][:4]
	return int(uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24)
}

func uint64At(s string, i int) uint64 {
	s = s[i:][:8]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}
