package main

import (
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/portaudit/portaudit/agent"
	"github.com/portaudit/portaudit/agent/audit"
)

func newLogAt(s *settings) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "at TIME",
		Short: "Show who listened where at a moment",
		Long: `At rebuilds from the records who listened where at a moment, under which
policy and with which findings, and says how sure that is: whether a daemon
was there, what it could not see, and which records are missing. A listener
whose record came later, but that had been seen by then, is among them.

TIME is a time like those of "portaudit log show --help".

Exit codes: 0 done, whatever listened; 1 there is no log, or it could not be
read; 2 wrong call; 3 the log is damaged: what it tells up to there is shown,
and standard error names the record.`,
		Example: `  sudo portaudit log at "2026-11-20 14:00"
  sudo portaudit log at 2h
  sudo portaudit log at 2026-11-20T14:00:00Z --json | jq '.listeners[].port'`,
		Args: oneArgument("a time, such as 2h or \"2026-11-20 14:00\""),
		RunE: func(c *cobra.Command, args []string) error { return runLogAt(c, s, args[0], asJSON) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON document (docs/json.md)")
	s.logFlag(c)
	return c
}

// moment is what log at --json prints.
type moment struct {
	Schema    int                  `json:"schema"`
	Host      string               `json:"host"`
	Time      time.Time            `json:"time"`
	At        time.Time            `json:"at"`
	Record    *uint64              `json:"record"`
	Recorded  *time.Time           `json:"recorded"`
	Policy    *audit.Policy        `json:"policy"`
	Coverage  *audit.Coverage      `json:"coverage"`
	Listeners []agent.ThenListener `json:"listeners"`
	Findings  []agent.Finding      `json:"findings"`
	Doubts    []agent.Doubt        `json:"doubts"`
}

func runLogAt(c *cobra.Command, s *settings, text string, asJSON bool) error {
	now := time.Now()
	at, err := agent.ParseMoment(text, now)
	if err != nil {
		return usage(err)
	}
	if at.After(now) {
		return usage(fmt.Errorf("%s is yet to come", local(at)))
	}
	q, err := newQuery(c, s, "rebuilding")
	if err != nil {
		return err
	}
	debug.SetMemoryLimit(queryMemory)
	_, held, _ := audit.Holder(q.dir) // who cannot ask cannot read the log either
	m := agent.Then(q.lines(audit.Range{}), at, now, held)
	q.progress.hide()
	if !readable(m.Err) {
		return q.end(m.Err)
	}
	if asJSON {
		err = printJSON(c.OutOrStdout(), momentOf(m, now))
	} else {
		err = writeMoment(c.OutOrStdout(), screenOf(c.OutOrStdout()), m)
	}
	if err != nil {
		return failure(err)
	}
	return q.end(m.Err)
}

// queryMemory is what a question to the log may take before garbage is collected at
// any cost: what is held of the log is bounded by less.
const queryMemory = 44 << 20

func momentOf(m agent.Moment, now time.Time) moment {
	d := moment{
		Schema: 1, Host: audit.Visible(m.Host), Time: now.UTC(), At: m.At, Recorded: known(m.Recorded),
		Policy: m.Policy, Coverage: m.Coverage, Listeners: m.Listeners, Findings: m.Findings, Doubts: m.Doubts,
	}
	if d.Host == "" {
		d.Host = audit.Visible(hostName())
	}
	if m.Record > 0 {
		d.Record = &m.Record
	}
	return d
}

// writeMoment prints a moment for people.
func writeMoment(w io.Writer, s screen, m agent.Moment) error {
	var b strings.Builder
	writeThen(&b, s, m)
	writeThenFindings(&b, s, m)
	writeDoubts(&b, s, m)
	if m.Record > 0 {
		sum := counted(len(m.Listeners), "listener") + ", " + counted(thenFindings(m), "finding") + "."
		if m.Policy != nil {
			sum += fmt.Sprintf(" Policy: %s (SHA-256 %.12s).", audit.Visible(m.Policy.Source), audit.Visible(m.Policy.SHA256))
		}
		b.WriteString("\n" + s.wrap("", sum))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeThen prints the table of the listeners.
func writeThen(b *strings.Builder, s screen, m agent.Moment) {
	if m.Record == 0 {
		b.WriteString(s.wrap("", fmt.Sprintf("Of %s the log tells nothing.", local(m.At))))
		return
	}
	b.WriteString(s.wrap("", s.paint("bold", fmt.Sprintf("At %s, by the records up to %d, of %s:", local(m.At), m.Record, local(m.Recorded)))))
	var r agent.Report
	for _, l := range m.Listeners {
		r.Listeners = append(r.Listeners, l.Listener)
	}
	if len(r.Listeners) == 0 {
		b.WriteString("Nothing listened.\n")
		return
	}
	writeTable(b, s, r)
	for _, l := range m.Listeners {
		if l.LastSeen != nil {
			b.WriteString(s.wrap("", fmt.Sprintf("%s was last seen at %s, and then found gone: whether it still listened is not known.", agent.EndpointText(l.Listener), local(*l.LastSeen))))
		}
	}
}

// writeDoubts says how sure what is told of a moment is.
func writeDoubts(b *strings.Builder, s screen, m agent.Moment) {
	if len(m.Doubts) > 0 {
		b.WriteString("\n" + s.paint("bold", "How sure this is:") + "\n")
	}
	for _, d := range m.Doubts {
		b.WriteString(s.wrap("  ", audit.Visible(d.Text)+doubtSpan(d)))
		if d.Kind == agent.DoubtCoverage && m.Coverage != nil {
			for _, g := range m.Coverage.Gaps {
				b.WriteString(s.wrap("    ", audit.Visible(gapText(g))))
			}
		}
	}
}

// writeThenFindings lists the findings of a moment, each once: a listener has a row
// for each address.
func writeThenFindings(b *strings.Builder, s screen, m agent.Moment) {
	if thenFindings(m) > 0 {
		b.WriteString("\n" + s.paint("bold", "Findings:") + "\n")
	}
	seen := map[string]bool{}
	line := func(f agent.Finding) {
		if !seen[f.ID] {
			b.WriteString(s.wrap("  ", s.paint(f.Severity, audit.Visible(strings.ToUpper(f.Severity)))+" "+audit.Visible(f.Rule+": "+f.Message)))
		}
		seen[f.ID] = true
	}
	for _, l := range m.Listeners {
		for _, f := range l.Findings {
			line(f)
		}
	}
	for _, f := range m.Findings {
		line(f)
	}
}

func thenFindings(m agent.Moment) int {
	ids := map[string]bool{}
	for _, l := range m.Listeners {
		for _, f := range l.Findings {
			ids[f.ID] = true
		}
	}
	return len(ids) + len(m.Findings)
}

// doubtSpan says from when to when a doubt holds.
func doubtSpan(d agent.Doubt) string {
	switch {
	case d.Since != nil && d.Until != nil:
		return fmt.Sprintf(" (From %s to %s.)", local(*d.Since), local(*d.Until))
	case d.Since != nil:
		return fmt.Sprintf(" (From %s on.)", local(*d.Since))
	case d.Until != nil:
		return fmt.Sprintf(" (Until %s.)", local(*d.Until))
	}
	return ""
}
