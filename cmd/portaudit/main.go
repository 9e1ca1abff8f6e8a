// Command portaudit says what listens on this host, who owns it, what IANA
// says of each port, and what of it a policy does not allow.
//
// This package is the composition root: it reads flags and files, hands them
// to package agent, and prints. It decides nothing about listeners.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/portaudit/portaudit/policy"
)

// Exit codes, a contract with scripts (docs/json.md).
const (
	exitOK       = 0
	exitFailed   = 1 // the audit itself failed; status: no daemon works
	exitUsage    = 2 // wrong call, bad configuration or bad policy
	exitFindings = 3 // scan --fail-on found something; status: something is wrong
)

func main() { os.Exit(execute()) }

// execute runs one command line and returns its exit code.
func execute() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	command := newRoot()
	var helpErr error
	writeHelpOnce(command, &helpErr)
	err := command.ExecuteContext(ctx)
	if err == nil {
		err = failure(helpErr)
	}
	var code exitError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &code):
		if code.err != nil {
			fmt.Fprintln(os.Stderr, visibleLines(code.err.Error()))
		}
		return code.code
	case errors.Is(err, syscall.EPIPE):
		return exitOK // the reader of the pipe has seen enough
	default: // of a command of cobra's own, which could not write
		fmt.Fprintln(os.Stderr, "portaudit:", visibleLines(err.Error()))
		return exitFailed
	}
}

// exitError is an error with the exit code it stands for. err may be nil: the
// output has said everything.
type exitError struct {
	code int
	err  error
}

func (e exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e exitError) Unwrap() error { return e.err }

// usage marks an error as the caller's: wrong arguments, configuration or policy.
func usage(err error) error {
	var mistakes policy.Errors
	switch {
	case err == nil:
		return nil
	case errors.As(err, &mistakes): // each line begins with its place, as editors want it
		return exitError{exitUsage, err}
	}
	return exitError{exitUsage, fmt.Errorf("portaudit: %w", err)}
}

// failure marks an error as the host's: the audit could not be made.
func failure(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, syscall.EPIPE) {
		return err
	}
	return exitError{exitFailed, fmt.Errorf("portaudit: %w", err)}
}
