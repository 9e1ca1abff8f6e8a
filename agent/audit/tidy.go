package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Retention says how much of a log is kept. What is 0 bounds nothing.
type Retention struct {
	Size  int64         // bytes of all its segments
	Age   time.Duration // of the last record of a segment
	Count int           // closed segments
}

// Tidy compresses the closed segments of the log in dir and removes the oldest of
// them that are more than keep says, never the active one. Only the process that
// holds the log may call it, and once at a time; it may write the log meanwhile.
//
// What is to be removed is handed to record first, as a record of the log: files
// are removed when that has returned nil, which says that it is on disk. After a
// crash between the two, both happen again. A log that is signed is signed there too
// (Log.Checkpoint): a checkpoint of nothing that is left can be held against nothing.
//
// An error does not keep it from doing the rest: where a full disk leaves no room
// to compress in, removing makes some. A segment that cannot be read as it was
// written stays as it is, as evidence, until it is too old or too much.
func Tidy(ctx context.Context, dir string, keep Retention, record func(Event) error) error {
	var pruned error
	remove := func() {
		if pruned == nil && ctx.Err() == nil {
			pruned = prune(dir, keep, time.Now(), record)
		}
	}
	// Behind each file, for while records come in faster than they are compressed
	// the limits hold too.
	err := errors.Join(sweep(dir), compress(ctx, dir, remove))
	remove()
	if err = errors.Join(err, pruned); err != nil {
		return fmt.Errorf("tidy the audit log %s: %w", dir, err)
	}
	return nil
}

// sweep removes what compressing left behind when it was cut off.
func sweep(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if s, ok := parseSegment(temporaryOf(e.Name())); ok && s.packed { // and nothing else
			err = errors.Join(err, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	return err
}

// prune removes what is more than keep says.
func prune(dir string, keep Retention, now time.Time, record func(Event) error) error {
	r, err := surplus(dir, keep, now)
	if err != nil || len(r.files) == 0 {
		return err
	}
	if err := record(r.event()); err != nil {
		return fmt.Errorf("nothing is removed, for that cannot be recorded: %w", err)
	}
	for _, name := range r.files {
		if e := os.Remove(filepath.Join(dir, name)); !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return errors.Join(err, syncDir(dir))
}

// removal is the oldest segments of a log, that are to be removed.
type removal struct {
	files       []string // names
	first, last uint64   // sequence numbers
}

func (r removal) event() Event {
	return Event{
		Event: LogPruned, Removed: r.files, Through: r.last,
		Message: fmt.Sprintf("records %d to %d are removed from the log, as the limits on what is kept say", r.first, r.last),
	}
}

// surplus returns what is more than keep says.
func surplus(dir string, keep Retention, now time.Time) (removal, error) {
	s, err := look(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return removal{}, nil
	}
	if err != nil {
		return removal{}, err
	}
	defer s.close() //nolint:errcheck // it was only read
	files, sizes, total, err := s.files(dir)
	if err != nil {
		return removal{}, err
	}
	var r removal
	for i, c := range s.closed {
		bound := s.bound(i)
		if bound == 0 {
			break // the active one has no record yet, and what follows is not known
		}
		over := keep.Size > 0 && total > keep.Size || keep.Count > 0 && len(s.closed)-i > keep.Count
		if !over && (keep.Age <= 0 || !lastTime(dir, c).Before(now.Add(-keep.Age))) {
			break
		}
		if r.first == 0 {
			r.first = c.first
		}
		r.last, total = bound-1, total-sizes[i]
		r.files = append(r.files, files[i]...)
	}
	return r, nil
}

// files returns the names of the files of each closed segment, their size, and that
// of the whole log.
func (s *snapshot) files(dir string) (files [][]string, sizes []int64, total int64, err error) {
	if s.active != nil {
		fi, err := s.active.Stat()
		if err != nil {
			return nil, nil, 0, err
		}
		total = fi.Size()
	}
	files, sizes = make([][]string, len(s.closed)), make([]int64, len(s.closed))
	for i, c := range s.closed {
		for _, packed := range []bool{false, true} { // after a crash both may be there
			name := segment{first: c.first, packed: packed}.name()
			fi, err := os.Stat(filepath.Join(dir, name))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, nil, 0, err
			}
			files[i], sizes[i] = append(files[i], name), sizes[i]+fi.Size()
		}
		total += sizes[i]
	}
	return files, sizes, total, nil
}

// lastTime returns the greatest time of the records in a segment by its indexes, or
// when the file was last written, if it has none that can be read. A file that
// cannot be opened is not old.
func lastTime(dir string, s segment) (last time.Time) {
	path := filepath.Join(dir, s.name())
	f, err := openRegular(path)
	if err != nil {
		return time.Now()
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return time.Now()
	}
	b := blockReader{r: f, end: fi.Size()}
	for s.packed {
		x, err := b.next()
		if err != nil {
			break
		}
		if at := time.UnixMicro(x.greatest); at.After(last) {
			last = at
		}
	}
	if last.IsZero() {
		return fi.ModTime()
	}
	return last
}
