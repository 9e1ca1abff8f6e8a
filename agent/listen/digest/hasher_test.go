package digest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// eager returns a Hasher that keeps the digest of a file that was written just
// now, and in the long run reads next to nothing: who asks a second time gets
// what is kept, or ErrBusy.
func eager() *Hasher {
	h := New(Limits{Rate: 1})
	h.settle = math.MinInt64
	return h
}

func file(t testing.TB, content []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, content, 0o700); err != nil {
		t.Fatal(err)
	}
	return name
}

func checkSum(t *testing.T, h *Hasher, name string, content []byte) {
	t.Helper()
	got, err := h.Sum(t.Context(), name)
	if want := Sum(sha256.Sum256(content)); err != nil || got != want {
		t.Errorf("%s: got %v, %v, want %v", name, got, err, want)
	}
}

func checkError(t *testing.T, h *Hasher, name string, want error) {
	t.Helper()
	got, err := h.Sum(t.Context(), name)
	if got != (Sum{}) || !errors.Is(err, want) {
		t.Errorf("%s: got %v, %v, want error %v", name, got, err, want)
	}
}

func TestSum(t *testing.T) {
	tests := []struct {
		reason string
		size   int
	}{
		{"nothing", 0},
		{"less than a chunk", 1000},
		{"a chunk", chunk},
		{"a chunk and a byte", chunk + 1},
		{"three chunks", 3 * chunk},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			content := bytes.Repeat([]byte("portaudit"), tt.size/9+1)[:tt.size]
			name, h := file(t, content), eager()
			checkSum(t, h, name, content)
			checkSum(t, h, name, content) // from the cache: the budget is spent
		})
	}
	if s := (Sum{}).String(); s != "" {
		t.Errorf("the unknown sum prints as %q", s)
	}
	if s := Sum(sha256.Sum256(nil)).String(); s != "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" {
		t.Errorf("the sum of nothing prints as %q", s)
	}
}

func TestSumFileKeepsOffset(t *testing.T) {
	f, err := os.Open(file(t, []byte("abc")))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [2]byte
	if _, err := f.Read(b[:]); err != nil {
		t.Fatal(err)
	}
	sum, err := eager().SumFile(t.Context(), f)
	if want := Sum(sha256.Sum256([]byte("abc"))); sum != want || err != nil {
		t.Errorf("got %v, %v, want %v", sum, err, want)
	}
	if n, err := f.Read(b[:]); n != 1 || b[0] != 'c' || err != nil {
		t.Errorf("read %d bytes %q, %v after the digest, want the last", n, b[:n], err)
	}
}

func TestSumRefuses(t *testing.T) {
	h := New(Limits{MaxSize: 3})
	checkSum(t, h, file(t, []byte("abc")), []byte("abc"))
	checkError(t, h, file(t, []byte("abcd")), ErrTooLarge)
	checkError(t, h, t.TempDir(), ErrNotRegular)
	checkError(t, h, filepath.Join(t.TempDir(), "absent"), fs.ErrNotExist)
}

// TestSumSparse: a file of 1 TiB is refused by its size, within the time of
// this test.
func TestSumSparse(t *testing.T) {
	name := file(t, nil)
	if err := os.Truncate(name, 1<<40); err != nil {
		t.Skipf("no sparse file of that size here: %v", err)
	}
	checkError(t, New(Limits{}), name, ErrTooLarge)
}

// TestSumReplacedInPlace: other content of the same length, with the time of
// last write put back.
func TestSumReplacedInPlace(t *testing.T) {
	h := New(Limits{})
	h.settle = math.MinInt64
	name := file(t, []byte("old"))
	fi, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	checkSum(t, h, name, []byte("old"))
	if err := os.WriteFile(name, []byte("new"), 0o700); err != nil {
		t.Fatal(err)
	}
	// Until the time of change differs, for as long as the clock of the file
	// system stands still.
	before, err := identify(name)
	if err != nil {
		t.Fatal(err)
	}
	for range 1 << 16 {
		if err := os.Chtimes(name, fi.ModTime(), fi.ModTime()); err != nil {
			t.Fatal(err)
		}
		if now, err := identify(name); err != nil || now.changed != before.changed {
			break
		}
	}
	checkSum(t, h, name, []byte("new"))
}

// TestSumUnsettled: the digest of a file that was written just now is not
// kept, for a second write in the same tick would not show.
func TestSumUnsettled(t *testing.T) {
	h := New(Limits{Rate: 1})
	h.settle = time.Hour
	name := file(t, []byte("abc"))
	checkSum(t, h, name, []byte("abc"))
	checkError(t, h, name, ErrBusy)
}

// meddler is a context that does something whenever it is asked whether it is
// over: between two chunks.
type meddler struct {
	context.Context
	do func()
}

func (m meddler) Err() error {
	m.do()
	return m.Context.Err()
}

