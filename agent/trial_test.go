package agent

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/agent/listen"
	"github.com/portaudit/portaudit/policy"
	"github.com/portaudit/portaudit/registry"
)

// logOf writes records into a log of their own and returns its directory.
func logOf(t *testing.T, records ...audit.Event) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "log")
	begun := time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC)
	log, err := audit.Open(dir, audit.Options{Host: "h", Boot: "b", Now: func() time.Time { return begun }})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	for _, e := range records {
		if _, err := log.Append(e); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := log.Sync(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestTry holds what a candidate would have found on the past.
func TestTry(t *testing.T) {
	hour := func(h int) time.Time { return time.Date(2026, 11, 28, h, 0, 0, 0, time.UTC) }
	record := func(h int, kind string, s listen.Socket) audit.Event {
		e, _ := recordOf(t, s)
		at := hour(h)
		e.Event, e.Time, e.FirstSeen, e.LastSeen, e.Verdict, e.Rule = kind, at, &at, &at, "allow", "web"
		return e
	}
	web, db := tcp("0.0.0.0", 80, ran("/usr/sbin/nginx", "root", 0)), tcp("127.0.0.1", 5432, ran("/usr/bin/postgres", "postgres", 9))
	moved := record(11, audit.ListenerChanged, tcp("0.0.0.0", 5432, db.Owners...))
	moved.Change, moved.Replaces = changeScopeMoved, record(11, "", db).Listener
	widened := moved
	widened.Change, widened.Replaces = changeScopeWidened, ""
	several := record(9, audit.ListenerOpened, web)
	several.Addresses = []string{"192.0.2.1", "198.51.100.1"}
	const today = `
  - {id: web, verdict: allow, match: {port: 80}}
  - {id: db, verdict: alert, severity: low, match: {port: 5432, reachable: true}}
  - {id: rest, verdict: allow, match: any}`
	const open, closed, raised = audit.ListenerOpened, audit.ListenerClosed, audit.FindingRaised
	tests := []struct {
		reason    string
		candidate string
		since     int
		records   []audit.Event
		want      []string // outcome rule severity findings raised cleared
	}{
		{"the same policy", today, 0, []audit.Event{record(9, open, web), record(9, open, db), moved}, []string{"same db low 1 1 0"}},
		{"a stricter one", `
  - {id: web, verdict: allow, match: {port: 80, user: www-data}}`, 0, []audit.Event{record(9, open, web), record(10, closed, web), record(11, open, web)},
			[]string{"raised default medium 1 2 1"}},
		{"a milder one", `
  - {id: rest, verdict: allow, match: any}`, 0, []audit.Event{record(9, open, db), moved, record(12, closed, tcp("0.0.0.0", 5432, db.Owners...))}, []string{"gone db low 1 1 1"}},
		{"the same rule, of another severity", strings.Replace(today, "severity: low", "severity: high", 1), 0, []audit.Event{moved}, []string{"same db high (was low) 1 1 0"}},
		{"another name of a rule is another finding", strings.Replace(today, "id: db", "id: postgres", 1), 0, []audit.Event{moved}, []string{"raised postgres low 1 1 0", "gone db low 1 1 0"}},
		{"closed before the time that is asked for", `
  - {id: all, verdict: alert, severity: high, match: any}`, 11, []audit.Event{record(9, open, web), record(10, closed, web)}, nil},
		{"open when it came", `
  - {id: all, verdict: alert, severity: high, match: any}
  - {id: rest, verdict: allow, match: any}`, 11, []audit.Event{record(9, open, web), record(12, closed, web)}, []string{"raised all high 1 1 1"}},
		{"it ages", `
  - {id: old, verdict: alert, severity: high, match: {older_than: 2h}}
  - {id: rest, verdict: allow, match: any}`, 0, []audit.Event{record(9, open, web), record(10, closed, web), record(12, open, web), record(15, closed, web)}, []string{"raised old high 1 1 1"}},
		{"it is new, and then it is not", `
  - {id: new, verdict: alert, severity: high, match: {new: true}}
  - {id: rest, verdict: allow, match: any}`, 0, []audit.Event{record(0, open, db), record(9, open, web), record(40, closed, db)}, []string{"raised new high 1 1 1"}},
		{"an allowance ends meanwhile", `
  - {id: rest, verdict: allow, match: any, expires: "2026-11-28T10:00:00Z"}`, 0, []audit.Event{record(9, open, web), record(12, closed, web)},
			[]string{"raised allowance-expired medium 1 1 1", "raised default medium 1 1 1", "raised allowance-expiring low 1 1 1"}},
		{"it changed", `
  - {id: moved, verdict: alert, severity: high, match: {changed: scope-widened}}
  - {id: rest, verdict: allow, match: any}`, 0, []audit.Event{record(9, open, db), widened, record(60, open, web)}, []string{"raised moved high 1 1 1", "gone db low 1 1 0"}},
		{"only a finding is recorded", `
  - {id: all, verdict: alert, severity: high, match: any}
  - {id: rest, verdict: allow, match: any}`, 0, []audit.Event{record(9, raised, web)}, []string{"raised all high 1 1 0"}},
		{"one of several addresses", `
  - {id: far, verdict: alert, severity: high, match: {address: 198.51.100.0/24}}
  - {id: rest, verdict: allow, match: any}`, 0, []audit.Event{several}, []string{"raised far high 1 1 0"}},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			r, err := Try(TrialOptions{
				LogDir: logOf(t, tt.records...), Since: hour(tt.since), Catalog: &registry.Catalog{},
				Today: mustPolicy(t, "version: 1\nrules:"+today), Candidate: mustPolicy(t, "version: 1\nrules:"+tt.candidate),
			})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, rule := range r.Rules {
				severity := rule.Severity
				if rule.Was != "" {
					severity += " (was " + rule.Was + ")"
				}
				got = append(got, fmt.Sprintf("%s %s %s %d %d %d", rule.Outcome, rule.Rule, severity, rule.Findings, rule.Raised, rule.Cleared))
				if len(rule.Examples) == 0 || !strings.Contains(rule.Examples[0].Owners, "(user ") {
					t.Errorf("%s has the examples %+v", rule.Rule, rule.Examples)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("want (-), got (+):\n%s", diff)
			}
		})
	}
}

// TestTryTells holds what a trial tells of facts that the log does not hold, and of
// what the log itself says.
func TestTryTells(t *testing.T) {
	web, _ := recordOf(t, tcp("0.0.0.0", 80, ran("/usr/sbin/nginx", "root", 0)))
	old, other := web, web
	old.Owners = nil // of which nothing is known
	other.Rule, other.Verdict = "port", "allow"
	at := time.Date(2026, 11, 28, 9, 0, 0, 0, time.UTC)
	today := mustPolicy(t, "version: 1\nrules: [{id: port, verdict: allow, match: {port: 80}}]\n")
	candidate := mustPolicy(t, "version: 1\nrules: [{id: shell, verdict: alert, severity: high, match: {command_line: '** -i**'}}, {id: root, verdict: allow, match: {root: true}}]\n")
	started := audit.Event{Event: audit.AgentStarted, Policy: &audit.Policy{SHA256: "another"}}
	loaded := audit.Event{Event: audit.PolicyLoaded, Policy: &audit.Policy{SHA256: today.SHA256}}
	records := []audit.Event{started, web, loaded, web, other, old}
	for i := range records {
		records[i].Time = at.Add(time.Duration(i) * time.Minute)
	}
	r, err := Try(TrialOptions{LogDir: logOf(t, records...), Since: at, Catalog: &registry.Catalog{}, Today: today, Candidate: candidate})
	if err != nil {
		t.Fatal(err)
	}
	if r.Records != 4 || r.Listeners != 1 || r.Decisions != 4 || r.Hung != (Sides{Candidate: 4}) || !r.Until.Equal(at.Add(5*time.Minute)) {
		t.Errorf("%+v", r)
	}
	unsure := []TrialUnsure{{"candidate", "shell", 4}, {"candidate", "root", 1}}
	if diff := cmp.Diff(unsure, r.Unsure); diff != "" {
		t.Errorf("unsure: want (-), got (+):\n%s", diff)
	}
	if c := r.Recorded; c.Compared != 4 || c.Otherwise != 3 || c.OtherPolicy != 1 || c.Examples[0].Recorded.Rule != "all" || c.Examples[0].Today != (Verdict{policy.Allow.String(), "port"}) {
		t.Errorf("recorded: %+v", c)
	}
	if _, err := Try(TrialOptions{LogDir: t.TempDir(), Catalog: &registry.Catalog{}, Today: today, Candidate: candidate}); err == nil {
		t.Error("no log, and no error")
	}
}
