package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/portaudit/portaudit/agent"
	"github.com/portaudit/portaudit/agent/audit"
)

func newLogStats(s *settings) *cobra.Command {
	var f queryFlags
	var asJSON bool
	c := &cobra.Command{
		Use:   "stats",
		Short: "Count what the audit log holds",
		Long: `Stats counts records by kind, findings by rule and severity, records by day, or
by hour if there are no more than two days, and the ports and programs with
most records; and it says which files the log has. With flags it counts the
records that all of them are true of.

Exit codes: 0 done; 1 there is no log, or it could not be read; 2 wrong call;
3 the log is damaged: what stands before the damage was counted, and standard
error names the record.`,
		Example: `  sudo portaudit log stats
  sudo portaudit log stats --since 30d --severity high
  sudo portaudit log stats --json | jq .rules`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error { return runLogStats(c, s, f, asJSON) },
	}
	f.add(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON document (docs/json.md)")
	s.logFlag(c)
	return c
}

// stats is what log stats --json prints.
type stats struct {
	Schema    int       `json:"schema"`
	Host      string    `json:"host"`
	Time      time.Time `json:"time"`
	Directory string    `json:"directory"`
	Files     []logFile `json:"files"`
	Bytes     int64     `json:"bytes"` // of all of them
	agent.LogSum
}

// logFile is a file of the log, the oldest first.
type logFile struct {
	Name       string    `json:"name"`
	Bytes      int64     `json:"bytes"`
	Compressed bool      `json:"compressed"`
	Active     bool      `json:"active"` // is written to
	Written    time.Time `json:"written"`
}

func runLogStats(c *cobra.Command, s *settings, f queryFlags, asJSON bool) error {
	now := time.Now()
	selection, err := f.selection(now)
	if err != nil {
		return usage(err)
	}
	q, err := newQuery(c, s, "counting")
	if err != nil {
		return err
	}
	summing := agent.NewSumming(selection, time.Local)
	var reading error
	for l, err := range q.lines(selection.Range()) {
		if err == nil {
			err = summing.Take(l)
		}
		if err != nil {
			reading = err
			break
		}
	}
	q.progress.hide()
	if !readable(reading) {
		return q.end(reading)
	}
	st := stats{Schema: 1, Host: audit.Visible(hostName()), Time: now.UTC(), Directory: audit.Visible(q.dir), LogSum: summing.Sum()}
	if st.Files, err = logFiles(q.dir); err != nil {
		return q.end(err)
	}
	for _, f := range st.Files {
		st.Bytes += f.Bytes
	}
	if asJSON {
		err = printJSON(c.OutOrStdout(), st)
	} else {
		err = writeStats(c.OutOrStdout(), screenOf(c.OutOrStdout()), st)
	}
	if err != nil {
		return failure(err)
	}
	return q.end(reading)
}

// logFiles lists the files that hold the records of a log.
func logFiles(dir string) ([]logFile, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	files := []logFile{}
	for _, e := range entries {
		name := e.Name()
		packed := strings.HasSuffix(name, ".jsonl.gz")
		if !strings.HasPrefix(name, "audit") || !packed && !strings.HasSuffix(name, ".jsonl") {
			continue
		}
		info, err := e.Info()
		if err != nil {
			continue // it was removed just now
		}
		files = append(files, logFile{audit.Visible(name), info.Size(), packed, name == "audit.jsonl", info.ModTime().UTC()})
	}
	slices.SortFunc(files, func(a, b logFile) int {
		if a.Active != b.Active {
			return map[bool]int{true: 1, false: -1}[a.Active]
		}
		return cmp.Compare(a.Name, b.Name)
	})
	return files, nil
}

// writeStats prints the counts for people.
func writeStats(w io.Writer, s screen, st stats) error {
	var b strings.Builder
	if st.First == nil {
		b.WriteString(s.wrap("", "No record is like that."))
	} else {
		b.WriteString(s.wrap("", s.paint("bold", fmt.Sprintf("%s, from %s (%d) to %s (%d).",
			counted(int(st.Records), "record"), local(st.First.Time), st.First.Record, local(st.Last.Time), st.Last.Record))))
	}
	b.WriteString(s.wrap("", filesSentence(st)))
	writeCounts(&b, s, "KIND", st.Kinds, st.Short.Kinds)
	writeRuleCounts(&b, s, st)
	writeSpans(&b, s, st)
	writeCounts(&b, s, "PORT", st.Ports, st.Short.Ports)
	writeCounts(&b, s, "PROGRAM", st.Programs, st.Short.Programs)
	_, err := io.WriteString(w, b.String())
	return err
}

// filesSentence says what the log takes on the disk.
func filesSentence(st stats) string {
	packed := 0
	for _, f := range st.Files {
		if f.Compressed {
			packed++
		}
	}
	text := fmt.Sprintf("On disk: %s in %s in %s", sizeText(st.Bytes), counted(len(st.Files), "file"), st.Directory)
	if packed > 0 {
		text += fmt.Sprintf(", of which %d are compressed", packed)
	}
	return text + "."
}

// sizeText is a size as people read it.
func sizeText(bytes int64) string {
	const unit = 1000
	if bytes < 10*unit {
		return fmt.Sprintf("%d bytes", bytes)
	}
	for _, name := range []string{"kB", "MB", "GB"} {
		if bytes /= unit; bytes < 10*unit || name == "GB" {
			return fmt.Sprintf("%d %s", bytes, name)
		}
	}
	return ""
}

// writeTableOf prints rows of cells, the columns behind the first on the right.
func writeTableOf(b *strings.Builder, s screen, titles []string, rows [][]string, colours []string) {
	columns := make([]column, len(titles))
	for i, title := range titles {
		columns[i] = column{title: title, right: i > 0}
		if i == 0 {
			columns[i].least = []int{20}
		}
		for _, row := range rows {
			columns[i].cells = append(columns[i].cells, row[i])
		}
		if i == len(titles)-1 && i > 0 { // layOut pads no last column
			width := len(title)
			for _, cell := range columns[i].cells {
				width = max(width, len(cell))
			}
			columns[i].title = fmt.Sprintf("%*s", width, title)
			for j, cell := range columns[i].cells {
				columns[i].cells[j] = fmt.Sprintf("%*s", width, cell)
			}
		}
	}
	b.WriteString("\n")
	layOut(b, s, columns, colours)
}

func writeCounts(b *strings.Builder, s screen, title string, counts []agent.Count, short uint64) {
	if len(counts) == 0 {
		return
	}
	var rows [][]string
	for _, c := range counts {
		rows = append(rows, []string{audit.Visible(c.Name), fmt.Sprint(c.Records)})
	}
	writeTableOf(b, s, []string{title, "RECORDS"}, rows, make([]string, len(rows)))
	if short > 0 {
		b.WriteString(s.wrap("", fmt.Sprintf("There were too many to count each: a number may be too small by %d.", short)))
	}
}

func writeRuleCounts(b *strings.Builder, s screen, st stats) {
	if len(st.Rules) == 0 {
		return
	}
	var rows [][]string
	var colours []string
	for _, r := range st.Rules {
		rows = append(rows, []string{audit.Visible(r.Rule), audit.Visible(r.Severity), fmt.Sprint(r.Raised), fmt.Sprint(r.Cleared)})
		colours = append(colours, "")
	}
	writeTableOf(b, s, []string{"RULE", "SEVERITY", "RAISED", "CLEARED"}, rows, colours)
	if st.Short.Rules > 0 {
		b.WriteString(s.wrap("", fmt.Sprintf("There were too many to count each: a number may be too small by %d.", st.Short.Rules)))
	}
}

func writeSpans(b *strings.Builder, s screen, st stats) {
	if len(st.Spans) == 0 {
		return
	}
	form := "2006-01-02"
	if st.Span == "hour" {
		form = "2006-01-02 15:04"
	}
	var rows [][]string
	for _, c := range st.Spans {
		rows = append(rows, []string{c.Since.Local().Format(form), fmt.Sprint(c.Records), fmt.Sprint(c.Raised)})
	}
	writeTableOf(b, s, []string{strings.ToUpper(st.Span), "RECORDS", "FINDINGS"}, rows, make([]string, len(rows)))
}
