package software

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// rpmHomes are where rpm keeps its database: the second is the older one, and
// where the first exists most often a link to it.
var rpmHomes = [...]string{"usr/lib/sysimage/rpm", "var/lib/rpm"}

// maxHeader bounds the header of one installed package in bytes. The largest
// in Fedora, of packages with 20,000 files, have 4 MB; rpm itself takes 256 MB
// (HEADER_DATA_MAX in lib/header_internal.h).
const maxHeader = 32 << 20

// rpmStores are the forms of rpm's database by file name, in the order of
// rpm's own detection (lib/dbi.c): the newer ones first, since a conversion
// may leave the older file behind.
var rpmStores = [...]struct {
	file string
	read func(r *root, f io.ReaderAt, size int64, name string, s *search) error
}{
	{"rpmdb.sqlite", readRPMSQLite}, // Fedora 33, RHEL 9 and later
	{"Packages.db", readNDB},        // SUSE
	{"Packages", readBDB},           // RHEL 8 and earlier, Amazon Linux 2
}

// searchRPM answers from rpm's database. The error wraps fs.ErrNotExist if
// there is none.
func searchRPM(r *root, s *search) error {
	for _, home := range rpmHomes {
		for _, store := range rpmStores {
			name := home + "/" + store.file
			f, size, err := r.open(name)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			defer f.Close() // one: the loop ends here
			return store.read(r, f, size, name, s)
		}
	}
	return fs.ErrNotExist
}

// searchHeader gives the package of a header the wanted paths that it has.
func (s *search) searchHeader(b []byte) error {
	h, err := parseHeader(b)
	if err != nil {
		return err
	}
	if !s.wantsAny(h) {
		return nil
	}
	p := h.identity()
	return h.files(s.looksInto, func(path []byte) {
		if canonical, ok := s.lists(path); ok {
			s.give(canonical, p)
		}
	})
}

// wantsAny tells whether the package has files in a directory that is looked
// into.
func (s *search) wantsAny(h header) bool {
	for dir := range h.strings(rpmDirnames) {
		if s.looksInto(trimSlash(dir)) {
			return true
		}
	}
	return false
}

// readBlob reads a header at an offset of a database file.
func readBlob(f io.ReaderAt, buf []byte, offset, size int64) ([]byte, error) {
	if size > maxHeader {
		return buf, fmt.Errorf("a header of %d bytes", size)
	}
	buf = grow(buf, int(size))
	if _, err := f.ReadAt(buf, offset); err != nil {
		return buf, fmt.Errorf("%d bytes at offset %d: %w", size, offset, eof(err))
	}
	return buf, nil
}

// grow returns buf with a length of n, and a new array only if it must.
func grow(buf []byte, n int) []byte {
	if cap(buf) < n {
		return make([]byte, n, n+n/4)
	}
	return buf[:n]
}

// eof names the end of a file for what it is in a database.
func eof(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
