package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	// maxRecord bounds the line that is written, its newline included.
	maxRecord = 1 << 20
	// maxLine bounds the line that is read. It is larger than maxRecord, so
	// that a release that writes longer records leaves a log that this can read.
	maxLine = 16 << 20
)

// Head names the last record of a log: its sequence number and the hash that
// the next record carries in prev. Of a log without records it is sequence
// number 0 and 64 zeros. Two logs with the same head are the same, record by
// record.
type Head struct {
	Seq  uint64 `json:"seq"`
	Hash string `json:"hash"`

	// The tree over the records up to this one. A head that was made of a number
	// and a hash alone, to read from there on, has none, and those that follow it
	// have none: their size is 0.
	tree tree
}

func firstHead() Head { return Head{Hash: strings.Repeat("0", 2*sha256.Size)} }

// DamageError says that a log is not as it was written. Err says why; it is
// io.ErrUnexpectedEOF if the log ends within a line, as it does after a crash
// and may do while it is being written.
type DamageError struct {
	// Seq is the first sequence number that is missing or bad. A record that
	// does not carry the hash of the one before counts against the one before.
	// It is 0 where the records have nothing to do with it.
	Seq uint64
	// Last, if it is greater than Seq, is the last record of those of which one or
	// all are meant: it cannot be told more exactly.
	Last   uint64
	File   string // the name of the file that shows it, "" if another error says that or none does
	Offset int64  // in bytes, of the line that shows it; in a compressed file of its block
	Err    error
}

func (d *DamageError) Error() string {
	text := d.Err.Error()
	switch {
	case d.Last > d.Seq:
		text = fmt.Sprintf("records %d to %d: %s", d.Seq, d.Last, text)
	case d.Seq > 0:
		text = fmt.Sprintf("record %d: %s", d.Seq, text)
	}
	switch {
	case d.File != "":
		text += fmt.Sprintf(" (%s, byte %d)", d.File, d.Offset)
	case d.Last == 0 && d.Seq > 0:
		text += fmt.Sprintf(" (at byte %d)", d.Offset)
	}
	return text
}

func (d *DamageError) Unwrap() error { return d.Err }

// encode appends e to buf as one line, bounded by maxRecord, and returns e as it
// stands there. Some bytes are left for another sequence number.
func encode(buf *bytes.Buffer, e Event) (Event, error) {
	start := buf.Len()
	// This ends: with the limits near nothing a record has a few kilobytes.
	for l := fullLimits(); ; l = l.half() {
		clean := sanitize(e, l)
		if err := marshal(buf, clean); err != nil {
			return Event{}, err
		}
		if buf.Len()-start <= maxRecord-segmentDigits {
			if said := marked(e, clean, l, buf.Bytes()[start:]); said.Escaped != nil || said.Clipped != nil {
				clean = said
				buf.Truncate(start)
				if err := marshal(buf, clean); err != nil {
					return Event{}, err
				}
			}
		}
		if buf.Len()-start <= maxRecord-segmentDigits {
			return clean, nil
		}
		buf.Truncate(start)
	}
}

// marshal appends e to buf as one line.
func marshal(buf *bytes.Buffer, e Event) error {
	enc := json.NewEncoder(buf)
	// Nobody shows this file as HTML, and < and & are frequent in commands.
	enc.SetEscapeHTML(false)
	return enc.Encode(e)
}

// decode parses one line, without its newline. It checks the record for
// itself; Head.next checks that it follows.
func decode(line []byte) (Event, error) {
	var e Event
	// encoding/json would replace what is no UTF-8 and say nothing.
	if !utf8.Valid(line) {
		return e, errors.New("it is not UTF-8")
	}
	if err := json.Unmarshal(line, &e); err != nil {
		// The error may quote the line, which may be anything.
		return e, fmt.Errorf("it is no record: %s", Visible(Clip(err.Error(), 256)))
	}
	prev, err := hex.DecodeString(e.Prev)
	if e.Version < 1 || e.Seq < 1 || err != nil || len(prev) != sha256.Size {
		return e, errors.New("it is no record: schema, seq or prev is missing or malformed")
	}
	return e, nil
}

// next returns the head behind the record e, which line holds, or the sequence
// number that is bad and why e does not follow h.
func (h Head) next(line []byte, e Event) (_ Head, bad uint64, _ error) {
	want := h.Seq + 1
	switch {
	case e.Version > Version:
		return h, want, fmt.Errorf("it has format %d and this program knows %d: use a newer portaudit", e.Version, Version)
	case e.Seq != want:
		return h, want, fmt.Errorf("the record here has sequence number %d", e.Seq)
	case e.Prev != h.Hash && h.Seq == 0:
		return h, want, errors.New("the first record has a hash of one before it")
	case e.Prev != h.Hash:
		return h, h.Seq, fmt.Errorf("its hash is not the one that record %d keeps of it: one of the two was changed", want)
	}
	return h.follow(line), 0, nil
}

// before returns the head that e, the header of a segment, follows; false if e is
// none, or the first record of all.
func before(e Event) (Head, bool) {
	h := Head{Seq: e.Seq - 1, Hash: e.Prev}
	if t, err := parseTree(h.Seq, e.Tree); err == nil { // else there is none: see Head
		h.tree = t
	}
	return h, e.Event == LogSegment && e.Seq > 1
}

// follow returns the head behind line, the next record.
func (h Head) follow(line []byte) Head {
	sum := lineSum(line)
	next := Head{Seq: h.Seq + 1, Hash: hex.EncodeToString(sum[:])}
	if h.tree.size == h.Seq {
		next.tree = h.tree.add(sum)
	}
	return next
}

// lineSum returns the hash of a line that the next record carries.
func lineSum(line []byte) [sha256.Size]byte { return sha256.Sum256(line) }
