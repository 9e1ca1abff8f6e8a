package alert

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
)

// The interfaces that an Output asks for.
var (
	_ Sender   = (*Alertmanager)(nil)
	_ Tender   = (*Alertmanager)(nil)
	_ Awaiter  = (*Alertmanager)(nil)
	_ Recaller = (*Alertmanager)(nil)
	_ Sender   = (*Webhook)(nil)
)

// openAlertmanager opens a Sender to a receiver that keeps what it is sent.
func openAlertmanager(t *testing.T, path string) (*Alertmanager, func() []amAlert) {
	t.Helper()
	url, next := catcher(t)
	a := NewAlertmanager(openWebhook(t, WebhookOptions{URL: url}))
	if err := a.Recall(path); err != nil {
		t.Fatal(err)
	}
	return a, func() []amAlert {
		t.Helper()
		var alerts []amAlert
		if err := json.Unmarshal(next().body, &alerts); err != nil {
			t.Fatal(err)
		}
		return alerts
	}
}

func TestAlertmanagerLabels(t *testing.T) {
	began, ended, host := aFinding(), itsEnd(), aFinding()
	began.Event.Registry.Names = []string{"http-alt"}
	ended.Event.Registry.Names, ended.Event.Owners, ended.Event.Seq = []string{"http-alt"}, nil, 9
	host.Event = audit.Event{Event: audit.FindingRaised, Host: "web1", Time: began.Event.Time, ID: "1", Rule: "sshd-runs", Severity: "high", Message: "m"}
	tests := []struct {
		reason string
		m      Message
		want   map[string]string
	}{
		{"a finding", began, map[string]string{"alertname": "PortauditFinding", "instance": "web1", "severity": "medium", "rule": "reachable",
			"finding": "3de43f23a5559228", "transport": "tcp", "port": "8099", "namespace": "host", "service": "http-alt"}},
		{"its end, which knows less", ended, map[string]string{"alertname": "PortauditFinding", "instance": "web1", "severity": "medium", "rule": "reachable",
			"finding": "3de43f23a5559228", "transport": "tcp", "port": "8099", "namespace": "host", "service": "http-alt"}},
		{"a finding of the host", host, map[string]string{"alertname": "PortauditFinding", "instance": "web1", "severity": "high", "rule": "sshd-runs", "finding": "1"}},
		{"a summary", aSummary(), map[string]string{"alertname": "PortauditSummary", "instance": "web1", "severity": "medium", "rule": "reachable"}},
		{"an audit that failed", Message{Event: audit.Event{Event: audit.AuditFailed, Host: "web1"}}, map[string]string{"alertname": "PortauditAuditFailed", "instance": "web1", "severity": "high"}},
	}
	for _, tt := range tests {
		if got := alertOf(tt.m); !maps.Equal(got.Labels, tt.want) {
			t.Errorf("%s: %v, want %v", tt.reason, got.Labels, tt.want)
		}
	}
	got := alertOf(began).Annotations
	want := map[string]string{"summary": began.Event.Message, "description": "Other hosts can reach it.", "fix": "Bind it to a loopback address.",
		"address": "0.0.0.0", "program": "/usr/bin/perl", "user": "nobody", "record": "4"}
	if !maps.Equal(got, want) {
		t.Errorf("annotations %v, want %v", got, want)
	}
}

