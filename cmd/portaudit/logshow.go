package main

import (
	"bufio"
	"errors"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/portaudit/portaudit/agent"
	"github.com/portaudit/portaudit/agent/audit"
)

// showFlags are the flags of log show and log follow.
type showFlags struct {
	queryFlags
	json bool
	last int
}

// maxLast bounds --last: the sequence number of each is held.
const maxLast = 1000000

func newLogShow(s *settings) *cobra.Command {
	var f showFlags
	c := &cobra.Command{
		Use:   "show",
		Short: "Show records of the audit log",
		Long: `Show prints the records that all given flags are true of, the newest last:
sequence number, time on this host's clock, kind and what happened. With
--json each record is printed as it stands in the log, byte by byte, so that
its hash can be checked (docs/json.md).

TIME is how long ago (90s, 2h, 3d; a day is 24 hours), a day, a day and a
time, a time of today, "today", "yesterday", or RFC 3339. Without a zone it is
this host's local time.

Exit codes: 0 done, whatever was found; 1 there is no log, or it could not be
read; 2 wrong call; 3 the log is damaged: what stands before the damage was
shown, and standard error names the record.`,
		Example: `  sudo portaudit log show --since 2h
  sudo portaudit log show --port 8080 --since "2026-11-20 14:00" --until 15:00
  sudo portaudit log show --severity high --event finding.raised -n 20
  sudo portaudit log show --exe '/tmp/*' --json | jq .message`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error { return runLogShow(c, s, f) },
	}
	f.add(c)
	c.Flags().IntVarP(&f.last, "last", "n", 0, "only the last `NUMBER` of them")
	c.Flags().BoolVar(&f.json, "json", false, "print the records as they stand in the log, one a line")
	s.logFlag(c)
	return c
}

func runLogShow(c *cobra.Command, s *settings, f showFlags) error {
	if f.last < 0 || f.last > maxLast || c.Flags().Changed("last") && f.last == 0 {
		return usage(errors.New("--last wants a number from 1 to 1000000"))
	}
	selection, err := f.selection(time.Now())
	if err != nil {
		return usage(err)
	}
	q, err := newQuery(c, s, "searching")
	if err != nil {
		return err
	}
	if f.last > 0 {
		if selection.After, err = q.before(selection, f.last); !readable(err) {
			return q.end(err)
		}
	}
	p := newPrinter(c.OutOrStdout(), q, f.json)
	_, err = p.all(selection)
	if p.printed == 0 && readable(err) && !f.json {
		_ = p.text("No record is like that.\n") // Flush tells
	}
	if wrong := p.out.Flush(); wrong != nil {
		return failure(wrong)
	}
	return q.end(err)
}

// printer prints records.
type printer struct {
	out     *bufio.Writer
	screen  screen
	query   *query
	json    bool
	printed int
}

func newPrinter(w io.Writer, q *query, json bool) *printer {
	return &printer{out: bufio.NewWriterSize(w, 64<<10), screen: screenOf(w), query: q, json: json}
}

// all prints the records of a selection that the log holds, and returns the
// sequence number of the last that was read.
func (p *printer) all(s agent.Selection) (last uint64, err error) {
	filter := s.Filter()
	for l, err := range p.query.lines(s.Range()) {
		if err != nil {
			return last, err
		}
		last = l.Seq
		if err := p.line(filter, l); err != nil {
			return last, err
		}
	}
	return last, nil
}

// line prints a line if it is one of the selection.
func (p *printer) line(filter agent.Filter, l audit.Line) error {
	if p.json {
		taken, err := filter.Takes(l)
		if err != nil || !taken {
			return err
		}
		p.begin("")
		_, _ = p.out.Write(l.Raw) // a bufio.Writer keeps its first error for the next
		return p.out.WriteByte('\n')
	}
	e, taken, err := filter.Select(l)
	if err != nil || !taken {
		return err
	}
	p.begin(recordHead)
	return p.text(writeRecord(p.screen, e))
}

// begin takes progress away from a terminal on which records are printed.
func (p *printer) begin(head string) {
	if p.screen.width > 0 {
		p.query.progress.hide()
	}
	if p.printed++; p.printed == 1 {
		_, _ = p.out.WriteString(head) // likewise
	}
}

func (p *printer) text(text string) error {
	_, err := p.out.WriteString(text)
	return err
}

// before returns the sequence number behind which the last n records of a selection
// stand. It looks at the end of the log first, and further back as it must.
func (q *query) before(s agent.Selection, n int) (uint64, error) {
	end, err := q.lastSeq()
	if err != nil {
		return 0, err
	}
	filter := s.Filter()
	for back := uint64(4 * n); ; back *= 8 {
		from := s
		if end > back {
			from.After = end - back
		}
		ring := make([]uint64, 0, n)
		found := 0
		for l, err := range q.lines(from.Range()) {
			if err != nil && (from.After == 0 || !readable(err)) {
				return oldest(ring, found), err
			}
			if err != nil {
				break // it is told again when the records are printed
			}
			taken, err := filter.Takes(l)
			if err != nil {
				return oldest(ring, found), err
			}
			if !taken {
				continue
			}
			if found++; len(ring) < n {
				ring = append(ring, l.Seq)
			} else {
				ring[(found-1)%n] = l.Seq
			}
		}
		if found >= n || from.After == 0 {
			return oldest(ring, found), nil
		}
	}
}

// oldest returns the sequence number before the oldest in a ring in which the
// last of found stand.
func oldest(ring []uint64, found int) uint64 {
	switch {
	case len(ring) == 0:
		return 0
	case len(ring) < cap(ring):
		return ring[0] - 1
	}
	return ring[found%len(ring)] - 1
}

// lastSeq returns the sequence number of the last record of the log, 0 if there is
// none. It asks whether there is one behind a number, which the log answers without
// reading what stands before. Of a damaged log it is the last that can be read so.
func (q *query) lastSeq() (uint64, error) {
	behind := func(seq uint64) (uint64, error) {
		for l, err := range q.lines(audit.Range{After: seq}) {
			return l.Seq, err // 0 with an error
		}
		return 0, nil
	}
	low, err := behind(0)
	if err != nil || low == 0 {
		return 0, err
	}
	step := uint64(1)
	for ; ; step *= 2 {
		there, err := behind(low + step - 1)
		if err != nil && !readable(err) {
			return low, err
		}
		if there == 0 {
			break
		}
		low = there
	}
	for ; step > 0; step /= 2 {
		there, err := behind(low + step - 1)
		if err != nil && !readable(err) {
			return low, err
		}
		low = max(low, there)
	}
	return low, nil
}
