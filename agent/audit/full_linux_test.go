package audit

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// fillUp appends until it fails with want, and checks that the acknowledged
// records are all there is.
func fillUp(t *testing.T, l *Log, dir string, want syscall.Errno) {
	t.Helper()
	var last uint64
	var err error
	for err == nil && last < 10_000 {
		last, err = l.Append(Event{Event: ListenerOpened, Why: strings.Repeat("x", 700)}, Event{Event: ListenerClosed})
	}
	if !errors.Is(err, want) || last != l.Seq() {
		t.Fatalf("Append = %d, %v and Seq = %d, want %v", last, err, l.Seq(), want)
	}
	if seq, again := l.Append(Event{Event: ListenerOpened}); again != err || seq != last {
		t.Errorf("the next Append = %d, %v, want the error again", seq, again)
	}
	head, err := verifyFile(t, dir)
	if err != nil || head.Seq != last {
		t.Errorf("the file ends at record %d, %v, want %d and no torn line", head.Seq, err, last)
	}
}

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
	fillUp(t, l, dir, syscall.EFBIG)
	if err := WriteFile(filepath.Join(dir, "state.json"), make([]byte, 30_000), 0o600); !errors.Is(err, syscall.EFBIG) {
		t.Errorf("WriteFile: %v, want EFBIG", err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".*")); err != nil || len(left) != 0 {
		t.Errorf("WriteFile left %v, %v", left, err)
	}
}

func TestFullDisk(t *testing.T) {
	if os.Getenv("PORTAUDIT_TEST_ROOT") == "" || os.Geteuid() != 0 {
		t.Skip("mounts a tmpfs: needs root and PORTAUDIT_TEST_ROOT=1")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	}()
	l, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	fillUp(t, l, dir, syscall.ENOSPC)
	last := l.Seq()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=128k"); err != nil {
		t.Fatal(err)
	}
	l, err = Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if seq, err := l.Append(Event{Event: AgentStarted}); seq != last+1 || err != nil {
		t.Errorf("with room again, Append = %d, %v, want %d", seq, err, last+1)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}
