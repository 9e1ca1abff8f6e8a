package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Tail reads what is appended to a log from a moment on, by whomever. It does not
// check the chain, which begins before it.
type Tail struct {
	file *os.File
	rest []byte // of the file, that was read and not returned
	torn bool   // whether rest begins within a record from before
}

// OpenTail returns the Tail of the log in dir from now on.
func OpenTail(dir string) (*Tail, error) {
	path := filepath.Join(dir, logName)
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	t := &Tail{file: f}
	if err := t.begin(); err != nil {
		return nil, errors.Join(fmt.Errorf("audit log %s: %w", path, err), f.Close())
	}
	return t, nil
}

// begin goes to the end of the log, where a record may just be written.
func (t *Tail) begin() error {
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
	buf := make([]byte, 64<<10)
	for {
		line, rest, whole := bytes.Cut(t.rest, []byte{'\n'})
		switch {
		case whole && t.torn:
			t.rest, t.torn = rest, false
			continue
		case whole:
			t.rest = rest
			if e, err = decode(line); err != nil {
				return Event{}, false, fmt.Errorf("audit log %s: %w", t.file.Name(), err)
			}
			return e, true, nil
		case len(t.rest) > maxLine:
			return Event{}, false, fmt.Errorf("audit log %s: a record: %w", t.file.Name(), errLong)
		}
		n, err := t.file.Read(buf)
		t.rest = append(t.rest, buf[:n]...)
		if n == 0 {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return Event{}, false, err
		}
	}
}

// Close ends the reading.
func (t *Tail) Close() error { return t.file.Close() }
