package audit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// place is what has the name of the active segment while none is open.
type place uint8

const (
	free     place = iota
	old            // a segment that is no longer written: it must be renamed
	leftover       // a new one of which nothing was acknowledged: it must be removed
)

// rotate closes the active segment, of which all is on disk, and begins the next.
// Where it cannot be renamed, it goes on for a while.
func (l *Log) rotate() error {
	if err := l.disk.rename(l.path, filepath.Join(l.dir, segment{first: l.first}.name())); err != nil {
		l.unrotated, l.rotateAfter = err, l.options.Now().Add(rotateAgain)
		return nil
	}
	_ = l.file.Close() // all that it could lose is on disk
	l.file, l.place, l.unrotated = nil, free, nil
	// Before the next one is made: whatever the file system does first, the name
	// of the active segment never takes the place of the one before.
	if err := l.disk.syncDir(l.dir); err != nil {
		return err
	}
	return l.begin()
}

// begin begins a segment with its header, and returns when that is on disk. The
// records of the queue come to stand behind it.
func (l *Log) begin() error {
	if err := l.clear(); err != nil {
		return err
	}
	header, err := l.encode([]Event{l.stamp(l.kept.header())}, l.kept)
	if err != nil {
		return err
	}
	h := header[0]
	f, err := l.disk.fill(l.path, h.line)
	if errors.Is(err, os.ErrExist) {
		return err // it is none of ours
	}
	if err == nil {
		if err = l.disk.syncDir(l.dir); err != nil {
			err = errors.Join(err, f.Close())
		}
	}
	if err != nil {
		l.place = leftover
		return errors.Join(err, l.clear())
	}
	l.file, l.first, l.born, l.size = f, h.event.Seq, h.event.Time, int64(len(h.line))
	l.kept, l.done = h.head, append(l.done, h.event)
	return l.renumber()
}

// clear makes the name of the active segment free.
func (l *Log) clear() error {
	switch l.place {
	case old:
		if err := l.disk.rename(l.path, filepath.Join(l.dir, segment{first: l.first}.name())); err != nil {
			return err
		}
		l.place = free
		return l.disk.syncDir(l.dir)
	case leftover:
		if err := l.disk.remove(l.path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		l.place = free
	}
	return nil
}

// header is the record that begins a segment behind the records of h.
func (h Head) header() Event {
	message := "the log begins"
	if h.Seq > 0 {
		message = fmt.Sprintf("a new file of the log begins behind record %d", h.Seq)
	}
	return Event{Event: LogSegment, Message: message, Tree: h.tree.list()}
}

// due reports whether r has to go into a new segment: the active one is too
// large or too old, and has more than its header.
func (l *Log) due(r record) bool {
	now := l.options.Now()
	if r.event.Seq <= l.first+1 || now.Before(l.rotateAfter) {
		return false
	}
	return l.size+int64(len(r.line)) > l.options.MaxSize || now.Sub(l.born) >= l.options.MaxAge
}
