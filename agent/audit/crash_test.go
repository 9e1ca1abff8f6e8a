package audit

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// helperEnv makes the test binary the other process of a test: it opens the
// log in the directory that it names, and appends until it is killed.
const helperEnv = "PORTAUDIT_TEST_AUDIT_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(helperEnv); dir != "" {
		fmt.Fprintln(os.Stderr, appendForever(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// appendForever prints the number of each last record that was acknowledged.
func appendForever(dir string) error {
	l, err := Open(dir, Options{Host: "alpha", Boot: "b1"})
	if err != nil {
		return err
	}
	fmt.Println(l.Seq())
	next := l.Seq()
	for i := 0; ; i++ {
		events := make([]Event, 1+i%7)
		for j := range events {
			next++
			events[j] = Event{
				Event:   ListenerOpened,
				Message: fmt.Sprintf("record %d", next),
				Why:     strings.Repeat("x", i*977%40_000),
			}
		}
		if i%5 == 0 {
			events[0].Event = FindingRaised
		}
		done, err := l.Append(events...)
		if err != nil {
			return err
		}
		if len(done) > 0 {
			fmt.Println(done[len(done)-1].Seq)
		}
	}
}

// helper starts the other process, and returns it and what it prints.
func helper(t *testing.T, dir string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), helperEnv+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewScanner(out)
}

// appendAndKill kills the other process some time after its first
// acknowledgement, and returns the last.
func appendAndKill(t *testing.T, dir string) (acknowledged uint64) {
	t.Helper()
	cmd, lines := helper(t, dir)
	for first := true; lines.Scan(); first = false {
		seq, err := strconv.ParseUint(lines.Text(), 10, 64)
		if err != nil {
			break // the kill tore the line: that record was not yet acknowledged
		}
		acknowledged = seq
		if first {
			time.AfterFunc(rand.N(15*time.Millisecond), func() { cmd.Process.Kill() })
		}
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the helper ended by itself")
	}
	return acknowledged
}

func TestKill(t *testing.T) {
	dir := t.TempDir()
	dropped := int64(0)
	for round := range 30 {
		acknowledged := appendAndKill(t, dir)
		l, err := Open(dir, Options{Host: "alpha", Boot: "b1"})
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		dropped += l.Recovered().Dropped
		if seq := l.Seq(); seq < acknowledged {
			t.Fatalf("round %d: record %d was acknowledged, and %d is the last of the log", round, acknowledged, seq)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	last := uint64(0)
	for e, err := range ReadFrom(dir, 1) {
		if err != nil {
			t.Fatal(err)
		}
		last = e.Seq
		if want := fmt.Sprintf("record %d", e.Seq); e.Message != want {
			t.Fatalf("record %d says %q", e.Seq, e.Message)
		}
	}
	t.Logf("%d records, %d bytes dropped", last, dropped)
	if last < 30 {
		t.Errorf("only %d records: the helper hardly ran", last)
	}
}

func TestLockedByOtherProcess(t *testing.T) {
	dir := t.TempDir()
	cmd, lines := helper(t, dir)
	if !lines.Scan() {
		t.Fatal("the helper did not open the log")
	}
	checkLocked(t, dir, cmd.Process.Pid)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() { // so that Wait does not close the pipe under it
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the helper ended by itself")
	}
	openLog(t, dir) // what a dead process held is free
}

func TestLockedBySameProcess(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, dir)
	checkLocked(t, dir, os.Getpid())
	if _, err := l.Append(Event{Event: AgentStarted}); err != nil {
		t.Errorf("the refused one harmed the first: %v", err)
	}
	checkLocked(t, dir, os.Getpid())
}

func checkLocked(t *testing.T, dir string, pid int) {
	t.Helper()
	l, err := Open(dir, Options{})
	if err == nil {
		l.Close()
		t.Fatal("a second Log was opened")
	}
	if want := fmt.Sprintf("process %d", pid); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), want+" ") {
		t.Errorf("%v: want ErrLocked that names %s", err, want)
	}
}

// A lock file that says nothing of use still names no wrong process.
func TestHolderUnknown(t *testing.T) {
	for _, content := range []string{"", "\x00\x00\x00", "\x1b]0;x", "  -4"} {
		path := filepath.Join(t.TempDir(), lockName)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := holder(path); got != "an unknown process" {
			t.Errorf("%q: %s", content, got)
		}
	}
}
