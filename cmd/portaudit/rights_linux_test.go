package main

import (
	"errors"
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
		owners [2]int // of the directories of the log and of the metrics
		args   []string
		want   uint64
	}{
		{"its directories are its own", [2]int{}, nil, neededRights},
		{"that of the log belongs to somebody else", [2]int{65534, 0}, nil, overridden},
		{"that of the metrics does", [2]int{0, 65534}, nil, overridden},
		{"it binds every port to find hidden ones", [2]int{}, []string{"--cross-check", "1h", "--probe"}, neededRights | 1<<10}, // CAP_NET_BIND_SERVICE
	} {
		t.Run(tt.reason, func(t *testing.T) {
			dir := t.TempDir()
			logDir, stateDir := filepath.Join(dir, "log"), filepath.Join(dir, "state")
			metrics := filepath.Join(dir, "metrics", "portaudit.prom")
			for i, path := range []string{logDir, filepath.Dir(metrics)} {
				if err := errors.Join(os.Mkdir(path, 0o700), os.Chown(path, tt.owners[i], tt.owners[i])); err != nil {
					t.Fatal(err)
				}
			}
			d := startDaemon(t, program, stateDir, append([]string{"--interval", "1s", "--log-dir", logDir, "--metrics", metrics}, tt.args...)...)
			waitForFile(t, metrics)
			rights := rightsOf(t, d.pid())
			told := d.stop(t)
			if want := fmt.Sprintf("%016x", tt.want); len(rights) != 1 || !rights[want+" "+want+" 1"] {
				t.Errorf("the permitted and the effective rights of its threads, and whether they may get more, are %v, want %s", rights, want)
			}
			if strings.Contains(told, "rights") || strings.Contains(told, "metrics not written") {
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
