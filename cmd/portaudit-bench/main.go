// Portaudit-bench measures portaudit beside its peers on workloads that it
// makes itself: it starts processes with listeners, descriptors and
// connections, runs each peer in turn, round after round, and prints a table a
// load, with the ratio to ss. It knows nothing of how a peer works.
//
// As root it makes a load in network, pid and mount namespaces of its own, so
// that nothing else on the host is measured and nothing is left behind. All
// connections are on loopback, bounded in number, and everything ends with it.
//
//	go run ./cmd/portaudit-bench -load small,middle,large -markdown docs/performance-tables.md -svg docs/performance.svg
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// insideVariable says to a copy of this program that it is in namespaces of
// its own.
const insideVariable = "PORTAUDIT_BENCH_INSIDE"

type options struct {
	loads     string
	runs      int
	portaudit string
	peers     string // directory of those that are built from source
	svg       string
	markdown  string
	steady    bool
}

func main() {
	if len(os.Args) > 1 {
		if mode, ok := modes[os.Args[1]]; ok { // a part that this program plays for itself
			if err := mode(os.Args[2:]); err != nil {
				fmt.Fprintln(os.Stderr, "portaudit-bench:", err)
				os.Exit(1)
			}
			return
		}
	}
	var o options
	flag.StringVar(&o.loads, "load", "small,middle,large", "the loads to make, of small, middle, large")
	flag.IntVar(&o.runs, "runs", 5, "how often each peer runs")
	flag.StringVar(&o.portaudit, "portaudit", "", "the portaudit to measure; built from this tree if empty")
	flag.StringVar(&o.peers, "peers", "", "directory with further peers, built already")
	flag.StringVar(&o.svg, "svg", "", "write a chart to this file")
	flag.StringVar(&o.markdown, "markdown", "", "write the tables to this file")
	flag.BoolVar(&o.steady, "steady", true, "measure the steady state too")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "portaudit-bench:", err)
		os.Exit(1)
	}
}

// modes are what a copy of this program does instead of measuring.
var modes = map[string]func([]string) error{
	"worker":    worker,    // holds a part of a load
	"readlinks": readlinks, // a peer: the bare loop over every descriptor
	"dump":      dump,      // a peer: the bare dump of the listening sockets
	"steady":    steady,    // measures the engine in this process
}

func run(ctx context.Context, o options) (err error) {
	if o.portaudit == "" {
		dir, err := os.MkdirTemp("", "portaudit-bench")
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
		o.peers = dir
		if o.portaudit, err = build(ctx, dir); err != nil {
			return err
		}
	}
	if os.Geteuid() == 0 && os.Getenv(insideVariable) == "" {
		return inside(ctx, o)
	}
	if os.Getenv(insideVariable) != "" {
		if err := settle(); err != nil {
			return err
		}
	}
	var results []result
	for name := range strings.SplitSeq(o.loads, ",") {
		r, err := measureLoad(ctx, o, name)
		if err != nil {
			return fmt.Errorf("load %s: %w", name, err)
		}
		results = append(results, r)
		fmt.Print(r.markdown())
	}
	return write(o, results)
}

// build builds portaudit as it ships, and the peers that have a module of
// their own; a peer that cannot be built is left out of the tables, and said.
func build(ctx context.Context, dir string) (string, error) {
	out := filepath.Join(dir, "portaudit")
	compile := func(from, out string) error {
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, ".")
		cmd.Dir = from
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		cmd.Stderr = os.Stderr
		return cmd.Run()
	}
	if err := compile("cmd/portaudit", out); err != nil {
		return "", fmt.Errorf("build portaudit (run this from the top of the tree): %w", err)
	}
	for _, peer := range []string{"gopsutil", "portlist"} {
		if err := compile(filepath.Join("cmd/portaudit-bench/peers", peer), filepath.Join(dir, peer)); err != nil {
			fmt.Fprintf(os.Stderr, "portaudit-bench: without %s: %v\n", peer, err)
		}
	}
	return out, nil
}

func write(o options, results []result) error {
	var errs []error
	if o.markdown != "" {
		var b strings.Builder
		for _, r := range results {
			b.WriteString(r.markdown())
		}
		errs = append(errs, os.WriteFile(o.markdown, []byte(b.String()), 0o644))
	}
	if o.svg != "" {
		errs = append(errs, os.WriteFile(o.svg, []byte(chart(results)), 0o644))
	}
	return errors.Join(errs...)
}

// machine says on what was measured.
func machine() string {
	return fmt.Sprintf("%s, %d cores, %s, %s", kernel(), runtime.NumCPU(), runtime.Version(), time.Now().UTC().Format("2006-01-02"))
}
