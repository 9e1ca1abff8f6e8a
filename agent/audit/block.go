package audit

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"github.com/klauspost/compress/gzip"
)

// A compressed segment is gzip (RFC 1952) of several members, which is what zcat
// and zgrep read. Each member is a block: whole lines, about blockSize of them, and
// in the extra field of its header an index, so that a reader can hop over it. The
// header is of one length and has nothing in it that could be otherwise:
//
//	 0  1f 8b 08 04      gzip, deflate, with an extra field
//	 4  00 00 00 00      no time
//	 8  00 ff            no hint, no system
//	10  length of the extra field, the subfield's id "PA" and its length
//	16  4  length of the block in the file
//	20  4  length of its lines
//	24  8  sequence number of its first record
//	32  8  of its last
//	40  8  least time of its records, in microseconds since 1970, rounded down
//	48  8  greatest time, the same way
//	56  4  CRC-32C of all behind the header
//	60  4  CRC-32C of the header before this
//
// All numbers are little-endian, as in the rest of gzip. The checksums are there
// for what gzip's own leaves out: its header, and the bits of deflate's last byte.
// They are no defence against someone who makes them anew: the chain is, and the
// index is checked against the lines by who verifies the log.
const (
	blockSize    = 1 << 20
	blockHeader  = 64
	indexLength  = 48
	blockMagic   = "\x1f\x8b\x08\x04\x00\x00\x00\x00\x00\xff"
	blockTrailer = 8 // CRC-32 and length, of gzip

	// packLevel makes a tenth of what is written to a log, as level 6 does, in half
	// the time (BenchmarkPack).
	packLevel = 3

	// maxBlock bounds the lines of a block: one more line than blockSize.
	maxBlock = blockSize + maxLine
	// maxPacked bounds a block in the file: deflate stores what it cannot compress
	// with 5 bytes for each 64 KiB at the most, our writer in smaller pieces.
	maxPacked = blockHeader + maxBlock + maxBlock/256 + blockTrailer + 1024
)

var crcTable = crc32.MakeTable(crc32.Castagnoli)

// blockIndex is what the header of a block claims of it.
type blockIndex struct {
	packed          uint32 // length in the file, with header and trailer
	raw             uint32 // length of its lines
	first, last     uint64 // sequence numbers
	least, greatest int64  // times of records, as time.Time.UnixMicro
	sum             uint32 // CRC-32C of what is behind the header
}

// append writes the header of a block.
func (x blockIndex) append(b []byte) []byte {
	start := len(b)
	b = append(b, blockMagic...)
	b = binary.LittleEndian.AppendUint16(b, 4+indexLength)
	b = append(b, 'P', 'A')
	b = binary.LittleEndian.AppendUint16(b, indexLength)
	b = binary.LittleEndian.AppendUint32(b, x.packed)
	b = binary.LittleEndian.AppendUint32(b, x.raw)
	b = binary.LittleEndian.AppendUint64(b, x.first)
	b = binary.LittleEndian.AppendUint64(b, x.last)
	b = binary.LittleEndian.AppendUint64(b, uint64(x.least))
	b = binary.LittleEndian.AppendUint64(b, uint64(x.greatest))
	b = binary.LittleEndian.AppendUint32(b, x.sum)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[start:], crcTable))
}

// parseIndex reads the header of a block.
func parseIndex(h []byte) (blockIndex, error) {
	if len(h) < blockHeader {
		return blockIndex{}, fmt.Errorf("the header of a block has %d bytes instead of %d: %w", len(h), blockHeader, io.ErrUnexpectedEOF)
	}
	h = h[:blockHeader]
	var x blockIndex
	x.packed = binary.LittleEndian.Uint32(h[16:])
	x.raw = binary.LittleEndian.Uint32(h[20:])
	x.first = binary.LittleEndian.Uint64(h[24:])
	x.last = binary.LittleEndian.Uint64(h[32:])
	x.least = int64(binary.LittleEndian.Uint64(h[40:]))
	x.greatest = int64(binary.LittleEndian.Uint64(h[48:]))
	x.sum = binary.LittleEndian.Uint32(h[56:])
	switch {
	case !bytes.Equal(x.append(nil), h):
		return blockIndex{}, errors.New("the header of a block is not as this program writes it: the file was changed, or another program has compressed it")
	case x.packed < blockHeader+blockTrailer || x.packed > maxPacked || x.raw == 0 || x.raw > maxBlock:
		return blockIndex{}, fmt.Errorf("a block claims %d bytes of %d", x.packed, x.raw)
	case x.first == 0 || x.last < x.first || x.last-x.first >= uint64(x.raw) || x.greatest < x.least:
		return blockIndex{}, fmt.Errorf("a block claims records %d to %d of times %d to %d", x.first, x.last, x.least, x.greatest)
	}
	return x, nil
}

// outside reports whether no record of the block is in r. The times are rounded
// down, and so the greatest may be nearly a microsecond greater.
func (x blockIndex) outside(r Range) bool {
	return x.last <= r.After ||
		!r.Since.IsZero() && !time.UnixMicro(x.greatest).Add(time.Microsecond).After(r.Since) ||
		!r.Until.IsZero() && !time.UnixMicro(x.least).Before(r.Until)
}

