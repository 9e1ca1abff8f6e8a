package main

import (
	"strings"
	"testing"
	"time"

	"github.com/mattn/go-runewidth"

	"github.com/portaudit/portaudit/agent"
	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/registry"
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
		r := wide()
		writeTable(&b, screen{width: width}, r)
		r.Listeners[0].Namespace, r.Listeners[0].Transport = "net:[4026532201]", "sctp"
		writeTable(&b, screen{width: width}, r)
		for line := range strings.Lines(b.String()) {
			if w := runewidth.StringWidth(strings.TrimSuffix(line, "\n")); w > width {
				t.Errorf("at %d columns a line takes %d: %s", width, w, line)
			}
		}
	}
}

// TestTableKeepsWhatTellsApart holds in which order columns are cut.
func TestTableKeepsWhatTellsApart(t *testing.T) {
	tests := []struct {
		reason     string
		change     func(*agent.Listener)
		width      int
		has, lacks []string
	}{
		{"the service is cut first", func(l *agent.Listener) { l.Address, l.Owners = "127.0.0.1", l.Owners[1:] }, 90,
			[]string{"127.0.0.1", "a-rather-lon…", "unknown (no permission)"}, nil},
		{"then it is dropped, and nothing else is cut", func(*agent.Listener) {}, 125,
			[]string{"漢字漢字漢字漢字漢字", "unknown (no permission)", "a-user-with-a-long-name"}, []string{"SERVICE", "a-rath"}},
		{"then the program and its account are cut", func(*agent.Listener) {}, 100,
			[]string{"unknown (no …", "fe80::1234:5678:9abc:def0%eth0"}, []string{"SERVICE", "a-user-with-a-long-name"}},
		{"the account goes before the address", func(l *agent.Listener) { l.Namespace, l.Address = "net:[4026532201]", "2001:db8::1234:5678" }, 80,
			[]string{"2001:db8::1234:5678", "…532201", "PROGRAM"}, []string{"SERVICE", "USER"}},
		{"and so does the program, but not its number", func(l *agent.Listener) { l.Namespace, l.Transport = "net:[4026532201]", "udplite" }, 80,
			[]string{"fe80::1234:5678:9abc:def0%eth0", "…532201", "4194303"}, []string{"USER", "PROGRAM"}},
		{"what cannot be cut the terminal breaks", func(*agent.Listener) {}, 60,
			[]string{"fe80::1234:5678:9abc:def0%eth0", "alert critical"}, nil},
	}
	for _, tt := range tests {
		r := wide()
		tt.change(&r.Listeners[0])
		var b strings.Builder
		writeTable(&b, screen{width: tt.width}, r)
		for _, want := range tt.has {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%s: %q is not in\n%s", tt.reason, want, b.String())
			}
		}
		for _, not := range tt.lacks {
			if strings.Contains(b.String(), not) {
				t.Errorf("%s: %q is in\n%s", tt.reason, not, b.String())
			}
		}
	}
}

