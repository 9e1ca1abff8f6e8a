package audit

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A limit of file size gives real short writes without root: the kernel writes
// up to the limit, and fails the next call with EFBIG (setrlimit(2)).
//
// The limit holds for every file of the process, the testing package's own
// too, so the test runs again in a process that writes no other.
func TestShortWriteIsCutBack(t *testing.T) {
	const limited = "PORTAUDIT_TEST_LIMITED"
	if os.Getenv(limited) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestShortWriteIsCutBack$")
		cmd.Env = append(os.Environ(), limited+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v:\n%s", err, out)
		}
		return
	}
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	l := openLog(t, dir)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 20_000, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
			t.Error(err)
		}
	}()
	kept := fillUp(t, l, syscall.EFBIG)
	if err := WriteFile(filepath.Join(dir, "state.json"), make([]byte, 30_000), 0o600); !errors.Is(err, syscall.EFBIG) {
		t.Errorf("WriteFile: %v, want EFBIG", err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".*")); err != nil || len(left) != 0 {
		t.Errorf("WriteFile left %v, %v", left, err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	goesOn(t, l, dir, kept, 0)
}

// TestFullDisk fills a disk of 1 MB, frees it and sees the log go on, and the
// records in it that there was no room for on disk.
func TestFullDisk(t *testing.T) {
	dir := smallDisk(t)
	l := openLog(t, dir)
	kept := fillUp(t, l, syscall.ENOSPC)
	if last := kept[len(kept)-1]; last.Event != LogDegraded {
		t.Errorf("the last record is %s, want %s: the reserve holds it", last.Event, LogDegraded)
	}
	const more = maxWaiting + 100
	waiting := l.Health().Waiting
	for range more {
		if done, err := l.Append(Event{Event: ListenerClosed}); len(done) > 0 || !errors.Is(err, ErrDegraded) {
			t.Fatalf("Append = %v, %v on a full disk", done, err)
		}
	}
	h, lost := l.Health(), uint64(waiting+more-maxWaiting)
	if !h.Full || h.Waiting != maxWaiting || h.Lost != lost {
		t.Errorf("%+v, want %d waiting and %d lost", h, maxWaiting, lost)
	}
	// Little room is not room to go on with.
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=1032k"); err != nil {
		t.Fatal(err)
	}
	l.trouble.tried = time.Time{}
	done, err := l.Sync()
	if n := len(done); n == 0 || n > 100 || done[n-1].Event == LogRestored || !errors.Is(err, ErrDegraded) {
		t.Errorf("Sync = %d events, %v with a few KiB of room, want some of what waits, and no more", n, err)
	}
	kept = append(kept, done...)
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=3m"); err != nil {
		t.Fatal(err)
	}
	goesOn(t, l, dir, kept, lost)
}

// A program that ends on a full disk leaves a log that the next one goes on with.
func TestFullDiskOverRestart(t *testing.T) {
	dir := smallDisk(t)
	l := openLog(t, dir)
	kept := fillUp(t, l, syscall.ENOSPC)
	if _, err := l.Append(Event{Event: AgentStopped}); !errors.Is(err, ErrDegraded) {
		t.Errorf("%v, want ErrDegraded", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if all := checkKept(t, dir, kept); all[len(all)-1].Event != AgentStopped {
		t.Errorf("the last record is %+v, want agent.stopped: there was the room of the reserve", all[len(all)-1])
	}
	l = openLog(t, dir)
	if h := l.Health(); h.Err == nil {
		t.Error("in good health, and the last one said that it is not")
	}
	if _, err := l.Append(Event{Event: AgentStarted}); !errors.Is(err, ErrDegraded) {
		t.Errorf("%v, want ErrDegraded", err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=3m"); err != nil {
		t.Fatal(err)
	}
	l.trouble.tried = time.Time{}
	done, err := l.Sync()
	if err != nil || len(done) != 2 || done[0].Event != AgentStarted || done[1].Event != LogRestored || done[1].Lost != nil {
		t.Errorf("Sync = %+v, %v, want what waited, and restored with an unknown loss", done, err)
	}
	checkKept(t, dir, kept)
}

// smallDisk is a directory with 1 MB of room.
func smallDisk(t *testing.T) string {
	t.Helper()
	if os.Getenv("PORTAUDIT_TEST_ROOT") == "" || os.Geteuid() != 0 {
		t.Skip("mounts a tmpfs: needs root and PORTAUDIT_TEST_ROOT=1")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fillUp appends until the disk is full, which it must say as want, and returns
// what was acknowledged.
func fillUp(t *testing.T, l *Log, want syscall.Errno) []Event {
	t.Helper()
	var kept []Event
	var err error
	for n := 0; err == nil && n < 10_000; n++ {
		var done []Event
		done, err = l.Append(Event{Event: ListenerOpened, Why: strings.Repeat("x", 700)}, Event{Event: FindingRaised})
		kept = append(kept, done...)
	}
	if !errors.Is(err, want) || !errors.Is(err, ErrDegraded) || !errors.Is(l.Health().Err, want) {
		t.Fatalf("%v, want ErrDegraded by %v", err, want)
	}
	if last := kept[len(kept)-1].Seq; last != l.Seq() || int(last) != len(kept) {
		t.Errorf("%d events were acknowledged, the last of them %d, and Seq = %d", len(kept), last, l.Seq())
	}
	return kept
}

// goesOn checks that a log goes on now that there is room, and tells of its trouble
// exactly once.
func goesOn(t *testing.T, l *Log, dir string, kept []Event, lost uint64) {
	t.Helper()
	if _, err := l.Sync(); !errors.Is(err, ErrDegraded) {
		t.Errorf("%v: tried again within the second", err)
	}
	l.trouble.tried = time.Time{}
	done, err := l.Sync()
	if err != nil {
		t.Fatal(err)
	}
	last := done[len(done)-1]
	if last.Event != LogRestored || last.Lost == nil || *last.Lost != lost {
		t.Errorf("the last record is %+v, want restored with %d lost", last, lost)
	}
	if _, err := add(l, Event{Event: AgentStopped}); err != nil {
		t.Error(err)
	}
	all := checkKept(t, dir, append(kept, done...))
	count := map[string]int{}
	for _, e := range all {
		count[e.Event]++
	}
	if count[LogDegraded] != 1 || count[LogRestored] != 1 || all[len(all)-1].Event != AgentStopped {
		t.Errorf("%v", count)
	}
	if h := l.Health(); h.Err != nil || h.Waiting != 0 || h.Lost != lost {
		t.Errorf("%+v", h)
	}
}
