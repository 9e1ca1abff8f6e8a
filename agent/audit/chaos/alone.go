package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"
)

// alone returns an experiment that lets a copy of this program run the one of that
// name in namespaces of processes, sockets and mounts of its own.
func (*lab) alone(name string) func(*lab, context.Context) error {
	return func(l *lab, ctx context.Context) error {
		if err := l.buildPortaudit(ctx); err != nil {
			return err
		}
		cmd := exec.CommandContext(ctx, l.exe, "alone", name, l.work, l.memory, l.portaudit)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		unshare(cmd)
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
		cmd.WaitDelay = 30 * time.Second
		return cmd.Run()
	}
}

// runAlone is that copy.
func runAlone(args []string) error {
	if len(args) != 4 {
		return errUsage
	}
	if err := settleIn(); err != nil {
		return fmt.Errorf("new namespaces: %w", err)
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	l := &lab{exe: exe, work: args[1], memory: args[2], portaudit: args[3]}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	for _, e := range experiments() {
		if e.name == args[0] {
			return e.run(l, ctx)
		}
	}
	return errors.New("there is no experiment " + args[0])
}
