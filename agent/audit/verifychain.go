package audit

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
)

// state is how far a log was verified. It is a value, so that what turns out to be
// no part of the log can be taken back.
type state struct {
	first uint64 // the first record
	seq   uint64 // the last record, and what is known of the log up to it:
	sum   [32]byte
	tree  tree

	good      uint64 // the last record that a good checkpoint covers
	marked    int    // marks that were looked at
	older     []mark // of these, those from before the first record
	signed    int    // good checkpoints in the log
	removed   uint64 // the last record that retention has removed, by what the log says
	abandoned uint64

	at spot // of the last record
	// broken is where the last but one is, if the last does not carry its hash: one of
	// the two was changed, and the record behind them tells which.
	broken *spot
}

// spot is where a record is.
type spot struct {
	file   string
	offset int64 // of its line, in a compressed file of its block
}

// take checks a line, without its newline, or why it could not be read.
func (v *verifier) take(line []byte, err error, offset int64) error {
	var p prefix
	if err == nil {
		p, err = parsePrefix(line)
	}
	if v.fresh {
		if err := v.join(p, err); err != nil {
			return err
		}
	}
	if v.fork == nil && v.bound > 0 && v.seq+1 == v.bound && v.broken == nil {
		fork := v.state
		v.fork = &fork
	}
	if v.fork != nil {
		v.tail++
	}
	if v.held != nil {
		return nil // who failed to write did not write on
	}
	err = v.follow(p, line, err, offset)
	if v.fork != nil {
		v.held, err = err, nil
	}
	return err
}

// join decides, at the first line of a file, on what the one before has behind the
// record with which this one claims to begin. If this one follows the record before
// that, the rest was abandoned. Else its claim is a lie.
func (v *verifier) join(p prefix, err error) error {
	if v.fork != nil {
		switch {
		case err == nil && p.seq == v.fork.seq+1 && p.prev == v.fork.sum:
			v.state = *v.fork
			v.abandoned += v.tail
			v.before = nil
		case v.held != nil:
			return v.held
		}
	}
	v.fork, v.held, v.tail = nil, nil, 0
	return nil
}

// follow checks that a line is the next record.
func (v *verifier) follow(p prefix, line []byte, err error, offset int64) error {
	fresh := v.fresh
	v.fresh = false
	switch {
	case v.broken != nil:
		return v.blame(err == nil && p.seq == v.seq+1 && p.prev == v.sum)
	case err == nil && fresh && v.named > 0 && p.seq != v.named: // who looks for a record goes by the names
		return v.damage(cmp.Or(v.seq, min(v.named, p.seq)-1)+1, 0, offset,
			fmt.Errorf("the file that should begin with record %d begins with record %d", v.named, p.seq))
	case err == nil && v.seq == 0 && p.kind == LogSegment && p.seq > 1:
		err = v.begin(p, line)
	}
	switch {
	case err != nil:
	case p.schema > Version:
		err = fmt.Errorf("it has format %d and this program knows %d: use a newer portaudit", p.schema, Version)
	case p.seq != v.seq+1:
		return v.misplaced(p, line, offset)
	case fresh && p.seq > 1 && p.kind != LogSegment:
		err = errors.New("it begins a file, and is no header of one")
	case p.seq == 1 && p.prev != [32]byte{}:
		err = errors.New("the first record has a hash of one before it")
	}
	if err == nil && p.seq > v.last() { // nothing else would show that it is no JSON behind the prefix
		_, err = Line{Seq: p.seq, Time: p.time, Kind: p.kind, Raw: line}.decode()
	}
	if err != nil {
		return v.refuse(offset, err)
	}
	if v.first == 0 {
		v.first = p.seq
		if err := v.checkMarks(); err != nil {
			return err
		}
	}
	if p.prev != v.sum {
		v.broken = &spot{v.at.file, v.at.offset}
	} else if err := v.special(p, line, offset); err != nil {
		return err
	}
	v.count(p)
	v.seq, v.sum, v.at = p.seq, lineSum(line), spot{v.file, offset}
	v.before = append(v.before[:0], line...)
	v.tree.grow(tlog.RecordHash(v.sum[:]), nil)
	if v.broken != nil {
		return nil // which decides it first
	}
	return v.checkMarks()
}

// misplaced says what is wrong where there is a record of another number.
func (v *verifier) misplaced(p prefix, line []byte, offset int64) error {
	switch {
	case v.unsound() != nil:
	case p.seq > v.seq+1 && p.prev != v.sum:
		return v.damage(v.seq+1, p.seq-1, offset, fmt.Errorf("missing: here is record %d", p.seq))
	case p.seq == v.seq && p.prev != v.sum && !bytes.Equal(line, v.before):
		return v.damage(v.seq, 0, offset, errors.New("there are two of this number"))
	}
	return v.refuse(offset, fmt.Errorf("the record here has sequence number %d", p.seq))
}

// begin begins with the header of a file whose predecessors are gone: it has what
// has to be known of them.
func (v *verifier) begin(p prefix, line []byte) error {
	e, err := decode(line)
	if err != nil {
		return err
	}
	t, err := parseTree(p.seq-1, e.Tree)
	if err != nil {
		return err
	}
	v.seq, v.sum, v.tree = p.seq-1, p.prev, t
	return nil
}

