package audit

import (
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"time"
)

// Range bounds what is read. The zero value bounds nothing.
type Range struct {
	After        uint64
	Since, Until time.Time
}

// Line is one record as it is in the log.
type Line struct {
	Seq  uint64
	Time time.Time
	Kind string
	Raw  []byte
}

// Event decodes the line.
func (l Line) Event() (Event, error) { return decode(l.Raw) }

// Lines is a stand-in.
func Lines(dir string, r Range) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		path := filepath.Join(dir, logName)
		f, err := os.Open(path)
		if err != nil {
			yield(Line{}, fmt.Errorf("audit log: %w", err))
			return
		}
		defer f.Close()
		for rd := newReader(f); ; {
			e, err := rd.next()
			if err == io.EOF {
				return
			}
			if err != nil {
				yield(Line{}, fmt.Errorf("audit log %s: %w", path, err))
				return
			}
			if e.Seq <= r.After || !r.Since.IsZero() && e.Time.Before(r.Since) || !r.Until.IsZero() && !e.Time.Before(r.Until) {
				continue
			}
			if !yield(Line{e.Seq, e.Time, e.Event, rd.lines.line}, nil) {
				return
			}
		}
	}
}
