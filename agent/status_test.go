package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/portaudit/portaudit/agent/audit"
)

// TestReadStatus holds what the records of a log say of the agent, one after
// the other.
func TestReadStatus(t *testing.T) {
	first, second := &audit.Policy{Source: "a"}, &audit.Policy{Source: "b"}
	at := time.Date(2026, 11, 23, 4, 0, 0, 0, time.UTC)
	steps := []struct {
		reason string
		event  audit.Event
		want   Status
	}{
		{"it starts", audit.Event{Event: audit.AgentStarted, Program: "v1", Policy: first}, Status{Version: "v1", Policy: first}},
		{"an audit fails", audit.Event{Event: audit.AuditFailed, Message: "no"}, Status{Version: "v1", Policy: first, Failure: "no"}},
		{"a bad policy is a problem, and changes nothing", audit.Event{Event: audit.PolicyRejected, Policy: first, Message: "m", Errors: []string{"p:1:1: x", "p:2:1: y"}},
			Status{Version: "v1", Policy: first, Failure: "no", Problems: []string{"m; p:1:1: x; p:2:1: y"}}},
		{"a policy is loaded", audit.Event{Event: audit.PolicyLoaded, Policy: second}, Status{Version: "v1", Policy: second, Failure: "no"}},
		{"audits work again", audit.Event{Event: audit.CoverageChanged}, Status{Version: "v1", Policy: second}},
		{"it stops", audit.Event{Event: audit.AgentStopped, Program: "v1"}, Status{Version: "v1", Policy: second, Stopped: true}},
		{"another version starts", audit.Event{Event: audit.AgentStarted, Program: "v2", Policy: first}, Status{Version: "v2", Policy: first}},
	}
	dir, stateDir := t.TempDir(), t.TempDir()
	log, err := audit.Open(dir, audit.Options{Host: "h", Boot: "b"})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	var started time.Time
	for i, step := range steps {
		step.event.Time = at.Add(time.Duration(i) * time.Minute)
		if step.event.Event == audit.AgentStarted {
			started = step.event.Time
		}
		if _, err := log.Append(step.event); err != nil {
			t.Fatal(err)
		}
		step.want.Started, step.want.Recorded, step.want.Records = started, step.event.Time, uint64(i+2) // behind the header
		got, err := ReadStatus(dir, stateDir)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(step.want, got); diff != "" {
			t.Errorf("%s: want (-), got (+):\n%s", step.reason, diff)
		}
	}
}

func TestReadStatusOfState(t *testing.T) {
	dir := t.TempDir()
	coverage := &audit.Coverage{Complete: true}
	err := state{Version: stateVersion, Coverage: coverage, Tracks: map[string]track{
		"a": {Confirmed: true, Raised: map[string]Finding{"1": {}, "2": {}}},
		"b": {Confirmed: true},
		"c": {}, // not reported yet
	}}.save(dir)
	if err != nil {
		t.Fatal(err)
	}
	written := time.Now().Add(-time.Hour).UTC().Truncate(time.Second)
	if err := os.Chtimes(filepath.Join(dir, stateFile), written, written); err != nil {
		t.Fatal(err)
	}
	got, err := ReadStatus(t.TempDir(), dir)
	if err != nil {
		t.Fatal(err)
	}
	want := Status{Coverage: coverage, Listeners: 2, Findings: 2, LastAudit: written}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
}

// TestReadStatusOfDamage holds that what is wrong is said, and the rest too.
func TestReadStatusOfDamage(t *testing.T) {
	dir := t.TempDir()
	log, err := audit.Open(dir, audit.Options{Host: "h", Boot: "b"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := log.Append(audit.Event{Event: audit.AgentStarted, Program: "v1"}); err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "audit.jsonl")
	record, err := os.ReadFile(path) // with the header before it
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		reason  string
		log     string
		state   string
		problem string
	}{
		{"a record that is being written", string(record) + `{"schema":1`, "", ""},
		{"a record that is there twice", string(record) + string(record), "", "record 3: "},
		{"a line that is no record", string(record) + "x\x1b\n", "", "record 3: it is no record"},
		{"a state of another version", string(record), `{"version":7}`, "the state cannot be read: "},
		{"a torn state", string(record), `{"version":1,`, "the state cannot be read: "},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			stateDir := t.TempDir()
			if err := os.WriteFile(path, []byte(tt.log), 0o600); err != nil {
				t.Fatal(err)
			}
			if tt.state != "" {
				if err := os.WriteFile(filepath.Join(stateDir, stateFile), []byte(tt.state), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			s, err := ReadStatus(dir, stateDir)
			if err != nil || s.Version != "v1" || s.Records != 2 {
				t.Errorf("%+v, %v", s, err)
			}
			said := strings.Join(s.Problems, "; ")
			if (said == "") != (tt.problem == "") || !strings.Contains(said, tt.problem) || strings.Contains(said, "\x1b") {
				t.Errorf("the problems are %q, want %q", said, tt.problem)
			}
		})
	}
}

