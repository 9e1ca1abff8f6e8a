package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"
)

// record is an event as it is, or will be, in the file.
type record struct {
	event Event
	line  []byte // with its newline
	head  Head   // behind it
}

// stamp fills in what every record has beside its place in the chain.
func (l *Log) stamp(e Event) Event {
	e.Version, e.Host, e.Boot = Version, l.options.Host, l.options.Boot
	if e.Time.IsZero() {
		e.Time = l.options.Now()
	}
	e.Monotonic = uint64(max(0, l.options.Uptime()).Microseconds())
	return e
}

// encode makes records of stamped events, to stand behind h.
func (l *Log) encode(events []Event, h Head) ([]record, error) {
	var data bytes.Buffer
	records, ends := make([]record, len(events)), make([]int, len(events))
	for i, e := range events {
		e.Seq, e.Prev = h.Seq+1, h.Hash
		start := data.Len()
		recorded, err := encode(&data, e)
		if err != nil {
			return nil, fmt.Errorf("event %s: %w", Visible(Clip(e.Event, 64)), err)
		}
		ends[i] = data.Len()
		h = h.follow(data.Bytes()[start : ends[i]-1])
		records[i] = record{event: recorded, head: h}
	}
	start := 0
	for i, end := range ends { // now that data does not grow any more
		records[i].line, start = data.Bytes()[start:end:end], end
	}
	return records, nil
}

// enqueue puts stamped events into the queue.
func (l *Log) enqueue(events []Event) error {
	tail := l.kept
	if n := len(l.queue); n > 0 {
		tail = l.queue[n-1].head
	}
	records, err := l.encode(events, tail)
	if err != nil {
		return err
	}
	if len(l.queue) == 0 {
		l.since = time.Now()
	}
	l.queue = append(l.queue, records...)
	return nil
}

// renumber lets the queue, of which nothing is written, follow what is on disk.
// What was made harmless is not made so again: bounded lists would shrink.
func (l *Log) renumber() error {
	h := l.kept
	for i := range l.queue {
		r := &l.queue[i]
		r.event.Seq, r.event.Prev = h.Seq+1, h.Hash
		var data bytes.Buffer
		if err := marshal(&data, r.event); err != nil {
			return err
		}
		r.line = data.Bytes()
		h = h.follow(r.line[:len(r.line)-1])
		r.head = h
	}
	return nil
}

// write writes the queue, and makes durable what it is time for, or all of it.
func (l *Log) write(now bool) error {
	for l.written < len(l.queue) {
		if err := l.room(); err != nil {
			return err
		}
		if err := l.writeNext(); err != nil {
			return err
		}
		if l.written >= groupRecords {
			if err := l.commit(); err != nil {
				return err
			}
		}
	}
	if now || time.Since(l.since) >= groupDelay {
		return l.commit()
	}
	return nil
}

// room makes sure of a segment into which the next record of the queue may go.
func (l *Log) room() error {
	switch {
	case l.file == nil:
		return l.begin()
	case !l.due(l.queue[l.written]):
		return nil
	}
	if err := l.commit(); err != nil {
		return err
	}
	return l.rotate()
}

// writeNext writes the next record of the queue.
func (l *Log) writeNext() error {
	line := l.queue[l.written].line
	if err := l.disk.writeAll(l.file, line); err != nil {
		// A part of it may be there. A disk that is full can still be read and
		// made shorter; of one that fails otherwise nothing is known.
		if !isFull(err) || l.disk.truncate(l.file, l.size) != nil {
			l.abandon()
		}
		return err
	}
	l.size += int64(len(line))
	l.written++
	return nil
}

// commit makes durable what is written.
//
// A failed fsync is never tried again: the kernel may have dropped what it could
// not write and call the next one a success (https://lwn.net/Articles/752063/).
func (l *Log) commit() error {
	if l.written == 0 {
		return nil
	}
	if err := l.disk.sync(l.file); err != nil {
		l.abandon()
		return err
	}
	if err := l.inPlace(); err != nil {
		l.abandon()
		l.place = free // what has the name now, if something has, is none of ours
		return err
	}
	for _, r := range l.queue[:l.written] {
		l.done = append(l.done, r.event)
		l.settle(r.event.Event)
	}
	l.kept = l.queue[l.written-1].head
	l.queue, l.written, l.since = slices.Delete(l.queue, 0, l.written), 0, time.Now()
	return nil
}

// inPlace returns an error if the active segment is not the file that has its name:
// somebody removed or replaced it, and nobody will read what is written to it.
func (l *Log) inPlace() error {
	held, err := l.file.Stat()
	if err != nil {
		return err
	}
	named, err := os.Lstat(l.path)
	if err == nil && os.SameFile(held, named) {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return fmt.Errorf("%w while it was written, with the records from %d to %d", errTaken, l.first, l.kept.Seq)
}

// errTaken says that the active segment is no longer there.
var errTaken = errors.New("its file was removed or replaced")

// abandon ends the use of a segment of which nobody knows what is on disk. What
// of it was not acknowledged is written anew, into the next one.
func (l *Log) abandon() {
	_ = l.file.Close() // nothing is known of it anyway
	l.file, l.place, l.written = nil, old, 0
}
