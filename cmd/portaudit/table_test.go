package main

import (
	"strings"
	"testing"

	"github.com/mattn/go-runewidth"

	"github.com/portaudit/portaudit/agent"
	"github.com/portaudit/portaudit/agent/audit"
)

// wide is a report with a listener of which every text is long.
func wide() agent.Report {
	pid := 4194303
	return agent.Report{Listeners: []agent.Listener{{
		Transport: "tcp", Address: "fe80::1234:5678:9abc:def0%eth0", Port: 65535, Namespace: "host",
		Service: "a-rather-long-service-name", Verdict: "alert",
		Owners:   []audit.Owner{{PID: &pid, Executable: "/opt/漢字/漢字漢字漢字漢字漢字", User: "a-user-with-a-long-name"}, {How: "denied"}},
		Findings: []agent.Finding{{Severity: "critical"}},
	}}}
}

func TestTableFitsTheTerminal(t *testing.T) {
	for _, width := range []int{80, 100, 200} {
		var b strings.Builder
		writeTable(&b, screen{width: width}, wide())
		for line := range strings.Lines(b.String()) {
			if w := runewidth.StringWidth(strings.TrimSuffix(line, "\n")); w > width {
				t.Errorf("at %d columns a line takes %d: %s", width, w, line)
			}
		}
	}
}

func TestTableIsWholeInAPipe(t *testing.T) {
	var b strings.Builder
	writeTable(&b, screen{}, wide())
	for _, whole := range []string{"fe80::1234:5678:9abc:def0%eth0", "a-rather-long-service-name", "漢字漢字漢字漢字漢字", "a-user-with-a-long-name", "alert critical", "unknown (no permission)"} {
		if !strings.Contains(b.String(), whole) {
			t.Errorf("%q is not in\n%s", whole, b.String())
		}
	}
}

func TestColourOnlyWhereItIsWanted(t *testing.T) {
	var plain, painted strings.Builder
	writeTable(&plain, screen{}, wide())
	writeTable(&painted, screen{colour: true}, wide())
	if strings.Contains(plain.String(), "\x1b") {
		t.Errorf("escape sequences without colour:\n%q", plain.String())
	}
	if !strings.Contains(painted.String(), "\x1b[1;31malert critical\x1b[0m") {
		t.Errorf("no colour on a critical listener:\n%q", painted.String())
	}
}

func TestWrap(t *testing.T) {
	path := "/" + strings.Repeat("x", 100)
	got := screen{width: 40}.wrap("  ", "some words that take more than forty columns "+path+" and more")
	want := "  some words that take more than forty\n  columns\n  " + path + "\n  and more\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
