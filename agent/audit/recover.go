package audit

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Recovery says what Open found and did.
type Recovery struct {
	Seq     uint64 // the last record that was kept, 0 if there is none
	Dropped int64  // bytes behind it that were cut off: a torn tail
	Reason  error  // what was wrong with them, nil if there were none
}

// survey is what is found of a segment.
type survey struct {
	first uint64    // its first record, 0 if there is none
	born  time.Time // when that was written
	head  Head      // its last record
	size  int64     // up to and with that
	// degraded: it says that the log could not be written, and not that it can be
	// again.
	degraded bool
	signed   uint64 // its first checkpoint, 0 if there is none
	tail     Recovery
}

// open brings the log into a state that can be appended to. It reads the active
// segment, and the one before only if no record is in that: a crash came between
// the steps of a rotation, or there is no log yet.
func (l *Log) open() error {
	s, err := surveyFile(l.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = l.follow(survey{})
	case err == nil && s.first == 0:
		err = l.follow(s)
	case err == nil:
		l.found, l.kept = s.tail, s.head
		l.first, l.born, l.size = s.first, s.born, s.size
		// A crash may come between the first checkpoint of a log and its file.
		l.marked = s.signed > 0 && (s.signed < s.head.Seq || s.first > 1)
		l.file, err = l.mend(l.path, s)
	}
	if err != nil {
		return err
	}
	if err := l.disk.syncDir(l.dir); err != nil {
		return err
	}
	if s.degraded {
		l.trouble = &trouble{
			err:   errors.New("it could not be written when the program before this ended"),
			since: l.options.Now(), told: true, inherited: true,
		}
	}
	l.prepare()
	if l.file != nil {
		return nil
	}
	err = l.begin()
	if isFull(err) { // to be told of, and to wait for
		l.degrade(err)
		return nil
	}
	return err
}

