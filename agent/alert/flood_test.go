package alert

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
)

func finding(seq uint64, at time.Time, kind, rule, id string) audit.Event {
	return audit.Event{Event: kind, Seq: seq, Time: at, Rule: rule, ID: id, Severity: "high", Message: fmt.Sprintf("message %d", seq), Host: "alpha"}
}

func TestFlood(t *testing.T) {
	begin := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	type row struct {
		at         time.Duration
		kind, rule string
		id         string
		n          int // that many in a row
	}
	tests := []struct {
		reason string
		rows   []row
		end    time.Duration
		want   string // "." passes, "x" is held, "[n]" a summary of n
	}{
		{"a few at once pass, and nobody summarizes nothing",
			[]row{{0, audit.FindingRaised, "a", "", 5}}, time.Hour, "....."},
		{"the rest of the minute is one summary",
			[]row{{0, audit.FindingRaised, "a", "", 9}}, time.Minute, ".....xxxx[4]"},
		{"not before the minute is over",
			[]row{{0, audit.FindingRaised, "a", "", 9}}, time.Minute - 1, ".....xxxx"},
		{"a flood that goes on is one summary a minute",
			[]row{{0, audit.FindingRaised, "a", "", 6}, {61 * time.Second, audit.FindingRaised, "a", "", 3}, {100 * time.Second, audit.FindingRaised, "a", "", 1}},
			3 * time.Minute, ".....x[1]xxxx[4]"},
		{"after a silent minute a few pass again",
			[]row{{0, audit.FindingRaised, "a", "", 6}, {61 * time.Second, audit.AuditFailed, "", "", 1}, {122 * time.Second, audit.FindingRaised, "a", "", 1}},
			122 * time.Second, ".....x[1].."},
		{"rules do not hold up each other",
			[]row{{0, audit.FindingRaised, "a", "", 6}, {0, audit.FindingRaised, "b", "", 6}}, time.Minute, ".....x.....x[1][1]"},
		{"a raise and its end count for the same rule",
			[]row{{0, audit.FindingRaised, "a", "", 4}, {0, audit.FindingCleared, "a", "", 4}}, time.Minute, ".....xxx[3]"},
		{"who was told of a finding is told of its end",
			[]row{{0, audit.FindingRaised, "a", "i", 1}, {0, audit.FindingRaised, "a", "", 5}, {1, audit.FindingCleared, "a", "i", 1}, {1, audit.FindingCleared, "a", "i", 1}},
			time.Minute, ".....x.x[2]"},
		{"without a rule it is by kind",
			[]row{{0, audit.ChangesLost, "", "", 6}, {0, audit.AuditFailed, "", "", 1}}, time.Minute, ".....x.[1]"},
		{"checkpoints are always delivered",
			[]row{{0, audit.LogCheckpoint, "", "", 9}}, time.Minute, "........."},
		{"a clock that was set back holds nothing for long",
			[]row{{time.Hour, audit.FindingRaised, "a", "", 6}, {0, audit.AuditFailed, "", "", 1}, {time.Minute, audit.AuditFailed, "", "", 1}},
			time.Minute, ".....x.[1]."},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			var f flood
			var got strings.Builder
			advance := func(at time.Time) {
				for _, s := range f.advance(at) {
					fmt.Fprintf(&got, "[%d]", s.Count)
				}
			}
			for _, r := range tt.rows {
				for range r.n {
					e := finding(1, begin.Add(r.at), r.kind, r.rule, r.id)
					advance(e.Time)
					if f.passes(e) {
						got.WriteString(".")
						f.passed(e)
					} else {
						got.WriteString("x")
						f.hold(e)
					}
				}
			}
			advance(begin.Add(tt.end))
			if got.String() != tt.want {
				t.Errorf("got %s, want %s", &got, tt.want)
			}
		})
	}
}

