package main

import (
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/portaudit/portaudit/agent"
	"github.com/portaudit/portaudit/agent/audit"
)

// followEvery is how often the end of the log is looked at.
const followEvery = 200 * time.Millisecond

// followFirst is how many records are shown of what was there before.
const followFirst = 10

func newLogFollow(s *settings) *cobra.Command {
	var f showFlags
	c := &cobra.Command{
		Use:   "follow",
		Short: "Show records of the audit log as they are written",
		Long: `Follow prints the last records that all given flags are true of, and then each
new one as it is written, until it is interrupted. It goes on when the log is
rotated. What it prints is what "portaudit log show" does.

Exit codes: 0 it was interrupted; 1 there is no log, or it could not be read;
2 wrong call; 3 the log is damaged.`,
		Example: `  sudo portaudit log follow
  sudo portaudit log follow --severity medium
  sudo portaudit log follow --event finding --json | jq --unbuffered .message`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error { return runLogFollow(c, s, f) },
	}
	f.addWhat(c)
	c.Flags().IntVarP(&f.last, "last", "n", followFirst, "show this `NUMBER` of those that were there before")
	c.Flags().BoolVar(&f.json, "json", false, "print the records as they stand in the log, one a line")
	s.logFlag(c)
	return c
}

func runLogFollow(c *cobra.Command, s *settings, f showFlags) (err error) {
	if f.last < 0 || f.last > maxLast {
		return usage(errors.New("--last wants a number from 0 to 1000000"))
	}
	selection, err := f.selection(time.Now())
	if err != nil {
		return usage(err)
	}
	q, err := newQuery(c, s, "searching")
	if err != nil {
		return err
	}
	// First, so that nothing is missed that is written while the log is read.
	tail, err := audit.OpenTail(q.dir)
	if err != nil {
		return q.end(err)
	}
	defer func() { err = errors.Join(err, failure(tail.Close())) }()
	p := newPrinter(c.OutOrStdout(), q, f.json)
	if selection.After, err = p.past(selection, f.last); err == nil {
		err = p.follow(tail, selection)
	}
	err = errors.Join(err, p.out.Flush())
	if errors.Is(err, errInterrupted) {
		return nil
	}
	return q.end(err)
}

// past prints the last n records of a selection, and returns the sequence number of
// the last that was read.
func (p *printer) past(s agent.Selection, n int) (last uint64, err error) {
	if n == 0 {
		return 0, nil
	}
	if s.After, err = p.query.before(s, n); err != nil {
		return 0, err
	}
	last, err = p.all(s)
	p.query.progress.hide()
	return last, err
}

// follow prints what is appended to the log until the command is interrupted.
func (p *printer) follow(tail *audit.Tail, s agent.Selection) error {
	filter := s.Filter()
	clock := time.NewTicker(followEvery)
	defer clock.Stop()
	for {
		l, more, err := tail.NextLine()
		if err == nil && more {
			err = p.line(filter, l)
		}
		switch {
		case err != nil:
			return err
		case more && p.query.ctx.Err() == nil:
			continue
		}
		if err := p.out.Flush(); err != nil {
			return err
		}
		select {
		case <-p.query.ctx.Done():
			return errInterrupted
		case <-clock.C:
		}
	}
}