// follow goes on behind the last closed segment, for the active one, if there is
// one, holds no record.
func (l *Log) follow(active survey) error {
	l.found = active.tail
	l.kept = firstHead()
	all, err := listSegments(l.dir)
	if err != nil {
		return err
	}
	if n := len(all); n > 0 {
		path := filepath.Join(l.dir, all[n-1].name())
		s, err := surveyFile(path)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if !all[n-1].packed { // that one was whole
			f, err := l.mend(path, s)
			if err != nil {
				return err
			}
			if err := f.Close(); err != nil {
				return err
			}
		}
		l.kept, l.found.Seq = s.head, s.head.Seq
		l.marked = s.signed > 0
		if l.found.Dropped == 0 {
			l.found = s.tail
		}
	}
	if err := l.disk.remove(l.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// mend cuts off the tail of a segment, and brings the rest to disk. The records
// that were found may so far only be in the page cache, if the process that wrote
// them died before its fsync. New ones build on them.
func (l *Log) mend(path string, s survey) (*os.File, error) {
	f, err := l.disk.open(path)
	if err != nil {
		return nil, err
	}
	if s.tail.Dropped > 0 {
		err = l.disk.truncate(f, s.size)
	}
	if err == nil {
		err = l.disk.sync(f)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// surveyFile surveys the segment at path, which may be compressed.
func surveyFile(path string) (survey, error) {
	// Nor through a link: what follows writes to the file, and cuts off what is no
	// record.
	if fi, err := os.Lstat(path); err != nil {
		return survey{}, err
	} else if err := irregular(path, fi); err != nil {
		return survey{}, err
	}
	f, err := openRegular(path)
	if err != nil {
		return survey{}, err
	}
	defer f.Close()
	if !strings.HasSuffix(path, packedSuffix) {
		return surveyOf(f)
	}
	z, err := gzip.NewReader(bufio.NewReader(f))
	if err != nil {
		return survey{}, err
	}
	return surveyOf(z)
}

// surveyOf reads a segment to its end. Behind its last record is either a torn
// tail, which holds no record, or the log was damaged by something else than a
// crash: that is an error, for to cut there would destroy evidence.
func surveyOf(r io.Reader) (s survey, err error) {
	rd := newReader(r)
	last, err := s.scan(rd)
	s.head, s.size = rd.head, rd.good
	s.tail.Seq = s.head.Seq
	var damage *DamageError
	switch {
	case err == io.EOF:
		return s, nil
	case !errors.As(err, &damage):
		return survey{}, err
	}
	found, err := recordBehind(&rd.lines)
	if err != nil {
		return survey{}, err
	}
	if found || holdsRecord(last) {
		return survey{}, fmt.Errorf("%w; nothing was cut off, for records would go with it: "+
			"keep this file as evidence by moving it to another directory, and a new log is started", damage)
	}
	s.tail.Dropped, s.tail.Reason = rd.lines.end-rd.good, damage
	return s, nil
}

// scan reads the records of a segment to the first that is bad, and returns why, and
// the line that is bad if that is not the last that was read. A record that the next
// one carries the hash of is one that was written whole: of it no more is read than its
// prefix, unless it tells of the log itself. The last is decoded. That is some five times
// as fast, and a daemon that starts waits for it.
func (s *survey) scan(rd *reader) (bad []byte, err error) {
	var held []byte // a line that follows by its prefix
	var p prefix    // of it
	var start, end int64
	for {
		line, lineErr := rd.lines.next()
		next, ok := prefix{}, false
		if lineErr == nil {
			next, ok = scanPrefix(line)
		}
		if held != nil {
			attested := ok && next.schema <= Version && next.seq == p.seq+1 && next.prev == lineSum(held) && !special(p.kind)
			if err := s.accept(rd, held, p, start, end, attested); err != nil {
				return held, err
			}
			held = held[:0:cap(held)]
		}
		switch {
		case lineErr == nil && ok && s.first > 0 && next.schema <= Version && next.seq == rd.head.Seq+1 && hex.EncodeToString(next.prev[:]) == rd.head.Hash:
			held, p, start, end = append(held[:0], line...), next, rd.lines.start, rd.lines.end
			continue
		default:
			held = nil
		}
		e, err := rd.judge(line, lineErr)
		if err != nil {
			return nil, err
		}
		s.take(e)
	}
}

// special reports whether a survey has to know more of a record than that it is there.
func special(kind string) bool {
	return kind == LogDegraded || kind == LogRestored || kind == LogCheckpoint || kind == LogSegment
}

// accept takes a line whose prefix follows; attested tells that the next one carries its
// hash.
func (s *survey) accept(rd *reader, line []byte, p prefix, start, end int64, attested bool) error {
	if attested {
		rd.head, rd.good = rd.head.follow(line), end
		return nil
	}
	e, err := decode(line)
	bad := rd.head.Seq + 1
	head := rd.head
	if err == nil {
		head, bad, err = rd.head.next(line, e)
	}
	if err != nil {
		return &DamageError{Seq: bad, Offset: start, Err: err}
	}
	rd.head, rd.good = head, end
	s.take(e)
	return nil
}

// take notes what the next record e says of its segment.
func (s *survey) take(e Event) {
	if s.first == 0 {
		s.first, s.born = e.Seq, e.Time
	}
	switch e.Event {
	case LogDegraded:
		s.degraded = true
	case LogRestored:
		s.degraded = false
	case LogCheckpoint:
		s.signed = cmp.Or(s.signed, e.Seq)
	}
}

// recordBehind reports whether the last line that l read, or any until the end
// of the file, holds a record.
func recordBehind(l *lineReader) (bool, error) {
	for {
		if holdsRecord(l.line) {
			return true, nil
		}
		switch _, err := l.next(); err {
		case nil, errLong, errTorn:
		case io.EOF:
			return false, nil
		default:
			return false, err
		}
	}
}

// holdsRecord reports whether line is a record or ends in one, as it does when
// a record was appended behind a torn one. It need not fit into the chain.
func holdsRecord(line []byte) bool {
	if _, err := decode(line); err == nil {
		return true
	}
	// This is how every record starts, and none has it in a string: quotes are
	// escaped there.
	i := bytes.LastIndex(line, []byte(`{"schema":`))
	if i < 1 {
		return false
	}
	_, err := decode(line[i:])
	return err == nil
}
