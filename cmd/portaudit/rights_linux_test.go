package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestDaemonGivesUpRights: once it works, no thread of a daemon has more rights
// than it needs, and it sees as much as before.
func TestDaemonGivesUpRights(t *testing.T) {
	if os.Getenv("PORTAUDIT_TEST_ROOT") == "" || os.Geteuid() != 0 {
		t.Skip("needs root and PORTAUDIT_TEST_ROOT=1")
	}
	program := buildStatic(t)
	const overridden = neededRights | 1<<1 // CAP_DAC_OVERRIDE
	for _, tt := range []struct {
		reason string
		owner  int // of the directory of the log
		args   []string
		want   uint64
	}{
		{"its directories are its own", 0, nil, neededRights},
		{"that of the log belongs to somebody else", 65534, nil, overridden},
		{"it binds every port to find hidden ones", 0, []string{"--cross-check", "1h", "--probe"}, neededRights | 1<<10}, // CAP_NET_BIND_SERVICE
	} {
		t.Run(tt.reason, func(t *testing.T) {
			dir := t.TempDir()
			logDir, stateDir := filepath.Join(dir, "log"), filepath.Join(dir, "state")
			if err := os.Mkdir(logDir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Chown(logDir, tt.owner, tt.owner); err != nil {
				t.Fatal(err)
			}
			d := startDaemon(t, program, stateDir, append([]string{"--interval", "1s", "--log-dir", logDir}, tt.args...)...)
			rights := rightsOf(t, d.pid())
			told := d.stop(t)
			if want := fmt.Sprintf("%016x", tt.want); len(rights) != 1 || !rights[want+" "+want+" 1"] {
				t.Errorf("the permitted and the effective rights of its threads, and whether they may get more, are %v, want %s", rights, want)
			}
			if strings.Contains(told, "rights") {
				t.Errorf("it says:\n%s", told)
			}
		})
	}
}

// rightsOf returns what the kernel tells of the rights of a process's threads
// (proc_pid_status(5)).
func rightsOf(t *testing.T, pid int) map[string]bool {
	t.Helper()
	sets := regexp.MustCompile(`(?s)CapPrm:\t(\w+).*CapEff:\t(\w+).*NoNewPrivs:\t(\d)`)
	paths, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(paths) < 2 {
		t.Fatalf("threads: %v, %v", paths, err)
	}
	rights := map[string]bool{}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // a thread that has ended
		}
		rights[strings.Join(sets.FindStringSubmatch(string(b))[1:], " ")] = true
	}
	return rights
}