// block is a block that was unpacked. Its index is a claim: who verifies the log
// compares it with indexOf(lines).
type block struct {
	blockIndex
	offset int64 // in the file
	lines  []byte
}

// blockReader reads the blocks of a compressed segment.
type blockReader struct {
	r      io.ReaderAt
	end    int64 // length of the file
	offset int64 // of the next block
	header [blockHeader]byte
	packed []byte
	lines  []byte
	gzip   *gzip.Reader
}

// next returns the index of the next block, which read then unpacks, if wanted.
// It returns io.EOF behind the last.
func (b *blockReader) next() (blockIndex, error) {
	if b.offset == b.end {
		return blockIndex{}, io.EOF
	}
	n, err := b.r.ReadAt(b.header[:], b.offset)
	if err != nil && err != io.EOF {
		return blockIndex{}, err
	}
	x, err := parseIndex(b.header[:n])
	if err == nil && int64(x.packed) > b.end-b.offset {
		err = fmt.Errorf("a block claims %d bytes, and the file has %d more: %w", x.packed, b.end-b.offset, io.ErrUnexpectedEOF)
	}
	if err != nil {
		return blockIndex{}, err
	}
	b.offset += int64(x.packed)
	return x, nil
}

// read unpacks the block x, which next returned just now. Its lines are good until
// the next call.
func (b *blockReader) read(x blockIndex) (block, error) {
	start := b.offset - int64(x.packed)
	b.packed = grown(b.packed, int(x.packed))
	if _, err := b.r.ReadAt(b.packed, start); err != nil && err != io.EOF {
		return block{}, err
	}
	if crc32.Checksum(b.packed[blockHeader:], crcTable) != x.sum {
		return block{}, errors.New("a block does not have the checksum that it claims")
	}
	err := b.unpack(x)
	return block{blockIndex: x, offset: start, lines: b.lines}, err
}

func (b *blockReader) unpack(x blockIndex) (err error) {
	in := bytes.NewReader(b.packed)
	if b.gzip == nil {
		b.gzip, err = gzip.NewReader(in)
	} else {
		err = b.gzip.Reset(in)
	}
	if err != nil {
		return fmt.Errorf("a block: %w", err)
	}
	b.gzip.Multistream(false)
	b.lines = grown(b.lines, int(x.raw))
	if _, err := io.ReadFull(b.gzip, b.lines); err != nil {
		return fmt.Errorf("a block: %w", err)
	}
	// What is behind decides whether the checksum of gzip holds, too.
	if n, err := b.gzip.Read(make([]byte, 1)); n > 0 || err != io.EOF || in.Len() > 0 {
		return fmt.Errorf("a block has more in it than the %d bytes that it claims", x.raw)
	}
	if b.lines[len(b.lines)-1] != '\n' {
		return fmt.Errorf("a block ends within a record: %w", io.ErrUnexpectedEOF)
	}
	return nil
}

// grown returns b with length n; what is in it is lost.
func grown(b []byte, n int) []byte {
	if cap(b) < n {
		return make([]byte, n)
	}
	return b[:n]
}

// indexOf returns what the index of a block of these lines has to claim. The
// lines must be records with ascending sequence numbers.
func indexOf(lines []byte) (blockIndex, error) {
	x := blockIndex{raw: uint32(len(lines))}
	for line := range bytes.Lines(lines) {
		p, err := parsePrefix(bytes.TrimSuffix(line, []byte{'\n'}))
		if err != nil {
			return x, err
		}
		at := p.time.UnixMicro()
		switch {
		case x.first == 0:
			x.first, x.least, x.greatest = p.seq, at, at
		case p.seq != x.last+1:
			return x, fmt.Errorf("record %d follows record %d", p.seq, x.last)
		}
		x.last, x.least, x.greatest = p.seq, min(x.least, at), max(x.greatest, at)
	}
	return x, nil
}

// blockWriter compresses lines into blocks.
type blockWriter struct {
	w     io.Writer
	lines []byte
	out   bytes.Buffer
	gzip  *gzip.Writer
}

// write takes a line, without its newline.
func (b *blockWriter) write(line []byte) error {
	b.lines = append(append(b.lines, line...), '\n')
	if len(b.lines) < blockSize {
		return nil
	}
	return b.flush()
}

// flush writes a block of the lines that wait.
func (b *blockWriter) flush() (err error) {
	if len(b.lines) == 0 {
		return nil
	}
	x, err := indexOf(b.lines)
	if err != nil {
		return err
	}
	b.out.Reset()
	if b.gzip == nil {
		if b.gzip, err = gzip.NewWriterLevel(&b.out, packLevel); err != nil {
			return err
		}
	} else {
		b.gzip.Reset(&b.out)
	}
	b.gzip.Extra = make([]byte, 4+indexLength) // its place
	if _, err := b.gzip.Write(b.lines); err != nil {
		return err
	}
	if err := b.gzip.Close(); err != nil {
		return err
	}
	packed := b.out.Bytes()
	x.packed, x.sum = uint32(len(packed)), crc32.Checksum(packed[blockHeader:], crcTable)
	x.append(packed[:0])
	b.lines = b.lines[:0]
	_, err = b.w.Write(packed)
	return err
}
