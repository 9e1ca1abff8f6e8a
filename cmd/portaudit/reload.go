package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/portaudit/portaudit/agent/audit"
)

func newReload(s *settings) *cobra.Command {
	c := &cobra.Command{
		Use:   "reload",
		Short: "Let the daemon read its policy again, and say what became of it",
		Long: `Reload asks the "portaudit run" that writes the log to read its policy again,
and waits until the log says whether it took it. A bad policy is refused: its
mistakes are shown, and the one before stays in force. Nothing else is read
anew.

It asks by SIGHUP, or on Windows by an event, and so needs to be root, an
administrator, or the user of the daemon.

Exit codes: 0 the policy is in force, 1 no daemon works, or it did not answer;
2 the policy was refused, or a wrong call.`,
		Example: `  sudo portaudit reload
  portaudit reload --log-dir ./log`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			resolved, err := s.resolve()
			if err != nil {
				return usage(err)
			}
			answer, err := reload(c.Context(), resolved.logDir)
			switch {
			case err != nil:
				return failure(err)
			case answer.Event == audit.PolicyRejected:
				return exitError{exitUsage, errors.New(strings.Join(append(answer.Errors, "portaudit: "+answer.Message), "\n"))}
			}
			text := sentence(answer.Message)
			if p := answer.Policy; p != nil {
				text = fmt.Sprintf("Policy %s is in force (SHA-256 %.12s).", p.Source, p.SHA256)
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), audit.Visible(text))
			return failure(err)
		},
	}
	s.logFlag(c)
	return c
}

// A daemon answers when it has done what it is at, such as an audit.
const (
	answerWithin = 15 * time.Second
	answerEvery  = 20 * time.Millisecond // it is looked for
)

// reload asks the process that writes the log in a directory to read its policy
// again, and returns the record in which it says what became of that.
func reload(ctx context.Context, dir string) (audit.Event, error) {
	pid, err := writer(dir)
	if err != nil {
		return audit.Event{}, withRemedy(err, "--log-dir")
	}
	tail, err := audit.OpenTail(dir)
	if err != nil {
		return audit.Event{}, withRemedy(err, "--log-dir")
	}
	defer tail.Close()
	same := func() error {
		now, err := writer(dir)
		if err == nil && now != pid {
			err = fmt.Errorf("process %d works instead of %d since a moment ago: ask again", now, pid)
		}
		return err
	}
	if err := askToReload(pid, same); errors.Is(err, os.ErrPermission) {
		return audit.Event{}, fmt.Errorf("ask process %d: %w: run as root, or as its user", pid, err)
	} else if err != nil {
		return audit.Event{}, fmt.Errorf("ask process %d: %w", pid, err)
	}
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	return answerOf(ctx, tail, pid, same)
}

// writer returns the process that writes the log in a directory.
func writer(dir string) (pid int, err error) {
	pid, held, err := audit.Holder(dir)
	switch {
	case err != nil:
		return 0, err
	case !held:
		return 0, fmt.Errorf("no daemon writes to %s: start \"portaudit run\", or name its log with --log-dir", dir)
	case pid == 0:
		return 0, fmt.Errorf("the daemon that writes to %s does not say which process it is: ask again", dir)
	}
	return pid, nil
}

// answerOf waits for what a process says of its policy.
func answerOf(ctx context.Context, tail *audit.Tail, pid int, alive func() error) (audit.Event, error) {
	for {
		gone := alive() // what it said before it went is there by then
		for {
			e, more, err := tail.Next()
			if err != nil {
				return audit.Event{}, err
			}
			if !more {
				break
			}
			if e.Event == audit.PolicyLoaded || e.Event == audit.PolicyRejected {
				return e, nil
			}
		}
		if gone != nil {
			return audit.Event{}, fmt.Errorf("process %d ended without an answer: %w", pid, gone)
		}
		select {
		case <-ctx.Done():
			return audit.Event{}, fmt.Errorf("process %d was asked, and has not answered yet: see portaudit status", pid)
		case <-time.After(answerEvery):
		}
	}
}
