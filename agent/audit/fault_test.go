package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// faulty is a disk of which some calls fail. It knows what of each file is on disk:
// what a sync that worked was made for. A sync that failed has dropped what it was
// made for, and none afterwards can bring it back, as it is on Linux.
type faulty struct {
	real   disk
	calls  int
	fails  func(call int) bool
	err    error
	short  bool             // a write that fails writes one half before
	synced map[string]int64 // by name
	dead   map[string]bool  // files of which a sync failed
	ops    map[string]int   // calls by kind
}

func newFaulty(err error, short bool, fails func(int) bool) *faulty {
	return &faulty{
		real: realDisk(), fails: fails, err: err, short: short,
		synced: map[string]int64{}, dead: map[string]bool{}, ops: map[string]int{},
	}
}

// fail counts a call, and says what it fails with.
func (f *faulty) fail(op string) error {
	f.calls++
	f.ops[op]++
	if f.fails(f.calls) {
		return &os.PathError{Op: op, Path: "x", Err: f.err}
	}
	return nil
}

func (f *faulty) disk() disk {
	return disk{
		open: func(path string) (*os.File, error) {
			if err := f.fail("open"); err != nil {
				return nil, err
			}
			return f.real.open(path)
		},
		create: func(path string) (*os.File, error) {
			if err := f.fail("create"); err != nil {
				return nil, err
			}
			file, err := f.real.create(path)
			if err == nil {
				f.synced[path], f.dead[path] = 0, false
			}
			return file, err
		},
		write: func(file *os.File, p []byte) (int, error) {
			err := f.fail("write")
			if err == nil {
				return f.real.write(file, p)
			}
			n := 0
			if f.short {
				n, _ = f.real.write(file, p[:len(p)/2])
			}
			return n, err
		},
		sync: func(file *os.File) error {
			name := file.Name() // which only a segment outlives that is not written any more
			if err := f.fail("sync"); err != nil {
				f.dead[name] = true
				return err
			}
			if info, err := file.Stat(); err == nil && !f.dead[name] {
				f.synced[name] = info.Size()
			}
			return nil
		},
		truncate: func(file *os.File, size int64) error {
			if err := f.fail("truncate"); err != nil {
				return err
			}
			return f.real.truncate(file, size)
		},
		rename: func(from, to string) error {
			if err := f.fail("rename"); err != nil {
				return err
			}
			if err := f.real.rename(from, to); err != nil {
				return err
			}
			f.synced[to], f.dead[to] = f.synced[from], f.dead[from]
			delete(f.synced, from)
			return nil
		},
		remove: func(path string) error {
			if err := f.fail("remove"); err != nil {
				return err
			}
			delete(f.synced, path)
			return f.real.remove(path)
		},
		syncDir: func(string) error { return f.fail("sync of a directory") },
	}
}

