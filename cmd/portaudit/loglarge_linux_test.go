package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
)

// TestLogLarge holds the commands to their promises on a log of 1 GB: no more than
// 64 MB of memory, and a second for one day.
func TestLogLarge(t *testing.T) {
	if os.Getenv("PORTAUDIT_TEST_LARGE") == "" {
		t.Skip("writes 1 GB: set PORTAUDIT_TEST_LARGE=1")
	}
	dir := t.TempDir()
	if kept := os.Getenv("PORTAUDIT_TEST_LARGE_DIR"); kept != "" {
		dir = kept
	}
	if _, err := os.Stat(filepath.Join(dir, "audit.jsonl")); err != nil {
		t.Logf("%d records", largeLog(t, dir, 1e9))
	}
	program := filepath.Join(t.TempDir(), "portaudit")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	config := file(t, "none.yaml", "")
	run := func(name string) {
		for _, args := range largeQueries {
			began := time.Now()
			c := exec.CommandContext(t.Context(), program, append(args, "--log-dir", dir, "--config", config)...)
			c.Stderr = os.Stderr
			var out counter // a child's peak begins with its parent's, which must stay small
			c.Stdout = &out
			err := c.Run()
			took, worked := time.Since(began), c.ProcessState.UserTime()+c.ProcessState.SystemTime()
			if err != nil {
				t.Errorf("%v: %v", args, err)
				continue
			}
			peak := c.ProcessState.SysUsage().(*syscall.Rusage).Maxrss / 1024
			t.Logf("%-12s %6.2f s (%.2f s of a core) %4d MB %10d bytes  portaudit %s", name, took.Seconds(),
				worked.Seconds(), peak, out, strings.Join(args, " "))
			if peak > 64 {
				t.Errorf("%v takes %d MB", args, peak)
			}
			if args[2] == "--since" && worked > time.Second { // not by the clock: others use the machine too
				t.Errorf("%v takes %v", args, worked)
			}
		}
	}
	run("raw")
	if err := audit.Tidy(t.Context(), dir, audit.Retention{}, func(audit.Event) error { return nil }); err != nil {
		t.Fatal(err)
	}
	run("compressed")
}

// counter counts what is written to it.
type counter int

func (c *counter) Write(b []byte) (int, error) {
	*c += counter(len(b))
	return len(b), nil
}

var largeQueries = [][]string{
	{"log", "show", "--since", "1d"},
	{"log", "show", "--since", "60d", "--until", "59d"},
	{"log", "show", "--since", "60d", "--until", "59d", "--severity", "critical"},
	{"log", "show", "-n", "10"},
	{"log", "show", "--port", "8080"},
	{"log", "show", "--port", "8000-8100/tcp", "--json"},
	{"log", "show", "--exe", "/tmp/*"},
	{"log", "show", "--severity", "critical", "-n", "100"},
	{"log", "show", "--json"},
	{"log", "at", "60d"},
	{"log", "at", "1h"},
	{"log", "history", "8080/tcp"},
	{"log", "history", "1-65535/tcp", "--json"},
	{"log", "stats"},
}
