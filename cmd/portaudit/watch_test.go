package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/mattn/go-runewidth"

	"github.com/portaudit/portaudit/agent"
	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/agent/listen"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// listenerFor makes a listener of a program, allowed unless a severity is given.
func listenerFor(program string, port uint32, severity string) agent.Listener {
	pid, started := int(port), noon.Add(-time.Duration(port)*time.Minute)
	l := agent.Listener{
		ID: fmt.Sprint("id-", port), Transport: "tcp", Address: "127.0.0.1", Port: port, Namespace: listen.HostNamespace, Scope: "loopback",
		Registry: audit.Registry{Range: "Registered", State: "unassigned"}, Verdict: "allow", Rule: "rule",
		Owners: []audit.Owner{{PID: &pid, Started: &started, Executable: "/usr/bin/" + program, Command: program, User: "app", How: "process"}},
	}
	if severity != "" {
		l.Verdict = "alert"
		l.Findings = []agent.Finding{{ID: "f" + l.ID, Rule: "bad", Severity: severity, Message: program + " is bad"}}
	}
	return l
}

func viewOf(at time.Time, changes []audit.Event, listeners ...agent.Listener) agent.View {
	v := agent.View{Changes: changes, Explain: func(agent.Listener) []agent.Step {
		return []agent.Step{{Rule: "first", Verdict: "alert", Outcome: "not matched", Failed: "user is app"}, {Rule: "rule", Verdict: "allow", Outcome: "matched", Reason: "it may"}}
	}}
	v.Host, v.Time, v.Listeners, v.Coverage.Complete = "test", at, listeners, true
	for _, l := range listeners {
		for _, f := range l.Findings {
			v.Findings = append(v.Findings, agent.ReportFinding{Finding: f})
		}
	}
	return v
}

// sent returns the model after some messages; a string is a key for each of its
// runes, or one by name in brackets.
func sent(t *testing.T, m tea.Model, messages ...any) watchModel {
	t.Helper()
	for _, message := range messages {
		text, isKeys := message.(string)
		if !isKeys {
			m, _ = m.Update(message)
			continue
		}
		for text != "" {
			var k tea.KeyPressMsg
			switch name, rest, named := strings.Cut(strings.TrimPrefix(text, "["), "]"); {
			case strings.HasPrefix(text, "[") && named:
				k.Code, text = map[string]rune{
					"up": tea.KeyUp, "down": tea.KeyDown, "enter": tea.KeyEnter, "esc": tea.KeyEscape, "pgdown": tea.KeyPgDown,
					"pgup": tea.KeyPgUp, "end": tea.KeyEnd, "home": tea.KeyHome, "backspace": tea.KeyBackspace,
				}[name], rest
				if k.Code == 0 {
					t.Fatalf("there is no key %q here", name)
				}
			default:
				k.Code, k.Text, text = rune(text[0]), text[:1], text[1:]
			}
			m, _ = m.Update(k)
		}
	}
	return m.(watchModel)
}

func drawn(m watchModel) []string { return strings.Split(m.View().Content, "\n") }

