package digest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// sleep returns a program that waits when run with "60".
func sleep(t *testing.T) string {
	t.Helper()
	name, err := exec.LookPath("sleep")
	if err != nil {
		t.Skipf("needs a program to run: %v", err)
	}
	return name
}

// program returns the content of sleep.
func program(t *testing.T) []byte {
	t.Helper()
	b, err := os.ReadFile(sleep(t))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// start runs a program until the test ends, and returns the name of what it
// runs. Start returns after the child's exec.
func start(t *testing.T, name string) string {
	t.Helper()
	cmd := &exec.Cmd{Path: name, Args: []string{"sleep", "60"}}
	if err := cmd.Start(); err != nil {
		t.Skipf("cannot run a copy of sleep here: %v", err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return fmt.Sprintf("/proc/%d/exe", cmd.Process.Pid)
}

// TestSumRunning: what runs is what is hashed, whatever became of its name.
func TestSumRunning(t *testing.T) {
	old := program(t)
	name := filepath.Join(t.TempDir(), "sleep")
	if err := os.WriteFile(name, old, 0o700); err != nil {
		t.Fatal(err)
	}
	exe := start(t, name)
	h := New(Limits{})
	checkSum(t, h, exe, old)
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	checkSum(t, h, exe, old)
	if err := os.WriteFile(name, []byte("new"), 0o700); err != nil {
		t.Fatal(err)
	}
	checkSum(t, h, exe, old)
	checkSum(t, h, name, []byte("new"))
}

func TestSumMemfd(t *testing.T) {
	fd, err := unix.MemfdCreate("portaudit-test", 0) // stays open over exec: the child reads its own name
	if err != nil {
		t.Skipf("no memfd here: %v", err)
	}
	f := os.NewFile(uintptr(fd), "memfd")
	defer f.Close()
	content := program(t)
	if _, err := f.Write(content); err != nil {
		t.Fatal(err)
	}
	// Through a descriptor for reading, or exec refuses a file open for writing.
	ro, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		t.Fatal(err)
	}
	defer ro.Close()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	exe := start(t, fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), ro.Fd()))
	if link, err := os.Readlink(exe); err != nil || !bytes.Contains([]byte(link), []byte("memfd:")) {
		t.Fatalf("%s runs %q, %v, want a memfd", exe, link, err)
	}
	checkSum(t, New(Limits{}), exe, content)
}

// TestSumNoFile: a pipe is not waited for, and a file of procfs, whose size is
// 0, is not taken for an empty one.
func TestSumNoFile(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	checkError(t, New(Limits{}), pipe, ErrNotRegular)
	checkError(t, New(Limits{}), "/dev/null", ErrNotRegular)
	checkError(t, New(Limits{}), "/proc/self/status", ErrChanged)
}

func TestSumKnownAllocatesNothing(t *testing.T) {
	h, ctx := eager(), t.Context()
	exe := start(t, sleep(t))
	f, err := os.Open(exe)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ask := map[string]func() (Sum, error){
		"by path": func() (Sum, error) { return h.Sum(ctx, exe) },
		"by file": func() (Sum, error) { return h.SumFile(ctx, f) },
	}
	for how, ask := range ask {
		want, err := ask()
		if err != nil {
			t.Fatal(err)
		}
		if n := testing.AllocsPerRun(100, func() {
			if sum, err := ask(); sum != want || err != nil {
				t.Errorf("%s: got %v, %v", how, sum, err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations for a known file, want 0", how, n)
		}
	}
}

// TestIdentifyOneWay: path and file give the same identity, or nothing would
// be found in the cache.
func TestIdentifyOneWay(t *testing.T) {
	for _, name := range []string{sleep(t), "/proc/self/exe", file(t, nil), "/" + string(bytes.Repeat([]byte("./"), 60)) + sleep(t)} {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		byPath, err := identify(name)
		if err != nil {
			t.Fatal(err)
		}
		if byFile, err := identifyFile(f); err != nil || byPath != byFile {
			t.Errorf("%s: %+v by path, %+v by file, %v", name, byPath, byFile, err)
		}
	}
}
