package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// peer is a program that answers what listens and who owns it.
type peer struct {
	name string
	args []string
	ok   []int // exit codes that are no failure, beside 0
}

// peers are started in this order in each round. The first is the measure of
// the others.
func peers(o options, self string) []peer {
	return []peer{
		{name: "ss -Htulpn", args: []string{"ss", "-Htulpn"}},
		{name: "netstat -tulpn", args: []string{"netstat", "-tulpn"}},
		{name: "lsof, listeners", args: []string{"lsof", "-nP", "-iTCP", "-sTCP:LISTEN", "-iUDP"}, ok: []int{1}},
		{name: "gopsutil v3", args: []string{filepath.Join(o.peers, "gopsutil")}},
		{name: "tailscale portlist", args: []string{filepath.Join(o.peers, "portlist")}},
		{name: "bare getdents and readlinkat, one core", args: []string{self, "readlinks"}},
		{name: "bare sock_diag dump", args: []string{self, "dump"}},
		{name: "portaudit scan --json --source proc", args: []string{o.portaudit, "scan", "--json", "--source", "proc"}, ok: []int{3}},
		{name: "portaudit scan --json", args: []string{o.portaudit, "scan", "--json"}, ok: []int{3}},
	}
}

// sample is one run of a peer.
type sample struct {
	wall, cpu time.Duration
	memory    int64 // bytes, at the peak
}

// row is what came of one peer on one load.
type row struct {
	name    string
	samples []sample
	skipped string // why there are none
}

// result is what came of one load.
type result struct {
	load    load
	machine string
	rows    []row
	steady  string // what the steady state came to, as text
}

// measureLoad makes a load and measures every peer on it, in rounds, so that a
// disturbance of the machine meets all alike.
func measureLoad(ctx context.Context, o options, name string) (result, error) {
	l, err := findLoad(name)
	if err != nil {
		return result{}, err
	}
	self, err := os.Executable()
	if err != nil {
		return result{}, err
	}
	fmt.Fprintf(os.Stderr, "portaudit-bench: making %s: %s\n", l.name, l)
	stop, err := l.start(ctx)
	if err != nil {
		return result{}, err
	}
	defer stop()
	r := result{load: l, machine: machine()}
	list := peers(o, self)
	for _, p := range list {
		r.rows = append(r.rows, row{name: p.name})
	}
	for range o.runs {
		for i, p := range list {
			if r.rows[i].skipped != "" {
				continue
			}
			s, err := p.run(ctx)
			if ctx.Err() != nil {
				return result{}, ctx.Err()
			}
			if err != nil {
				r.rows[i].skipped = err.Error()
				continue
			}
			r.rows[i].samples = append(r.rows[i].samples, s)
		}
	}
	if o.steady {
		r.steady, err = steadyState(ctx, o, self)
	}
	return r, err
}

// run runs the peer once.
func (p peer) run(ctx context.Context) (sample, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.args[0], p.args[1:]...)
	began := time.Now()
	err := cmd.Run()
	s := sample{wall: time.Since(began)}
	var exit *exec.ExitError
	switch {
	case err == nil:
	case errors.As(err, &exit) && slices.Contains(p.ok, exit.ExitCode()):
	case errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist):
		return s, errors.New("not installed")
	default:
		return s, err
	}
	s.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	if u, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		s.memory = peakMemory(u)
	}
	return s, nil
}

// median returns the sample in the middle, by wall time.
func (r row) median() sample {
	sorted := slices.Clone(r.samples)
	slices.SortFunc(sorted, func(a, b sample) int { return int(a.wall - b.wall) })
	return sorted[len(sorted)/2]
}

// markdown prints the result as a table.
func (r result) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "### %s: %s\n\n%s. Median of the runs (lowest to highest).\n\n", r.load.name, r.load, r.machine)
	b.WriteString("| way | wall time | processor time | peak memory | ss takes |\n|---|---|---|---|---|\n")
	var base time.Duration
	if len(r.rows[0].samples) > 0 {
		base = r.rows[0].median().wall
	}
	for _, row := range r.rows {
		if len(row.samples) == 0 {
			fmt.Fprintf(&b, "| %s | not measured: %s | | | |\n", row.name, row.skipped)
			continue
		}
		m := row.median()
		lowest, highest := m.wall, m.wall
		for _, s := range row.samples {
			lowest, highest = min(lowest, s.wall), max(highest, s.wall)
		}
		ratio := ""
		if base > 0 {
			ratio = fmt.Sprintf("%.1f times as long", float64(base)/float64(m.wall))
		}
		fmt.Fprintf(&b, "| %s | %s (%s to %s) | %s | %.0f MB | %s |\n", row.name,
			milliseconds(m.wall), milliseconds(lowest), milliseconds(highest), milliseconds(m.cpu), float64(m.memory)/1e6, ratio)
	}
	b.WriteString("\n")
	if r.steady != "" {
		b.WriteString(r.steady + "\n")
	}
	return b.String()
}

func milliseconds(d time.Duration) string {
	if d < 10*time.Millisecond {
		return fmt.Sprintf("%.1f ms", float64(d)/1e6)
	}
	return fmt.Sprintf("%.0f ms", float64(d)/1e6)
}
