package audit

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// ErrDegraded is what Append and Sync fail with, for errors.Is, while the log
// cannot be written. The log is still to be used: it goes on as soon as it can.
var ErrDegraded = errors.New("the audit log cannot be written at present")

const (
	// retryEvery is how often a log that cannot be written tries to be.
	retryEvery = time.Second
	// What waits meanwhile is bounded, so that the memory of a daemon is.
	maxWaiting      = 4096
	maxWaitingBytes = 4 << 20
	// reserveSize is the room that is set aside, so that a disk that is full can
	// still be told of: one record of the largest kind that is then written, and
	// what a file system may need beside it.
	reserveSize = 64 << 10
)

// Health says whether a log can be written.
type Health struct {
	Err       error     // why it cannot; matches ErrDegraded
	Since     time.Time // when that began
	Full      bool      // whether it is for want of room
	Waiting   int       // records that will be written when it can
	Lost      uint64    // records that there was no more room for among these, since Open
	Unrotated error     // why the active file is larger or older than it should be
}

// Health says whether the log can be written now.
func (l *Log) Health() Health {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := Health{Waiting: len(l.waiting), Lost: l.lost, Unrotated: l.unrotated}
	if t := l.trouble; t != nil {
		h.Err, h.Since, h.Full = l.wrap(fmt.Errorf("%w: %w", ErrDegraded, t.err)), t.since, t.full
	}
	return h
}

// trouble is a time in which the log cannot be written.
type trouble struct {
	err   error // of the last attempt
	since time.Time
	tried time.Time
	full  bool // whether it is the room that is missing
	told  bool // whether the log says so
	lost  uint64
	// inherited: it is the time of a program before, of which nobody knows what it
	// lost.
	inherited bool
}

// degrade notes that the log cannot be written, and tries at once to go on.
func (l *Log) degrade(err error) {
	l.trouble = &trouble{err: err, since: l.options.Now(), full: isFull(err)}
	l.retreat()
	l.resume()
}

// retry is advance while the log cannot be written.
func (l *Log) retry() ([]Event, error) {
	if time.Since(l.trouble.tried) >= retryEvery {
		l.resume()
	}
	return l.result()
}

// wait puts stamped events behind those that wait, as far as there is room. All of
// them have a JSON form, or none is taken.
func (l *Log) wait(events []Event) error {
	records, err := l.encode(events, l.kept)
	if err != nil {
		return err
	}
	for _, r := range records {
		if len(l.waiting) >= maxWaiting || l.weight+int64(len(r.line)) > maxWaitingBytes {
			l.trouble.lost++
			l.lost++
			continue
		}
		l.waiting = append(l.waiting, r)
		l.weight += int64(len(r.line))
	}
	return nil
}

// retreat leaves nothing in the queue: it makes durable what can be, and lets the
// rest wait. What the log says of itself is not kept, for it is said anew.
func (l *Log) retreat() {
	if l.file != nil {
		_ = l.commit() // what it cannot make durable waits
	}
	var rest []record
	for _, r := range l.queue {
		switch r.event.Event {
		case LogDegraded, LogRestored, LogCheckpoint: // a signature fits one place alone
			continue
		}
		rest = append(rest, r)
		l.weight += int64(len(r.line))
	}
	l.waiting, l.queue, l.written = append(rest, l.waiting...), nil, 0
}

// resume tries to go on: to say what is wrong, and to write what waits.
func (l *Log) resume() {
	t := l.trouble
	t.tried = time.Now()
	if err := l.attempt(t); err != nil {
		t.err, t.full = err, isFull(err)
	}
}

// attempt ends the trouble t, or says why it cannot.
func (l *Log) attempt(t *trouble) error {
	if !t.told {
		if t.full {
			l.release()
		}
		r, err := l.own(Event{Event: LogDegraded, Message: "the audit log could not be written: " + t.err.Error(), Errors: []string{t.err.Error()}})
		if err != nil {
			return err
		}
		if err := l.put(r); err != nil {
			return err
		}
	}
	// Room for the reserve is room to go on: with less, the next records would fill
	// the disk again. What else is wrong with it is no reason to wait.
	if err := l.reserve(); isFull(err) {
		return err
	}
	r, err := l.own(t.end())
	if err != nil {
		return err
	}
	return l.put(append(l.unwait(), r)...)
}

// own makes a record of what the log says of itself, to be numbered.
func (l *Log) own(e Event) (record, error) {
	records, err := l.encode([]Event{l.stamp(e)}, l.kept)
	if err != nil {
		return record{}, err
	}
	return records[0], nil
}

// end is the event that tells of the end of t.
func (t *trouble) end() Event {
	e := Event{Event: LogRestored, Message: "the audit log can be written again; "}
	switch {
	case t.inherited:
		e.Message += "how many records were lost before this program was started is not known"
	case t.lost == 0:
		e.Message += "no record was lost"
	case t.lost == 1:
		e.Message += "1 record was lost"
	default:
		e.Message += fmt.Sprintf("%d records were lost", t.lost)
	}
	if !t.inherited {
		lost := t.lost
		e.Lost = &lost
	}
	return e
}

// unwait returns what waits, which does not any more.
func (l *Log) unwait() []record {
	all := l.waiting
	l.waiting, l.weight = nil, 0
	return all
}

// put writes records and makes them durable, or lets them wait.
func (l *Log) put(records ...record) error {
	l.queue = records
	err := l.renumber()
	if err == nil {
		err = l.write(true)
	}
	if err != nil {
		l.retreat()
	}
	return err
}

// settle notes that a record of a kind is on disk.
func (l *Log) settle(kind string) {
	switch {
	case l.trouble == nil:
	case kind == LogDegraded:
		l.trouble.told = true
	case kind == LogRestored:
		l.trouble = nil
	}
}

// reserve makes the reserve, unless it is there. It holds random bytes, which no
// file system stores in less room.
func (l *Log) reserve() error {
	if l.reserved {
		return nil
	}
	b := make([]byte, reserveSize)
	_, _ = rand.Read(b) // never fails (its documentation)
	path := filepath.Join(l.dir, reserveName)
	f, err := l.disk.fill(path, b)
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		// A part of it helps nobody.
		if removed := l.disk.remove(path); !errors.Is(removed, fs.ErrNotExist) {
			err = errors.Join(err, removed)
		}
		return err
	}
	l.reserved = true
	return nil
}

// release gives the room of the reserve free.
func (l *Log) release() {
	if err := l.disk.remove(filepath.Join(l.dir, reserveName)); err == nil || errors.Is(err, fs.ErrNotExist) {
		l.reserved = false
	}
}

// prepare makes the reserve when the log is opened. One of another size is of a
// program that could not finish it, and one that cannot be made is tried again
// when the log has been in trouble.
func (l *Log) prepare() {
	path := filepath.Join(l.dir, reserveName)
	fi, err := os.Lstat(path)
	if l.reserved = err == nil && fi.Mode().IsRegular() && fi.Size() == reserveSize; l.reserved {
		return
	}
	if err == nil {
		l.release()
	}
	_ = l.reserve()
}
