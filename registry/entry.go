package registry

import (
	"cmp"
	"iter"
	"strings"
)

// Entry is all that the registry holds of one port of one transport. Entries
// may be compared with ==. The strings share the registry's memory.
type Entry struct {
	State State

	// The texts stand one after another in text. Where names, description, note
	// and unauthorized-use note end in it is packed into ends, 16 bits each from
	// the lowest up. The compiler keeps a struct of up to four words in registers;
	// with a field for each of these a look-up took five times as long.
	ends uint64
	text string
}

// end returns where the text of number i, from 0, ends.
func (e Entry) end(i int) int { return int(uint16(e.ends >> (16 * i))) }

// Description returns that of the preferred name, empty where there is none.
func (e Entry) Description() string { return e.text[e.end(0):e.end(1)] }

// Note returns IANA's assignment notes, one line for each; a note that belongs
// to a name other than the preferred one begins with that name.
func (e Entry) Note() string { return e.text[e.end(1):e.end(2)] }

// Unauthorized returns IANA's notes of unauthorized use, in the form of Note.
func (e Entry) Unauthorized() string { return e.text[e.end(2):] }

func (e Entry) names() string { return e.text[:e.end(0)] }

// Name returns the preferred name, empty where the port has none: 24/tcp is
// assigned to "any private mail system" and has no name.
func (e Entry) Name() string {
	name, _, _ := strings.Cut(e.names(), " ")
	return name
}

// Names returns a new slice of every name, the preferred one first. It is never
// nil.
func (e Entry) Names() []string {
	return strings.Fields(e.names())
}

// AllNames yields what Names returns and allocates nothing.
func (e Entry) AllNames() iter.Seq[string] {
	return func(yield func(string) bool) {
		for rest := e.names(); rest != ""; {
			var name string
			name, rest, _ = strings.Cut(rest, " ")
			if !yield(name) {
				return
			}
		}
	}
}

// Has reports whether name is one of the entry's names, without regard to case
// (RFC 6335 section 5.1).
func (e Entry) Has(name string) bool {
	for own := range e.AllNames() {
		if strings.EqualFold(own, name) {
			return true
		}
	}
	return false
}

// Ref is a port, or a range of ports, of one transport.
type Ref struct {
	First, Last Port // the same for a single port
	Transport   Transport
}

// String returns "22/tcp" or "6000-6063/tcp".
func (r Ref) String() string {
	if r.First == r.Last {
		return r.First.String() + "/" + r.Transport.String()
	}
	return r.First.String() + "-" + r.Last.String() + "/" + r.Transport.String()
}

func (r Ref) compare(o Ref) int {
	return cmp.Or(cmp.Compare(r.First, o.First), cmp.Compare(r.Last, o.Last), cmp.Compare(r.Transport, o.Transport))
}
