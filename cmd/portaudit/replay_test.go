package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/mattn/go-runewidth"

	"github.com/portaudit/portaudit/agent"
	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/policy"
	"github.com/portaudit/portaudit/registry"
)

// TestJSONOfReplay holds the document of a trial on a log of three records, and
// what is told of it on 80 columns.
func TestJSONOfReplay(t *testing.T) {
	dir := t.TempDir()
	log, err := audit.Open(dir, audit.Options{Host: "h", Boot: "b", Now: func() time.Time { return time.Date(2026, 11, 28, 9, 0, 0, 0, time.UTC) }})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	at := time.Date(2026, 11, 28, 9, 0, 0, 0, time.UTC)
	for i, id := range []string{"1111111111111111", "2222222222222222", "3333333333333333"} {
		e := everyField()
		e.Event, e.Change, e.Replaces, e.Listener, e.Time, e.Port = audit.ListenerOpened, "", "", id, at.Add(time.Duration(i)*time.Hour), uint32(53+i)
		e.Owners[0].Replaced, e.Owners[0].Deleted, e.Owners[0].Root, e.Owners[0].UID = nil, nil, nil, nil
		e.Owners[0].SID = ""
		if _, err := log.Append(e); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := log.Sync(); err != nil {
		t.Fatal(err)
	}
	parse := func(text string) *policy.Policy {
		p, err := policy.Parse([]byte(text), "a very long path of a policy/"+strings.Repeat("x", 90))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	long := strings.Repeat("long-", 12)
	r, err := replay(agent.TrialOptions{
		LogDir: dir, Since: at, Catalog: &registry.Catalog{},
		Today:     parse("version: 1\nrules: [{id: same, verdict: alert, severity: low, match: any}, {id: rest, verdict: allow, match: {port: 53}}]\n"),
		Candidate: parse("version: 1\ndefault: allow\nrules: [{id: same, verdict: alert, severity: critical, match: any}, {id: " + long + "x, verdict: alert, severity: high, match: {port: 54}}, {id: root, verdict: alert, severity: low, match: {root: true}}]\n"),
	})
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	contractOf(t, "replay").holds(t, b)
	if !r.has(agent.OutcomeRaised) || !r.has(agent.OutcomeGone) || !r.has(agent.OutcomeSame) || len(r.Unsure) == 0 || r.Recorded.Otherwise == 0 {
		t.Errorf("a part of the document is not tried:\n%s", b)
	}
	var out bytes.Buffer
	if err := writeReplay(&out, screen{width: 80}, r); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		if w := runewidth.StringWidth(strings.TrimSuffix(line, "\n")); w > textWidth && strings.Contains(strings.TrimSpace(line), " ") && !strings.Contains(line, "xxxx") {
			t.Errorf("%d columns: %s", w, line)
		}
	}
	if !strings.Contains(out.String(), "critical (low)") || !strings.Contains(out.String(), "hung on a fact") {
		t.Errorf("not told in\n%s", out.String())
	}
}