// TestAlertmanagerLife follows what becomes of alerts as events come.
func TestAlertmanagerLife(t *testing.T) {
	at := time.Date(2026, 11, 23, 5, 12, 36, 0, time.UTC)
	event := func(minute int, kind string, change func(*audit.Event)) Message {
		e := audit.Event{Seq: uint64(minute + 1), Time: at.Add(time.Duration(minute) * time.Minute), Event: kind, Host: "web1", Message: "m"}
		if change != nil {
			change(&e)
		}
		return Message{Event: e}
	}
	medium := func(e *audit.Event) { e.ID, e.Rule, e.Severity = "f1", "r", "medium" }
	high := func(e *audit.Event) { e.ID, e.Rule, e.Severity = "f1", "r", "high" }
	lacks := func(e *audit.Event) { e.Coverage = &audit.Coverage{} }
	whole := func(e *audit.Event) { e.Coverage = &audit.Coverage{Complete: true} }
	ends := aSummary()
	ends.Summary.Kinds = map[string]uint64{audit.FindingCleared: 37}
	tests := []struct {
		reason   string
		messages []Message
		want     []string // "alertname severity from-to" of each alert of the last message; minutes, "…" for a time far ahead
		standing int      // alerts, after it
	}{
		{"a finding holds", []Message{event(0, audit.FindingRaised, medium)}, []string{"PortauditFinding medium 0-…"}, 1},
		{"its end has the time of the end", []Message{event(0, audit.FindingRaised, medium), event(7, audit.FindingCleared, medium)}, []string{"PortauditFinding medium 0-7"}, 0},
		{"an end of another severity ends what was begun", []Message{event(0, audit.FindingRaised, medium), event(7, audit.FindingCleared, high)}, []string{"PortauditFinding medium 0-7"}, 0},
		{"another severity is another alert", []Message{event(0, audit.FindingRaised, medium), event(3, audit.FindingRaised, high)},
			[]string{"PortauditFinding medium 0-3", "PortauditFinding high 3-…"}, 1},
		{"raised again, it began when it did", []Message{event(0, audit.FindingRaised, medium), event(3, audit.FindingRaised, medium)}, []string{"PortauditFinding medium 0-…"}, 1},
		{"an end whose beginning is not known", []Message{event(7, audit.FindingCleared, medium)}, []string{"PortauditFinding medium 7-7"}, 0},
		{"a clock that was set back", []Message{event(7, audit.FindingRaised, medium), event(2, audit.FindingCleared, medium)}, []string{"PortauditFinding medium 7-7"}, 0},
		{"an audit that failed", []Message{event(0, audit.AuditFailed, nil)}, []string{"PortauditAuditFailed high 0-…"}, 1},
		{"one that worked again, and sees less", []Message{event(0, audit.AuditFailed, nil), event(2, audit.CoverageChanged, lacks)},
			[]string{"PortauditAuditFailed high 0-2", "PortauditCoverage medium 2-…"}, 1},
		{"coverage that is whole again", []Message{event(0, audit.CoverageChanged, lacks), event(2, audit.CoverageChanged, whole)}, []string{"PortauditCoverage medium 0-2"}, 0},
		{"an agent that starts tells anew of audits", []Message{event(0, audit.AuditFailed, nil), event(2, audit.AgentStarted, nil)}, []string{"PortauditAuditFailed high 0-2"}, 0},
		{"a policy that was refused", []Message{event(0, audit.PolicyRejected, nil), event(2, audit.PolicyLoaded, nil)}, []string{"PortauditPolicyRejected high 0-2"}, 0},
		{"a log that is degraded", []Message{event(0, audit.LogDegraded, nil)}, []string{"PortauditLogDegraded critical 0-…"}, 1},
		{"a log that is not what was signed, until a start finds it good", []Message{event(0, audit.LogDamaged, nil)}, []string{"PortauditLogDamaged critical 0-…"}, 1},
		{"and no more", []Message{event(0, audit.LogDegraded, nil), event(2, audit.LogRestored, nil)}, []string{"PortauditLogDegraded critical 0-2"}, 0},
		{"what nothing ends, ends by itself", []Message{event(0, audit.ChangesLost, nil)}, []string{"PortauditChangesLost medium 0-60"}, 0},
		{"a cross-check that failed", []Message{event(0, audit.CrossFailed, nil)}, []string{"PortauditCrossCheckFailed medium 0-60"}, 0},
		{"a summary lasts an hour behind its last", []Message{aSummary()}, []string{"PortauditSummary medium 0-61"}, 0},
		{"a summary of ends is no alert", []Message{ends}, nil, 0},
		{"nor is a policy that was loaded, a checkpoint or an end of nothing", []Message{event(0, audit.PolicyLoaded, nil), event(1, audit.LogCheckpoint, nil), event(2, audit.LogRestored, nil)}, nil, 0},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			a := &Alertmanager{now: time.Now, standing: map[string]amAlert{}}
			var alerts []amAlert
			for _, m := range tt.messages {
				alerts, a.standing = a.step(m)
			}
			var got []string
			for _, alert := range alerts {
				to := "…"
				if time.Until(alert.EndsAt) < HoldAlerts-time.Minute {
					to = fmt.Sprint(alert.EndsAt.Sub(at).Minutes())
				}
				got = append(got, fmt.Sprintf("%s %s %v-%s", alert.Labels["alertname"], alert.Labels["severity"], alert.StartsAt.Sub(at).Minutes(), to))
			}
			if !slices.Equal(got, tt.want) || len(a.standing) != tt.standing {
				t.Errorf("%q and %d that hold, want %q and %d", got, len(a.standing), tt.want, tt.standing)
			}
		})
	}
}

