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
	memory    string // directory on a tmpfs, where an fsync takes no time
	exe       string // this program, which plays the writer too
	portaudit string // the program; built if empty
	kills     int
	cuts      int
	calls     int    // the first so many of each system call fail in turn
	every     int    // of those behind the first 12, one of so many is tried
	call      string // the only call that fails, or shortWrites; empty: all
}

// experiment is one way to break the log.
type experiment struct {
	name string
	root bool // whether it needs root
	// alone: it runs among processes and sockets of its own, so that what else is on
	// the host is not counted with it.
	alone bool
	run   func(*lab, context.Context) error
}

func experiments() []experiment {
	return []experiment{
		{name: "kill", run: (*lab).kill},
		{name: "power", root: true, run: (*lab).power},
		{name: "faults", root: true, run: (*lab).faults},
		{name: "full", root: true, alone: true, run: (*lab).full},
		{name: "taken", root: true, alone: true, run: (*lab).taken},
		{name: "flood", root: true, run: (*lab).flood},
		{name: "cost", root: true, run: (*lab).cost},
	}
}

func main() {
	if err := play(); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		if errors.Is(err, errUsage) {
			os.Exit(2)
		}
		os.Exit(1)
	}
}

var errUsage = errors.New("see chaos -h")

// play reads the command line and does what it says.
func play() error {
	if len(os.Args) > 1 {
		if part, ok := parts[os.Args[1]]; ok {
			return part(os.Args[2:])
		}
	}
	var names []string
	for _, e := range experiments() {
		names = append(names, e.name)
	}
	l := &lab{}
	flags := flag.NewFlagSet("chaos", flag.ContinueOnError)
	flags.StringVar(&l.work, "work", os.TempDir(), "make a directory for everything below this `DIR`")
	flags.StringVar(&l.portaudit, "portaudit", "", "the `PROGRAM` to flood and to fill the disk of; built if empty")
	flags.IntVar(&l.kills, "kills", 1000, "how often kill ends the writer")
	flags.IntVar(&l.cuts, "cuts", 200, "how often power cuts the power")
	flags.IntVar(&l.calls, "calls", 200, "how many system calls of each kind fail in turn")
	flags.IntVar(&l.every, "every", 1, "behind the first 12 of these calls, let only every so many fail")
	flags.StringVar(&l.call, "call", "", "let only system calls of this `NAME` fail, short: writes of a part")
	flags.Usage = func() {
		fmt.Fprintf(flags.Output(), "usage: chaos [flags] [%s]...\n", strings.Join(names, "|"))
		flags.PrintDefaults()
	}
	if err := flags.Parse(os.Args[1:]); err != nil {
		return err
	}
	for _, name := range flags.Args() {
		if !slices.Contains(names, name) {
			return fmt.Errorf("there is no experiment %q: %w", name, errUsage)
		}
	}
	if l.call != "" && l.call != shortWrites && !slices.Contains(faultyCalls, l.call) {
		return fmt.Errorf("-call %s: one of %s, %s: %w", l.call, strings.Join(faultyCalls, ", "), shortWrites, errUsage)
	}
	if l.kills < 1 || l.cuts < 1 || l.calls < 1 || l.every < 1 {
		return fmt.Errorf("a number under 1 would show nothing: %w", errUsage)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	return run(ctx, l, flags.Args())
}

// parts are what a copy of this program does beside the one that experiments.
var parts = map[string]func([]string) error{
	"writer": writeLog,
	"alone":  runAlone,
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
	if os.Geteuid() == 0 {
		if err := l.mountMemory(ctx); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, command(context.Background(), "umount", l.memory)) }()
	}
	for _, e := range experiments() {
		if len(names) > 0 && !slices.Contains(names, e.name) {
			continue
		}
		if e.root && os.Geteuid() != 0 {
			return fmt.Errorf("%s: it needs root", e.name)
		}
		start := time.Now()
		run := e.run
		if e.alone {
			run = l.alone(e.name)
		}
		if err := run(l, ctx); err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
		fmt.Printf("%s: passed in %.0f s\n", e.name, time.Since(start).Seconds())
	}
	return nil
}

// mountMemory mounts the tmpfs.
func (l *lab) mountMemory(ctx context.Context) (err error) {
	if l.memory, err = l.fresh("memory"); err != nil {
		return err
	}
	return command(ctx, "mount", "-t", "tmpfs", "-o", "size=600m", "tmpfs", l.memory)
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
