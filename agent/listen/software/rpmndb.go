package software

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The layout of rpm's ndb, lib/backend/ndb/rpmpkg.c: little-endian words; a
// header, slots in pages from the start of the file on, and blobs in blocks.
const (
	ndbMagic     = "RpmP"
	ndbSlotMagic = "Slot"
	ndbBlobMagic = "BlbS"
	ndbPage      = 4096
	ndbSlot      = 16 // magic, package number, first block, blocks
	ndbHeader    = 32 // magic, version, generation, pages of slots, next package number
	ndbBlock     = 16
	ndbBlobHead  = 16 // magic, package number, time, bytes
)

var errNDB = errors.New("no ndb database")

// readNDB searches all headers of an ndb database.
func readNDB(_ *root, f io.ReaderAt, size int64, name string, s *search) error {
	var blob []byte
	err := eachNDB(f, size, func(offset, length int64) (bool, error) {
		var err error
		if blob, err = readBlob(f, blob, offset, length); err != nil {
			return false, err
		}
		return s.missing() > 0, s.searchHeader(blob)
	})
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// eachNDB calls do with the place of each header in a database of size bytes,
// until it is false.
func eachNDB(f io.ReaderAt, size int64, do func(offset, length int64) (bool, error)) error {
	page := make([]byte, ndbPage)
	if _, err := f.ReadAt(page, 0); err != nil {
		return fmt.Errorf("%w: %v", errNDB, eof(err))
	}
	if string(page[:4]) != ndbMagic || binary.LittleEndian.Uint32(page[4:]) != 0 {
		return fmt.Errorf("%w of version 0: it begins with %q", errNDB, page[:8])
	}
	pages := int64(binary.LittleEndian.Uint32(page[12:]))
	if pages*ndbPage > size {
		return fmt.Errorf("%w: %d pages of slots in %d bytes", errNDB, pages, size)
	}
	slots := page[ndbHeader:]
	read := int64(0) // headers do not overlap
	for n := int64(0); n < pages; n++ {
		if n > 0 {
			if _, err := f.ReadAt(page, n*ndbPage); err != nil {
				return fmt.Errorf("page %d: %w", n, eof(err))
			}
			slots = page
		}
		for ; len(slots) > 0; slots = slots[ndbSlot:] {
			offset, length, err := findNDBBlob(f, size, slots[:ndbSlot])
			if err != nil {
				return fmt.Errorf("page %d: %w", n, err)
			}
			if length == 0 {
				continue
			}
			if read += length; read > size {
				return fmt.Errorf("page %d: %w: headers overlap", n, errNDB)
			}
			if more, err := do(offset, length); err != nil || !more {
				return err
			}
		}
	}
	return nil
}

// findNDBBlob returns where the header of a slot lies; 0 bytes if the slot is
// free.
func findNDBBlob(f io.ReaderAt, size int64, slot []byte) (offset, length int64, err error) {
	if string(slot[:4]) != ndbSlotMagic {
		return 0, 0, fmt.Errorf("%w: a slot begins with %q", errNDB, slot[:4])
	}
	number := binary.LittleEndian.Uint32(slot[4:])
	start := int64(binary.LittleEndian.Uint32(slot[8:])) * ndbBlock
	room := int64(binary.LittleEndian.Uint32(slot[12:])) * ndbBlock
	if start == 0 {
		return 0, 0, nil
	}
	if start+room > size {
		return 0, 0, fmt.Errorf("%w: package %d at %d to %d of %d bytes", errNDB, number, start, start+room, size)
	}
	var head [ndbBlobHead]byte
	if _, err := f.ReadAt(head[:], start); err != nil {
		return 0, 0, fmt.Errorf("package %d: %w", number, eof(err))
	}
	length = int64(binary.LittleEndian.Uint32(head[12:]))
	if string(head[:4]) != ndbBlobMagic || binary.LittleEndian.Uint32(head[4:]) != number || length > room-ndbBlobHead {
		return 0, 0, fmt.Errorf("%w: no header of package %d at %d", errNDB, number, start)
	}
	return start + ndbBlobHead, length, nil
}
