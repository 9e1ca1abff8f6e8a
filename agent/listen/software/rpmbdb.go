package software

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The layout of a Berkeley DB hash, as in its src/dbinc/db_page.h and in rpm's
// lib/backend/bdb_ro.c. Numbers are in the order of the machine that wrote it.
const (
	bdbMagic     = 0x061561
	bdbPageHead  = 26 // log position, number, previous, next, entries (20), free space or bytes used (22), level, type (25)
	bdbUnsorted  = 2  // types of pages
	bdbOverflow  = 7
	bdbSorted    = 13
	bdbInline    = 1 // types of entries
	bdbOffPage   = 3
	bdbOffLength = 12 // type and padding, first page, bytes
)

var errBDB = errors.New("no Berkeley DB hash")

// readBDB searches all headers of rpm's Packages.
func readBDB(_ *root, f io.ReaderAt, size int64, name string, s *search) error {
	d, err := openBDB(f, size)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if err := d.each(func(b []byte) (bool, error) { return s.missing() > 0, s.searchHeader(b) }); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// bdb reads a Berkeley DB hash.
type bdb struct {
	file     io.ReaderAt
	order    binary.ByteOrder
	pageSize int64
	pages    int64
	chained  int64 // overflow pages read so far: no page is in two chains
	overflow []byte
	value    []byte
}

// openBDB reads the first page of a database of size bytes.
func openBDB(f io.ReaderAt, size int64) (*bdb, error) {
	head := make([]byte, 512) // DBMETASIZE
	if _, err := f.ReadAt(head, 0); err != nil {
		return nil, fmt.Errorf("%w: %v", errBDB, eof(err))
	}
	d := &bdb{file: f, order: binary.LittleEndian}
	if binary.BigEndian.Uint32(head[12:]) == bdbMagic {
		d.order = binary.BigEndian
	}
	if magic, version := d.order.Uint32(head[12:]), d.order.Uint32(head[16:]); magic != bdbMagic || version < 8 || version > 10 {
		return nil, fmt.Errorf("%w of version 8 to 10: magic %#x, version %d", errBDB, magic, version)
	}
	if head[24] != 0 {
		return nil, fmt.Errorf("%w that is not encrypted", errBDB)
	}
	d.pageSize = int64(d.order.Uint32(head[20:]))
	if d.pageSize < 512 || d.pageSize > 64<<10 || d.pageSize&(d.pageSize-1) != 0 {
		return nil, fmt.Errorf("%w: pages of %d bytes", errBDB, d.pageSize)
	}
	d.pages = size / d.pageSize
	d.overflow = make([]byte, d.pageSize)
	return d, nil
}

// read reads a page and checks that it is the one.
func (d *bdb) read(page []byte, number uint32) error {
	if int64(number) >= d.pages {
		return fmt.Errorf("page %d of %d", number, d.pages)
	}
	if _, err := d.file.ReadAt(page, int64(number)*d.pageSize); err != nil {
		return fmt.Errorf("page %d: %w", number, eof(err))
	}
	return nil
}

// each calls do with the value of each record but number 0, which counts the
// others, until it is false. It takes the pages as they lie in the file: the
// order of the buckets does not matter here, and a page that no bucket uses any
// more is of another type.
func (d *bdb) each(do func(value []byte) (bool, error)) error {
	page := make([]byte, d.pageSize)
	for number := uint32(1); int64(number) < d.pages; number++ {
		if err := d.read(page, number); err != nil {
			return err
		}
		if page[25] != bdbUnsorted && page[25] != bdbSorted {
			continue
		}
		more, err := d.eachOf(page, do)
		if err != nil {
			return fmt.Errorf("page %d: %w", number, err)
		}
		if !more {
			return nil
		}
	}
	return nil
}

// eachOf does so for the records of one page: keys and values in turn, from
// the end of the page on towards its start.
func (d *bdb) eachOf(page []byte, do func(value []byte) (bool, error)) (more bool, err error) {
	entries := int(d.order.Uint16(page[20:]))
	if bdbPageHead+2*entries > len(page) {
		return false, fmt.Errorf("%w: %d entries on a page", errBDB, entries)
	}
	end := len(page)
	var key []byte
	for i := range entries {
		start := int(d.order.Uint16(page[bdbPageHead+2*i:]))
		if start < bdbPageHead+2*entries || start >= end {
			return false, fmt.Errorf("%w: entry %d at %d to %d", errBDB, i, start, end)
		}
		entry := page[start:end]
		end = start
		if i%2 == 0 {
			key = entry
			continue
		}
		if len(key) == 5 && d.order.Uint32(key[1:]) == 0 { // of either order
			continue
		}
		value, err := d.valueOf(entry)
		if err != nil {
			return false, fmt.Errorf("entry %d: %w", i, err)
		}
		if more, err := do(value); err != nil || !more {
			return false, err
		}
	}
	return true, nil
}

// valueOf returns the bytes of an entry, which are good until the next one.
func (d *bdb) valueOf(entry []byte) ([]byte, error) {
	switch {
	case entry[0] == bdbInline:
		return entry[1:], nil
	case entry[0] == bdbOffPage && len(entry) >= bdbOffLength:
		return d.chain(d.order.Uint32(entry[4:]), d.order.Uint32(entry[8:]))
	}
	return nil, fmt.Errorf("%w: an entry of type %d and %d bytes", errBDB, entry[0], len(entry))
}

// chain reads a value from the pages that it was put into.
func (d *bdb) chain(number, length uint32) ([]byte, error) {
	if length > maxHeader || int64(length) > d.pages*d.pageSize {
		return nil, fmt.Errorf("a header of %d bytes", length)
	}
	d.value = d.value[:0]
	for uint32(len(d.value)) < length {
		if d.chained++; d.chained > d.pages {
			return nil, fmt.Errorf("%w: a page is in two chains", errBDB)
		}
		if err := d.read(d.overflow, number); err != nil {
			return nil, err
		}
		used := int(d.order.Uint16(d.overflow[22:]))
		if d.overflow[25] != bdbOverflow || used == 0 || used > len(d.overflow)-bdbPageHead {
			return nil, fmt.Errorf("%w: page %d continues no value", errBDB, number)
		}
		d.value = append(d.value, d.overflow[bdbPageHead:][:used]...)
		number = d.order.Uint32(d.overflow[16:])
	}
	return d.value[:length], nil
}
