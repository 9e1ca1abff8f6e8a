package software

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The layout of SQLite's write-ahead log (fileformat2.html#the_write_ahead_log):
// a head and frames, each a head and a page. The checksums are in the order
// that the magic number says, everything else is in network order.
const (
	logMagic     = 0x377f0682 // plus one: checksums in network order
	logVersion   = 3007000
	logHead      = 32 // magic, version, page size, checkpoint, two salts, two checksums
	logFrameHead = 24 // page number, size of the database after a commit, two salts, two checksums
)

// maxFrames bounds the pages of a log. SQLite copies them into the database
// from 1,000 on; one transaction that installs a whole system has some 10,000.
const maxFrames = 1 << 17

var errLog = errors.New("no write-ahead log of SQLite")

// sqliteLog is the part of a write-ahead log that counts: for each page, where
// in the log its newest committed content is. What was already copied into the
// database is the same there and here.
type sqliteLog struct {
	file     io.ReaderAt
	pageSize int
	pages    map[uint32]int64
}

// readLog reads a log of size bytes up to the last transaction that was
// committed. As for SQLite, the log ends at the first frame of an earlier
// round or with a wrong checksum. An empty log is nil.
func readLog(f io.ReaderAt, size int64) (*sqliteLog, error) {
	if size == 0 {
		return nil, nil
	}
	var head [logHead]byte
	if _, err := f.ReadAt(head[:], 0); err != nil {
		return nil, fmt.Errorf("%w: %v", errLog, eof(err))
	}
	magic, version, pageSize := binary.BigEndian.Uint32(head[:]), binary.BigEndian.Uint32(head[4:]), binary.BigEndian.Uint32(head[8:])
	if magic&^1 != logMagic || version != logVersion || pageSize < 512 || pageSize > 64<<10 || pageSize%8 != 0 {
		return nil, fmt.Errorf("%w: magic %#x, version %d, pages of %d bytes", errLog, magic, version, pageSize)
	}
	var sum checksum
	sum.order = binary.LittleEndian
	if magic&1 != 0 {
		sum.order = binary.BigEndian
	}
	sum.add(head[:24])
	if !sum.equals(head[24:]) {
		return nil, nil // torn while it was begun: there is nothing in it yet
	}
	l := &sqliteLog{file: f, pageSize: int(pageSize), pages: map[uint32]int64{}}
	return l, l.readFrames(size, head[16:24], sum)
}

func (l *sqliteLog) readFrames(size int64, salts []byte, sum checksum) error {
	frame := make([]byte, logFrameHead+l.pageSize)
	if size/int64(len(frame)) > maxFrames {
		return fmt.Errorf("a log of more than %d pages", maxFrames)
	}
	open := map[uint32]int64{} // pages of the transaction that is not committed yet
	for at := int64(logHead); at+int64(len(frame)) <= size; at += int64(len(frame)) {
		if _, err := l.file.ReadAt(frame, at); err != nil {
			return fmt.Errorf("log at %d: %w", at, eof(err))
		}
		sum.add(frame[:8])
		sum.add(frame[logFrameHead:])
		if string(frame[8:16]) != string(salts) || !sum.equals(frame[16:24]) {
			return nil
		}
		open[binary.BigEndian.Uint32(frame)] = at + logFrameHead
		if binary.BigEndian.Uint32(frame[4:]) != 0 { // a commit
			for number, offset := range open {
				l.pages[number] = offset
			}
			clear(open)
		}
	}
	return nil
}

// checksum is that of SQLite's log (fileformat2.html#checksum_algorithm).
type checksum struct {
	order  binary.ByteOrder
	s0, s1 uint32
}

// add takes bytes in, a multiple of 8.
func (c *checksum) add(b []byte) {
	for ; len(b) >= 8; b = b[8:] {
		c.s0 += c.order.Uint32(b) + c.s1
		c.s1 += c.order.Uint32(b[4:]) + c.s0
	}
}

// equals compares with a stored checksum, which is always in network order.
func (c *checksum) equals(stored []byte) bool {
	return binary.BigEndian.Uint32(stored) == c.s0 && binary.BigEndian.Uint32(stored[4:]) == c.s1
}
