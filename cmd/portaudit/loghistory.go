package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/portaudit/portaudit/agent"
	"github.com/portaudit/portaudit/agent/audit"
)

func newLogHistory(s *settings) *cobra.Command {
	var asJSON bool
	var f queryFlags
	c := &cobra.Command{
		Use:   "history PORT[/TRANSPORT]",
		Short: "Tell the life of a port: opened, by whom, closed, findings",
		Long: `History tells all that the log has of a port, the oldest first: who opened it
and when, what changed, what was found of it and for how long, when it was
closed, and between these the times of a minute or more at which no daemon was
there to see. The end says what is open now.

With --since it tells what happened from then on, and with --until what
happened before then and was open then; for how long something was so is
counted from its beginning all the same. TIME is written as for "portaudit log
show".

Exit codes: 0 done, also if there is nothing to tell; 1 there is no log, or it
could not be read; 2 wrong call; 3 the log is damaged: what stands before the
damage was told, and standard error names the record.`,
		Example: `  sudo portaudit log history 8080/tcp
  sudo portaudit log history 53
  sudo portaudit log history 443 --since 30d --until yesterday
  sudo portaudit log history 8000-8100/tcp --json | jq '.turns[].message'`,
		Args: oneArgument("a port, such as 8080 or 8080/tcp"),
		RunE: func(c *cobra.Command, args []string) error { return runLogHistory(c, s, f, args[0], asJSON) },
	}
	f.addWhen(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON document (docs/json.md)")
	s.logFlag(c)
	return c
}

// history is what log history --json prints; the turns are written one by one.
type history struct {
	Schema    int           `json:"schema"`
	Host      string        `json:"host"`
	Time      time.Time     `json:"time"`
	First     uint32        `json:"first"`
	Last      uint32        `json:"last"`
	Transport string        `json:"transport"`
	Since     *time.Time    `json:"since"` // that was asked for
	Until     *time.Time    `json:"until"`
	Turns     []agent.Turn  `json:"turns"`
	Sum       agent.LifeSum `json:"sum"`
}

func runLogHistory(c *cobra.Command, s *settings, f queryFlags, text string, asJSON bool) error {
	ports, transport, err := agent.ParsePorts(text)
	if err != nil {
		return usage(err)
	}
	when, err := f.selection(time.Now())
	if err != nil {
		return usage(err)
	}
	q, err := newQuery(c, s, "searching")
	if err != nil {
		return err
	}
	debug.SetMemoryLimit(queryMemory)
	h := history{Schema: 1, Host: audit.Visible(hostName()), Time: time.Now().UTC(), First: ports.First, Last: ports.Last, Transport: transport}
	h.Since, h.Until = givenTime(when.Since), givenTime(when.Until)
	out := bufio.NewWriterSize(c.OutOrStdout(), 64<<10)
	screen := screenOf(c.OutOrStdout())
	var tell func(agent.Turn) error
	if asJSON {
		tell = h.turns(out)
	} else {
		head := historyHead
		tell = func(t agent.Turn) error {
			if screen.width > 0 {
				q.progress.hide()
			}
			_, err := out.WriteString(head + turnText(screen, t))
			head = ""
			return err
		}
	}
	sum, writing, reading := live(q, agent.NewLife(ports, transport, when.Since), when.Until, tell)
	if writing != nil {
		return failure(writing)
	}
	if !readable(reading) {
		return q.end(reading)
	}
	q.progress.hide()
	if h.Sum = sum; asJSON {
		err = h.end(out)
	} else {
		_, err = out.WriteString(lifeText(screen, text, h))
	}
	if err == nil {
		err = out.Flush()
	}
	if err != nil {
		return failure(err)
	}
	return q.end(reading)
}

// givenTime is a time in a document: null where none was given.
func givenTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// live reads the life of a port until a time, zero for all of it, and tells its turns.
func live(q *query, life *agent.Life, until time.Time, tell func(agent.Turn) error) (sum agent.LifeSum, writing, reading error) {
	for l, err := range q.lines(audit.Range{Until: until}) {
		var turns []agent.Turn
		if err == nil {
			turns, err = life.Take(l)
		}
		if err != nil {
			return life.Sum(), nil, err
		}
		for _, t := range turns {
			if err := tell(t); err != nil {
				return life.Sum(), err, nil
			}
		}
	}
	return life.Sum(), nil, nil
}

// turns begins the document and returns what writes one turn.
func (h history) turns(out *bufio.Writer) func(agent.Turn) error {
	head, _, err := h.frame()
	if err == nil {
		_, err = out.Write(head)
	}
	separator := "\n"
	return func(t agent.Turn) error {
		if err != nil {
			return err
		}
		var b bytes.Buffer
		if err := compact(&b).Encode(t); err != nil {
			return err
		}
		if _, err := out.WriteString(separator); err != nil {
			return err
		}
		separator = ",\n"
		_, err := out.Write(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
		return err
	}
}

// end ends the document, of which the turns were written.
func (h history) end(out *bufio.Writer) error {
	_, tail, err := h.frame()
	if err == nil {
		_, err = out.Write(tail)
	}
	return err
}

// frame is the document before and behind its turns.
func (h history) frame() (head, tail []byte, err error) {
	h.Turns = []agent.Turn{}
	b, err := json.Marshal(h)
	before, after, _ := bytes.Cut(b, []byte(`"turns":[]`)) // in no string: there the quotes are escaped
	return append(before, `"turns":[`...), append(append([]byte("\n]"), after...), '\n'), err
}

const historyHead = "    SEQ  TIME                 EVENT    WHAT\n"

// turnText tells a turn for people.
func turnText(s screen, t agent.Turn) string {
	_, word, _ := strings.Cut(t.Event, ".")
	text := t.Message
	switch text = audit.Visible(text); t.Event {
	case agent.EventAbsent:
		text += " (for " + span(t) + "): what happened meanwhile is not known"
	case audit.ListenerClosed:
		text += afterText(t)
	case audit.ListenerChanged:
		text = t.Change + ": " + text + afterText(t)
	case audit.FindingRaised:
		text = s.paint(t.Severity, audit.Visible(strings.ToUpper(t.Severity))) + " " + audit.Visible(t.Rule) + ": " + text
	case audit.FindingCleared:
		text = s.paint(t.Severity, audit.Visible(t.Severity)) + " " + audit.Visible(t.Rule) + ": " + text + afterText(t)
	}
	return recordLine(s, fmt.Sprintf("%7d  %s  %-7s", t.Record, local(t.Time), audit.Visible(word)), text)
}

// afterText says for how long something was so.
func afterText(t agent.Turn) string {
	if t.Seconds == nil {
		return ""
	}
	text := " (after " + span(t)
	if t.Unsure {
		text += ", not watched all the time"
	}
	return text + ")"
}

// span is how long a turn took.
func span(t agent.Turn) string {
	d := time.Duration(*t.Seconds * float64(time.Second))
	if d < time.Second {
		return d.Round(time.Millisecond).String()
	}
	d = d.Round(time.Second)
	if days := d / (24 * time.Hour); days > 0 {
		return fmt.Sprintf("%s and %s", counted(int(days), "day"), d-days*24*time.Hour)
	}
	return d.String()
}

// lifeText sums a life up for people.
func lifeText(s screen, what string, h history) string {
	var b strings.Builder
	sum := h.Sum
	switch {
	case sum.Begins == nil && h.Until != nil:
		return s.wrap("", fmt.Sprintf("The log has no record from before %s.", local(*h.Until)))
	case sum.Begins == nil:
		return "The log has no record.\n"
	}
	since := fmt.Sprintf("since %s", local(*sum.Begins))
	if h.Since != nil && h.Since.After(*sum.Begins) {
		since = fmt.Sprintf("since %s", local(*h.Since))
	} else if sum.Gone > 0 {
		since += fmt.Sprintf(" (the %d records before were removed)", sum.Gone)
	}
	if h.Until != nil {
		since += fmt.Sprintf(" until %s", local(*h.Until))
	}
	if len(sum.Open)+sum.Opened+sum.Changed+sum.Closed+sum.Raised+sum.Cleared == 0 {
		return s.wrap("", fmt.Sprintf("The log has nothing of port %s %s.", what, since))
	}
	b.WriteString("\n" + s.wrap("", fmt.Sprintf("Port %s %s: opened %s, changed %s, closed %s; findings raised %s, cleared %s.", what, since,
		times(sum.Opened), times(sum.Changed), times(sum.Closed), times(sum.Raised), times(sum.Cleared))))
	if sum.Absences > 0 {
		b.WriteString(s.wrap("", fmt.Sprintf("The daemon was started anew %s.", times(sum.Absences))))
	}
	if len(sum.Open) == 0 {
		b.WriteString(s.wrap("", fmt.Sprintf("Nothing is open by the last record, of %s.", local(*sum.Ends))))
	}
	for _, l := range sum.Open {
		text := fmt.Sprintf("Open by the last record, of %s: %s, %s, since %s", local(*sum.Ends), audit.Visible(l.Endpoint), audit.Visible(l.Owners), local(l.Since))
		if len(l.Findings) > 0 {
			text += "; findings: " + audit.Visible(strings.Join(l.Findings, ", "))
		}
		b.WriteString(s.wrap("", text+"."))
	}
	if sum.Untold > 0 {
		b.WriteString(s.wrap("", fmt.Sprintf("There was no room for %d more.", sum.Untold)))
	}
	return b.String()
}

func times(n int) string {
	switch n {
	case 0:
		return "never"
	case 1:
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}
