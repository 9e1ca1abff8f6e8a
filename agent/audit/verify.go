package audit

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// VerifyOptions says what a log is verified by. The zero value takes what lies
// beside the log, which one who may write there can replace.
type VerifyOptions struct {
	Keys       Keys   // by which checkpoints must be signed; none: those in KeyName
	Checkpoint []byte // a signed checkpoint that was kept elsewhere; nil: none
	Progress   Progress
}

// Progress is told now and then how many bytes were read, and of how many, 0 if that
// is not known. What it returns, other than nil, ends the reading. It may be nil.
type Progress func(done, total int64) error

// Verified is what VerifyLog found.
type Verified struct {
	First     uint64 // the first record that is there
	Last      uint64
	Hash      string // of the last record
	Files     int
	Bytes     int64  // of the files
	Covered   uint64 // the last record that a good checkpoint covers; 0: there is none
	Signed    int    // good checkpoints in the log
	Abandoned uint64 // lines behind a failed write, which were never acknowledged
	Torn      int64  // bytes at the end that are no whole record: one is just being written, or was when the host stopped
}

// VerifyLog checks all of the log in dir: that every record follows the one before
// it, that files begin and are indexed as they should, that the signed checkpoints
// in the log fit it, and then the one beside it and the one of the options, if there
// is one. It changes nothing, and the log may be written meanwhile.
//
// The error is or wraps a *DamageError if the log is not as it was written or no
// longer whole; any other says why it could not be checked. What was found up to
// there is returned with it.
func VerifyLog(dir string, o VerifyOptions) (Verified, error) {
	// Retention may remove files while they are read; then it begins anew. So it does
	// while the daemon is between the first checkpoint of a log and its file.
	for again := 0; ; again++ {
		found, err := verifyOnce(dir, o)
		moved := errors.Is(err, errTidied) || errors.Is(err, errUnsealed) && found.Signed == 1 && sealedSoon(dir)
		if !moved || again == 3 {
			return found, err
		}
	}
}

// sealedSoon reports whether the file of the first checkpoint is there, within the
// moment that it takes to write it.
func sealedSoon(dir string) bool {
	for range 20 {
		if _, err := os.Stat(filepath.Join(dir, CheckpointName)); err == nil {
			return true
		}
		time.Sleep(50 * time.Millisecond)
	}
	return false
}

// errUnsealed says that the log holds a checkpoint, and that there is no file of it.
var errUnsealed = fmt.Errorf("whether it and others behind it were cut off cannot be told: the file %s, which would show it, is missing", CheckpointName)

// errTidied says that a file is gone that was there a moment ago.
var errTidied = errors.New("its files are being removed while they are read")

func verifyOnce(dir string, o VerifyOptions) (Verified, error) {
	v := &verifier{dir: dir, keys: o.Keys, progress: o.Progress}
	// Before the log is looked at, which so has all that they cover.
	if err := v.findMarks(o.Checkpoint); err != nil {
		return Verified{}, err
	}
	s, err := look(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) && v.last() > 0:
		return Verified{}, &DamageError{Seq: 1, Last: v.last(), Err: errors.New("the log is gone, of which there is a checkpoint")}
	case err != nil:
		return Verified{}, fmt.Errorf("audit log: %w", err)
	}
	defer s.close() //nolint:errcheck // it was only read
	if err = v.files(s); err == nil {
		err = v.end()
	}
	v.found.Last, v.found.Hash = v.seq, fmt.Sprintf("%x", v.sum)
	v.found.First, v.found.Covered, v.found.Signed, v.found.Abandoned = v.first, v.good, v.signed, v.abandoned
	return v.found, err
}

// verifier verifies a log once.
type verifier struct {
	dir      string
	keys     Keys
	keyless  error  // why there are none
	marks    []mark // ascending
	progress Progress
	found    Verified

	state
	// A file may hold, behind records that were acknowledged, some that were not: its
	// disk failed, and the log went on in the next file. fork is the state before
	// them, and held what is wrong with them.
	fork *state
	held error
	tail uint64 // lines behind fork

	file    string // that is read
	fresh   bool   // whether nothing of it was read
	named   uint64 // the record with which it begins by its name, 0 if that says nothing
	bound   uint64 // the record with which the next file claims to begin, 0 if unknown
	before  []byte // the last line
	block   blockIndex
	lines   lineReader
	done    int64 // bytes of the files before this one
	untaken int64 // bytes that progress was not told of
}

// mark is a checkpoint outside the log.
type mark struct {
	Checkpoint
	what string // it is, in messages
}

const (
	markBeside    = "the checkpoint in " + CheckpointName
	markElsewhere = "the checkpoint that was kept elsewhere"
)

