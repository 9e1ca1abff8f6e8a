package agent

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
)

// TestAhead: each event is told once, by an alert that did not wait for the log or
// by one that did, whatever was lost.
func TestAhead(t *testing.T) {
	steps := []struct {
		reason string
		given  string // events of the loop
		done   string // acknowledged; - is of the log itself
		fails  bool
		news   string
		told   string
	}{
		{"in health, as it is acknowledged", "ab", "ab", false, "ab", ""},
		{"what the log says of itself is told as well", "", "-", false, "-", ""},
		{"some wait for a sync", "cd", "", false, "", ""},
		{"with others behind them", "e", "cde", false, "cde", ""},
		{"the log fails: what it has is acknowledged, the rest is told", "fgh", "f-", true, "f-", "gh"},
		{"all is told", "i", "", true, "", "i"},
		{"of three there is room for one, the others are lost", "jkl", "", true, "", "jkl"},
		{"two of those that wait are written", "", "gh", true, "", ""},
		{"so there is room for more", "m", "", true, "", "m"},
		{"the log works again, with all that waited", "", "ijm-", false, "-", ""},
		{"and so do alerts", "no", "no", false, "no", ""},
		{"it fails again, and one is lost", "p", "-", true, "-", "p"},
		{"and ends", "", "-", false, "-", ""},
		{"as before", "q", "q", false, "q", ""},
	}
	var a ahead
	events := func(text string) (all []audit.Event) {
		for _, r := range text {
			kind := audit.FindingRaised
			if r == '-' {
				kind = audit.LogDegraded
			}
			all = append(all, audit.Event{Event: kind, ID: string(r), Time: time.Unix(int64(r), 0)})
		}
		return all
	}
	ids := func(all []audit.Event) string {
		var b strings.Builder
		for _, e := range all {
			b.WriteString(e.ID)
		}
		return b.String()
	}
	for _, s := range steps {
		a.open = append(a.open, events(s.given)...)
		news, told := ids(a.news(events(s.done))), ""
		if s.fails {
			told = ids(a.tell())
		}
		if !s.fails && s.done != "" {
			a.told = nil // as took does
		}
		if news != s.news || told != s.told {
			t.Errorf("%s: news %q and told ahead %q, want %q and %q", s.reason, news, told, s.news, s.told)
		}
	}
}

func TestParseUnlogged(t *testing.T) {
	for _, u := range []Unlogged{Suspend, Alert, Exit} {
		if got, err := ParseUnlogged(u.String()); err != nil || got != u {
			t.Errorf("%v: %v, %v", u, got, err)
		}
	}
	for _, word := range []string{"", "Suspend", "pause"} {
		if _, err := ParseUnlogged(word); err == nil || !strings.Contains(err.Error(), "suspend, alert, exit") {
			t.Errorf("%q: %v, want the words that there are", word, err)
		}
	}
	if !slices.Equal([]string{Suspend.String(), Unlogged(7).String()}, []string{"suspend", "Unlogged(7)"}) {
		t.Error("a number that has no word")
	}
}
