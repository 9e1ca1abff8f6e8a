package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

const (
	proofHeader = "c2sp.org/tlog-proof@v1"
	// maxProof bounds a proof that is read: a line in base64, and a few kilobytes.
	maxProof = maxLine/3*4 + maxNote + 64<<10
)

// Proof proves, to one who has a log's public key and not the log, that the log
// holds a record. It has the form of https://c2sp.org/tlog-proof, of which the
// extra data is the record.
type Proof struct {
	Seq        uint64
	Line       []byte // the record, without its newline
	Path       []tlog.Hash
	Checkpoint []byte // the signed note of a tree that has the record in it
}

// Format returns the text of the proof.
func (p Proof) Format() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\nextra %s\nindex %d\n", proofHeader, base64.StdEncoding.EncodeToString(p.Line), p.Seq-1)
	for _, h := range p.Path {
		fmt.Fprintln(&b, h)
	}
	b.WriteByte('\n')
	b.Write(p.Checkpoint)
	return b.Bytes()
}

// ParseProof reads the text of a proof. Whether it proves anything is for Verify
// to say.
func ParseProof(text []byte) (Proof, error) {
	if len(text) > maxProof {
		return Proof{}, fmt.Errorf("it is no proof: more than %d bytes", maxProof)
	}
	head, checkpoint, whole := strings.Cut(string(text), "\n\n")
	lines := strings.Split(head, "\n")
	switch {
	case lines[0] != proofHeader:
		return Proof{}, fmt.Errorf("it is no proof: its first line is not %q", proofHeader)
	case !whole || len(lines) < 3:
		return Proof{}, errors.New("it is only a part of a proof")
	case len(lines) > 3+maxPeaks:
		return Proof{}, fmt.Errorf("it has more than %d hashes", maxPeaks)
	}
	extra, ok := strings.CutPrefix(lines[1], "extra ")
	line, err := base64.StdEncoding.DecodeString(extra)
	if !ok || err != nil {
		return Proof{}, errors.New("line 2: no extra data in base64, which is the record")
	}
	digits, ok := strings.CutPrefix(lines[2], "index ")
	index, err := strconv.ParseUint(digits, 10, 64)
	if !ok || err != nil || strconv.FormatUint(index, 10) != digits || index >= 1<<maxPeaks {
		return Proof{}, fmt.Errorf("line 3: %q is no index of a record", Clip(lines[2], 80))
	}
	p := Proof{Seq: index + 1, Line: line, Checkpoint: []byte(checkpoint)}
	for i, text := range lines[3:] {
		h, err := tlog.ParseHash(text)
		if err != nil {
			return Proof{}, fmt.Errorf("line %d: %q is no SHA-256 in base64", i+4, Clip(text, 80))
		}
		p.Path = append(p.Path, h)
	}
	return p, nil
}

// Verify checks that a tree that one of the keys has signed holds the record, and
// returns it and what was signed.
func (p Proof) Verify(keys Keys) (Event, Checkpoint, error) {
	c, err := ParseCheckpoint(p.Checkpoint, keys)
	if err != nil {
		return Event{}, Checkpoint{}, fmt.Errorf("the checkpoint of the proof: %w", err)
	}
	sum := sha256.Sum256(p.Line)
	err = tlog.CheckRecord(p.Path, int64(c.Size), c.Root, int64(p.Seq)-1, tlog.RecordHash(sum[:]))
	if err != nil {
		return Event{}, Checkpoint{}, fmt.Errorf("the log of %d records that was signed does not hold this as record %d", c.Size, p.Seq)
	}
	e, err := decode(p.Line)
	if err != nil {
		return Event{}, Checkpoint{}, err
	}
	if e.Seq != p.Seq { // it is in the log, which then is not as this program writes it
		return Event{}, Checkpoint{}, fmt.Errorf("record %d of the log calls itself %d", p.Seq, e.Seq)
	}
	return e, c, nil
}
