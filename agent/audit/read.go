package audit

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"iter"
)

var (
	errTorn = fmt.Errorf("it has no end: %w", io.ErrUnexpectedEOF)
	errLong = errors.New("it is longer than a line may be")
)

// Read streams the records of a log from its first, and checks each against
// the chain. At the first that is bad it yields a *DamageError, at a failure
// of r that error, and ends. It keeps no more than one line in memory.
func Read(r io.Reader) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for rd := newReader(r); ; {
			e, err := rd.next()
			if err == io.EOF {
				return
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// Verify checks the whole chain and returns the head of it, or with an error
// as Read yields it the head of the part before the error.
func Verify(r io.Reader) (Head, error) {
	rd := newReader(r)
	for {
		if _, err := rd.next(); err == io.EOF {
			return rd.head, nil
		} else if err != nil {
			return rd.head, err
		}
	}
}

// reader follows the chain through a log.
type reader struct {
	lines lineReader
	head  Head
	good  int64 // where the last record that follows ends
}

func newReader(r io.Reader) *reader {
	rd := &reader{head: firstHead()}
	rd.lines.reset(r, 0)
	return rd
}

// next returns the next record, io.EOF behind the last, a *DamageError, or
// what the source of the log failed with.
func (r *reader) next() (Event, error) {
	return r.judge(r.lines.next())
}

// judge is next of a line that was read, or of why it could not be.
func (r *reader) judge(line []byte, err error) (Event, error) {
	if err != nil && err != errTorn && err != errLong {
		return Event{}, err
	}
	bad := r.head.Seq + 1
	var e Event
	if err == nil {
		e, err = decode(line)
	}
	if h, ok := before(e); ok && err == nil && r.lines.start == 0 {
		r.head = h
	}
	head := r.head
	if err == nil {
		var seq uint64
		if head, seq, err = r.head.next(line, e); err != nil {
			bad = seq
		}
	}
	if err != nil {
		return Event{}, &DamageError{Seq: bad, Offset: r.lines.start, Err: err}
	}
	r.head, r.good = head, r.lines.end
	return e, nil
}

// lineReader reads lines of bounded length.
type lineReader struct {
	r          *bufio.Reader
	buf        []byte // for lines that the buffer of r does not hold
	line       []byte // the last line, nil if it was too long
	start, end int64  // where in the file it starts, and ends behind its newline
}

// reset begins with r, whose first byte is at an offset in its file.
func (l *lineReader) reset(r io.Reader, offset int64) {
	if l.r == nil {
		l.r = bufio.NewReaderSize(r, 128<<10)
	} else {
		l.r.Reset(r)
	}
	l.line, l.start, l.end = nil, offset, offset
}

// next returns the next line without its newline, good until the next call.
// It fails with errLong, errTorn at an end of file within a line, io.EOF, or
// what the file fails with; after errLong it can be called again.
func (l *lineReader) next() ([]byte, error) {
	l.start, l.buf, l.line = l.end, l.buf[:0], nil
	for long := false; ; {
		part, err := l.r.ReadSlice('\n')
		l.end += int64(len(part))
		if err == nil && !long && len(l.buf) == 0 && len(part) <= maxLine {
			l.line = part[:len(part)-1]
			return l.line, nil
		}
		if long = long || len(l.buf)+len(part) > maxLine; !long {
			l.buf = append(l.buf, part...)
		}
		switch {
		case err == bufio.ErrBufferFull:
		case err == io.EOF && l.end > l.start:
			return nil, errTorn
		case err != nil:
			return nil, err
		case long:
			return nil, errLong
		default:
			l.line = l.buf[:len(l.buf)-1]
			return l.line, nil
		}
	}
}
