package registry

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"
)

// The packed form, all numbers little-endian:
//
//	magic     8 bytes
//	sum       SHA-256 of all that follows
//	header    uint32: bytes of text, records, bytes of source, bytes of date,
//	          then runs for each transport
//	indexes   for each transport: a bitmap with a bit for every port at which
//	          a run of equal ports begins, and for each 64 bits of it the
//	          number of runs begun before, as uint16
//	runs      for each transport: the record of each run, as uint16
//	records   offset of the text as uint32; where in it the names, the
//	          description, the note and the unauthorized-use note end, as
//	          uint16; the state; a zero
//	text      of the records
//	source    what the data was made from
//	date      of the data
//
// A look-up counts the runs up to its port with one population count, which
// costs the same for every port and needs no decoding when the program starts.
const (
	magic       = "portreg\x01"
	headerAt    = len(magic) + sha256.Size
	headerWords = 4 + len(Transports)
	indexesAt   = headerAt + 4*headerWords

	portCount  = 1 << 16
	bitmapSize = portCount / 8
	ranksSize  = portCount / 64 * 2
	indexSize  = bitmapSize + ranksSize
	runsAt     = indexesAt + len(Transports)*indexSize
	recordSize = 14
)

// Pack returns the table in the form that Open reads. Where rows overlap the
// narrower one wins, at an equal width assigned beats reserved beats unassigned
// and then the lower first port wins. What no row covers is unassigned for TCP
// and UDP outside the dynamic range; elsewhere IANA makes no statement.
func (t *Table) Pack() []byte {
	p := packer{ids: map[string]uint16{}}
	silence := [...]uint16{
		NoStatement: p.record(assignment{}),
		Unassigned:  p.record(assignment{state: Unassigned}),
	}
	order := t.byWeight()
	var indexes, runs []byte
	var counts []uint32
	for _, transport := range Transports {
		ports := make([]uint16, portCount)
		for i := range ports {
			ports[i] = silence[absent(Port(i), transport)]
		}
		for _, a := range order {
			if !slices.Contains(a.covers(), transport) {
				continue
			}
			id := p.record(a)
			for i := int(a.first); i <= int(a.last); i++ {
				ports[i] = id
			}
		}
		index, list := packRuns(ports)
		indexes, runs = append(indexes, index...), append(runs, list...)
		counts = append(counts, uint32(len(list)/2))
	}
	header := []uint32{uint32(len(p.text)), uint32(len(p.ids)), uint32(len(t.source)), uint32(len(t.date))}
	var body []byte
	for _, n := range append(header, counts...) {
		body = binary.LittleEndian.AppendUint32(body, n)
	}
	body = slices.Concat(body, indexes, runs, p.records, p.text, []byte(t.source), []byte(t.date))
	sum := sha256.Sum256(body)
	return slices.Concat([]byte(magic), sum[:], body)
}

// absent is the state of a port that the registry does not list.
func absent(p Port, t Transport) State {
	if p < FirstDynamic && (t == TCP || t == UDP) {
		return Unassigned
	}
	return NoStatement
}

// byWeight returns the assignments such that each one overrides those before it.
func (t *Table) byWeight() []assignment {
	return slices.SortedFunc(slices.Values(t.assignments), func(a, b assignment) int {
		return cmp.Or(
			cmp.Compare(b.last-b.first, a.last-a.first),
			cmp.Compare(a.state, b.state),
			cmp.Compare(b.first, a.first),
		)
	})
}

type packer struct {
	ids     map[string]uint16 // by the record's content
	records []byte
	text    []byte
}

// record returns the number of the record that holds a, adding it if need be.
// TCP and UDP share most of theirs. The table's checks bound every length.
func (p *packer) record(a assignment) uint16 {
	var text string
	var tail []byte
	for _, s := range []string{strings.Join(a.names, " "), a.description, a.note, a.unauthorized} {
		text += s
		tail = binary.LittleEndian.AppendUint16(tail, uint16(len(text)))
	}
	tail = append(tail, byte(a.state), 0)
	key := string(tail) + text
	if id, ok := p.ids[key]; ok {
		return id
	}
	id := uint16(len(p.ids))
	p.ids[key] = id
	p.records = binary.LittleEndian.AppendUint32(p.records, uint32(len(p.text)))
	p.records = append(p.records, tail...)
	p.text = append(p.text, text...)
	return id
}

// packRuns returns the index and the runs of the records of all ports.
func packRuns(ports []uint16) (index, runs []byte) {
	bitmap := make([]byte, bitmapSize)
	var ranks bytes.Buffer
	for i, id := range ports {
		if i%64 == 0 {
			ranks.Write(binary.LittleEndian.AppendUint16(nil, uint16(len(runs)/2)))
		}
		if i == 0 || id != ports[i-1] {
			bitmap[i/8] |= 1 << (i % 8)
			runs = binary.LittleEndian.AppendUint16(runs, id)
		}
	}
	return append(bitmap, ranks.Bytes()...), runs
}