func TestWatchKeys(t *testing.T) {
	web, db, ssh := listenerFor("web", 8080, ""), listenerFor("db", 5432, "critical"), listenerFor("sshd", 22, "low")
	first := viewOf(noon, nil, web, db, ssh)
	opened := []audit.Event{{Event: audit.ListenerOpened, Listener: "id-99"}}
	young := listenerFor("new", 99, "")
	young.FirstSeen = noon
	closedWeb := []audit.Event{{Event: audit.ListenerClosed, Listener: "id-8080", Transport: "tcp", Address: "127.0.0.1", Port: 8080, Namespace: "host", Verdict: "allow", Owners: web.Owners}}
	for _, tt := range []struct {
		reason   string
		messages []any
		want     []string // lines, in this order, without what lies between
		not      string
	}{
		{"before anything was seen", nil, []string{"Looking at this host"}, "listener"},
		{"the gravest first, its findings above", []any{first}, []string{"test", "3 listeners, 2 findings, by verdict", "CRITICAL  db is bad", "LOW       sshd is bad", "VERDICT", ">   tcp", "5432", "critical", "22", "low", "8080", "allow", "q quit"}, "(c)"},
		{"an age that is known, and one that is not", []any{first, viewOf(noon.Add(3*time.Second), opened, web, young)}, []string{"99", " 3s", "8080", " <5d"}, ""},
		{"sorted by port", []any{first, "s"}, []string{"by port", "sshd", "db", "web"}, ""},
		{"turned round", []any{first, "sr"}, []string{"by port turned round", "web", "db", "sshd"}, ""},
		{"the order before the first is the last", []any{first, "S"}, []string{"by age", "sshd", "db", "web"}, ""},
		{"alerts alone", []any{first, "a"}, []string{"db ", "sshd ", "2 of 3 shown: alerts"}, "web"},
		{"a filter is for all columns, every word of it", []any{first, "/8080 we"}, []string{"web", "filter: 8080 we_"}, "5432"},
		{"a filter that nothing matches", []any{first, "/nobody[enter]"}, []string{"Nothing that listens is such", "0 of 3 shown: nobody"}, "5432"},
		{"a mistake in a filter", []any{first, "/wex[backspace]b[enter]"}, []string{"web", "1 of 3 shown: web"}, "5432"},
		{"keys are text for a filter", []any{first, "/q[esc]"}, []string{"5432", "8080"}, "filter: "},
		{"the choice stays with its listener", []any{first, "[down][down]", viewOf(noon.Add(time.Second), opened, web, db, ssh, young)}, []string{"5432", " +  tcp", "99 ", ">   tcp", "8080"}, ""},
		{"what opened is marked", []any{first, viewOf(noon.Add(time.Second), opened, web, young)}, []string{">+  tcp", "99"}, ""},
		{"and later is not", []any{first, viewOf(noon.Add(time.Second), opened, web, young), second(noon.Add(12 * time.Second))}, []string{"99"}, "+"},
		{"what closed is shown for a while", []any{first, viewOf(noon.Add(time.Second), closedWeb, db)}, []string{" -  tcp", "8080", "closed"}, ""},
		{"and then is not", []any{first, viewOf(noon.Add(time.Second), closedWeb, db), second(noon.Add(12 * time.Second))}, []string{"5432"}, "8080"},
		{"what closed and is back is not closed", []any{first, viewOf(noon.Add(time.Second), closedWeb, db), viewOf(noon.Add(2*time.Second), []audit.Event{{Event: audit.ListenerOpened, Listener: "id-8080"}}, db, web)},
			[]string{" +  tcp", "8080", "allow"}, "closed"},
		{"everything about one", []any{first, "[end][enter]"}, []string{"tcp 127.0.0.1:8080", "Owner: web (pid 8080, user app)", "rule (allow): matched. Reason: it may", "1 other rule did not match", "w says of each why", "esc back"}, "user is app"},
		{"why other rules did not match", []any{first, "[end][enter]w"}, []string{"first (alert): not matched: user is app"}, ""},
		{"what closed while it was read", []any{first, "[end][enter]", viewOf(noon.Add(time.Second), closedWeb, db)}, []string{"It is gone", "tcp 127.0.0.1:8080"}, "Rules of the policy"},
		{"back from it", []any{first, "[end][enter][esc]"}, []string{"VERDICT", "5432"}, "Owner:"},
		{"all findings", []any{first, "f"}, []string{"CRITICAL  bad", "db is bad", "LOW  bad"}, "VERDICT"},
		{"what cannot be seen", []any{first, "c"}, []string{"Everything could be seen."}, "VERDICT"},
		{"help, and q goes back", []any{first, "?q"}, []string{"VERDICT"}, "this\n"},
		{"help", []any{first, "?"}, []string{"ctrl+z"}, "VERDICT"},
		{"an audit that failed", []any{agent.View{Report: first.Report, Failure: "no tables"}}, []string{"the last audit failed: no tables"}, ""},
		{"nothing listens", []any{viewOf(noon, nil)}, []string{"0 listeners", "Nothing listens on this host."}, "1 "},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			m := sent(t, newWatchModel(screen{width: 80}), tea.WindowSizeMsg{Width: 80, Height: 24})
			m = sent(t, m, tt.messages...)
			all := strings.Join(drawn(m), "\n")
			rest := all
			for _, want := range tt.want {
				_, after, found := strings.Cut(rest, want)
				if !found {
					t.Fatalf("%q is missing, or not in its place, in\n%s", want, all)
				}
				rest = after
			}
			if tt.not != "" && strings.Contains(all, tt.not) {
				t.Errorf("%q is in\n%s", tt.not, all)
			}
		})
	}
}

