package audit

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"time"
)

// Range bounds what is read of a log. The zero value bounds nothing.
type Range struct {
	After        uint64    // records behind this sequence number
	Since, Until time.Time // records at or after Since and before Until, each if it is not zero
}

// holds reports whether a record is in r.
func (r Range) holds(p prefix) bool {
	return p.seq > r.After &&
		(r.Since.IsZero() || !p.time.Before(r.Since)) &&
		(r.Until.IsZero() || p.time.Before(r.Until))
}

// Line is a record as it stands in the log.
type Line struct {
	Seq  uint64
	Time time.Time
	Kind string // as Event.Event
	Raw  []byte // without the newline; good until the next line is asked for

	path   string // of the file
	offset int64  // in it, or in what it unpacks to
}

// Event decodes the record. An error wraps a *DamageError.
func (l Line) Event() (Event, error) {
	e, err := l.decode()
	if err != nil {
		return Event{}, fmt.Errorf("audit log %s: %w", l.path, &DamageError{Seq: l.Seq, Offset: l.offset, Err: err})
	}
	return e, nil
}

func (l Line) decode() (Event, error) {
	e, err := decode(l.Raw)
	if err == nil && (e.Seq != l.Seq || e.Event != l.Kind || !e.Time.Equal(l.Time)) {
		// JSON may have a key twice: the last counts, and the first was read.
		err = errors.New("it says two things of itself")
	}
	return e, err
}

// Lines streams the records of the log in dir that are in r, in their order,
// rotated and compressed segments and the active one as one log as it is when the
// reading begins. The log may be written, rotated, compressed and tidied meanwhile.
//
// It reads no more than it must: it hops over segments by their sequence numbers
// and over blocks of compressed ones by their index, and unpacks nothing else. The
// clock of a host may be set back, so records of any time may be anywhere. It keeps
// about a block in memory.
//
// What is read in one run is checked: the sequence numbers are without a gap, and
// each record that is yielded after the one before it carries its hash. At the
// first that is not so it yields an error that wraps a *DamageError and ends; that
// one is io.ErrUnexpectedEOF if the last record is just being written. Whether the
// log is as it was written is for Verify to say. A log that does not exist is
// fs.ErrNotExist: Open makes one.
func Lines(dir string, r Range) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		w := walk{dir: dir, within: r, yield: yield}
		if err := w.log(); err != nil && err != errEnough {
			yield(Line{}, err)
		}
	}
}

