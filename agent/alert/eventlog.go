package alert

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
)

// EventSource is the source under which messages are in the Windows Event Log, in
// the log Application.
const EventSource = "PortAudit"

// EventIDs are the event ids of the Windows Event Log by kind of event. They never
// change: filters and subscriptions name them. They lie between 1 and 1000, for
// which EventCreate.exe, a part of Windows, has the texts, so that no message file
// of ours must be installed.
func EventIDs() map[string]uint32 {
	return map[string]uint32{
		audit.FindingRaised: 100, audit.FindingCleared: 101, Summarized: 110,
		audit.AuditFailed: 200, audit.CrossFailed: 201, audit.ChangesLost: 202, audit.CoverageChanged: 203,
		audit.PolicyLoaded: 300, audit.PolicyRejected: 301,
		audit.AgentStarted: 400, audit.AgentStopped: 401,
		audit.ListenerOpened: 500, audit.ListenerChanged: 501, audit.ListenerClosed: 502,
		audit.LogSegment: 600, audit.LogCheckpoint: 601, audit.LogDegraded: 602, audit.LogRestored: 603, audit.LogPruned: 604,
		audit.LogDamaged: 605,
	}
}

// otherEvent is the id of a kind that is newer than this table.
const otherEvent = 999

func eventID(kind string) uint32 {
	if id, ok := EventIDs()[kind]; ok {
		return id
	}
	return otherEvent
}

// eventLevel is one of the three that the Event Log has for programs.
type eventLevel uint8

const (
	eventInfo eventLevel = iota
	eventWarning
	eventError
)

func levelOf(p Priority) eventLevel {
	switch {
	case p <= Failure:
		return eventError
	case p == Warning:
		return eventWarning
	default:
		return eventInfo
	}
}

const (
	// maxEventText bounds a string of ReportEventW, in UTF-16 units
	// (learn.microsoft.com/windows/win32/api/winbase/nf-winbase-reporteventw). A text
	// has no more of these than bytes.
	maxEventText = 31839
	maxEventLine = 1 << 10
)

// eventText is the text of an event: a sentence, a line for each thing that people
// filter by, and behind an empty line the whole record as JSON, as far as there is
// room. All lines end as Windows wants them.
func eventText(m Message) (string, error) {
	m, err := harmless(m)
	if err != nil {
		return "", err
	}
	lines := append([]string{audit.Clip(m.Text(), maxText)}, eventLines(m)...)
	text := percent.ReplaceAllString(strings.Join(lines, "\r\n"), "\uff05$1")
	for size := 24 << 10; size >= 3<<10; size /= 2 {
		record, err := eventRecord(m, size)
		if err != nil {
			break // it does not get that small
		}
		if whole := text + "\r\n\r\n" + record; len(whole) <= maxEventText {
			return whole, nil
		}
	}
	return audit.Clip(text, maxEventText), nil
}

// percent is what the Event Viewer takes for the place of another string, wherever
// it stands (see ReportEventW). U+FF05 looks the same and is none; JSON has an
// escape for it.
var percent = regexp.MustCompile(`%([0-9])`)

func eventRecord(m Message, size int) (string, error) {
	var v any = m.Summary
	if m.Summary == nil {
		e, err := audit.Bounded(m.Event, size)
		if err != nil {
			return "", err
		}
		v = e
	}
	b, err := marshal(v)
	return percent.ReplaceAllString(string(b), `\u0025$1`), err
}

func eventLines(m Message) []string {
	var lines []string
	add := func(name, value string) {
		if value != "" {
			lines = append(lines, name+": "+audit.Clip(value, maxEventLine))
		}
	}
	e := m.Event
	add("Kind", e.Event)
	add("Severity", e.Severity)
	add("Rule", e.Rule)
	if e.Port != 0 {
		add("Port", fmt.Sprintf("%d/%s", e.Port, e.Transport))
	}
	add("Address", e.Address)
	add("Program", programs(e.Owners))
	add("User", users(e.Owners))
	add("Why", e.Why)
	add("Fix", e.Fix)
	if s := m.Summary; s != nil {
		add("Count", strconv.FormatUint(s.Count, 10))
	}
	if e.Seq != 0 {
		add("Record", strconv.FormatUint(e.Seq, 10))
		add("SHA-256", m.Hash)
	}
	add("Checkpoint", audit.Visible(e.Checkpoint)) // whole: one of ours has less than maxEventLine
	add("Host", e.Host)
	add("Time", e.Time.UTC().Format(time.RFC3339Nano))
	return lines
}