// TestWatchFits draws in terminals of several sizes: each line fits, there are as
// many as the terminal has, and the one that is chosen is among them.
func TestWatchFits(t *testing.T) {
	var many []agent.Listener
	for i := range 300 {
		l := listenerFor(fmt.Sprintf("a-program-with-a-long-name-%d", i), uint32(10000+i), []string{"", "high", "low"}[i%3])
		if i%5 == 0 {
			l.Address, l.Namespace = "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", fmt.Sprintf("net:[%d]", 4026531840+i)
		}
		many = append(many, l)
	}
	for _, size := range [][2]int{{80, 24}, {132, 50}, {40, 10}, {20, 6}, {300, 200}} {
		for _, keys := range []string{"", "[pgdown][pgdown][down]", "[end]", "[end][up][pgup]", "[enter]", "[end][enter][end]", "f", "f[pgdown][pgdown]", "c", "?", "/10299", "/zzz", "sssss", "a"} {
			m := sent(t, newWatchModel(screen{width: 80}), viewOf(noon, nil, many...), tea.WindowSizeMsg{Width: size[0], Height: size[1]}, keys)
			lines := drawn(m)
			if len(lines) != size[1] {
				t.Errorf("%v, keys %q: %d lines", size, keys, len(lines))
			}
			chosen := 0
			for _, line := range lines {
				if w := runewidth.StringWidth(line); w > size[0] && m.pane == noPane {
					t.Errorf("%v, keys %q: %d columns in %q", size, keys, w, line)
				}
				if strings.HasPrefix(line, ">") {
					chosen++
				}
			}
			if m.pane == noPane && len(m.rows) > 0 && chosen != 1 {
				t.Errorf("%v, keys %q: %d lines are chosen in\n%s", size, keys, chosen, strings.Join(lines, "\n"))
			}
		}
	}
}

// TestWatchQuits holds when q ends it.
func TestWatchQuits(t *testing.T) {
	for _, tt := range []struct {
		reason, keys string
		want         bool
	}{
		{"from the table", "", true},
		{"of a pane it is the way back", "?", false},
		{"of one listener too", "[enter]", false},
		{"of a filter it is a letter", "/", false},
		{"behind a filter that is kept", "/web[enter]", true},
	} {
		m := sent(t, newWatchModel(screen{width: 80}), viewOf(noon, nil, listenerFor("web", 8080, "")), tt.keys)
		if _, command := m.Update(tea.KeyPressMsg{Code: 'q', Text: "q"}); (command != nil) != tt.want {
			t.Errorf("%s: it ends is %v, want %v", tt.reason, command != nil, tt.want)
		}
	}
}

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0s", 59 * time.Second: "59s", time.Minute: "1m", 59 * time.Minute: "59m", time.Hour: "1h", 23 * time.Hour: "23h", 24 * time.Hour: "1d", 9000 * time.Hour: "375d",
	} {
		if got := short(d); got != want {
			t.Errorf("%v is %s, want %s", d, got, want)
		}
	}
}
