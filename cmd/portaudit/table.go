package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mattn/go-runewidth"

	"github.com/portaudit/portaudit/agent"
	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/agent/listen"
	"github.com/portaudit/portaudit/policy"
	"github.com/portaudit/portaudit/registry"
)

// writeReport prints a report for people: the table, the findings, what could
// not be seen, and the sum. It writes once, so that a closed pipe is one error.
func writeReport(w io.Writer, s screen, r agent.Report) error {
	var b strings.Builder
	writeTable(&b, s, r)
	writeFindings(&b, s, r)
	writeCoverage(&b, s, r.Coverage)
	writeCrossCheck(&b, s, r)
	writeSum(&b, s, r)
	_, err := io.WriteString(w, b.String())
	return err
}

// writeVerbose prints a report with how it was made and from where each
// listener can be reached.
func writeVerbose(w io.Writer, s screen, r agent.Report, took time.Duration) error {
	var b strings.Builder
	writeTable(&b, s, r)
	writeExposures(&b, s, r)
	writeFindings(&b, s, r)
	writeCoverage(&b, s, r.Coverage)
	writeSources(&b, s, r.Coverage)
	writeNamespaces(&b, s, r)
	writeCrossCheck(&b, s, r)
	writeSum(&b, s, r)
	b.WriteString(s.wrap("", "It took "+took.Round(time.Millisecond).String()+"."))
	_, err := io.WriteString(w, b.String())
	return err
}

// column is one column of a table. Where the whole does not fit, cells are cut
// in rounds, each down to so many columns of the screen: whole is not at all,
// and 0 drops the column. A round that is not named is the one before.
type column struct {
	title string
	least []int
	cells []string
	right bool // numbers stand on the right
}

// whole leaves a column uncut for a round.
const whole = -1

// writeTable prints a line for each owner of each listener.
func writeTable(b *strings.Builder, s screen, r agent.Report) {
	if len(r.Listeners) == 0 {
		b.WriteString("Nothing listens on this host.\n")
		return
	}
	// An address is copied from here, and is never cut: of a program that is
	// dropped, its number is left.
	columns := []column{
		{title: "PROTO"}, {title: "ADDRESS"}, {title: "PORT", right: true}, {title: "SERVICE", least: []int{8, 0}},
		{title: "PID", right: true}, {title: "PROGRAM", least: []int{whole, whole, 12, 8, 8, 0}},
		{title: "USER", least: []int{whole, whole, 6, 4, 0}}, {title: "VERDICT"},
	}
	elsewhere := slices.ContainsFunc(r.Listeners, func(l agent.Listener) bool { return l.Namespace != listen.HostNamespace })
	if elsewhere {
		columns = slices.Insert(columns, 0, column{title: "NAMESPACE"})
	}
	labels := namespaceTexts(s, r.Listeners)
	var colour []string
	for _, l := range r.Listeners {
		for i, row := range tableRows(l) {
			if elsewhere {
				row = slices.Insert(row, 0, labels[l.Namespace])
			}
			for c := range columns {
				cell := row[c]
				if i > 0 && !ownerColumn(columns[c].title) {
					cell = "" // the same listener, one more owner
				}
				columns[c].cells = append(columns[c].cells, cell)
			}
			colour = append(colour, worst(l))
		}
	}
	layOut(b, s, columns, colour)
}

// namespaceTexts are the labels of the listeners' namespaces for a column. On a
// terminal the kernel's names, net:[4026532201], are told by their last digits,
// as many as tell them apart: the first ones are the same for all.
func namespaceTexts(s screen, listeners []agent.Listener) map[string]string {
	texts := map[string]string{}
	for _, l := range listeners {
		texts[l.Namespace] = l.Namespace
	}
	for digits := 6; s.width > 0 && digits < 20; digits++ {
		short, taken := map[string]string{}, map[string]bool{}
		for label := range texts {
			number, kernels := strings.CutPrefix(strings.TrimSuffix(label, "]"), "net:[")
			short[label] = label
			if kernels && len(number) > digits {
				short[label] = "…" + number[len(number)-digits:]
			}
			taken[short[label]] = true
		}
		if len(taken) == len(texts) {
			return short
		}
	}
	return texts
}

func ownerColumn(title string) bool { return title == "PID" || title == "PROGRAM" || title == "USER" }

// tableRows returns a row of cells for each owner of a listener.
func tableRows(l agent.Listener) [][]string {
	verdict := l.Verdict
	if severity := worst(l); severity != "" {
		verdict = l.Verdict + " " + severity
	}
	service := l.Service
	switch {
	case service != "":
	case l.Registry.State == "": // a raw, packet or vsock socket
		service = agent.ServiceText(l)
	case l.Registry.Range == registry.Dynamic.String():
		service = "(dynamic)"
	default:
		service = "(" + l.Registry.State + ")" // no name: parentheses tell it from one
	}
	var rows [][]string
	for _, o := range l.Owners {
		pid := "-"
		if o.PID != nil {
			pid = strconv.Itoa(*o.PID)
		}
		user := o.User
		if user == "" {
			user = "-"
		}
		rows = append(rows, []string{
			l.Transport, agent.AddressText(l), agent.PortText(l), service,
			pid, agent.ProgramText(o), user, verdict,
		})
	}
	return rows
}