// TestSummary holds the numbers of a summary, over a cursor file, and its text.
func TestSummary(t *testing.T) {
	at := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	var f flood
	for i := range uint64(10) {
		e := finding(100+i, at.Add(time.Duration(i)*time.Second), audit.FindingRaised, "r", "")
		switch i {
		case 6:
			e.Severity = "critical"
		case 8:
			e.Event = audit.FindingCleared
		case 9:
			e.Seq, e.Message = 0, "ESC \x1b here"
		}
		if f.passes(e) {
			f.passed(e)
		} else {
			f.hold(e)
		}
		b, err := json.Marshal(cursor{Version: cursorVersion, Flood: f}) // a restart between any two
		if err != nil {
			t.Fatal(err)
		}
		c, err := parseCursor(b)
		if err != nil {
			t.Fatal(err)
		}
		f = c.Flood
	}
	due := f.advance(at.Add(time.Minute))
	if len(due) != 1 {
		t.Fatalf("%d summaries", len(due))
	}
	s := due[0]
	if s.Count != 5 || s.Kinds[audit.FindingRaised] != 4 || s.Kinds[audit.FindingCleared] != 1 || s.Unheld != 1 ||
		s.FirstSeq != 105 || s.LastSeq != 108 || !s.First.Equal(at.Add(5*time.Second)) || !s.Last.Equal(at.Add(9*time.Second)) || s.Severity != "critical" {
		t.Errorf("%+v", s)
	}
	m := s.message()
	const want = `summary r: 5 more not told one by one: 1 finding.cleared, 4 finding.raised of rule r from 2026-11-29T12:00:05Z to 2026-11-29T12:00:09Z, records 105 to 108; the last: ESC \x1b here`
	if m.Text() != want {
		t.Errorf("text\n%s, want\n%s", m.Text(), want)
	}
	if m.Priority() != Critical || m.Event.Host != "alpha" || m.Event.Rule != "r" {
		t.Errorf("priority %d of %+v", m.Priority(), m.Event)
	}
}

func TestPriority(t *testing.T) {
	tests := []struct {
		event audit.Event
		want  Priority
	}{
		{audit.Event{Event: audit.FindingRaised, Severity: "critical"}, Critical},
		{audit.Event{Event: audit.FindingRaised, Severity: "high"}, Failure},
		{audit.Event{Event: audit.FindingRaised, Severity: "medium"}, Warning},
		{audit.Event{Event: audit.FindingRaised, Severity: "low"}, Notice},
		{audit.Event{Event: audit.FindingCleared, Severity: "critical"}, Notice},
		{audit.Event{Event: audit.LogDegraded}, Critical},
		{audit.Event{Event: audit.LogDamaged}, Critical},
		{audit.Event{Event: audit.LogRestored}, Notice},
		{audit.Event{Event: audit.AuditFailed}, Failure},
		{audit.Event{Event: audit.CoverageChanged}, Warning},
		{audit.Event{Event: audit.ListenerOpened, Severity: "critical"}, Info},
	}
	for _, tt := range tests {
		if got := (Message{Event: tt.event}).Priority(); got != tt.want {
			t.Errorf("%s %s: %d, want %d", tt.event.Event, tt.event.Severity, got, tt.want)
		}
	}
	s := Summary{Count: 2, Kinds: map[string]uint64{audit.AgentStarted: 1, audit.AuditFailed: 1}}
	if got := s.message().Priority(); got != Failure {
		t.Errorf("of a summary without a severity: %d", got)
	}
}

func TestSelection(t *testing.T) {
	tests := []struct {
		reason string
		s      Selection
		e      audit.Event
		want   bool
	}{
		{"a finding", Selection{}, audit.Event{Event: audit.FindingRaised, Severity: "low"}, true},
		{"a listener is in the log alone", Selection{}, audit.Event{Event: audit.ListenerOpened}, false},
		{"all", Selection{All: true}, audit.Event{Event: audit.ListenerOpened}, true},
		{"a checkpoint goes out whatever the severity", Selection{Severity: "critical"}, audit.Event{Event: audit.LogCheckpoint}, true},
		{"too low", Selection{Severity: "high"}, audit.Event{Event: audit.FindingRaised, Severity: "medium"}, false},
		{"its end too", Selection{Severity: "high", All: true}, audit.Event{Event: audit.FindingCleared, Severity: "medium"}, false},
		{"as high", Selection{Severity: "high"}, audit.Event{Event: audit.FindingCleared, Severity: "high"}, true},
		{"the severity of a rule that allows is none of a finding", Selection{Severity: "high", All: true}, audit.Event{Event: audit.ListenerOpened, Severity: "low"}, true},
	}
	for _, tt := range tests {
		if got := tt.s.takes(tt.e); got != tt.want {
			t.Errorf("%s: %v", tt.reason, got)
		}
	}
	if got := slices.Index(Severities(), "critical"); got != 3 {
		t.Errorf("the highest is number %d", got)
	}
}
