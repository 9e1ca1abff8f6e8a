package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// Recovery says what Open found and did.
type Recovery struct {
	Seq     uint64 // the last record that was kept, 0 if there is none
	Dropped int64  // bytes behind it that were cut off: a torn tail
	Reason  error  // what was wrong with them, nil if there were none
}

// mend brings the log at path into a state that can be appended to, makes it
// if there is none, and returns its head and its size in bytes.
func mend(path string) (_ Head, size int64, rec Recovery, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return Head{}, 0, rec, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if fi, err := f.Stat(); err != nil {
		return Head{}, 0, rec, err
	} else if !fi.Mode().IsRegular() {
		return Head{}, 0, rec, &fs.PathError{Op: "open", Path: path, Err: errors.New("it is not a regular file")}
	}
	head, size, rec, err := survey(f)
	if err != nil {
		return Head{}, 0, rec, err
	}
	if rec.Dropped > 0 {
		if err := f.Truncate(size); err != nil {
			return Head{}, 0, rec, err
		}
	}
	// The records that were found may so far only be in the page cache, if the
	// process that wrote them died before its fsync. New ones build on them.
	return head, size, rec, f.Sync()
}

// survey reads a log to its end and returns its head, where that ends, and
// what lies behind. Behind it is either a torn tail, which holds no record, or
// the log was damaged by something else than a crash: that is an error, for to
// cut there would destroy evidence.
func survey(r io.Reader) (head Head, size int64, rec Recovery, err error) {
	rd := newReader(r)
	for err == nil {
		_, err = rd.next()
	}
	var damage *DamageError
	switch {
	case err == io.EOF:
		return rd.head, rd.good, Recovery{Seq: rd.head.Seq}, nil
	case !errors.As(err, &damage):
		return Head{}, 0, rec, err
	}
	found, err := recordBehind(&rd.lines)
	if err != nil {
		return Head{}, 0, rec, err
	}
	if found {
		return Head{}, 0, rec, fmt.Errorf("%w; nothing was cut off, for records would go with it: "+
			"keep this file as evidence by moving it to another directory, and a new log is started", damage)
	}
	return rd.head, rd.good, Recovery{Seq: rd.head.Seq, Dropped: rd.lines.end - rd.good, Reason: damage}, nil
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
