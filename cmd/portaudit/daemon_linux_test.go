package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/portaudit/portaudit/agent"
)

// buildStatic builds the program as it is shipped: this one may be linked with
// libc, which would have to change the rights of threads itself.
func buildStatic(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "portaudit")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", path, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	return path
}

// daemon is a program that runs by itself, as a service does.
type daemon struct {
	cmd  *exec.Cmd
	told bytes.Buffer
}

// startDaemon starts one and waits until it has audited.
func startDaemon(t *testing.T, program, stateDir string, args ...string) *daemon {
	t.Helper()
	d := &daemon{cmd: exec.CommandContext(t.Context(), program, append([]string{"run", "--state-dir", stateDir}, args...)...)}
	d.cmd.Stderr = &d.told
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitForFile(t, filepath.Join(stateDir, "state.json"))
	return d
}

func (d *daemon) pid() int { return d.cmd.Process.Pid }

// stop ends it, and returns what it said.
func (d *daemon) stop(t *testing.T) string {
	t.Helper()
	if err := d.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Wait(); err != nil {
		t.Errorf("%v:\n%s", err, d.told.String())
	}
	return d.told.String()
}

// processorTime returns how long all threads have run that it has, or had: its
// clock (clock_getcpuclockid(3), include/linux/posix-timers_types.h).
func (d *daemon) processorTime(t *testing.T) time.Duration {
	t.Helper()
	const schedulers = 2
	var at unix.Timespec
	if err := unix.ClockGettime(int32(^d.pid()<<3|schedulers), &at); err != nil {
		t.Fatal(err)
	}
	return time.Duration(at.Nano())
}

// waitForFile waits until a file is there.
func waitForFile(t *testing.T, path string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if _, err := os.Stat(path); err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is not there", path)
		}
	}
}

// openDescriptors lets processes that do nothing hold as many descriptors.
func openDescriptors(t *testing.T, processes, each int) {
	t.Helper()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for range processes {
		cmd := exec.Command("sleep", "infinity")
		cmd.ExtraFiles = slices.Repeat([]*os.File{null}, each)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	}
}

// TestIdleCost holds what a daemon that hears of every listener takes where none
// opens, with 98,000 descriptors to walk over. A walk a minute is among it, and so
// are the metrics.
func TestIdleCost(t *testing.T) {
	if os.Getenv("PORTAUDIT_TEST_TIMING") == "" || os.Geteuid() != 0 {
		t.Skip("needs root, a machine that does nothing else, and PORTAUDIT_TEST_TIMING=1")
	}
	openDescriptors(t, 20, 4900)
	program := buildStatic(t)
	const settling, measured = 15 * time.Second, 65 * time.Second
	tests := []struct {
		reason string
		args   []string
		want   float64 // of a core
		dir    string
		daemon *daemon
		before time.Duration
	}{
		{reason: "at the default interval", want: 0.001},
		{reason: "at one audit a second", args: []string{"--interval", "1s"}, want: 0.005},
	}
	for i := range tests {
		tt := &tests[i]
		tt.dir = t.TempDir()
		tt.daemon = startDaemon(t, program, filepath.Join(tt.dir, "state"),
			append([]string{"--realtime", "on", "--log-dir", filepath.Join(tt.dir, "log"), "--metrics", filepath.Join(tt.dir, "a.prom")}, tt.args...)...)
	}
	time.Sleep(settling)
	for i := range tests {
		tests[i].before = tests[i].daemon.processorTime(t)
	}
	time.Sleep(measured)
	for _, tt := range tests {
		share := float64(tt.daemon.processorTime(t)-tt.before) / float64(measured)
		tt.daemon.stop(t)
		t.Logf("%s it took %.3f %% of a core", tt.reason, 100*share)
		if share > tt.want {
			t.Errorf("%s: want under %g %%", tt.reason, 100*tt.want)
		}
		st, err := agent.ReadStatus(filepath.Join(tt.dir, "log"), filepath.Join(tt.dir, "state"))
		if err != nil || st.Changes != (agent.Tally{}) {
			t.Errorf("%s: it was woken for %+v, %v", tt.reason, st.Changes, err)
		}
	}
}
