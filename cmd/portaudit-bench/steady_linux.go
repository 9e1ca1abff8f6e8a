package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/portaudit/portaudit/agent/listen"
	"github.com/portaudit/portaudit/agent/listen/sockdiag"
)

// dumpQueries are those of the bare dump: TCP listeners and UDP sockets of both
// families.
var dumpQueries = [...]sockdiag.Query{
	{Family: sockdiag.Inet, Protocol: sockdiag.TCP, States: sockdiag.Listen},
	{Family: sockdiag.Inet6, Protocol: sockdiag.TCP, States: sockdiag.Listen},
	{Family: sockdiag.Inet, Protocol: sockdiag.UDP, States: sockdiag.Closed},
	{Family: sockdiag.Inet6, Protocol: sockdiag.UDP, States: sockdiag.Closed},
}

// dump is the peer that lists the sockets and no owners.
func dump([]string) error {
	c, err := sockdiag.Open()
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = dumpAll(c, nil)
	return err
}

func dumpAll(c *sockdiag.Conn, rows []sockdiag.Row) ([]sockdiag.Row, error) {
	rows = rows[:0]
	var err error
	for _, q := range dumpQueries {
		if rows, err = c.Dump(q, rows); err != nil {
			return rows, err
		}
	}
	return rows, nil
}

// readlinks is the peer that reads the link of every descriptor, with nothing
// around it.
func readlinks([]string) error {
	processes, err := os.ReadDir("/proc")
	if err != nil {
		return err
	}
	names := make([]byte, 32<<10)
	link := make([]byte, 64)
	for _, p := range processes {
		if _, err := strconv.Atoi(p.Name()); err != nil {
			continue
		}
		dir, err := unix.Open("/proc/"+p.Name()+"/fd", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			continue // it ended
		}
		for {
			n, err := unix.Getdents(dir, names)
			if err != nil || n <= 0 {
				break
			}
			_, _, entries := unix.ParseDirent(names[:n], -1, nil)
			for _, name := range entries {
				_, _ = unix.Readlinkat(dir, name, link)
			}
		}
		if err := unix.Close(dir); err != nil {
			return err
		}
	}
	return nil
}

// audits is how many are made in each turn of the steady measurement.
const audits = 30

// steady measures the engine in this process while nothing changes, in turns
// with the bare dump: both find the caches of the processor as cold.
func steady([]string) error {
	l, err := listen.Open(listen.Options{Beat: time.Hour})
	if err != nil {
		return err
	}
	defer l.Close()
	c, err := sockdiag.Open()
	if err != nil {
		return err
	}
	defer c.Close()
	var rows []sockdiag.Row
	var s listen.Snapshot
	for range 4 { // new sockets settle
		if s, err = l.List(context.Background()); err != nil {
			return err
		}
	}
	generation := s.Generation
	var bare, engine time.Duration
	var allocations uint64
	for range audits {
		time.Sleep(50 * time.Millisecond)
		before := processorTime()
		if rows, err = dumpAll(c, rows); err != nil {
			return err
		}
		bare += processorTime() - before
		time.Sleep(50 * time.Millisecond)
		var m0, m1 runtime.MemStats
		runtime.ReadMemStats(&m0)
		before = processorTime()
		if s, err = l.List(context.Background()); err != nil {
			return err
		}
		engine += processorTime() - before
		runtime.ReadMemStats(&m1)
		allocations += m1.Mallocs - m0.Mallocs
	}
	fmt.Printf("%d sockets, nothing changed: %v; the bare dump takes %s of processor time, an enumeration %s (%.2f times), with %d allocations.\n",
		len(s.Sockets), s.Generation == generation, milliseconds(bare/audits), milliseconds(engine/audits),
		float64(engine)/float64(bare), allocations/audits)
	return nil
}

// processorTime is what this process has used.
func processorTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t); err != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

// steadyState measures the engine, and the real daemon at one audit a second.
func steadyState(ctx context.Context, o options, self string) (text string, err error) {
	engine, err := exec.CommandContext(ctx, self, "steady").Output()
	if err != nil {
		return "", fmt.Errorf("steady state: %w", err)
	}
	dir, err := os.MkdirTemp("", "portaudit-bench")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	cmd := exec.CommandContext(ctx, o.portaudit, "run", "--interval", "1s",
		"--log-dir", filepath.Join(dir, "log"), "--state-dir", filepath.Join(dir, "state"))
	if err := cmd.Start(); err != nil {
		return "", err
	}
	const warm, measured = 20 * time.Second, 10 * time.Second
	time.Sleep(warm)
	before, err := runTime(cmd.Process.Pid)
	if err != nil {
		return "", err
	}
	time.Sleep(measured)
	after, err := runTime(cmd.Process.Pid)
	if err != nil {
		return "", err
	}
	memory := residentSet(cmd.Process.Pid)
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		return "", err
	}
	_ = cmd.Wait() // interrupted
	return fmt.Sprintf("Steady state: %sThe daemon at one audit a second: %s of processor time a second, %s resident.\n",
		engine, milliseconds(time.Duration(float64(after-before)/measured.Seconds())), memory), nil
}

// runTime returns for how long the threads of a process have run: the first
// field of /proc/PID/schedstat of each (Linux Documentation/scheduler/sched-stats.rst).
func runTime(pid int) (time.Duration, error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(threads) == 0 {
		return 0, fmt.Errorf("process %d has ended", pid)
	}
	var sum time.Duration
	for _, path := range threads {
		b, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		first, _, _ := strings.Cut(string(b), " ")
		n, _ := strconv.ParseInt(first, 10, 64)
		sum += time.Duration(n)
	}
	return sum, nil
}

func residentSet(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
			return fmt.Sprintf("%.1f MB", float64(kb)*1024/1e6)
		}
	}
	return "unknown"
}
