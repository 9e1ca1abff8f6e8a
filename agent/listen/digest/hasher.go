package digest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"os"
	"time"
)

// chunk is how many bytes are read at once; a context is looked at in between.
const chunk = 64 << 10

// settle is how long ago a file's last change must be for its digest to be
// kept. File systems keep times as coarsely as a tick of the kernel (10 ms at
// most; those of 2 s, FAT's, run few programs): of two changes in one tick the
// second does not show.
const settle = 100 * time.Millisecond

// Hasher computes digests within its limits. It may be used by several
// goroutines at once; it reads one file at a time. New makes one.
type Hasher struct {
	maxSize int64
	settle  time.Duration
	cache   *cache
	budget  *budget

	// tools is the one set of tools: who holds it may read.
	tools chan tools
}

type tools struct {
	buf  []byte
	hash hash.Hash
}

// New returns a Hasher that has read nothing yet.
func New(l Limits) *Hasher {
	if l.MaxSize <= 0 {
		l.MaxSize = DefaultMaxSize
	}
	if l.Rate <= 0 {
		l.Rate = DefaultRate
	}
	if l.Entries <= 0 {
		l.Entries = DefaultEntries
	}
	h := &Hasher{
		maxSize: l.MaxSize, settle: settle,
		cache: newCache(l.Entries), budget: newBudget(l.Rate),
		tools: make(chan tools, 1),
	}
	h.tools <- tools{make([]byte, chunk), sha256.New()}
	return h
}

// Sum returns the digest of the file at path, which may be a link such as
// /proc/PID/exe: that leads to the file that runs, even if it was removed or
// replaced. The digest of a file that is as it was when it was last read is
// known without opening it. The error wraps one of this package's, ctx's, or
// that of the file system.
//
// A device that somebody puts at path between the look and the open is opened,
// though not read: do not ask for a path that others can write to.
func (h *Hasher) Sum(ctx context.Context, path string) (Sum, error) {
	if id, err := identify(path); err == nil {
		if sum, known := h.cache.get(id); known {
			return sum, nil
		}
	}
	// A pipe or a device must not be opened: that may wait, or do something.
	fi, err := os.Stat(path)
	if err != nil {
		return Sum{}, err
	}
	if !fi.Mode().IsRegular() {
		return Sum{}, fmt.Errorf("%s: %w", path, ErrNotRegular)
	}
	f, err := os.Open(path)
	if err != nil {
		return Sum{}, err
	}
	defer f.Close()
	return h.SumFile(ctx, f)
}

// SumFile is Sum for an open file, which it reads from the start without
// moving its offset.
func (h *Hasher) SumFile(ctx context.Context, f *os.File) (Sum, error) {
	id, err := identifyFile(f)
	if err != nil {
		return Sum{}, err
	}
	if sum, known := h.cache.get(id); known {
		return sum, nil
	}
	var t tools
	select {
	case t = <-h.tools:
	case <-ctx.Done():
		return Sum{}, ctx.Err()
	}
	defer func() { h.tools <- t }()
	if sum, known := h.cache.get(id); known { // by who had the tools
		return sum, nil
	}
	sum, err := h.read(ctx, f, t)
	if err != nil {
		return Sum{}, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return sum, nil
}

// Fits reports whether a file of this size is not too large to be read.
func (h *Hasher) Fits(size int64) bool { return size <= h.maxSize }

// Known returns the digest of an open file if it was read before, and is as it
// was then.
func (h *Hasher) Known(f *os.File) (sum Sum, known bool) {
	id, err := identifyFile(f)
	if err != nil {
		return Sum{}, false
	}
	return h.cache.get(id)
}

// read reads the file once, or twice if it changed meanwhile.
func (h *Hasher) read(ctx context.Context, f *os.File, t tools) (Sum, error) {
	for attempt := range 2 {
		fi, err := f.Stat()
		if err != nil {
			return Sum{}, err
		}
		if !fi.Mode().IsRegular() {
			return Sum{}, ErrNotRegular
		}
		before, err := identifyFile(f)
		if err != nil {
			return Sum{}, err
		}
		if before.size > h.maxSize {
			return Sum{}, fmt.Errorf("%w: %d bytes of at most %d", ErrTooLarge, before.size, h.maxSize)
		}
		if !h.budget.take(before.size) && attempt == 0 {
			return Sum{}, ErrBusy
		}
		started := time.Now()
		sum, n, err := t.sum(ctx, f, before.size)
		if err != nil {
			return Sum{}, err
		}
		after, err := identifyFile(f)
		if err != nil {
			return Sum{}, err
		}
		if n == before.size && after == before {
			if started.Sub(before.lastChange()) >= h.settle {
				h.cache.put(before, sum)
			}
			return sum, nil
		}
	}
	return Sum{}, ErrChanged
}

// sum reads what the file has, and at most one byte more than size. It returns
// how many bytes there were.
func (t tools) sum(ctx context.Context, f io.ReaderAt, size int64) (sum Sum, n int64, err error) {
	t.hash.Reset()
	for n <= size {
		if err := ctx.Err(); err != nil {
			return Sum{}, n, err
		}
		part := t.buf[:min(int64(len(t.buf)), size-n+1)]
		got, err := f.ReadAt(part, n)
		t.hash.Write(part[:got]) // never fails: package hash
		n += int64(got)
		if err == io.EOF {
			break
		}
		if err != nil {
			return Sum{}, n, err
		}
	}
	t.hash.Sum(sum[:0])
	return sum, n, nil
}
