package audit

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gofrs/flock"
)

const (
	logName     = "audit.jsonl"
	lockName    = "audit.lock"
	reserveName = "audit.reserve"
)

// Defaults of Options.
const (
	DefaultMaxSize = 64 << 20
	DefaultMaxAge  = 720 * time.Hour
)

// What was written becomes durable after this many records, or this long after
// the first of them: one fsync takes as long as writing fifty.
const (
	groupRecords = 50
	groupDelay   = 100 * time.Millisecond
)

// rotateAgain is how long a log that could not be rotated goes on as it is.
const rotateAgain = time.Minute

// Options is what a Log puts into every record, and when it begins a new file.
type Options struct {
	Host string           // name of this host
	Boot string           // id of this boot of it
	Now  func() time.Time // the clock; nil is time.Now
	// Uptime is how long the host is up, by a clock that nobody sets; nil, or 0:
	// that is not known.
	Uptime func() time.Duration

	MaxSize int64         // of a segment in bytes; 0 is DefaultMaxSize
	MaxAge  time.Duration // of a segment; 0 is DefaultMaxAge
}

// Log appends to an audit log. Its methods may be called by many goroutines.
type Log struct {
	dir, path string // path is of the active segment
	options   Options
	disk      disk
	lock      *flock.Flock
	found     Recovery

	mu sync.Mutex

	// The active segment.
	file        *os.File  // nil: there is none that can be written
	place       place     // while there is none
	first       uint64    // its first record
	born        time.Time // when that was written
	size        int64     // up to and with the last record that was written
	unrotated   error     // why it could not be closed
	rotateAfter time.Time // when that is tried again

	kept    Head      // the last record that is on disk
	queue   []record  // those behind it
	written int       // of them, in the file
	since   time.Time // when the first of them came
	done    []Event   // what this call made durable

	trouble  *trouble // while the log cannot be written
	waiting  []record // until it can be
	weight   int64    // of them, in bytes
	lost     uint64   // records in all
	reserved bool     // whether the reserve lies there

	sealed  uint64 // the record that the last checkpoint of this Log ends with
	extends bool   // whether the log is what was signed before this Log, and more
	damaged error  // why it is not, once that was found
	marked  bool   // whether Open found a checkpoint in the log, and more behind it

	closed bool
}

// Open opens the log in dir for appending, and makes what is missing: dir with
// mode 0700, the files in it with 0600. It reads the active segment once, cuts off
// the torn tail that a crash may have left (see Recovered), and returns when all of
// that is on disk.
//
// It fails with ErrLocked if another Log is open on dir, and with a
// *DamageError if records are missing or changed that others follow; it leaves
// such a file as it is.
func Open(dir string, o Options) (*Log, error) { return openOn(realDisk(), dir, o) }

func openOn(d disk, dir string, o Options) (*Log, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Uptime == nil {
		o.Uptime = func() time.Duration { return 0 }
	}
	o.MaxSize, o.MaxAge = cmp.Or(o.MaxSize, DefaultMaxSize), cmp.Or(o.MaxAge, DefaultMaxAge)
	path := filepath.Join(dir, logName)
	if err := makeDir(dir, mkdirPrivate); err != nil {
		return nil, fmt.Errorf("audit log %s: %w", path, err)
	}
	lock, err := acquire(dir)
	if err != nil {
		return nil, fmt.Errorf("audit log %s: %w", path, err)
	}
	sweepSigned(dir)
	l := &Log{dir: dir, path: path, options: o, disk: d, lock: lock}
	if err := l.open(); err != nil {
		return nil, fmt.Errorf("audit log %s: %w", path, errors.Join(err, lock.Unlock()))
	}
	return l, nil
}

// Recovered says what Open found in the log and cut off from it.
func (l *Log) Recovered() Recovery { return l.found }

// Seq is the sequence number of the last record that is on disk, 0 if there is
// none.
func (l *Log) Seq() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.kept.Seq
}

// Append appends the events in their order, one write(2) each. It fills in
// Version, Seq, Prev, Monotonic, Boot and Host, and Time if it is zero, and makes
// every string harmless (see the package documentation); the events of the caller
// stay as they are.
//
// It returns the events that became durable with this call, as they were recorded:
// of earlier calls too, and those that tell of the log itself. They are on disk;
// what is not returned yet may not be. One fsync is made for up to 50 records, but
// none is put off for more than 100 ms if Sync is called when Pending says so, and
// none that a person should know of: what is not of the kinds listener.* is on disk
// when Append returns.
//
// An event that has no JSON form (a year beyond 9999) fails the call before
// anything is written. While the log cannot be written, Append returns an error
// that matches ErrDegraded and wraps that of the system; what it was given waits
// (see Health).
func (l *Log) Append(events ...Event) ([]Event, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, l.wrap(os.ErrClosed)
	}
	now := false
	stamped := make([]Event, len(events))
	for i, e := range events {
		stamped[i] = l.stamp(e)
		now = now || urgent(e.Event)
	}
	if l.trouble != nil {
		if err := l.wait(stamped); err != nil {
			return nil, l.wrap(err)
		}
		return l.retry()
	}
	if err := l.enqueue(stamped); err != nil {
		return nil, l.wrap(err)
	}
	return l.advance(now)
}

// Sync makes durable what was appended, and returns what became so with this
// call. While the log cannot be written, it tries to go on, once a second, and
// returns an error as Append does.
func (l *Log) Sync() ([]Event, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return nil, l.wrap(os.ErrClosed)
	case l.trouble != nil:
		return l.retry()
	}
	return l.advance(true)
}

// Pending reports when Sync is to be called next; false if nothing waits for it.
func (l *Log) Pending() (due time.Time, waits bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.trouble != nil:
		return l.trouble.tried.Add(retryEvery), true
	case len(l.queue) > 0:
		return l.since.Add(groupDelay), true
	}
	return time.Time{}, false
}

// urgent reports whether a record of a kind must not wait for others.
func urgent(kind string) bool {
	switch kind {
	case ListenerOpened, ListenerChanged, ListenerClosed:
		return false
	}
	return true
}

// advance writes what is in the queue, and makes it durable now or when it is time.
func (l *Log) advance(now bool) ([]Event, error) {
	if err := l.write(now); err != nil {
		l.degrade(err)
	}
	return l.result()
}

// result ends a call.
func (l *Log) result() ([]Event, error) {
	done := l.done
	l.done = nil
	if l.trouble != nil {
		return done, l.wrap(fmt.Errorf("%w: %w", ErrDegraded, l.trouble.err))
	}
	return done, nil
}

func (l *Log) wrap(err error) error { return fmt.Errorf("audit log %s: %w", l.path, err) }

// Close makes durable what it can and gives the log free for others. Every later
// Append fails with os.ErrClosed.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	err := l.finish()
	l.closed = true
	if l.file != nil {
		err = errors.Join(err, l.file.Close())
	}
	if err := errors.Join(err, l.lock.Unlock()); err != nil {
		return l.wrap(err)
	}
	return nil
}

// finish writes what waits, as far as that is possible.
func (l *Log) finish() error {
	if l.trouble == nil {
		if err := l.write(true); err != nil {
			l.degrade(err)
		}
	}
	if l.trouble == nil {
		return nil
	}
	if l.resume(); l.trouble == nil {
		return nil
	}
	// There is the room of the reserve. That the log is restored is for the next one
	// to say.
	l.release()
	if err := l.put(l.unwait()...); err != nil {
		return fmt.Errorf("%d records were not written: %w", len(l.waiting), err)
	}
	return nil
}
