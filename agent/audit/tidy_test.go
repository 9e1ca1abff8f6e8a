package audit

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// names returns what is in a directory.
func names(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func unrecorded(Event) error { return nil }

// TestTidyCompresses holds that closed segments are compressed and read as before,
// and that what a crash left behind is removed.
func TestTidyCompresses(t *testing.T) {
	dir := t.TempDir()
	all := chainOf(t, testTime, 90)
	abandoned := slices.Concat(all[30:60], chainOf(t, testTime, 65)[60:], [][]byte{[]byte("\x00\x00")})
	for _, p := range []piece{{first: 1, lines: all[:30]}, {first: 31, lines: abandoned}, {first: 61, lines: all[60:80]}, {lines: all[80:]}} {
		put(t, dir, p)
	}
	third := segment{first: 61, packed: true}.name()
	for name, data := range map[string]string{
		"." + third + ".123.tmp": "left behind by a crash", third: "as much as was written of it",
		".audit.checkpoint.123.tmp": "another's", ".audit.jsonl.gz.1.tmp": "another's",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	old := testTime.Add(-time.Hour)
	if err := os.Chtimes(filepath.Join(dir, segment{first: 1}.name()), old, old); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := Tidy(t.Context(), dir, Retention{}, unrecorded); err != nil {
			t.Fatal(err)
		}
		want := []string{
			".audit.checkpoint.123.tmp", ".audit.jsonl.gz.1.tmp",
			"audit-00000000000000000001.jsonl.gz", "audit-00000000000000000031.jsonl", "audit-00000000000000000061.jsonl.gz", "audit.jsonl",
		}
		if got := names(t, dir); !slices.Equal(got, want) {
			t.Fatalf("there are %q, want %q", got, want)
		}
		var got bytes.Buffer
		for l, err := range Lines(dir, Range{}) {
			if err != nil {
				t.Fatal(err)
			}
			got.Write(append(l.Raw, '\n'))
		}
		if !bytes.Equal(got.Bytes(), bytes.Join(all, nil)) {
			t.Fatal("another log is read than was written")
		}
	}
	if fi, err := os.Stat(filepath.Join(dir, segment{first: 1, packed: true}.name())); err != nil || !fi.ModTime().Equal(old) {
		t.Errorf("the file is of %v, %v, and was of %v", fi.ModTime(), err, old)
	}
}

// TestTidyKeepsDamage holds that evidence of a change is not compressed away.
func TestTidyKeepsDamage(t *testing.T) {
	dir := t.TempDir()
	all := chainOf(t, testTime, 90)
	damaged := slices.Insert(slices.Clone(all[:30]), 7, []byte("\x00\n"))
	for _, p := range []piece{{first: 1, lines: damaged}, {first: 31, lines: all[30:60]}, {lines: all[60:]}} {
		put(t, dir, p)
	}
	err := Tidy(t.Context(), dir, Retention{}, unrecorded)
	if err == nil || !strings.Contains(err.Error(), "compress audit-00000000000000000001.jsonl: ") || !strings.Contains(err.Error(), "behind record 7: it is no record") {
		t.Error(err)
	}
	if got, want := names(t, dir), []string{"audit-00000000000000000001.jsonl", "audit-00000000000000000031.jsonl.gz", "audit.jsonl"}; !slices.Equal(got, want) {
		t.Errorf("there are %q, want %q", got, want)
	}
}

// TestTidyRemoves holds what each limit takes away of five closed segments of ten
// records each.
func TestTidyRemoves(t *testing.T) {
	all := chainOf(t, testTime, 60)
	now := time.Now()
	tests := []struct {
		reason string
		keep   func(size func(i int) int64) Retention
		want   uint64 // the last record that is removed
	}{
		{"nothing is bounded", func(func(int) int64) Retention { return Retention{} }, 0},
		{"all fits", func(size func(int) int64) Retention {
			return Retention{Size: size(0), Count: 5, Age: now.Sub(testTime)}
		}, 0},
		{"too many", func(func(int) int64) Retention { return Retention{Count: 3} }, 20},
		{"a byte too much", func(size func(int) int64) Retention { return Retention{Size: size(0) - 1} }, 10},
		{"a byte more than two too much", func(size func(int) int64) Retention { return Retention{Size: size(2) - 1} }, 30},
		{"nothing fits: the active one stays", func(func(int) int64) Retention { return Retention{Size: 1} }, 50},
		// The clock is set back by half an hour in each ten: the first end at 14:09, the
		// second at 13:49.
		{"the oldest is not too old, and what is behind it stays too", func(func(int) int64) Retention { return Retention{Age: now.Sub(testTime.Add(5 * time.Minute))} }, 0},
		{"too old", func(func(int) int64) Retention { return Retention{Age: now.Sub(testTime.Add(10 * time.Minute))} }, 50},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			dir := t.TempDir()
			for i := range 5 {
				put(t, dir, piece{first: uint64(10*i + 1), packed: i < 4, lines: all[10*i : 10*i+10]})
			}
			put(t, dir, piece{lines: all[50:]})
			if err := compress(t.Context(), dir, func() {}); err != nil {
				t.Fatal(err)
			}
			files := names(t, dir)
			size := func(i int) (sum int64) {
				for _, name := range files[i:] {
					fi, err := os.Stat(filepath.Join(dir, name))
					if err != nil {
						t.Fatal(err)
					}
					sum += fi.Size()
				}
				return sum
			}
			var told []Event
			err := Tidy(t.Context(), dir, tt.keep(size), func(e Event) error {
				if got := names(t, dir); !slices.Equal(got, files) {
					t.Errorf("files were removed before that was recorded: %q", got)
				}
				told = append(told, e)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			gone := files[:tt.want/10]
			if got := names(t, dir); !slices.Equal(got, files[len(gone):]) {
				t.Errorf("there are %q, want %q", got, files[len(gone):])
			}
			if tt.want == 0 {
				if len(told) > 0 {
					t.Errorf("told %+v", told)
				}
				return
			}
			if len(told) != 1 || told[0].Event != LogPruned || !slices.Equal(told[0].Removed, gone) || !strings.Contains(told[0].Message, " 1 to ") {
				t.Errorf("told %+v", told)
			}
			first := uint64(0)
			for l, err := range Lines(dir, Range{}) {
				if err != nil {
					t.Fatal(err)
				}
				if first == 0 {
					first = l.Seq
				}
			}
			if first != tt.want+1 {
				t.Errorf("the log begins with record %d, want %d", first, tt.want+1)
			}
		})
	}
}

// TestTidyUnrecorded holds that nothing is removed of which no record tells.
func TestTidyUnrecorded(t *testing.T) {
	dir := t.TempDir()
	all := chainOf(t, testTime, 20)
	put(t, dir, piece{first: 1, lines: all[:10]})
	put(t, dir, piece{lines: all[10:]})
	err := Tidy(t.Context(), dir, Retention{Size: 1}, func(Event) error { return io.ErrShortWrite })
	if !errors.Is(err, io.ErrShortWrite) {
		t.Error(err)
	}
	if got := names(t, dir); len(got) != 2 {
		t.Errorf("there are %q", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Tidy(ctx, dir, Retention{Size: 1}, unrecorded); err != nil || len(names(t, dir)) != 2 {
		t.Errorf("after its end it removes files, %v", err)
	}
	if err := Tidy(t.Context(), filepath.Join(dir, "none"), Retention{}, unrecorded); err == nil {
		t.Error("no directory is no error")
	}
}

// roller writes a log as Log does, and rotates it every few records.
type roller struct {
	dir   string
	every int
	lines [][]byte
	n     int // records that are written
	file  *os.File
	first int
}

// write writes one record more.
func (r *roller) write() error {
	if r.file != nil && r.n+1-r.first >= r.every {
		if err := os.Rename(filepath.Join(r.dir, logName), filepath.Join(r.dir, segment{first: uint64(r.first)}.name())); err != nil {
			return err
		}
		if err := r.file.Close(); err != nil {
			return err
		}
		r.file = nil
	}
	if r.file == nil {
		f, err := realDisk().create(filepath.Join(r.dir, logName)) // on Windows it can be renamed while it is open
		if err != nil {
			return err
		}
		r.file, r.first = f, r.n+1
	}
	_, err := r.file.Write(r.lines[r.n])
	r.n++
	return err
}

// TestLinesMeanwhile reads a log again and again while it is written, rotated,
// compressed and tidied: no record is missing, repeated or torn.
func TestLinesMeanwhile(t *testing.T) {
	const n = 3000
	for _, keep := range []Retention{{}, {Count: 3}} {
		dir := t.TempDir()
		r := &roller{dir: dir, every: 17, lines: chainOf(t, testTime, n)}
		if err := r.write(); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		written := make(chan struct{})
		wg.Go(func() {
			defer close(written)
			for r.n < n {
				if err := r.write(); err != nil {
					t.Error(err)
					return
				}
			}
		})
		wg.Go(func() {
			for running := true; running; {
				select {
				case <-written:
					running = false
				default:
				}
				if err := Tidy(t.Context(), dir, keep, unrecorded); err != nil {
					t.Error(err)
					return
				}
			}
		})
		reads, last := 0, uint64(0)
		for running := true; running; reads++ {
			select {
			case <-written:
				running = false // this time it is whole
			default:
			}
			before := last
			first, end := readThrough(t, dir)
			// What was removed meanwhile may have been all that there was when this began.
			if last = end; keep.Count == 0 && (first != 1 || end < before) {
				t.Fatalf("records %d to %d are read, after %d", first, end, before)
			}
		}
		wg.Wait()
		if last != n {
			t.Errorf("%d records of %d are read in the end", last, n)
		}
		t.Logf("read %d times", reads)
	}
}

// readThrough reads a log and returns its first and its last record.
func readThrough(t *testing.T, dir string) (first, last uint64) {
	t.Helper()
	for l, err := range Lines(dir, Range{}) {
		if errors.Is(err, io.ErrUnexpectedEOF) { // it is being written
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		// Where the oldest were removed meanwhile, what is left begins anew.
		if first == 0 {
			first = l.Seq
		} else if l.Seq <= last {
			t.Fatalf("record %d follows %d", l.Seq, last)
		}
		last = l.Seq
	}
	return first, last
}
