package audit

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// What the name of a closed segment is made of: audit-<20 digits>.jsonl, where
// the digits are the sequence number of its first record, and the same with .gz
// when it is compressed. 20 digits hold any uint64, and sort as numbers do.
const (
	segmentPrefix = "audit-"
	segmentSuffix = ".jsonl"
	packedSuffix  = ".gz"
	segmentDigits = 20
)

// segment is a closed file of a log.
type segment struct {
	first  uint64 // sequence number of its first record
	packed bool   // compressed
}

func (s segment) name() string {
	name := fmt.Sprintf("%s%0*d%s", segmentPrefix, segmentDigits, s.first, segmentSuffix)
	if s.packed {
		name += packedSuffix
	}
	return name
}

// parseSegment reads the name of a file, and reports whether it is a closed
// segment's.
func parseSegment(name string) (segment, bool) {
	rest, packed := strings.CutSuffix(name, packedSuffix)
	digits, prefixed := strings.CutPrefix(rest, segmentPrefix)
	digits, suffixed := strings.CutSuffix(digits, segmentSuffix)
	if !prefixed || !suffixed || len(digits) != segmentDigits || strings.TrimLeft(digits, "0123456789") != "" {
		return segment{}, false
	}
	first, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || first == 0 {
		return segment{}, false
	}
	return segment{first: first, packed: packed}, true
}

// listSegments returns the closed segments in a directory in the order of their
// records. Of one that is there raw and compressed, as it is until the raw one is
// removed, it returns the raw one, which is what was written.
func listSegments(dir string) ([]segment, error) {
	before, err := readSegments(dir)
	// A directory is not read in one go: of a segment that is compressed meanwhile
	// both names can be missed. Two listings that agree have not met that.
	for err == nil {
		var again []segment
		if again, err = readSegments(dir); slices.Equal(before, again) {
			break
		}
		before = again
	}
	return before, err
}

func readSegments(dir string) ([]segment, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var list []segment
	for _, e := range entries {
		if s, ok := parseSegment(e.Name()); ok {
			list = append(list, s)
		}
	}
	slices.SortFunc(list, func(a, b segment) int {
		return cmp.Or(cmp.Compare(a.first, b.first), len(a.name())-len(b.name()))
	})
	return slices.CompactFunc(list, func(a, b segment) bool { return a.first == b.first }), nil
}

// snapshot is the files of a log at one moment.
type snapshot struct {
	closed []segment
	active *os.File // nil if there is none, as within a rotation
	first  uint64   // sequence number of the first record of active, 0 if it has none yet
}

// look returns the files of the log in dir. The active one is open, for its name
// may be another's a moment later. A log that does not exist is fs.ErrNotExist.
func look(dir string) (*snapshot, error) {
	path := filepath.Join(dir, logName)
	for {
		f, err := openRegular(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		absent := err
		s := &snapshot{active: f}
		if s.closed, err = listSegments(dir); err != nil {
			return nil, errors.Join(err, s.close())
		}
		same, err := s.still(path)
		switch {
		case err != nil:
			return nil, errors.Join(err, s.close())
		case !same: // it was rotated meanwhile
			if err := s.close(); err != nil {
				return nil, err
			}
			continue
		case f == nil && len(s.closed) == 0:
			return nil, absent
		case f != nil:
			if s.first, err = firstSeq(f); err != nil {
				return nil, errors.Join(err, s.close())
			}
		}
		return s, nil
	}
}

// still reports whether the active file has its name still.
func (s *snapshot) still(path string) (bool, error) {
	now, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s.active == nil, nil
	}
	if err != nil || s.active == nil {
		return false, err
	}
	held, err := s.active.Stat()
	return err == nil && os.SameFile(held, now), err
}

// bound returns the sequence number of the first record that is no longer the
// i-th closed segment's, 0 if none is known. What a segment has at it or behind
// was never acknowledged: its file failed, and the log went on in another one.
func (s *snapshot) bound(i int) uint64 {
	if i+1 < len(s.closed) {
		return s.closed[i+1].first
	}
	return s.first
}

func (s *snapshot) close() error {
	if s.active == nil {
		return nil
	}
	return s.active.Close()
}

// firstSeq returns the sequence number of the first record of a raw segment, 0 if
// there is no whole record in it.
func firstSeq(f io.ReaderAt) (uint64, error) {
	buf := make([]byte, 4<<10) // more than what is before prev
	n, err := f.ReadAt(buf, 0)
	if err != nil && err != io.EOF {
		return 0, err
	}
	if p, ok := scanPrefix(buf[:n]); ok {
		return p.seq, nil
	}
	var l lineReader
	l.reset(io.NewSectionReader(f, 0, maxLine), 0)
	line, err := l.next()
	switch {
	case err == errTorn || err == errLong || err == io.EOF:
		return 0, nil
	case err != nil:
		return 0, err
	}
	p, err := readPrefix(line)
	if err != nil {
		return 0, nil //nolint:nilerr // who reads on finds and reports it
	}
	return p.seq, nil
}
