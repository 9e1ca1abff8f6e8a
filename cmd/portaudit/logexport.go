package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/portaudit/portaudit/agent"
	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/agent/export"
)

// exportFlags are the flags of log export.
type exportFlags struct {
	queryFlags
	format, output string
}

func newLogExport(s *settings) *cobra.Command {
	var f exportFlags
	c := &cobra.Command{
		Use:   "export --format ecs|ocsf|csv",
		Short: "Write records of the audit log in the words of other tools",
		Long: `Export writes the records that all given flags are true of, the oldest first:
with --format ecs as documents of the Elastic Common Schema ` + export.ECSVersion + `, with ocsf as
events of the Open Cybersecurity Schema Framework ` + export.OCSFVersion + `, one JSON object a line;
with csv as a table for a spreadsheet. Each JSON object holds the record itself
too, and the hash of its line (docs/export.md).

With --output the file is there when it is whole, or it is as it was. TIME is
written as for "portaudit log show".

Exit codes: 0 done, whatever was found; 1 there is no log, it could not be
read, or the output could not be written; 2 wrong call; 3 the log is damaged:
what stands before the damage was written, and standard error names the
record.`,
		Example: `  sudo portaudit log export --format ecs --since yesterday > records.ndjson
  sudo portaudit log export --format ocsf --event finding --output findings.json
  sudo portaudit log export --format csv --severity high --since 30d > a.csv`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error { return runLogExport(c, s, f) },
	}
	f.add(c)
	c.Flags().StringVar(&f.format, "format", "", "the `FORMAT`: ecs, ocsf or csv")
	c.Flags().StringVarP(&f.output, "output", "o", "", "write to this `FILE` instead of standard output")
	s.logFlag(c)
	return c
}

func runLogExport(c *cobra.Command, s *settings, f exportFlags) error {
	begin, err := newExporter(f.format)
	if err != nil {
		return usage(err)
	}
	selection, err := f.selection(time.Now())
	if err != nil {
		return usage(err)
	}
	q, err := newQuery(c, s, "exporting")
	if err != nil {
		return err
	}
	if f.output == "" {
		if screenOf(c.OutOrStdout()).width > 0 {
			q.progress = nil // the records themselves go to the terminal
		}
		reading, writing := exportTo(c.OutOrStdout(), q, selection, begin)
		if writing != nil {
			q.progress.hide()
			return failure(writing)
		}
		return q.end(reading)
	}
	var reading error
	err = audit.WriteFileBy(f.output, 0o600, func(w io.Writer) (writing error) {
		if reading, writing = exportTo(w, q, selection, begin); writing == nil && !readable(reading) {
			writing = errUnread // the file stays as it was
		}
		return writing
	})
	if err != nil && !errors.Is(err, errUnread) {
		q.progress.hide()
		return failure(err)
	}
	return q.end(reading)
}

// errUnread says that a log could not be read, and that another error tells why.
var errUnread = errors.New("the log could not be read")

// exporter writes records in a format.
type exporter interface {
	write(e audit.Event, line []byte) error
	flush() error
}

// newExporter returns what makes an exporter for a format.
func newExporter(format string) (func(io.Writer) (exporter, error), error) {
	switch format {
	case "ecs":
		return func(w io.Writer) (exporter, error) { return newJSONLines(w, export.ECS), nil }, nil
	case "ocsf":
		return func(w io.Writer) (exporter, error) { return newJSONLines(w, export.OCSF), nil }, nil
	case "csv":
		return newRows, nil
	case "":
		return nil, errors.New("--format is missing: give ecs, ocsf or csv")
	}
	return nil, fmt.Errorf("--format %q is none of ecs, ocsf and csv", audit.Clip(format, 64))
}

// jsonLines is JSON, one object a line.
type jsonLines struct {
	out *bufio.Writer
	say func(e audit.Event, hash string) ([]byte, error)
}

func newJSONLines(w io.Writer, say func(audit.Event, string) ([]byte, error)) jsonLines {
	return jsonLines{bufio.NewWriterSize(w, 64<<10), say}
}

func (d jsonLines) write(e audit.Event, line []byte) error {
	sum := sha256.Sum256(line)
	b, err := d.say(e, hex.EncodeToString(sum[:]))
	if err != nil {
		return fmt.Errorf("record %d: %w", e.Seq, err)
	}
	_, _ = d.out.Write(b) // a bufio.Writer keeps its first error for the next
	return d.out.WriteByte('\n')
}

func (d jsonLines) flush() error { return d.out.Flush() }

// rows is CSV.
type rows struct{ *export.CSV }

func newRows(w io.Writer) (exporter, error) {
	c, err := export.NewCSV(w)
	return rows{c}, err
}

func (r rows) write(e audit.Event, _ []byte) error { return r.Write(e) }

func (r rows) flush() error { return r.Flush() }

// exportTo writes the records of a selection, and returns what is wrong with the log
// and what went wrong with the writing.
func exportTo(w io.Writer, q *query, s agent.Selection, begin func(io.Writer) (exporter, error)) (reading, writing error) {
	out, err := begin(w)
	if err != nil {
		return nil, err
	}
	filter := s.Filter()
	for l, err := range q.lines(s.Range()) {
		if err != nil {
			return err, out.flush()
		}
		e, taken, err := filter.Select(l)
		if err != nil {
			return err, out.flush()
		}
		if !taken {
			continue
		}
		if err := out.write(e, l.Raw); err != nil {
			return nil, err
		}
	}
	return nil, out.flush()
}
