package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/portaudit/portaudit/agent"
	"github.com/portaudit/portaudit/agent/audit"
)

// watchEvery is the time between two audits of portaudit watch, where nothing
// else is said: somebody is looking.
const watchEvery = 2 * time.Second

func newWatch(s *settings) *cobra.Command {
	var lines bool
	var every time.Duration
	c := &cobra.Command{
		Use:   "watch",
		Short: "Show what listens on this host, live, and what changes",
		Long: `Watch shows the listeners of this host with their owners, from where each can
be reached, what the policy says and for how long each is there; above them
the findings. What opens, changes and closes is marked for ten seconds. Where
the kernel and the rights allow it, it is shown at that moment; else within
the interval.

Keys: the arrows choose a listener, enter tells everything about it and why
the policy decided so, / filters, s sorts, a shows alerts alone, f all
findings, c what cannot be seen, ? the rest, q quits.

An age that begins with < is that of the owner: the listener was there before
anybody looked. It writes nothing. Without a terminal, or with --lines, it
prints a line for each listener, and then for each change.`,
		Example: `  sudo portaudit watch
  sudo portaudit watch --lines | grep -i closed
  portaudit watch --interval 10s --realtime off`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if every < minInterval {
				return usage(fmt.Errorf("an interval of %v is too short: use %v or more", every, minInterval))
			}
			return runWatch(c, *s, every, lines)
		},
	}
	c.Flags().DurationVar(&every, "interval", watchEvery, "time between two audits")
	c.Flags().BoolVar(&lines, "lines", false, "print lines, even on a terminal")
	c.Flags().StringVar(&s.realtime, "realtime", "", "hear of listeners as they open: auto, on or off (default auto)")
	s.policyFlag(c)
	s.stateFlag(c)
	s.dataFlag(c)
	s.overlayFlag(c)
	s.sourceFlag(c)
	s.hashFlag(c)
	return c
}

func runWatch(c *cobra.Command, s settings, every time.Duration, lines bool) (err error) {
	if s, err = s.resolve(); err != nil {
		return usage(err)
	}
	scan, sockets, err := scanOptions(s, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, failure(sockets.Close())) }()
	ctx, cancel := context.WithCancel(c.Context())
	defer cancel()
	realtime, unwatch, err := watch(ctx, s.realtime, sockets)
	if err != nil {
		return failure(err)
	}
	defer func() { err = errors.Join(err, failure(unwatch())) }()
	o := agent.WatchOptions{ScanOptions: scan, Realtime: realtime, Interval: every}
	out, full := fullScreen(c.OutOrStdout())
	if lines || !full {
		return watchLines(ctx, c.OutOrStdout(), o)
	}
	return failure(watchScreen(ctx, cancel, out, o))
}

// fullScreen reports whether w is a terminal on which a program can draw.
func fullScreen(w io.Writer) (f *os.File, ok bool) {
	f, ok = w.(*os.File)
	return f, ok && term.IsTerminal(int(f.Fd())) && term.IsTerminal(int(os.Stdin.Fd())) && os.Getenv("TERM") != "dumb"
}

// watchLines prints what is there, and then what changes.
func watchLines(ctx context.Context, w io.Writer, o agent.WatchOptions) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var writing error
	failed := ""
	err := agent.Watch(ctx, o, func(v agent.View) {
		var b strings.Builder
		for _, e := range v.Changes {
			b.WriteString(changeLine(e))
		}
		if v.Failure != failed && v.Failure != "" {
			fmt.Fprintf(&b, "%s  %-16s  %s\n", clock(v.Time), audit.AuditFailed, v.Failure)
		}
		failed = v.Failure
		if _, writing = io.WriteString(w, b.String()); writing != nil {
			cancel()
		}
	})
	return failure(errors.Join(err, writing))
}

// changeLine tells of a change in a line.
func changeLine(e audit.Event) string {
	message := e.Message
	if e.Event == audit.FindingRaised {
		message = strings.ToUpper(e.Severity) + " " + e.Rule + ": " + message
	}
	return fmt.Sprintf("%s  %-16s  %s\n", clock(e.Time), e.Event, message)
}

func clock(t time.Time) string { return t.Local().Format("15:04:05") }

// watchScreen draws on a terminal until its user quits or ctx is done. stop ends
// ctx.
func watchScreen(ctx context.Context, stop context.CancelFunc, out *os.File, o agent.WatchOptions) error {
	// Not WithContext: a program that its context ends closes the keyboard while
	// another goroutine still reads it (bubbletea 2.1.1, shutdown in tea.go). One
	// that is told to quit waits for that.
	program := tea.NewProgram(newWatchModel(screenOf(out)), tea.WithOutput(out), tea.WithoutSignalHandler())
	fed := make(chan error, 1)
	go func() { // ends with ctx
		err := agent.Watch(ctx, o, func(v agent.View) { program.Send(v) })
		fed <- err
		program.Quit()
	}()
	_, err := program.Run()
	if ctx.Err() != nil { // a signal, which ends every command in peace
		err = nil
	}
	stop()
	return errors.Join(err, <-fed)
}