// refuse says what is wrong with the next record, or with the last.
func (v *verifier) refuse(offset int64, err error) error {
	if err := v.unsound(); err != nil {
		return err
	}
	return v.damage(v.seq+1, 0, offset, err)
}

// unsound says what is wrong with the last record itself. Only its beginning was
// looked at, and it may be why the one behind it seems wrong: as when a newline was
// put into it, or the one at its end was changed.
func (v *verifier) unsound() error {
	if len(v.before) == 0 {
		return nil
	}
	if _, err := decode(v.before); err != nil {
		return &DamageError{Seq: v.seq, File: v.at.file, Offset: v.at.offset, Err: err}
	}
	return nil
}

// blame says which of the last two records was changed: follows tells whether the
// next one carries the hash of the last.
func (v *verifier) blame(follows bool) error {
	if follows {
		return &DamageError{Seq: v.seq - 1, File: v.broken.file, Offset: v.broken.offset,
			Err: fmt.Errorf("it was changed: record %d, which was not, keeps another hash of it", v.seq)}
	}
	return &DamageError{Seq: v.seq, File: v.at.file, Offset: v.at.offset,
		Err: fmt.Errorf("it was changed: the record behind it does not keep its hash, nor does it keep that of record %d", v.seq-1)}
}

// special checks the records that tell of the log itself.
func (v *verifier) special(p prefix, line []byte, offset int64) error {
	switch p.kind {
	default:
		return nil
	case LogSegment, LogCheckpoint, LogPruned:
	}
	e, err := decode(line)
	if err != nil {
		return v.damage(p.seq, 0, offset, err)
	}
	switch e.Event {
	case LogSegment:
		if !slices.Equal(e.Tree, v.tree.list()) {
			return v.damage(p.seq, 0, offset, errors.New("the header of the file has another tree than that of the records before it"))
		}
	case LogPruned:
		v.removed = max(v.removed, e.Through)
	case LogCheckpoint:
		return v.signedBy(e, offset)
	}
	return nil
}

// signedBy checks the checkpoint in the record e, which is of all records before it.
func (v *verifier) signedBy(e Event, offset int64) error {
	if v.keyless != nil {
		return fmt.Errorf("record %d: %w", e.Seq, v.keyless)
	}
	c, err := ParseCheckpoint([]byte(e.Checkpoint), v.keys)
	switch {
	case err != nil:
		return v.damage(e.Seq, 0, offset, v.disproved("its checkpoint", err))
	case c.Size != v.seq:
		return v.damage(e.Seq, 0, offset, fmt.Errorf("its checkpoint is of %d records", c.Size))
	case c.Root != v.tree.root():
		return v.damage(v.good+1, v.seq, offset, fmt.Errorf("one of them was changed after the checkpoint in record %d was signed", e.Seq))
	}
	v.good = c.Size
	v.signed++
	return nil
}

// checkMarks holds the tree against the marks of its size.
func (v *verifier) checkMarks() error {
	for v.marked < len(v.marks) && v.marks[v.marked].Size <= v.tree.size {
		m := v.marks[v.marked]
		v.marked++
		switch {
		case m.Size < v.tree.size:
			v.older = append(v.older, m)
		case m.Root != v.tree.root():
			first := v.good + 1
			if first > m.Size { // both checkpoints are signed
				first = v.first
			}
			return &DamageError{Seq: first, Last: m.Size, Err: fmt.Errorf("one of them is not as it was when %s was signed", m.what)}
		default:
			v.good = m.Size
		}
	}
	return nil
}

// count counts a record in the block that it is in.
func (v *verifier) count(p prefix) {
	at := p.time.UnixMicro()
	if b := &v.block; b.first == 0 {
		b.first, b.last, b.least, b.greatest = p.seq, p.seq, at, at
	} else {
		b.last, b.least, b.greatest = p.seq, min(b.least, at), max(b.greatest, at)
	}
}

// end checks what can only be told behind the last record.
func (v *verifier) end() error {
	if err := v.unsound(); err != nil {
		return err
	}
	switch {
	case v.held != nil:
		return v.held
	case v.broken != nil:
		return &DamageError{Seq: v.seq - 1, Last: v.seq, File: v.broken.file, Offset: v.broken.offset,
			Err: errors.New("one of the two was changed: the second does not keep the hash of the first")}
	case v.last() > v.seq:
		m := v.marks[len(v.marks)-1]
		return &DamageError{Seq: v.seq + 1, Last: m.Size, Err: fmt.Errorf("missing: %s was signed when they were there", m.what)}
	case v.first > 1 && v.removed+1 < v.first:
		return &DamageError{Seq: v.removed + 1, Last: v.first - 1, Err: errors.New("missing, and no record tells that they were old enough to be removed")}
	case v.signed > 0 && len(v.marks) == 0:
		return &DamageError{Seq: v.seq + 1, Last: v.seq + 1, Err: errUnsealed}
	case len(v.older) > 0:
		m := v.older[0]
		return fmt.Errorf("%s is of %d records, and what is left of the log begins with record %d: use a later one", m.what, m.Size, v.first)
	}
	return nil
}
