package audit

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/gofrs/flock"
)

const (
	logName  = "audit.jsonl"
	lockName = "audit.lock"
)

// Options is what a Log puts into every record.
type Options struct {
	Host string           // name of this host
	Boot string           // id of this boot of it
	Now  func() time.Time // the clock; nil is time.Now
	// Uptime is how long the host is up, by a clock that nobody sets; nil, or 0:
	// that is not known.
	Uptime func() time.Duration
}

// Log appends to an audit log. Its methods may be called by many goroutines.
type Log struct {
	path    string
	options Options
	lock    *flock.Flock
	found   Recovery

	mu   sync.Mutex
	file *os.File
	head Head  // the last record that was acknowledged
	size int64 // of the file, up to and with that record
	err  error // what ended the use of file
}

// Open opens the log in dir for appending, and makes it if there is none: dir
// with mode 0700, the files in it with 0600. It reads the log once, cuts off
// the torn tail that a crash may have left (see Recovered), and returns when
// all of that is on disk.
//
// It fails with ErrLocked if another Log is open on dir, and with a
// *DamageError if records are missing or changed that others follow; it leaves
// such a file as it is.
func Open(dir string, o Options) (*Log, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Uptime == nil {
		o.Uptime = func() time.Duration { return 0 }
	}
	path := filepath.Join(dir, logName)
	if err := makeDir(dir); err != nil {
		return nil, fmt.Errorf("audit log %s: %w", path, err)
	}
	lock, err := acquire(dir)
	if err != nil {
		return nil, fmt.Errorf("audit log %s: %w", path, err)
	}
	l := &Log{path: path, options: o, lock: lock}
	if err := l.open(); err != nil {
		return nil, fmt.Errorf("audit log %s: %w", path, errors.Join(err, lock.Unlock()))
	}
	return l, nil
}

func (l *Log) open() (err error) {
	if l.head, l.size, l.found, err = mend(l.path); err != nil {
		return err
	}
	if err := syncDir(filepath.Dir(l.path)); err != nil {
		return err
	}
	l.file, err = os.OpenFile(l.path, os.O_WRONLY|os.O_APPEND, 0)
	return err
}

// Recovered says what Open found in the log and cut off from it.
func (l *Log) Recovered() Recovery { return l.found }

// Seq is the sequence number of the last record that is on disk, 0 if there is
// none.
func (l *Log) Seq() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.head.Seq
}

// Append appends the events in their order, one write(2) each and one fsync
// for all, and returns the sequence number of the last record that is on disk:
// with a nil error that of the last event. It fills in Version, Seq, Prev, Boot
// and Host, and Time if it is zero, and makes every string harmless (see the
// package documentation); the events of the caller stay as they are.
//
// An event that has no JSON form (a year beyond 9999) fails the call before
// anything is written. A failed write or fsync ends the use of this Log, for
// after it nobody knows what is on disk: this call and all later ones return
// that error, which wraps that of the system. None of the events of the call
// is acknowledged then, and of a failed write none is left in the file if it
// can be truncated. Open the log anew to go on.
func (l *Log) Append(events ...Event) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil || len(events) == 0 {
		return l.head.Seq, l.err
	}
	b, err := l.encode(events)
	if err != nil {
		return l.head.Seq, fmt.Errorf("audit log %s: %w", l.path, err)
	}
	if err := l.write(b); err != nil {
		l.err = fmt.Errorf("audit log %s: %w; nothing more is written to it", l.path, err)
		return l.head.Seq, l.err
	}
	l.head, l.size = b.head, l.size+int64(b.data.Len())
	return l.head.Seq, nil
}

// batch is the records of one call of Append.
type batch struct {
	data bytes.Buffer
	ends []int // of each record in data
	head Head  // behind the last of them
}

func (l *Log) encode(events []Event) (*batch, error) {
	b := &batch{head: l.head}
	for _, e := range events {
		e.Version, e.Seq, e.Prev = Version, b.head.Seq+1, b.head.Hash
		e.Host, e.Boot = l.options.Host, l.options.Boot
		if e.Time.IsZero() {
			e.Time = l.options.Now()
		}
		e.Monotonic = uint64(max(0, l.options.Uptime()).Microseconds())
		start := b.data.Len()
		if err := encode(&b.data, e); err != nil {
			return nil, fmt.Errorf("event %s: %w", Visible(Clip(e.Event, 64)), err)
		}
		end := b.data.Len()
		b.ends = append(b.ends, end)
		b.head = b.head.follow(b.data.Bytes()[start : end-1])
	}
	return b, nil
}

func (l *Log) write(b *batch) error {
	start := 0
	for _, end := range b.ends {
		if _, err := l.file.Write(b.data.Bytes()[start:end]); err != nil {
			return errors.Join(err, l.cutBack())
		}
		start = end
	}
	return l.file.Sync()
}

// cutBack removes from the file what was not acknowledged.
func (l *Log) cutBack() error {
	if runtime.GOOS == "windows" {
		// A handle that was opened for appending only cannot set the end of
		// the file there.
		return os.Truncate(l.path, l.size)
	}
	return l.file.Truncate(l.size)
}

// Close gives the log free for others. Every later Append fails with
// os.ErrClosed.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if errors.Is(l.err, os.ErrClosed) {
		return nil
	}
	l.err = fmt.Errorf("audit log %s: %w", l.path, os.ErrClosed)
	if err := errors.Join(l.file.Close(), l.lock.Unlock()); err != nil {
		return fmt.Errorf("audit log %s: %w", l.path, err)
	}
	return nil
}