// powerCut copies what is on disk of the log in dir: of each file what was synced,
// and as much again of the rest as there may be.
func (f *faulty) powerCut(t *testing.T, dir string) string {
	t.Helper()
	after := t.TempDir()
	for path, size := range f.synced {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		kept := min(int(size), len(raw))
		if err := os.WriteFile(filepath.Join(after, filepath.Base(path)), raw[:kept+(len(raw)-kept)/3], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return after
}

// rounds is how often work does all that it does, so that it makes 200 calls of a disk.
const rounds = 36

// work appends to a log in ways that the daemon has, and returns what was
// acknowledged.
func work(t *testing.T, l *Log) []Event {
	t.Helper()
	var all []Event
	take := func(done []Event, err error) {
		if err != nil && !errors.Is(err, ErrDegraded) {
			t.Fatalf("%v: want ErrDegraded", err)
		}
		if err != nil && l.Health().Err == nil {
			t.Fatal("degraded, and in good health")
		}
		all = append(all, done...)
		if l.trouble != nil {
			l.trouble.tried = time.Time{} // a second passes
		}
	}
	for i := range rounds {
		take(l.Append(Event{Event: ListenerOpened, Message: fmt.Sprint("opened ", i), Why: strings.Repeat("w", 300)}))
		if i%3 == 0 {
			take(l.Append(slices.Repeat([]Event{{Event: ListenerChanged, Message: fmt.Sprint("changed ", i)}}, 4)...))
		}
		if i%4 == 1 {
			take(l.Append(Event{Event: FindingRaised, Message: fmt.Sprint("raised ", i)}))
		}
		take(l.Sync())
	}
	for range 5 {
		take(l.Sync())
	}
	return all
}

// checkKept checks that a log holds what was acknowledged, as it was.
func checkKept(t *testing.T, dir string, acknowledged []Event) []Event {
	t.Helper()
	all, err := readRaw(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range acknowledged {
		if e.Seq != uint64(i)+1 {
			t.Fatalf("acknowledged as %d: record %d", i+1, e.Seq)
		}
		if i >= len(all) || all[i].Message != e.Message || all[i].Event != e.Event || all[i].Prev != e.Prev {
			t.Fatalf("record %d was acknowledged as %s %q and is not there", e.Seq, e.Event, e.Message)
		}
	}
	return all
}

// readRaw reads all segments of the log in dir, none of them compressed, and
// checks the chain. Records that the next segment has anew are passed over.
func readRaw(dir string) ([]Event, error) {
	names, err := filepath.Glob(filepath.Join(dir, "audit*.jsonl")) // the active one sorts last: '-' is before '.'
	if err != nil {
		return nil, err
	}
	var all []Event
	head := firstHead()
	firsts := make([]uint64, len(names)+1)
	firsts[len(names)] = ^uint64(0)
	raws := make([][]byte, len(names))
	for i, name := range names {
		if raws[i], err = os.ReadFile(name); err != nil {
			return nil, err
		}
		line, _, _ := bytes.Cut(raws[i], []byte("\n"))
		e, err := decode(line)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if firsts[i] = e.Seq; e.Event != LogSegment {
			return nil, fmt.Errorf("%s begins with %s", name, e.Event)
		}
	}
	for i, name := range names {
		for line := range bytes.Lines(raws[i]) {
			if head.Seq+1 >= firsts[i+1] {
				break
			}
			whole, ok := bytes.CutSuffix(line, []byte("\n"))
			if !ok {
				return nil, fmt.Errorf("%s: %w", name, io.ErrUnexpectedEOF)
			}
			e, err := decode(whole)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			if head, _, err = head.next(whole, e); err != nil {
				return nil, fmt.Errorf("%s: record %d: %w", name, e.Seq, err)
			}
			all = append(all, e)
		}
	}
	return all, nil
}

// TestFaults lets each of the first calls fail in turn, alone and with some behind
// it, and looks at the log afterwards, and as it would be after a power cut.
func TestFaults(t *testing.T) {
	const first = 200
	kinds := []struct {
		name  string
		err   error
		short bool
		many  int // calls that fail in a row
		step  int // to the next of the first calls
	}{
		{"EIO", syscall.EIO, false, 1, 1},
		{"ENOSPC", noRoom, false, 1, 1},
		{"a short write", noRoom, true, 1, 1},
		{"a short write, then EIO", syscall.EIO, true, 1, 3},
		{"three of EIO", syscall.EIO, true, 3, 5},
		{"nine of ENOSPC", noRoom, true, 9, 5},
	}
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			failed, ops := 0, map[string]int{}
			step := kind.step
			if thinly() > 1 {
				step *= 5
			}
			for n := 1; n <= first; n += step {
				f := newFaulty(kind.err, kind.short, func(call int) bool { return call >= n && call < n+kind.many })
				if oneFault(t, f, n) {
					failed++
				}
				if f.calls < n {
					t.Fatalf("only %d calls were made, and none failed", f.calls)
				}
				for op, count := range f.ops {
					ops[op] = max(ops[op], count)
				}
			}
			t.Logf("%d of %d refused at the start; calls: %v", failed, first, ops)
			if slices.Min(slices.Collect(maps.Values(ops))) == 0 || ops["rename"] < 3 {
				t.Error("not every kind of call was made")
			}
		})
	}
}

// oneFault works on a log on f, and reports whether it could not be opened.
func oneFault(t *testing.T, f *faulty, n int) bool {
	t.Helper()
	dir := t.TempDir()
	l, err := openOn(f.disk(), dir, Options{Host: "alpha", Boot: "b1", MaxSize: 2500})
	if err != nil {
		checkReopens(t, dir, nil) // and nothing stands in the way of the next
		return true
	}
	acknowledged := work(t, l)
	cut := f.powerCut(t, dir)
	if h := l.Health(); h.Err != nil || h.Waiting != 0 {
		t.Fatalf("call %d: %+v, long after the fault", n, h)
	}
	if err := l.Close(); err != nil {
		t.Fatalf("call %d: Close: %v", n, err)
	}
	all := checkKept(t, dir, acknowledged)
	checkPaired(t, all)
	checkReopens(t, cut, acknowledged)
	if t.Failed() {
		t.Fatalf("call %d", n)
	}
	return false
}

// checkPaired checks that the log says each trouble once, and its end once, and
// that nothing was lost or stands twice.
func checkPaired(t *testing.T, all []Event) {
	t.Helper()
	degraded, seen := false, map[string]int{}
	for _, e := range all {
		switch e.Event {
		case LogDegraded:
			if degraded {
				t.Errorf("record %d: degraded again", e.Seq)
			}
			degraded = true
		case LogRestored:
			if !degraded || e.Lost == nil || *e.Lost != 0 {
				t.Errorf("record %d: restored, degraded before: %t, lost %v", e.Seq, degraded, e.Lost)
			}
			degraded = false
		case LogSegment:
		default:
			seen[e.Message]++
		}
	}
	if degraded {
		t.Error("degraded to the end")
	}
	for message, n := range seen {
		if want := map[bool]int{true: 4, false: 1}[strings.HasPrefix(message, "changed")]; n != want {
			t.Errorf("%q is there %d times, want %d", message, n, want)
		}
	}
	if len(seen) != rounds+(rounds+2)/3+(rounds+2)/4 {
		t.Errorf("%d messages", len(seen))
	}
}

// checkReopens checks that a log can be opened and gone on with.
func checkReopens(t *testing.T, dir string, acknowledged []Event) {
	t.Helper()
	sound := newFaulty(nil, false, func(int) bool { return false }) // and does not wait for the disk
	l, err := openOn(sound.disk(), dir, Options{Host: "alpha", Boot: "b2", MaxSize: 2500})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(Event{Event: AgentStarted, Message: "again"}); err != nil {
		t.Error(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	checkKept(t, dir, acknowledged)
}