// TestAlertmanagerAgain holds what is sent again, over a restart too.
func TestAlertmanagerAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "alertmanager.memory")
	a, next := openAlertmanager(t, path)
	if again, err := a.Tend(t.Context()); again != 0 || err != nil {
		t.Errorf("there is nothing to say again: %v, %v", again, err)
	}
	if err := a.Send(t.Context(), aFinding()); err != nil {
		t.Fatal(err)
	}
	if got := next(); len(got) != 1 || time.Until(got[0].EndsAt) < HoldAlerts-time.Minute {
		t.Fatalf("first %+v", got)
	}
	a, next = openAlertmanager(t, path) // it starts anew
	if !a.Awaits(itsEnd().Event) || a.Awaits(aFinding().Event) || a.Awaits(audit.Event{Event: audit.FindingCleared, ID: "other"}) || a.Awaits(audit.Event{Event: audit.PolicyLoaded}) {
		t.Error("it awaits the wrong")
	}
	now := time.Now().Add(time.Hour)
	a.now = func() time.Time { return now }
	for range 2 { // the second time there is nothing to do yet
		if again, err := a.Tend(t.Context()); again != ResendAlerts || err != nil {
			t.Errorf("again after %v, %v", again, err)
		}
	}
	if got := next(); len(got) != 1 || !got[0].EndsAt.Equal(now.Add(HoldAlerts).UTC()) || got[0].Labels["finding"] != "3de43f23a5559228" || !got[0].StartsAt.Equal(aFinding().Event.Time) {
		t.Errorf("again %+v", got)
	}
	if err := a.Send(t.Context(), itsEnd()); err != nil {
		t.Fatal(err)
	}
	if got := next(); len(got) != 1 || !got[0].EndsAt.Equal(itsEnd().Event.Time) {
		t.Errorf("its end %+v", got)
	}
	if text := read(t, path); text != "{}" {
		t.Errorf("what holds: %s", text)
	}
	if again, err := a.Tend(t.Context()); again != 0 || err != nil {
		t.Errorf("nothing holds any more: %v, %v", again, err)
	}
}

// TestAlertmanagerDown holds that what could not be sent is not taken for sent.
func TestAlertmanagerDown(t *testing.T) {
	a := NewAlertmanager(openWebhook(t, WebhookOptions{URL: "http://127.0.0.1:1/"}))
	if err := a.Send(t.Context(), aFinding()); err == nil || len(a.standing) != 0 {
		t.Errorf("%v, and %d hold", err, len(a.standing))
	}
	a.standing["x"] = alertOf(aFinding())
	if again, err := a.Tend(t.Context()); again != ResendAlerts || err == nil {
		t.Errorf("again after %v, %v", again, err)
	}
}

// TestAlertmanagerMany holds that no more than some are sent again, the latest, and
// a few in each request.
func TestAlertmanagerMany(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	standing := map[string]amAlert{}
	for i := range maxStanding + 10 {
		alert := alertOf(aFinding())
		alert.Labels["finding"], alert.StartsAt = fmt.Sprint(i), alert.StartsAt.Add(time.Duration(i)*time.Second)
		standing[fmt.Sprint(i)] = alert
	}
	b, err := json.Marshal(standing)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	a, next := openAlertmanager(t, path)
	if _, err := a.Tend(t.Context()); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for len(seen) < maxStanding {
		got := next()
		if len(got) > alertsAtOnce {
			t.Fatalf("%d in one request", len(got))
		}
		for _, alert := range got {
			seen[alert.Labels["finding"]] = true
		}
	}
	if seen["9"] || !seen["10"] || !seen[fmt.Sprint(maxStanding+9)] {
		t.Error("not the oldest were left out")
	}
}

func TestAlertmanagerRecall(t *testing.T) {
	dir := t.TempDir()
	tests := []struct{ reason, content, want string }{
		{"nothing holds", "null", ""},
		{"an alert without a name is none", `{"x": {"labels": {}}}`, ""},
		{"torn", `{"x": {"lab`, "unexpected end"},
		{"NUL bytes, as after a power cut", strings.Repeat("\x00", 300), "invalid character"},
		{"too large", strings.Repeat(" ", maxStandFile+1), "more than"},
	}
	for i, tt := range tests {
		path := filepath.Join(dir, fmt.Sprint(i))
		if err := os.WriteFile(path, []byte(tt.content), 0o600); err != nil {
			t.Fatal(err)
		}
		a := NewAlertmanager(openWebhook(t, WebhookOptions{URL: "http://127.0.0.1:9093/"}))
		checkError(t, tt.reason, a.Recall(path), tt.want)
		if got := a.post.url.Path; got != alertsPath {
			t.Errorf("%s: it posts to %s", tt.reason, got)
		}
		if a.standing == nil || len(a.standing) != 0 {
			t.Errorf("%s: it goes on with %+v", tt.reason, a)
		}
	}
}
