package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Tail reads what is appended to a log from a moment on, by whomever, over the ends
// of its segments. It does not check the chain, which begins before it.
type Tail struct {
	dir    string
	file   *os.File     // nil within a rotation
	first  uint64       // a sequence number in file, or in the last before it
	blocks *blockReader // of file, if it is compressed
	whole  bool         // nothing more is written to file
	buf    []byte
	rest   []byte // of the file, that was read and not returned
	torn   bool   // whether rest begins within a record from before
}

// OpenTail returns the Tail of the log in dir from now on.
func OpenTail(dir string) (*Tail, error) {
	s, err := look(dir)
	if err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	t := &Tail{dir: dir, file: s.active, first: s.first, whole: s.active == nil, buf: make([]byte, 64<<10)}
	if n := len(s.closed); t.first == 0 && n > 0 {
		t.first = s.closed[n-1].first
	}
	if err := t.begin(); err != nil {
		return nil, errors.Join(fmt.Errorf("audit log %s: %w", t.path(), err), t.Close())
	}
	return t, nil
}

// begin goes to the end of the log, where a record may just be written.
func (t *Tail) begin() error {
	if t.file == nil {
		return nil
	}
	size, err := t.file.Seek(0, io.SeekEnd)
	if err != nil || size == 0 {
		return err
	}
	last := make([]byte, 1)
	if _, err := t.file.ReadAt(last, size-1); err != nil {
		return err
	}
	t.torn = last[0] != '\n'
	return nil
}

// Next returns the next record, and false if there is none yet.
func (t *Tail) Next() (e Event, more bool, err error) {
	l, more, err := t.NextLine()
	if more && err == nil {
		e, err = l.Event()
	}
	return e, more && err == nil, err
}

// NextLine is Next for a record as it stands in the log. It is good until the next
// call.
func (t *Tail) NextLine() (l Line, more bool, err error) {
	for {
		line, rest, whole := bytes.Cut(t.rest, []byte{'\n'})
		switch {
		case whole && t.torn:
			t.rest, t.torn = rest, false
			continue
		case whole:
			t.rest = rest
			p, err := parsePrefix(line)
			if err != nil {
				return Line{}, false, fmt.Errorf("audit log %s: %w", t.path(), err)
			}
			return Line{Seq: p.seq, Time: p.time, Kind: p.kind, Raw: line, path: t.path()}, true, nil
		case len(t.rest) > maxLine:
			return Line{}, false, fmt.Errorf("audit log %s: a record: %w", t.path(), errLong)
		}
		if more, err := t.read(); err != nil {
			return Line{}, false, fmt.Errorf("audit log %s: %w", t.path(), err)
		} else if !more {
			return Line{}, false, nil
		}
	}
}

// read reads more, and reports whether there was more, or may be in another file.
func (t *Tail) read() (bool, error) {
	err := t.fill()
	if err != io.EOF {
		return true, err
	}
	if t.whole {
		return t.advance()
	}
	now, err := os.Stat(filepath.Join(t.dir, logName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	held, err := t.file.Stat()
	if err != nil {
		return false, err
	}
	// One that has lost its name may have been written to since it was read.
	t.whole = now == nil || !os.SameFile(now, held)
	return t.whole, nil
}

// fill reads more of the file, or fails with io.EOF.
func (t *Tail) fill() error {
	switch {
	case t.file == nil:
		return io.EOF
	case t.blocks != nil:
		x, err := t.blocks.next()
		if err != nil {
			return err
		}
		b, err := t.blocks.read(x)
		t.rest = append(t.rest, b.lines...)
		return err
	}
	n, err := t.file.Read(t.buf)
	t.rest = append(t.rest, t.buf[:n]...)
	if n > 0 {
		return nil
	}
	return err
}

// advance goes to the next file, if there is one.
func (t *Tail) advance() (bool, error) {
	if t.file != nil && t.blocks == nil {
		first, err := firstSeq(t.file)
		if err != nil {
			return false, err
		}
		if first > 0 {
			t.first = first
		}
	}
	s, err := look(t.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for _, c := range s.closed {
		if c.first <= t.first {
			continue
		}
		f, packed, err := openSegment(t.dir, c.first)
		if errors.Is(err, fs.ErrNotExist) {
			continue // retention was faster
		}
		if err == nil {
			err = t.follow(f, c.first, packed)
		}
		return err == nil, errors.Join(err, s.close())
	}
	if s.active == nil {
		return false, nil
	}
	return true, t.follow(s.active, 0, false)
}

// follow takes a file in place of the one before. first is 0 of the active one.
func (t *Tail) follow(f *os.File, first uint64, packed bool) error {
	err := t.Close()
	t.file, t.whole, t.blocks, t.rest, t.torn = f, first > 0, nil, nil, false
	if first > 0 {
		t.first = first
	}
	if packed && err == nil {
		var fi fs.FileInfo
		if fi, err = f.Stat(); err == nil {
			t.blocks = &blockReader{r: f, end: fi.Size()}
		}
	}
	return err
}

// path names the file that is read.
func (t *Tail) path() string {
	if t.file == nil {
		return filepath.Join(t.dir, logName)
	}
	return t.file.Name()
}

// Close ends the reading.
func (t *Tail) Close() error {
	if t.file == nil {
		return nil
	}
	return t.file.Close()
}
