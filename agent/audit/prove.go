package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"golang.org/x/mod/sumdb/tlog"
)

// ErrUnsigned is what Prove fails with, for errors.Is, where no checkpoint covers the
// record yet.
var ErrUnsigned = errors.New("no checkpoint covers it yet")

// Prove returns the proof that the log in dir holds the record seq, by the checkpoint
// beside it. It reads the log once and keeps no more of it than the proof, and has
// verified the proof by the keys when it returns it.
func Prove(dir string, seq uint64, keys Keys, progress Progress) (Proof, error) {
	signed, err := readBounded(filepath.Join(dir, CheckpointName), maxNote)
	if errors.Is(err, fs.ErrNotExist) {
		return Proof{}, fmt.Errorf("record %d: %w: there is none", seq, ErrUnsigned)
	}
	if err != nil {
		return Proof{}, err
	}
	c, err := ParseCheckpoint(signed, keys)
	switch {
	case err != nil:
		return Proof{}, &DamageError{Err: fmt.Errorf("%s: %w", markBeside, err)}
	case seq == 0:
		return Proof{}, errors.New("records are numbered from 1")
	case seq > c.Size:
		return Proof{}, fmt.Errorf("record %d: %w: the last is of %d records", seq, ErrUnsigned, c.Size)
	}
	p := Proof{Seq: seq, Checkpoint: signed}
	if err := p.collect(dir, c.Size, progress); err != nil {
		return Proof{}, err
	}
	if _, _, err := p.Verify(keys); err != nil {
		return Proof{}, &DamageError{Seq: 1, Last: c.Size, Err: fmt.Errorf("one of them was changed (portaudit log verify says more): %w", err)}
	}
	return p, nil
}

// collect reads the first size records of the log, and keeps the record and the
// hashes that prove it.
func (p *Proof) collect(dir string, size uint64, progress Progress) error {
	var t tree
	var c *collector
	done := int64(0)
	for l, err := range Lines(dir, Range{}) {
		if err != nil {
			return err
		}
		if c == nil {
			if t, err = treeBefore(l); err != nil {
				return err
			}
			if t.size >= p.Seq {
				return fmt.Errorf("record %d is no longer there: the log begins with record %d", p.Seq, l.Seq)
			}
			if c, err = newCollector(t, size, p.Seq); err != nil {
				return err
			}
		}
		if l.Seq == p.Seq {
			p.Line = append([]byte(nil), l.Raw...)
		}
		sum := lineSum(l.Raw)
		t.grow(tlog.RecordHash(sum[:]), c.see)
		if done += int64(len(l.Raw)) + 1; progress != nil && l.Seq%4096 == 0 {
			if err := progress(done, 0); err != nil {
				return err
			}
		}
		if l.Seq == size {
			break
		}
	}
	if t.size < size || c == nil {
		return &DamageError{Seq: t.size + 1, Last: size, Err: fmt.Errorf("missing: %s was signed when they were there", markBeside)}
	}
	path, err := tlog.ProveRecord(int64(size), int64(p.Seq)-1, c)
	if err != nil {
		return err
	}
	p.Path = path
	return nil
}

// treeBefore returns the tree before the first record that is left of a log.
func treeBefore(l Line) (tree, error) {
	if l.Seq == 1 {
		return tree{}, nil
	}
	e, err := l.Event()
	if err != nil {
		return tree{}, err
	}
	t, err := parseTree(l.Seq-1, e.Tree)
	if err != nil {
		return tree{}, &DamageError{Seq: l.Seq, File: filepath.Base(l.path), Offset: l.offset, Err: err}
	}
	return t, nil
}