func TestSumChanging(t *testing.T) {
	content := bytes.Repeat([]byte("x"), 2*chunk)
	write := func(t *testing.T, name string, at int64) {
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteAt([]byte("y"), at); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("once", func(t *testing.T) {
		name, times := file(t, content), 0
		want := append(bytes.Clone(content), 'y')
		got, err := eager().Sum(meddler{t.Context(), func() {
			if times++; times == 1 {
				write(t, name, int64(len(content)))
			}
		}}, name)
		if err != nil || got != sha256.Sum256(want) {
			t.Errorf("got %v, %v, want the sum of what it is in the end", got, err)
		}
	})
	t.Run("all the time", func(t *testing.T) {
		name, end := file(t, content), int64(len(content))
		_, err := eager().Sum(meddler{t.Context(), func() { write(t, name, end); end++ }}, name)
		if !errors.Is(err, ErrChanged) {
			t.Errorf("got error %v, want ErrChanged", err)
		}
	})
	t.Run("cut short", func(t *testing.T) {
		name, size := file(t, content), int64(len(content))
		_, err := eager().Sum(meddler{t.Context(), func() {
			size /= 2
			if err := os.Truncate(name, size); err != nil {
				t.Fatal(err)
			}
		}}, name)
		if !errors.Is(err, ErrChanged) {
			t.Errorf("got error %v, want ErrChanged", err)
		}
	})
}

func TestSumCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	h := eager()
	name, times := file(t, make([]byte, 4*chunk)), 0
	_, err := h.Sum(meddler{ctx, func() {
		if times++; times == 2 {
			cancel()
		}
	}}, name)
	if !errors.Is(err, context.Canceled) || times > 2 {
		t.Errorf("got error %v after %d chunks, want it cancelled after one", err, times)
	}
	held := <-h.tools // another reads
	if _, err := h.Sum(ctx, file(t, nil)); !errors.Is(err, context.Canceled) {
		t.Errorf("while another reads: got error %v, want it cancelled", err)
	}
	h.tools <- held
}

// TestSumRate: the clock is synctest's.
func TestSumRate(t *testing.T) {
	big, small := make([]byte, 3000), []byte("small")
	bigName, smallName, otherName := file(t, big), file(t, small), file(t, []byte("other"))
	synctest.Test(t, func(t *testing.T) {
		h := New(Limits{Rate: 1000})
		h.settle = math.MinInt64
		checkSum(t, h, smallName, small) // 995 bytes left
		checkSum(t, h, bigName, big)     // 2,005 too many
		checkError(t, h, otherName, ErrBusy)
		checkSum(t, h, smallName, small) // costs nothing
		time.Sleep(2 * time.Second)
		checkError(t, h, otherName, ErrBusy)
		time.Sleep(10 * time.Millisecond)
		checkSum(t, h, otherName, []byte("other"))
		time.Sleep(time.Hour) // saves one second's worth, not an hour's
		if !h.budget.take(1000) || h.budget.take(1) {
			t.Errorf("%v bytes left after an hour and 1,000, want none", h.budget.left)
		}
	})
}

// TestSumAtOnce: several goroutines ask for two files; each file is read once.
func TestSumAtOnce(t *testing.T) {
	contents := [2][]byte{bytes.Repeat([]byte("a"), 5*chunk), bytes.Repeat([]byte("b"), 7*chunk)}
	names := [2]string{file(t, contents[0]), file(t, contents[1])}
	h := New(Limits{Rate: 8 * chunk}) // enough to begin both in any order, not to read one twice
	h.settle = math.MinInt64
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() { checkSum(t, h, names[i%2], contents[i%2]) })
	}
	wg.Wait()
}

func TestCacheIsBounded(t *testing.T) {
	c := newCache(10)
	hot := identity{inode: 1000}
	c.put(hot, Sum{1})
	for i := range uint64(100) {
		c.put(identity{inode: i}, Sum{2})
		if _, ok := c.get(hot); !ok {
			t.Fatalf("after %d others, what is asked for all the time is forgotten", i)
		}
		if n := len(c.young) + len(c.old); n > 10 {
			t.Fatalf("%d entries are kept, want at most 10", n)
		}
	}
	if _, ok := c.get(identity{inode: 3}); ok {
		t.Error("what nobody asks for is kept")
	}
}

func BenchmarkSum(b *testing.B) {
	h := New(Limits{Rate: math.MaxInt64})
	h.settle = math.MinInt64
	name := file(b, make([]byte, 8<<20))
	b.Run("known", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := h.Sum(b.Context(), name); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(8 << 20)
		for b.Loop() {
			clear(h.cache.young)
			clear(h.cache.old)
			if _, err := h.Sum(b.Context(), name); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// TestKnown: a digest is known without reading until its file changes.
func TestKnown(t *testing.T) {
	h := New(Limits{})
	h.settle = 0
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte("one"), 0o600); err != nil {
		t.Fatal(err)
	}
	known := func() bool {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		sum, ok := h.Known(f)
		return ok && sum == sha256.Sum256([]byte("one"))
	}
	if known() {
		t.Error("known before it was read")
	}
	if _, err := h.Sum(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	if !known() {
		t.Error("not known after it was read")
	}
	if err := os.WriteFile(path, []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	if known() {
		t.Error("known though the file has changed")
	}
}
