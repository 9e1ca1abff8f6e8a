package audit

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

var testTime = time.Date(2026, 11, 20, 14, 0, 0, 0, time.UTC)

// readBlocks unpacks a compressed segment with all its checks.
func readBlocks(data []byte) (lines []byte, indexes []blockIndex, err error) {
	b := blockReader{r: bytes.NewReader(data), end: int64(len(data))}
	for {
		x, err := b.next()
		if err == io.EOF {
			return lines, indexes, nil
		}
		if err != nil {
			return lines, indexes, err
		}
		unpacked, err := b.read(x)
		if err != nil {
			return lines, indexes, err
		}
		lines, indexes = append(lines, unpacked.lines...), append(indexes, x)
	}
}

// TestBlocks holds that what was compressed comes out again, that the indexes are
// of what is in the blocks, and that gzip's own program reads it.
func TestBlocks(t *testing.T) {
	all := chainOf(t, testTime, 4000) // some megabytes
	var out bytes.Buffer
	w := blockWriter{w: &out}
	for _, line := range all {
		if err := w.write(bytes.TrimSuffix(line, []byte{'\n'})); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.flush(); err != nil {
		t.Fatal(err)
	}
	want := bytes.Join(all, nil)
	got, indexes, err := readBlocks(out.Bytes())
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%d bytes of %d come out, %v", len(got), len(want), err)
	}
	if n := len(want)/blockSize + 1; len(indexes) != n {
		t.Errorf("%d blocks, want %d", len(indexes), n)
	}
	for _, x := range indexes {
		claimed, err := indexOf(got[:x.raw])
		claimed.packed, claimed.sum = x.packed, x.sum
		if got = got[x.raw:]; err != nil || claimed != x {
			t.Errorf("a block claims %+v and has %+v, %v", x, claimed, err)
		}
	}
	path := filepath.Join(t.TempDir(), "a.gz")
	if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath("zcat"); err != nil {
		t.Skip("no zcat here")
	}
	text, err := exec.Command("zcat", path).Output()
	if err != nil || !bytes.Equal(text, want) {
		t.Errorf("zcat gives %d bytes of %d, %v", len(text), len(want), err)
	}
}

// TestBlockFlip holds that no bit of a compressed segment can change unseen, not
// even one that stands for nothing.
func TestBlockFlip(t *testing.T) {
	data := packedBy(t, chainOf(t, testTime, 12), 7)
	for i := range data {
		for bit := range 8 {
			data[i] ^= 1 << bit
			if _, _, err := readBlocks(data); err == nil {
				t.Fatalf("bit %d of byte %d of %d is not seen", bit, i, len(data))
			}
			data[i] ^= 1 << bit
		}
	}
	for n := range len(data) {
		if _, x, err := readBlocks(data[:n]); err == nil && len(x) == 2 {
			t.Fatalf("%d bytes of %d are taken for the whole", n, len(data))
		}
	}
}

func TestBlockOutside(t *testing.T) {
	at := func(us int64) time.Time { return time.UnixMicro(us) }
	x := blockIndex{first: 10, last: 20, least: 1000, greatest: 2000}
	tests := []struct {
		reason string
		r      Range
		want   bool
	}{
		{"nothing is bounded", Range{}, false},
		{"its last record is wanted", Range{After: 19}, false},
		{"its last record was had", Range{After: 20}, true},
		{"its latest is wanted", Range{Since: at(2000)}, false},
		{"its latest may be a little later than its index says", Range{Since: at(2000).Add(999 * time.Nanosecond)}, false},
		{"all is before", Range{Since: at(2001)}, true},
		{"its earliest is wanted", Range{Until: at(1000).Add(time.Nanosecond)}, false},
		{"all is behind", Range{Until: at(1000)}, true},
	}
	for _, tt := range tests {
		if got := x.outside(tt.r); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.reason, got, tt.want)
		}
	}
}

// FuzzBlocks gives the reader of compressed segments any file. It must not panic,
// and what it takes is as its indexes claim in length.
func FuzzBlocks(f *testing.F) {
	data := packedBy(f, chainOf(f, testTime, 12), 7)
	f.Add(data, 0, byte(0))
	f.Add(data[:100], 60, byte(1))
	f.Add([]byte("\x1f\x8b"), 0, byte(0))
	f.Fuzz(func(t *testing.T, data []byte, at int, by byte) {
		if at >= 0 && at < len(data) {
			data[at] ^= by
		}
		seal(data)
		lines, indexes, err := readBlocks(data)
		total := 0
		for _, x := range indexes {
			total += int(x.raw)
		}
		if total != len(lines) {
			t.Fatalf("%d bytes come out where %d are claimed", len(lines), total)
		}
		if err == nil && len(data) > 0 && len(indexes) == 0 {
			t.Fatal("bytes are taken for nothing")
		}
	})
}

// seal makes the checksums of the first block right, if it has some form, so that a
// fuzzer comes past them.
func seal(data []byte) {
	if len(data) < blockHeader {
		return
	}
	packed := binary.LittleEndian.Uint32(data[16:])
	if int64(packed) >= blockHeader && int64(packed) <= int64(len(data)) {
		binary.LittleEndian.PutUint32(data[56:], crc32.Checksum(data[blockHeader:packed], crcTable))
	}
	binary.LittleEndian.PutUint32(data[60:], crc32.Checksum(data[:60], crcTable))
}