// worst returns the gravest severity of a listener's findings, "" for none.
func worst(l agent.Listener) string {
	gravest := policy.None
	for _, f := range l.Findings {
		if s, err := policy.ParseSeverity(f.Severity); err == nil {
			gravest = max(gravest, s)
		}
	}
	if gravest == policy.None {
		return ""
	}
	return gravest.String()
}

// layOut prints columns side by side, the last one's cells in colour.
func layOut(b *strings.Builder, s screen, columns []column, colour []string) {
	widths := fit(s, columns)
	line := func(row int, cell func(column) string) {
		var text strings.Builder
		for c, col := range columns {
			if widths[c] == 0 {
				continue
			}
			value := cell(col)
			if widths[c] < runewidth.StringWidth(value) {
				value = runewidth.Truncate(value, widths[c], "…")
			}
			pad := strings.Repeat(" ", widths[c]-runewidth.StringWidth(value))
			switch {
			case c == len(columns)-1 && row >= 0 && value != "":
				value = s.paint(colour[row], value)
			case c == len(columns)-1:
			case col.right:
				value = pad + value
			default:
				value += pad
			}
			if c > 0 {
				text.WriteString("  ")
			}
			text.WriteString(value)
		}
		b.WriteString(strings.TrimRight(text.String(), " ") + "\n")
	}
	line(-1, func(c column) string { return c.title })
	for row := range colour {
		line(row, func(c column) string { return c.cells[row] })
	}
}

// fit returns the widths of the columns, 0 of one that is dropped; in a pipe
// nothing is cut.
func fit(s screen, columns []column) []int {
	widths := make([]int, len(columns))
	rounds, excess := 0, 2*(len(columns)-1)-s.width
	for c, col := range columns {
		widths[c] = runewidth.StringWidth(col.title)
		for _, cell := range col.cells {
			widths[c] = max(widths[c], runewidth.StringWidth(cell))
		}
		excess += widths[c]
		rounds = max(rounds, len(col.least))
	}
	if s.width == 0 {
		return widths
	}
	for round := 0; round < rounds && excess > 0; round++ {
		excess = narrow(widths, excess, func(c int) int {
			least := columns[c].least
			if len(least) == 0 {
				return whole
			}
			return least[min(round, len(least)-1)]
		})
	}
	return widths
}

// narrow drops the columns whose least width is 0 and makes the widest of the
// others smaller, again and again, until the excess is gone or no column is
// above its least width. It returns the excess that is left.
func narrow(widths []int, excess int, least func(column int) int) int {
	for c, w := range widths {
		if least(c) == 0 && w > 0 {
			excess -= w + 2 // with the gap before it
			widths[c] = 0
		}
	}
	for ; excess > 0; excess-- {
		widest := whole
		for c, w := range widths {
			if least(c) > 0 && w > least(c) && (widest < 0 || w > widths[widest]) {
				widest = c
			}
		}
		if widest < 0 {
			break
		}
		widths[widest]--
	}
	return excess
}

func writeFindings(b *strings.Builder, s screen, r agent.Report) {
	for _, f := range r.Findings {
		writeFinding(b, s, f)
	}
}

// writeFinding prints one paragraph: what was found, why it matters, what to do.
func writeFinding(b *strings.Builder, s screen, f agent.ReportFinding) {
	b.WriteString("\n" + s.paint(f.Severity, strings.ToUpper(f.Severity)) + "  " + s.paint("bold", f.Rule) + "\n")
	b.WriteString(s.wrap("  ", f.Message))
	if len(f.Tags) > 0 {
		b.WriteString(s.wrap("  ", "Tags: "+strings.Join(f.Tags, ", ")))
	}
	if len(f.Listeners) > 1 {
		b.WriteString(s.wrap("  ", "Listeners: "+strings.Join(f.Listeners, ", ")))
	}
	if f.Why != "" {
		b.WriteString(s.wrap("  ", "Why: "+f.Why))
	}
	if f.Fix != "" {
		b.WriteString(s.wrap("  ", "Fix: "+f.Fix))
	}
}

// writeCoverage says what the audit could not see, and how to see it.
func writeCoverage(b *strings.Builder, s screen, c audit.Coverage) {
	if c.Complete {
		return
	}
	b.WriteString("\n" + s.paint("bold", "Not everything could be seen:") + "\n")
	for _, g := range c.Gaps {
		b.WriteString(s.wrap("  ", gapText(g)))
	}
}

// gapText says what could not be seen, why, and what to do about it.
func gapText(g audit.Gap) string {
	text := g.Source + ": " + g.Reason
	if g.Count > 0 {
		text += fmt.Sprintf(" (%d)", g.Count)
	}
	text += "; this hides " + g.Hides
	if g.Fix != "" {
		text += ". To see it, " + g.Fix
	}
	return audit.Visible(text + ".")
}

// writeSum says in one line how it came out, and under which policy.
func writeSum(b *strings.Builder, s screen, r agent.Report) {
	var parts []string
	for severity := policy.Critical; severity > policy.None; severity-- {
		if n := r.Counts.Findings[severity.String()]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, severity))
		}
	}
	sum := counted(r.Counts.Listeners, "listener") + ", " + counted(len(r.Findings), "finding")
	if len(parts) > 0 {
		sum += ": " + strings.Join(parts, ", ")
	}
	b.WriteString("\n" + s.wrap("", sum+". Policy: "+r.Policy.Source+"."))
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}
