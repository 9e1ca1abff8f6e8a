package audit

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

// TestTail holds what is read of a log that others write, piece by piece.
func TestTail(t *testing.T) {
	record := func(message string) string {
		var b bytes.Buffer
		if _, err := encode(&b, Event{Version: Version, Seq: 1, Prev: firstHead().Hash, Event: PolicyLoaded, Message: message, Errors: []string{strings.Repeat("e", 4<<10)}}); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	long := strings.Repeat("m", 32<<10)
	tests := []struct {
		reason string
		before string
		pieces []string // that are written, one after the other
		want   []string // messages, after all pieces; "" ends with an error
	}{
		{"nothing", record("a"), nil, nil},
		{"an empty log", "", []string{record("b")}, []string{"b"}},
		{"what was there is not told", record("a"), []string{record("b"), record("c")}, []string{"b", "c"}},
		{"several at once", record("a"), []string{record("b") + record("c")}, []string{"b", "c"}},
		{"in pieces", record("a"), []string{record("b")[:7], record("b")[7:] + record("c")[:1], record("c")[1:]}, []string{"b", "c"}},
		{"one that was being written is of before", record("a") + record("b")[:7], []string{record("b")[7:], record("c")}, []string{"c"}},
		{"more than is read at once", "", []string{record(long) + record(long) + record("b")}, []string{long, long, "b"}},
		{"what is no record", "", []string{record("b"), "no\n"}, []string{"b", ""}},
		{"a line without an end", "", []string{strings.Repeat("x", maxLine+1)}, []string{""}},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, logName)
			if err := os.WriteFile(path, []byte(tt.before), 0o600); err != nil {
				t.Fatal(err)
			}
			tail, err := OpenTail(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer tail.Close()
			var got []string
			for _, piece := range append(tt.pieces, "") {
				appendTo(t, path, piece)
				e, more, err := tail.Next()
				for ; more; e, more, err = tail.Next() {
					got = append(got, e.Message)
				}
				if err != nil {
					got = append(got, "")
					break
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("%d records, want %d: %.200q", len(got), len(tt.want), got)
			}
		})
	}
	if _, err := OpenTail(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of no log: %v", err)
	}
}

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestTailFollows writes, rotates, compresses and reads a log in turn, as a random
// sequence says: what is read is each record that was written since, once.
func TestTailFollows(t *testing.T) {
	const n = 150
	all := chainOf(t, testTime, n)
	for seed := range uint64(8) {
		random := rand.New(rand.NewPCG(seed, 0))
		dir := t.TempDir()
		w := &roller{dir: dir, every: 1 + random.IntN(9), lines: all}
		for range 1 + random.IntN(20) {
			if err := w.write(); err != nil {
				t.Fatal(err)
			}
		}
		tail, err := OpenTail(dir)
		if err != nil {
			t.Fatal(err)
		}
		told := uint64(w.n)
		for w.n < n || told < n {
			switch random.IntN(4) {
			case 0, 1:
				for range min(random.IntN(20), n-w.n) {
					if err := w.write(); err != nil {
						t.Fatal(err)
					}
				}
			case 2:
				if err := compress(t.Context(), dir, func() {}); err != nil {
					t.Fatal(err)
				}
			default:
				e, more, err := tail.Next()
				for ; more && random.IntN(10) > 0; e, more, err = tail.Next() {
					if told++; e.Seq != told {
						t.Fatalf("seed %d: record %d is read instead of %d", seed, e.Seq, told)
					}
				}
				if more { // and this one is left
					if told++; e.Seq != told {
						t.Fatalf("seed %d: record %d is read instead of %d", seed, e.Seq, told)
					}
				}
				if err != nil || !more && told != uint64(w.n) {
					t.Fatalf("seed %d: %d records of %d are read: %v", seed, told, w.n, err)
				}
			}
		}
		if err := errors.Join(tail.Close(), w.file.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTailMeanwhile reads a log that another goroutine writes and rotates, and a
// third compresses.
func TestTailMeanwhile(t *testing.T) {
	const n = 500
	dir := t.TempDir()
	w := &roller{dir: dir, every: 7, lines: chainOf(t, testTime, n)}
	if err := w.write(); err != nil {
		t.Fatal(err)
	}
	tail, err := OpenTail(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer tail.Close()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		for w.n < n && t.Context().Err() == nil {
			if err := w.write(); err != nil {
				t.Error(err)
				return
			}
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	wg.Go(func() {
		for ctx.Err() == nil {
			if err := Tidy(ctx, dir, Retention{}, unrecorded); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for told := uint64(1); told < n && !t.Failed(); {
		e, more, err := tail.Next()
		if err != nil {
			t.Error(err)
			return
		}
		if !more {
			runtime.Gosched()
			continue
		}
		if told++; e.Seq != told {
			t.Errorf("record %d is read instead of %d", e.Seq, told)
			return
		}
	}
}

// TestTailWithinRotation begins while the active segment has no name, and goes on
// when the next is there.
func TestTailWithinRotation(t *testing.T) {
	dir := t.TempDir()
	all := chainOf(t, testTime, 30)
	put(t, dir, piece{first: 1, lines: all[:10]})
	tail, err := OpenTail(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer tail.Close()
	if e, more, err := tail.Next(); more || err != nil {
		t.Fatalf("%+v, %v", e, err)
	}
	put(t, dir, piece{first: 11, lines: all[10:20]})
	put(t, dir, piece{})
	for i := range uint64(10) {
		if e, more, err := tail.Next(); !more || err != nil || e.Seq != 11+i {
			t.Fatalf("%v, %+v, %v", more, e, err)
		}
	}
	if e, more, err := tail.Next(); more || err != nil {
		t.Fatalf("%+v, %v", e, err)
	}
	put(t, dir, piece{lines: all[20:]})
	if e, more, err := tail.Next(); !more || err != nil || e.Seq != 21 {
		t.Fatalf("%v, %+v, %v", more, e, err)
	}
}
