package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// chainOf returns n records, each a line with its newline, one a minute from the
// start on but for every tenth, before which the clock is set back by half an hour.
func chainOf(t testing.TB, start time.Time, n int) [][]byte {
	t.Helper()
	var all [][]byte
	head, at := firstHead(), start
	for i := range n {
		if at = at.Add(time.Minute); i%10 == 9 {
			at = at.Add(-30 * time.Minute)
		}
		e := nginx()
		e.Version, e.Host, e.Boot, e.Time = Version, "alpha", "b1", at
		e.Seq, e.Prev, e.Message = head.Seq+1, head.Hash, fmt.Sprintf("record %d", i+1)
		var b bytes.Buffer
		if _, err := encode(&b, e); err != nil {
			t.Fatal(err)
		}
		head = head.follow(bytes.TrimSuffix(b.Bytes(), []byte{'\n'}))
		all = append(all, b.Bytes())
	}
	return all
}

// piece is a file of a log: what it is named by, and the lines in it. first 0 is
// the active one.
type piece struct {
	first  uint64
	packed bool
	lines  [][]byte
}

// put writes a file of a log. Blocks of compressed ones have a few lines each.
func put(t testing.TB, dir string, p piece) {
	t.Helper()
	name, data := logName, bytes.Join(p.lines, nil)
	if p.first > 0 {
		name = segment{first: p.first, packed: p.packed}.name()
	}
	if p.packed {
		data = packedBy(t, p.lines, 7)
	}
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// packedBy compresses lines, some to a block.
func packedBy(t testing.TB, lines [][]byte, some int) []byte {
	t.Helper()
	var out bytes.Buffer
	b := blockWriter{w: &out}
	for chunk := range slices.Chunk(lines, some) {
		b.lines = append(b.lines, bytes.Join(chunk, nil)...)
		if err := b.flush(); err != nil {
			t.Fatal(err)
		}
	}
	return out.Bytes()
}

// TestLines reads the same records from each form that a log can have, by each kind
// of range, and compares with what the range says of each record.
func TestLines(t *testing.T) {
	start := time.Date(2026, 11, 20, 14, 0, 0, 123456789, time.UTC)
	all := chainOf(t, start, 100)
	layouts := []struct {
		reason string
		pieces []piece
	}{
		{"of an older build: one file", []piece{{lines: all}}},
		{"rotated", []piece{{first: 1, lines: all[:30]}, {first: 31, lines: all[30:60]}, {lines: all[60:]}}},
		{"compressed", []piece{{first: 1, packed: true, lines: all[:30]}, {first: 31, packed: true, lines: all[30:60]}, {lines: all[60:]}}},
		{"just being compressed", []piece{{first: 1, packed: true, lines: all[:30]}, {first: 1, lines: all[:30]}, {first: 31, lines: all[30:60]}, {lines: all[60:]}}},
		{"within a rotation", []piece{{first: 1, packed: true, lines: all[:30]}, {first: 31, lines: all[30:]}}},
		{"just rotated", []piece{{first: 1, packed: true, lines: all[:30]}, {first: 31, lines: all[30:]}, {}}},
		{"segments of one record", []piece{{first: 1, packed: true, lines: all[:1]}, {first: 2, lines: all[1:2]}, {first: 3, lines: all[2:3]}, {lines: all[3:]}}},
		{"records that were abandoned", []piece{{first: 1, packed: true, lines: slices.Concat(all[:30], chainOf(t, start, 35)[30:])}, {first: 31, lines: all[30:60]}, {lines: all[60:]}}},
		{"records that were abandoned, and torn", []piece{{first: 1, lines: slices.Concat(all[:30], [][]byte{all[30][:9]})}, {first: 31, lines: all[30:]}}},
	}
	for _, layout := range layouts {
		dir := t.TempDir()
		for _, p := range layout.pieces {
			put(t, dir, p)
		}
		var ranges []Range
		for i := uint64(0); i < 103; i += 3 {
			at := start.Add(time.Duration(i)*time.Minute - 10*time.Minute)
			ranges = append(ranges, Range{After: i}, Range{Since: at}, Range{Until: at}, Range{Since: at, Until: at.Add(10 * time.Minute)},
				Range{After: i / 2, Since: at, Until: at.Add(time.Nanosecond)})
		}
		for _, r := range ranges {
			var want, got []string
			for _, line := range all {
				p, err := parsePrefix(line[:len(line)-1])
				if err != nil {
					t.Fatal(err)
				}
				if r.holds(p) {
					want = append(want, string(line[:len(line)-1]))
				}
			}
			for l, err := range Lines(dir, r) {
				if err != nil {
					t.Fatalf("%s: %+v: %v", layout.reason, r, err)
				}
				if e, err := l.Event(); err != nil || e.Seq != l.Seq || e.Message != fmt.Sprintf("record %d", l.Seq) {
					t.Fatalf("%s: record %d is %+v, %v", layout.reason, l.Seq, e, err)
				}
				got = append(got, string(l.Raw))
			}
			if !slices.Equal(got, want) {
				t.Fatalf("%s: %+v: %d records, want %d", layout.reason, r, len(got), len(want))
			}
		}
	}
}

// TestLinesOfDamage holds that what is missing or changed is said, and where.
func TestLinesOfDamage(t *testing.T) {
	all := chainOf(t, time.Date(2026, 11, 20, 14, 0, 0, 0, time.UTC), 60)
	changed := func(i int, old, new string) [][]byte {
		c := slices.Clone(all)
		c[i] = bytes.Replace(c[i], []byte(old), []byte(new), 1)
		return c
	}
	flipped := func(lines [][]byte, at int) [][]byte {
		b := packedBy(t, lines, 7)
		b[(at+len(b))%len(b)] ^= 1
		return [][]byte{b}
	}
	// A compressed file as it is: put as if it was a raw one, and renamed.
	asIs := func(lines [][]byte) piece { return piece{first: 1, lines: lines} }
	tests := []struct {
		reason string
		pieces []piece
		packed bool // the first piece is as it is in the file
		want   string
	}{
		{"the second file is missing", []piece{{first: 1, lines: all[:20]}, {first: 41, lines: all[40:]}}, false, "record 21: the records up to 40 are missing"},
		{"it is missing before the active one", []piece{{first: 1, packed: true, lines: all[:20]}, {lines: all[40:]}}, false, "record 21: the records up to 40 are missing"},
		{"a file has another's name", []piece{{first: 1, lines: all[:20]}, {first: 20, lines: all[20:]}}, false, "record 20: the record here has sequence number 21"},
		{"a compressed file has another's name", []piece{{first: 1, lines: all[:20]}, {first: 20, packed: true, lines: all[20:]}}, false, "record 20: the block here begins with record 21"},
		{"a record is changed", []piece{{lines: changed(5, "www-data", "root")}}, false, "record 6: its hash is not the one that record 7 keeps"},
		{"a record is changed in a compressed file", []piece{{first: 1, packed: true, lines: changed(5, "www-data", "root")}}, false, "record 6: its hash is not the one that record 7 keeps"},
		{"the last record of a file is changed", []piece{{first: 1, lines: changed(19, "www-data", "root")[:20]}, {lines: all[20:]}}, false, "record 20: its hash is not the one that record 21 keeps"},
		{"the first has one before it", []piece{{lines: changed(0, "000000", "000001")}}, false, "record 1: the first record has a hash of one before it"},
		{"a record of another format", []piece{{lines: changed(5, `"schema":1`, `"schema":2`)}}, false, "record 6: it has format 2"},
		{"a record twice", []piece{{lines: slices.Insert(slices.Clone(all), 5, all[4])}}, false, "record 6: the record here has sequence number 5"},
		{"a record is missing", []piece{{lines: slices.Delete(slices.Clone(all), 5, 6)}}, false, "record 6: the record here has sequence number 7"},
		{"no record", []piece{{first: 1, lines: slices.Insert(slices.Clone(all), 5, []byte("\x00\x00\n"))}}, false, "record 6: it is no record"},
		{"a torn record", []piece{{lines: slices.Concat(all[:5], [][]byte{all[5][:40]})}}, false, "record 6: it has no end"},
		{"a flipped bit in the header of a block", []piece{asIs(flipped(all, 30))}, true, "record 1: the header of a block"},
		{"a flipped bit in a block", []piece{asIs(flipped(all, 100))}, true, "record 1: a block does not have the checksum"},
		{"a flipped bit in the last block", []piece{asIs(flipped(all, -1))}, true, "record 57: a block does not have the checksum"},
		{"a compressed file that ends too soon", []piece{asIs([][]byte{packedBy(t, all, 7)[:2000]})}, true, "unexpected EOF"},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			dir := t.TempDir()
			for _, p := range tt.pieces {
				put(t, dir, p)
			}
			if tt.packed {
				name := filepath.Join(dir, segment{first: 1}.name())
				if err := os.Rename(name, name+packedSuffix); err != nil {
					t.Fatal(err)
				}
			}
			var last error
			for _, err := range Lines(dir, Range{}) {
				last = err
			}
			var damage *DamageError
			if !errors.As(last, &damage) || !strings.Contains(last.Error(), tt.want) {
				t.Errorf("%v, want %q", last, tt.want)
			}
		})
	}
	for _, err := range Lines(filepath.Join(t.TempDir(), "none"), Range{}) {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("of no log: %v", err)
		}
	}
}

// TestLinesStop holds that who has seen enough sees no more.
func TestLinesStop(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, piece{lines: chainOf(t, time.Now(), 3)})
	for l, err := range Lines(dir, Range{}) {
		if err != nil || l.Seq != 1 {
			t.Fatal(l.Seq, err)
		}
		break
	}
}

// TestRepeatedKey holds that a record that can be read in two ways is refused.
func TestRepeatedKey(t *testing.T) {
	dir := t.TempDir()
	line := chainOf(t, time.Now(), 1)[0]
	line = bytes.Replace(line, []byte(`,"message"`), []byte(`,"event":"agent.stopped","message"`), 1)
	put(t, dir, piece{lines: [][]byte{line}})
	for e, err := range Records(dir, Range{}) {
		if err == nil || !strings.Contains(err.Error(), "two things") {
			t.Errorf("%+v, %v", e, err)
		}
	}
}