// findMarks reads the keys and the checkpoints that are not in the log.
func (v *verifier) findMarks(elsewhere []byte) error {
	if len(v.keys.list) == 0 {
		text, err := readBounded(filepath.Join(v.dir, KeyName), maxKeyFile)
		if err == nil {
			v.keys, err = ParseKeys(text)
		}
		if err != nil {
			v.keyless = fmt.Errorf("there is no public key to verify checkpoints by: %w", err)
		}
	}
	beside, err := readBounded(filepath.Join(v.dir, CheckpointName), maxNote)
	if err == nil {
		err = v.addMark(beside, markBeside)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if elsewhere != nil {
		if err := v.addMark(elsewhere, markElsewhere); err != nil {
			return err
		}
	}
	slices.SortStableFunc(v.marks, func(a, b mark) int { return cmp.Compare(a.Size, b.Size) })
	return nil
}

// addMark adds a checkpoint. One that cannot be verified is damage: it was changed,
// or the keys were replaced, or it is of another log.
func (v *verifier) addMark(signed []byte, what string) error {
	if v.keyless != nil {
		return fmt.Errorf("%s: %w", what, v.keyless)
	}
	c, err := ParseCheckpoint(signed, v.keys)
	if err != nil {
		return &DamageError{Err: v.disproved(what, err)}
	}
	v.marks = append(v.marks, mark{c, what})
	return nil
}

// disproved says by which keys a checkpoint could not be verified.
func (v *verifier) disproved(what string, err error) error {
	return fmt.Errorf("%s: %w (verified by %s)", what, err, v.keys)
}

// last is the last record that a checkpoint outside the log covers.
func (v *verifier) last() uint64 {
	if len(v.marks) == 0 {
		return 0
	}
	return v.marks[len(v.marks)-1].Size
}

// files reads the files of the log.
func (v *verifier) files(s *snapshot) error {
	v.found.Bytes = s.size(v.dir)
	for i, c := range s.closed {
		if err := v.closed(c.first, s.bound(i)); err != nil {
			return err
		}
	}
	if s.active == nil {
		return nil
	}
	v.open(logName, 0, 0)
	return v.raw(s.active)
}

// size is the sum of the files' sizes, as far as they are there.
func (s *snapshot) size(dir string) (sum int64) {
	paths := []string{filepath.Join(dir, logName)}
	for _, c := range s.closed {
		paths = append(paths, filepath.Join(dir, c.name()))
	}
	for _, path := range paths {
		if fi, err := os.Stat(path); err == nil {
			sum += fi.Size()
		}
	}
	return sum
}

// closed reads a closed segment. While it is compressed both of its files are there,
// and others may read either.
func (v *verifier) closed(first, bound uint64) error {
	f, packed, err := openSegment(v.dir, first)
	if errors.Is(err, fs.ErrNotExist) {
		return errTidied
	}
	if err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	before := *v
	if err := v.segment(f, first, bound, packed); err != nil || packed {
		return err
	}
	f, err = openRegular(filepath.Join(v.dir, segment{first: first, packed: true}.name()))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	before.before, before.lines, before.progress = nil, lineReader{}, nil
	err = before.segment(f, first, bound, true)
	if err == nil && (before.seq != v.seq || before.sum != v.sum) {
		err = before.damage(before.seq+1, 0, 0, errors.New("it does not hold what the file beside it does that is not compressed"))
	}
	return err
}

// segment reads a closed segment and closes its file.
func (v *verifier) segment(f *os.File, first, bound uint64, packed bool) (err error) {
	defer func() { err = errors.Join(err, f.Close()) }()
	v.open(filepath.Base(f.Name()), first, bound)
	was := v.seq
	if packed {
		err = v.packed(f)
	} else {
		err = v.raw(f)
	}
	if err == nil && v.seq == was && v.fork == nil {
		err = v.damage(v.seq+1, max(bound, 1)-1, 0, errors.New("there is no record in the file"))
	}
	return err
}

// open begins a file.
func (v *verifier) open(name string, first, bound uint64) {
	v.file, v.named, v.bound, v.fresh = name, first, bound, true
	v.found.Files++
}

// raw reads a file that is not compressed.
func (v *verifier) raw(f *os.File) error {
	v.lines.reset(f, 0)
	for {
		line, err := v.lines.next()
		if stop := v.tell(v.lines.end); stop != nil {
			return stop
		}
		switch {
		case err == io.EOF:
			v.done += v.lines.end
			return nil
		case err == errTorn && v.file == logName:
			v.found.Torn = v.lines.end - v.lines.start
			return nil
		case err != nil && err != errTorn && err != errLong:
			return fmt.Errorf("audit log: %w", err)
		}
		if err := v.take(line, err, v.lines.start); err != nil {
			return err
		}
		if err == errTorn {
			v.done += v.lines.end
			return nil
		}
	}
}

// packed reads a compressed file, of which every block must hold what its index says.
func (v *verifier) packed(f *os.File) error {
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	b := blockReader{r: f, end: fi.Size()}
	for {
		at := b.offset
		x, err := b.next()
		if err == io.EOF {
			v.done += at
			return nil
		}
		var unpacked block
		if err == nil {
			unpacked, err = b.read(x)
		}
		if err != nil {
			return v.damage(v.seq+1, x.last, at, err)
		}
		v.block = blockIndex{packed: x.packed, sum: x.sum, raw: uint32(len(unpacked.lines))}
		for line := range bytes.Lines(unpacked.lines) {
			if err := v.take(line[:len(line)-1], nil, at); err != nil {
				return err
			}
		}
		if v.fork == nil && v.block != x {
			return v.damage(x.first, x.last, at, errors.New("the index of the block here does not say what is in it"))
		}
		if err := v.tell(b.offset); err != nil {
			return err
		}
	}
}

// tell tells of progress, at for each megabyte of the file that is read.
func (v *verifier) tell(at int64) error {
	now := v.done + at
	if v.progress == nil || now-v.untaken < 1<<20 {
		return nil
	}
	v.untaken = now
	return v.progress(now, v.found.Bytes)
}

// damage says what is wrong with the file that is read: with the record seq, or with
// one or all of those up to last, if that is greater.
func (v *verifier) damage(seq, last uint64, offset int64, err error) error {
	return &DamageError{Seq: seq, Last: last, File: v.file, Offset: offset, Err: err}
}