func TestReadStatusOfNothing(t *testing.T) {
	got, err := ReadStatus(filepath.Join(t.TempDir(), "none"), filepath.Join(t.TempDir(), "none"))
	if err != nil || !cmp.Equal(got, Status{}) {
		t.Errorf("%+v, %v, want nothing", got, err)
	}
}

// TestReadStatusBehindState holds that the state and the records behind it say what
// the whole log does, and that the whole log is asked only where the state is of
// another one.
func TestReadStatusBehindState(t *testing.T) {
	events := []audit.Event{
		{Event: audit.AgentStarted, Program: "v1", Policy: &audit.Policy{Source: "a"}},
		{Event: audit.PolicyLoaded, Policy: &audit.Policy{Source: "b"}},
		{Event: audit.AuditFailed, Message: "no"},
		{Event: audit.PolicyRejected, Message: "m", Errors: []string{"p:1:1: x"}},
		{Event: audit.ListenerOpened, Listener: "l"},
		{Event: audit.AgentStopped, Program: "v1"},
		{Event: audit.LogDamaged, Message: "not what was signed"},
		{Event: audit.LogDegraded, Message: "no room"},
		{Event: audit.LogRestored},
		{Event: audit.AgentStarted, Program: "v2", Policy: &audit.Policy{Source: "c"}},
	}
	dir := t.TempDir()
	log, err := audit.Open(dir, audit.Options{Host: "h", Boot: "b"})
	if err != nil {
		t.Fatal(err)
	}
	records, err := log.Append(events...) // and the header of the file
	if err != nil || len(records) != len(events)+1 {
		t.Fatal(records, err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	want, err := ReadStatus(dir, t.TempDir())
	if err != nil || want.Version != "v2" || len(want.Problems) != 1 {
		t.Fatalf("%+v, %v", want, err)
	}
	// Who reads record 2 sees that it is changed.
	path := filepath.Join(dir, "audit.jsonl")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(b), `"program":"v1"`, `"program":"v0"`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	s := state{Version: stateVersion}
	for _, e := range records {
		s.account(e)
		s.Seq = e.Seq
		if s.Seq <= 2 {
			continue // reading on from it sees the change
		}
		stateDir := t.TempDir()
		if err := s.save(stateDir); err != nil {
			t.Fatal(err)
		}
		got, err := ReadStatus(dir, stateDir)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Status{}, "LastAudit")); diff != "" {
			t.Errorf("from record %d on: want (-), got (+):\n%s", s.Seq, diff)
		}
	}
	for _, other := range []state{{Version: stateVersion, Seq: 100, Self: s.Self}, {Version: stateVersion, Seq: 5}} {
		stateDir := t.TempDir()
		if err := other.save(stateDir); err != nil {
			t.Fatal(err)
		}
		got, err := ReadStatus(dir, stateDir)
		if err != nil || len(got.Problems) != 1 || !strings.Contains(got.Problems[0], "record 2: its hash") {
			t.Errorf("with a state of record %d of another log, or of an older version: %+v, %v", other.Seq, got, err)
		}
	}
}

// TestReadStatusOfTheLog holds what is a problem of the log itself, and for how long.
func TestReadStatusOfTheLog(t *testing.T) {
	degraded := audit.Event{Event: audit.LogDegraded, Message: "no room\x1b"}
	damaged := audit.Event{Event: audit.LogDamaged, Message: "cut off"}
	tests := []struct {
		reason string
		events []audit.Event
		want   []string
	}{
		{"it cannot be written", []audit.Event{degraded}, []string{`no room\x1b`}},
		{"it can again", []audit.Event{degraded, {Event: audit.LogRestored}}, nil},
		{"a start alone restores nothing", []audit.Event{degraded, {Event: audit.AgentStarted}}, []string{`no room\x1b`}},
		{"it is not what was signed", []audit.Event{damaged}, []string{"cut off"}},
		{"each start says so anew, while it is so", []audit.Event{damaged, {Event: audit.AgentStarted}}, nil},
	}
	for _, tt := range tests {
		known := self{}
		for _, e := range tt.events {
			known = known.after(e)
		}
		var s Status
		if err := s.read(t.TempDir(), 0, known); err != nil || !cmp.Equal(s.Problems, tt.want) {
			t.Errorf("%s: %q, %v, want %q", tt.reason, s.Problems, err, tt.want)
		}
	}
}