// Records streams what Lines does, decoded.
func Records(dir string, r Range) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for l, err := range Lines(dir, r) {
			var e Event
			if err == nil {
				e, err = l.Event()
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// ReadFrom streams the records of the log in dir behind the sequence number after,
// 0 for all, as Records does.
func ReadFrom(dir string, after uint64) iter.Seq2[Event, error] {
	return Records(dir, Range{After: after})
}

// errEnough ends a walk whose lines nobody wants any more.
var errEnough = errors.New("enough")

// walk goes through the records of a log once.
type walk struct {
	dir    string
	within Range
	yield  func(Line, error) bool

	path  string     // of the file that is read
	last  uint64     // sequence number that was passed last, 0 if unknown
	known bool       // whether sum is that record's
	sum   [32]byte   // SHA-256
	lines lineReader // of raw segments
}

func (w *walk) log() error {
	s, err := look(w.dir)
	if err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	defer s.close() //nolint:errcheck // it was only read
	for i, c := range s.closed {
		bound := s.bound(i)
		if bound > 0 && bound-1 <= w.within.After {
			continue
		}
		if err := w.closed(c.first, bound); err != nil {
			return err
		}
	}
	if s.active == nil {
		return nil
	}
	w.path = s.active.Name()
	return w.located(w.raw(s.active, s.first, 0))
}

// closed reads a closed segment up to bound.
func (w *walk) closed(first, bound uint64) error {
	f, packed, err := openSegment(w.dir, first)
	if errors.Is(err, fs.ErrNotExist) {
		return w.removed(first)
	}
	if err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	defer f.Close()
	if w.path = f.Name(); packed {
		err = w.packed(f, first, bound)
	} else {
		err = w.raw(f, first, bound)
	}
	if err == nil && bound > 0 && w.last > 0 && w.last+1 < bound {
		err = w.damage(w.last+1, 0, fmt.Errorf("the records up to %d are missing", bound-1))
	}
	return w.located(err)
}

// openSegment opens a closed segment, of which the compressed file is there before
// the raw one is removed.
func openSegment(dir string, first uint64) (f *os.File, packed bool, err error) {
	f, err = openRegular(filepath.Join(dir, segment{first: first}.name()))
	if errors.Is(err, fs.ErrNotExist) {
		f, err = openRegular(filepath.Join(dir, segment{first: first, packed: true}.name()))
		packed = true
	}
	return f, packed, err
}

// removed says whether a segment that is gone was the oldest: then retention has
// removed it since the walk began, and the log begins behind it.
func (w *walk) removed(first uint64) error {
	left, err := listSegments(w.dir)
	if err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	if len(left) > 0 && left[0].first < first {
		return fmt.Errorf("audit log %s: %w", w.dir, w.damage(first, 0, errors.New("the file that begins with it is missing")))
	}
	w.last, w.known = 0, false
	return nil
}

// raw reads a segment that is not compressed. first is 0 if it is not known.
func (w *walk) raw(f *os.File, first, bound uint64) error {
	start, err := w.start(f, first)
	if err != nil {
		return err
	}
	w.lines.reset(io.NewSectionReader(f, start, 1<<62), start)
	for expected := first; bound == 0 || w.last+1 < bound; expected = 0 {
		line, err := w.lines.next()
		if err == io.EOF {
			return nil
		}
		bad := max(w.last+1, expected)
		var p prefix
		if err == nil {
			p, err = parsePrefix(line)
		}
		switch {
		case err == errTorn || err == errLong || err != nil && line != nil:
			return w.damage(bad, w.lines.start, err)
		case err != nil:
			return err
		case start == 0 && expected > 0 && p.seq != expected:
			return w.damage(expected, 0, fmt.Errorf("the record here has sequence number %d", p.seq))
		}
		if err := w.take(p, line, w.lines.start); err != nil {
			return err
		}
	}
	return nil
}

// start returns where to begin in a raw segment: a line at or before the first that
// is wanted.
func (w *walk) start(f *os.File, first uint64) (int64, error) {
	if first > w.within.After {
		return 0, nil
	}
	fi, err := f.Stat()
	if err != nil {
		return 0, err
	}
	at, err := findLine(f, fi.Size(), w.within.After)
	if at > 0 {
		w.last, w.known = 0, false
	}
	return at, err
}

// packed reads a compressed segment.
func (w *walk) packed(f *os.File, first, bound uint64) error {
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	b := blockReader{r: f, end: fi.Size()}
	for expected := first; ; {
		x, err := b.next()
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return w.damage(expected, b.offset, err)
		case x.first != expected:
			return w.damage(expected, b.offset, fmt.Errorf("the block here begins with record %d", x.first))
		case bound > 0 && x.first >= bound:
			return nil
		}
		if expected = x.last + 1; x.outside(w.within) {
			if w.last, w.known = x.last, false; bound > 0 {
				w.last = min(w.last, bound-1)
			}
			continue
		}
		unpacked, err := b.read(x)
		if err != nil {
			return w.damage(x.first, unpacked.offset, err)
		}
		if err := w.block(unpacked, bound); err != nil {
			return err
		}
	}
}

// block reads the lines of a block.
func (w *walk) block(b block, bound uint64) error {
	w.last, w.known = b.first-1, w.known && w.last == b.first-1
	offset := b.offset
	for line := range bytes.Lines(b.lines) {
		if bound > 0 && w.last+1 >= bound {
			return nil
		}
		line = line[:len(line)-1] // read has seen that the last one has a newline, too
		p, err := parsePrefix(line)
		if err != nil {
			return w.damage(w.last+1, offset, err)
		}
		if err := w.take(p, line, offset); err != nil {
			return err
		}
	}
	if w.last != b.last {
		return w.damage(w.last+1, offset, fmt.Errorf("the block here claims records up to %d", b.last))
	}
	return nil
}

// take passes a record, and yields it if it is wanted.
func (w *walk) take(p prefix, line []byte, offset int64) error {
	if p.seq == 1 {
		w.known, w.sum = true, [32]byte{}
	}
	if p.schema > Version || w.last > 0 && p.seq != w.last+1 || w.known && p.prev != w.sum {
		return w.broken(p, line, offset)
	}
	w.last = p.seq
	if w.known = w.within.holds(p); !w.known {
		return nil
	}
	w.sum = lineSum(line)
	if !w.yield(Line{Seq: p.seq, Time: p.time, Kind: p.kind, Raw: line, path: w.path, offset: offset}, nil) {
		return errEnough
	}
	return nil
}

// broken says why a record does not follow.
func (w *walk) broken(p prefix, line []byte, offset int64) error {
	e := Event{Version: p.schema, Seq: p.seq, Prev: hex.EncodeToString(p.prev[:])}
	h := Head{Seq: w.last, Hash: e.Prev}
	if w.last == 0 {
		h.Seq = p.seq - 1
	}
	if w.known {
		h.Hash = hex.EncodeToString(w.sum[:])
	}
	_, bad, err := h.next(line, e)
	return w.damage(bad, offset, err)
}

func (w *walk) damage(seq uint64, offset int64, err error) error {
	return &DamageError{Seq: seq, Offset: offset, Err: err}
}

// located says in which file it was.
func (w *walk) located(err error) error {
	if err == nil || err == errEnough {
		return err
	}
	return fmt.Errorf("audit log %s: %w", w.path, err)
}

// findLine returns where a line starts in a raw segment of some size, not behind
// the record after the sequence number after and not far before it. What is between
// is not looked at. 0 is always right.
func findLine(f io.ReaderAt, size int64, after uint64) (int64, error) {
	const near = 256 << 10 // that are read in a moment
	buf := make([]byte, 64<<10)
	low, high := int64(0), size
	for high-low > near {
		middle := low + (high-low)/2
		n, err := f.ReadAt(buf, middle)
		if err != nil && err != io.EOF {
			return 0, err
		}
		newline := bytes.IndexByte(buf[:n], '\n')
		p, ok := scanPrefix(buf[newline+1 : n])
		switch {
		case newline < 0 || !ok: // a long record, or one that is not as this program writes it
			return low, nil
		case p.seq-1 <= after:
			low = middle + int64(newline) + 1
		default:
			high = middle
		}
	}
	return low, nil
}