func TestNamespaceTexts(t *testing.T) {
	tests := []struct {
		reason string
		width  int
		labels []string
		want   []string
	}{
		{"the last digits", 80, []string{"host", "net:[4026532201]"}, []string{"host", "…532201"}},
		{"whole in a pipe", 0, []string{"net:[4026532201]"}, []string{"net:[4026532201]"}},
		{"names stay", 80, []string{"netns:blue-and-long", "net:[1]", ""}, []string{"netns:blue-and-long", "net:[1]", ""}},
		{"as many digits as tell them apart", 80, []string{"net:[4026532201]", "net:[4016532201]"}, []string{"…26532201", "…16532201"}},
	}
	for _, tt := range tests {
		var listeners []agent.Listener
		for _, label := range tt.labels {
			listeners = append(listeners, agent.Listener{Namespace: label})
		}
		got := namespaceTexts(screen{width: tt.width}, listeners)
		for i, label := range tt.labels {
			if got[label] != tt.want[i] {
				t.Errorf("%s: %q is %q, want %q", tt.reason, label, got[label], tt.want[i])
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
	if n := strings.Count(painted.String(), "\x1b"); n != 2 {
		t.Errorf("%d escape sequences for one verdict of two owners, want 2:\n%q", n, painted.String())
	}
	if !strings.Contains(painted.String(), "\x1b[1;31malert critical\x1b[0m") {
		t.Errorf("no colour on a critical listener:\n%q", painted.String())
	}
	if n := strings.Count(painted.String(), "\x1b"); n != 2 {
		t.Errorf("%d escape sequences for one verdict of two owners:\n%q", n, painted.String())
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

func TestHang(t *testing.T) {
	const text = "one two three  four five six seven eight nine ten"
	bold := screen{colour: true}.paint("bold", "one")
	tests := []struct {
		reason string
		width  int
		text   string
		want   string
	}{
		{"a pipe gets one line", 0, text, "Label  " + text + "\n"},
		{"it fits", 60, text, "Label  " + text + "\n"},
		{"it goes on below, and two spaces stay", 40, text, "Label  one two three  four five six\n       seven eight nine ten\n"},
		{"where a line ends no spaces stand", 20, "one two three  four", "Label  one two three\n       four\n"},
		{"a terminal may be wider than running text", 100, strings.Repeat("x ", 50) + "x", "Label  " + strings.Repeat("x ", 46) + "x\n       x x x x\n"},
		{"colours take no room", 17, bold + " two three", "Label  " + bold + " two\n       three\n"},
		{"a word that is too long stays whole", 12, "one 123456789 two", "Label  one\n       123456789\n       two\n"},
	}
	for _, tt := range tests {
		if got := (screen{width: tt.width}).hang("Label  ", "       ", tt.text); got != tt.want {
			t.Errorf("%s: got\n%s\nwant\n%s", tt.reason, got, tt.want)
		}
	}
}

// TestRegistryFitsTheTerminal holds it of everything that is registered.
func TestRegistryFitsTheTerminal(t *testing.T) {
	catalog := &registry.Catalog{Registry: registry.Embedded()}
	var all []registry.Ref
	for _, transport := range registry.Transports {
		all = append(all, registry.Ref{First: 0, Last: 49151, Transport: transport})
	}
	for _, width := range []int{60, 80, 120} {
		s := screen{width: width, colour: true}
		var b strings.Builder
		if err := writeInfo(&b, s, registry.Embedded().Info()); err != nil {
			t.Fatal(err)
		}
		if err := writeEntries(&b, s, catalog, all); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(b.String()) {
			line = strings.TrimSuffix(line, "\n")
			if w := shownWidth(line); w > width && strings.Contains(strings.TrimSpace(line), " ") && !strings.HasPrefix(line, "SHA-256") {
				t.Errorf("at %d columns a line takes %d:\n%s", width, w, line)
			}
		}
	}
}

// TestVerbose holds what a report says only when it is asked to.
func TestVerbose(t *testing.T) {
	start := uint32(1024)
	r := wide()
	r.Coverage = audit.Coverage{Sources: []string{"sock_diag"}, Notes: []audit.Note{{Source: "owners", Text: "by guessing"}}}
	r.Coverage.Complete = true
	r.Namespaces = []agent.Namespace{
		{Label: "host", UnprivilegedStart: &start, Complete: true, Ephemeral: &agent.EphemeralRange{PortRange: agent.PortRange{First: 1, Last: 9}}},
		{Label: "net:[4026532201]", Container: strings.Repeat("c", 64)},
	}
	filtered := r.Listeners[0]
	filtered.Exposure = agent.Exposure{Reach: "blocked", Sentence: "A rule drops it."}
	other := filtered
	other.Port = 1
	r.Listeners = append(r.Listeners, filtered, other)
	var b strings.Builder
	if err := writeVerbose(&b, screen{}, r, 1500*time.Microsecond); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"  blocked: tcp [fe80::1234:5678:9abc:def0%eth0]:65535, tcp\n  [fe80::1234:5678:9abc:def0%eth0]:1. A rule drops it.\n",
		"  Asked: sock_diag.\n  owners: by guessing.\n",
		"\nhost              -                     3  from 1024     1-9        whole\n",
		"\nnet:[4026532201]  cccccccccccc          0  unknown       unknown    in part\n",
		"It took 2ms.\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in\n%s", want, b.String())
		}
	}
	var plain strings.Builder
	if err := writeReport(&plain, screen{}, r); err != nil {
		t.Fatal(err)
	}
	for _, hidden := range []string{"blocked", "sock_diag", "net:[4026532201]", "It took"} {
		if strings.Contains(plain.String(), hidden) {
			t.Errorf("%q is told without being asked for:\n%s", hidden, plain.String())
		}
	}
}
