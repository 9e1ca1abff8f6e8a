package software

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"strconv"
)

// Tags of an rpm header (include/rpm/rpmtag.h).
const (
	rpmName       = 1000
	rpmVersion    = 1001
	rpmRelease    = 1002
	rpmEpoch      = 1003
	rpmArch       = 1022
	rpmFileStates = 1029
	rpmDirIndexes = 1116
	rpmBasenames  = 1117
	rpmDirnames   = 1118
)

// Types of values (include/rpm/rpmtag.h, rpmTagType).
const (
	rpmChar        = 1
	rpmInt32       = 4
	rpmString      = 6
	rpmStringArray = 8
)

// maxTags bounds the entries of a header (HEADER_TAGS_MAX of lib/header_internal.h).
const maxTags = 0xffff

// maxWanted bounds the directories of one package that are looked into. Each
// is in a header once, and few are asked for at a time.
const maxWanted = 1 << 12

// field is where a header has a value.
type field struct {
	kind   uint32
	offset int // in the data
	count  int
}

// header is a package's header as rpm keeps it in its database: an index and
// the data. Methods read from the bytes that were parsed, and keep none.
type header struct {
	data   []byte
	fields map[uint32]field
}

var errHeader = errors.New("no rpm header")

// parseHeader reads the index of a header: the number of entries and the
// number of data bytes, the entries, the data; all numbers in network order
// (rpm's docs/manual/format.md, "Header format", of which the database leaves
// out the magic number).
func parseHeader(b []byte) (header, error) {
	if len(b) < 8 {
		return header{}, fmt.Errorf("%w: %d bytes", errHeader, len(b))
	}
	entries, size := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	if entries > maxTags || uint64(len(b)) < 8+16*uint64(entries)+uint64(size) {
		return header{}, fmt.Errorf("%w: %d entries and %d bytes of data in %d bytes", errHeader, entries, size, len(b))
	}
	index := b[8 : 8+16*entries]
	h := header{data: b[8+16*entries:][:size], fields: make(map[uint32]field, 9)}
	for ; len(index) > 0; index = index[16:] {
		tag := binary.BigEndian.Uint32(index)
		switch tag {
		case rpmName, rpmVersion, rpmRelease, rpmEpoch, rpmArch, rpmFileStates, rpmDirIndexes, rpmBasenames, rpmDirnames:
		default:
			continue
		}
		kind, offset, count := binary.BigEndian.Uint32(index[4:]), binary.BigEndian.Uint32(index[8:]), binary.BigEndian.Uint32(index[12:])
		if offset > size || count > size {
			return header{}, fmt.Errorf("%w: tag %d has %d values at %d of %d bytes", errHeader, tag, count, offset, size)
		}
		h.fields[tag] = field{kind, int(offset), int(count)}
	}
	return h, nil
}

// strings yields the strings of a tag; none if it is absent, of another type
// or, from there on, past the end.
func (h header) strings(tag uint32) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		f := h.fields[tag]
		if f.kind != rpmStringArray && f.kind != rpmString {
			return
		}
		rest := h.data[f.offset:]
		for range f.count {
			s, tail, ok := bytes.Cut(rest, []byte{0})
			if !ok || !yield(s) {
				return
			}
			rest = tail
		}
	}
}

func (h header) text(tag uint32) string {
	for s := range h.strings(tag) {
		return string(s)
	}
	return ""
}

// bytes returns the values of a tag of width bytes each; nil if it is absent,
// of another type or past the end.
func (h header) bytes(tag, kind uint32, width int) []byte {
	f := h.fields[tag]
	if f.kind != kind || f.count > (len(h.data)-f.offset)/width {
		return nil
	}
	return h.data[f.offset:][:f.count*width]
}

// identity names the package, with the version as rpm compares it:
// [EPOCH:]VERSION-RELEASE (rpm-version(7)).
func (h header) identity() Package {
	p := Package{Manager: RPM, Name: h.text(rpmName), Version: h.text(rpmVersion), Architecture: h.text(rpmArch)}
	if release := h.text(rpmRelease); release != "" {
		p.Version += "-" + release
	}
	if epoch := h.bytes(rpmEpoch, rpmInt32, 4); len(epoch) >= 4 {
		p.Version = strconv.FormatUint(uint64(binary.BigEndian.Uint32(epoch)), 10) + ":" + p.Version
	}
	return p
}

// files calls do with the path of each file that the package has in a
// directory for which in is true (without a slash at the end), and has really
// installed: a file of state other than normal was replaced by another
// package, left out, or is another architecture's (rpmfileState of
// include/rpm/rpmfiles.h). do must not keep the path. A path is its base name
// and the number of its directory, in three parallel arrays; packages older
// than rpm 4 (2000), which list whole paths, are not read.
func (h header) files(in func(dir []byte) bool, do func(path []byte)) error {
	wanted := map[uint32][]byte{}
	dirs := uint32(0)
	for dir := range h.strings(rpmDirnames) {
		if dir = trimSlash(dir); in(dir) {
			wanted[dirs] = dir
		}
		if dirs++; len(wanted) > maxWanted {
			return fmt.Errorf("%w: more than %d times the same directories", errHeader, maxWanted)
		}
	}
	indexes := h.bytes(rpmDirIndexes, rpmInt32, 4)
	states := h.bytes(rpmFileStates, rpmChar, 1)
	var path []byte
	i := 0
	for base := range h.strings(rpmBasenames) {
		if len(indexes) < 4*(i+1) {
			return fmt.Errorf("%w: %d directory numbers for more files", errHeader, i)
		}
		n := binary.BigEndian.Uint32(indexes[4*i:])
		if n >= dirs {
			return fmt.Errorf("%w: directory %d of %d", errHeader, n, dirs)
		}
		if dir, ok := wanted[n]; ok && (i >= len(states) || states[i] == 0) {
			path = append(append(append(path[:0], dir...), '/'), base...)
			do(path)
		}
		i++
	}
	return nil
}

// trimSlash takes the slash from the end of a directory's name.
func trimSlash(dir []byte) []byte {
	if n := len(dir); n > 0 && dir[n-1] == '/' {
		return dir[:n-1]
	}
	return dir
}
