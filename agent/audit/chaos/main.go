// Chaos tries to break the audit log, and says with figures how far it came.
// It kills a writer with SIGKILL, cuts the power of the file system below it,
// lets single system calls fail, and fills its disk, and holds the log
// afterwards against what the writer had acknowledged. It ends with exit code 1
// if an acknowledged record is missing or a promise of the log is broken
// otherwise.
//
// It needs Linux and, but for kill, root. As root it works in a mount namespace
// of its own: what it mounts is gone with it, also when it is killed.
//
//	go run ./agent/audit/chaos                  every experiment
//	go run ./agent/audit/chaos -kills 50 kill   one of them, briefly
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// lab is where experiments run, and how thoroughly.
type lab struct {
	work      string // directory for everything that they make
	exe       string // this program, which plays the writer too
	portaudit string // the program; built if empty
	kills     int
	cuts      int
	calls     int // the first so many of each system call fail in turn
	every     int // of those further than the first ones, so many are left out for one that is tried
}

// experiment is one way to break the log.
type experiment struct {
	name string
	root bool // whether it needs root
	run  func(*lab, context.Context) error
}

var experiments = []experiment{
	{"kill", false, (*lab).kill},
	{"power", true, (*lab).power},
	{"faults", true, (*lab).faults},
	{"flood", true, (*lab).flood},
}

func main() {
	if len(os.Args) > 1 {
		if part, ok := parts[os.Args[1]]; ok {
			exit(part(os.Args[2:]))
		}
	}
	names := make([]string, len(experiments))
	for i, e := range experiments {
		names[i] = e.name
	}
	l := &lab{}
	flag.StringVar(&l.work, "work", os.TempDir(), "make a directory for everything below this one")
	flag.IntVar(&l.kills, "kills", 1000, "how often kill ends the writer")
	flag.IntVar(&l.cuts, "cuts", 200, "how often power cuts the power")
	flag.IntVar(&l.calls, "calls", 200, "how many system calls of each kind fail in turn")
	flag.IntVar(&l.every, "every", 1, "let only every so many of those calls fail, behind the first 20")
	flag.StringVar(&l.portaudit, "portaudit", "", "the portaudit to flood and to fill the disk of; built if empty")
	flag.Usage = func() {
		fmt.Fprintf(flag.CommandLine.Output(), "usage: chaos [flags] [%s]...\n", strings.Join(names, "|"))
		flag.PrintDefaults()
	}
	flag.Parse()
	for _, name := range flag.Args() {
		if !slices.Contains(names, name) {
			fmt.Fprintf(os.Stderr, "chaos: there is no experiment %q\n", name)
			flag.Usage()
			os.Exit(2)
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, l, flag.Args())
	stop()
	exit(err)
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// parts are what a copy of this program does beside the one that experiments.
var parts = map[string]func([]string) error{
	"writer": writeLog,
}

// run runs the named experiments, all if there are no names.
func run(ctx context.Context, l *lab, names []string) (err error) {
	if os.Geteuid() == 0 {
		if err := isolate(); err != nil {
			return fmt.Errorf("mount namespace: %w", err)
		}
	}
	if l.exe, err = os.Executable(); err != nil {
		return err
	}
	if l.work, err = os.MkdirTemp(l.work, "portaudit-chaos."); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(l.work)) }()
	for _, e := range experiments {
		if len(names) > 0 && !slices.Contains(names, e.name) {
			continue
		}
		if e.root && os.Geteuid() != 0 {
			return fmt.Errorf("%s: it needs root", e.name)
		}
		start := time.Now()
		if err := e.run(l, ctx); err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
		fmt.Printf("%s: passed in %.0f s\n", e.name, time.Since(start).Seconds())
	}
	return nil
}

// say prints a line of the report.
func say(format string, args ...any) { fmt.Printf(format+"\n", args...) }

// fresh makes an empty directory below that of the lab.
func (l *lab) fresh(name string) (string, error) {
	dir := filepath.Join(l.work, name)
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	return dir, os.MkdirAll(dir, 0o700)
}
