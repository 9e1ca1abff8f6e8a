package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/portaudit/portaudit/agent"
	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/policy"
)

// queryFlags say which records a question to the log is about.
type queryFlags struct {
	since, until, port, user, exe, rule, severity, event, container, unit string
}

func (f *queryFlags) add(c *cobra.Command) {
	f.addWhen(c)
	f.addWhat(c)
}

func (f *queryFlags) addWhen(c *cobra.Command) {
	c.Flags().StringVar(&f.since, "since", "", "from this `TIME` on: 2h, 3d, \"2026-11-20 14:00\", 14:00, yesterday")
	c.Flags().StringVar(&f.until, "until", "", "before this `TIME`")
}

func (f *queryFlags) addWhat(c *cobra.Command) {
	c.Flags().StringVar(&f.port, "port", "", "about this `PORT`: 8080, 8080/tcp, 8000-8100")
	c.Flags().StringVar(&f.user, "user", "", "with an owner of this account: `NAME` or number")
	c.Flags().StringVar(&f.exe, "exe", "", "with this owner: `PATH`, pattern (/tmp/*) or base name of a program")
	c.Flags().StringVar(&f.rule, "rule", "", "of the `RULE` with this id")
	c.Flags().StringVar(&f.severity, "severity", "", "findings of this `SEVERITY` or above: low, medium, high, critical")
	c.Flags().StringVar(&f.event, "event", "", "of this `KIND`, such as finding.raised, or finding for all of these")
	c.Flags().StringVar(&f.container, "container", "", "with an owner in this container: `NAME`, or beginning of its id")
	c.Flags().StringVar(&f.unit, "unit", "", "with an owner of this systemd `UNIT` or Windows service")
}

// selection reads the flags.
func (f queryFlags) selection(now time.Time) (agent.Selection, error) {
	s := agent.Selection{
		User: f.user, Executable: f.exe, Rule: f.rule, Container: f.container, Unit: f.unit,
		Event: strings.TrimSuffix(strings.TrimSuffix(f.event, "*"), "."),
	}
	var err error
	if f.since != "" {
		if s.Since, err = agent.ParseMoment(f.since, now); err != nil {
			return s, fmt.Errorf("--since: %w", err)
		}
		if s.Since.After(now) {
			return s, fmt.Errorf("--since %s is yet to come: there are no records of it", local(s.Since))
		}
	}
	if f.until != "" {
		if s.Until, err = agent.ParseMoment(f.until, now); err != nil {
			return s, fmt.Errorf("--until: %w", err)
		}
	}
	if f.port != "" {
		if s.Port, s.Transport, err = agent.ParsePorts(f.port); err != nil {
			return s, fmt.Errorf("--port: %w", err)
		}
	}
	if f.severity != "" {
		if s.Severity, err = policy.ParseSeverity(f.severity); err != nil {
			return s, fmt.Errorf("--severity: %w", err)
		}
	}
	return s, s.Check()
}

// query is one reading of the log.
type query struct {
	ctx      context.Context // of one command, which ends with it
	dir      string
	progress *progress
	read     int64 // bytes
}

// newQuery finds the log for a command. what is being done, for the progress.
func newQuery(c *cobra.Command, s *settings, what string) (*query, error) {
	var empty error
	c.Flags().Visit(func(f *pflag.Flag) {
		if f.Value.String() == "" { // of a script whose variable is not set: not a question about all
			empty = usage(fmt.Errorf("--%s wants a value, and was given an empty one", f.Name))
		}
	})
	if empty != nil {
		return nil, empty
	}
	resolved, err := s.resolve()
	if err != nil {
		return nil, usage(err)
	}
	return &query{ctx: c.Context(), dir: resolved.logDir, progress: newProgress(c.ErrOrStderr(), what)}, nil
}

// lines are the lines of a range, until the command is interrupted. A record that
// is just being written is none yet.
func (q *query) lines(r audit.Range) iter.Seq2[audit.Line, error] {
	return func(yield func(audit.Line, error) bool) {
		n := 0
		for l, err := range audit.Lines(q.dir, r) {
			if errors.Is(err, io.ErrUnexpectedEOF) {
				return
			}
			if n++; n%256 == 0 {
				q.progress.set(q.read, 0)
				if q.ctx.Err() != nil {
					yield(audit.Line{}, errInterrupted)
					return
				}
			}
			q.read += int64(len(l.Raw)) + 1
			if !yield(l, err) {
				return
			}
		}
	}
}

// end makes of an error of the reading what the command ends with: of a damaged log
// what stands before the damage was told.
func (q *query) end(err error) error {
	q.progress.hide()
	var damage *audit.DamageError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &damage):
		return exitError{exitFindings, fmt.Errorf("portaudit: %w: what stands before it is told, and nothing behind it", err)}
	}
	return failure(logRemedy(err))
}

// logRemedy says what to do about a log that is not there, or may not be read.
func logRemedy(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: \"portaudit run\" writes one; name the directory of another with --log-dir", err)
	}
	return withRemedy(err, "--log-dir")
}

// readable reports whether an answer can be given in spite of an error.
func readable(err error) bool {
	var damage *audit.DamageError
	return err == nil || errors.As(err, &damage)
}

// recordText is what a record says, for people.
func recordText(s screen, e audit.Event) string {
	text := audit.Visible(e.Message)
	if e.Severity != "" && (e.Event == audit.FindingRaised || e.Event == audit.FindingCleared) {
		severity := e.Severity
		if e.Event == audit.FindingRaised {
			severity = strings.ToUpper(severity)
		}
		text = s.paint(e.Severity, audit.Visible(severity)) + " " + audit.Visible(e.Rule) + ": " + text
	}
	return text
}

// recordLine prints one record: on a line where it fits, else below its label.
func recordLine(s screen, label, text string) string {
	if s.width == 0 || shownWidth(label)+2+shownWidth(text) <= s.width {
		return label + "  " + text + "\n"
	}
	return label + "\n" + s.wrap("         ", text)
}

func writeRecord(s screen, e audit.Event) string {
	return recordLine(s, fmt.Sprintf("%7d  %s  %-16s", e.Seq, local(e.Time), audit.Visible(e.Event)), recordText(s, e))
}

const recordHead = "    SEQ  TIME                 EVENT             WHAT\n"
