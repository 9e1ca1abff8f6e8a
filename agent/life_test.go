package agent

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/portaudit/portaudit/agent/audit"
)

// about is a record of a listener of a port, some seconds after the epoch.
func about(kind string, seconds int, id string, port uint32, change func(*audit.Event)) audit.Event {
	at := epoch.Add(time.Duration(seconds) * time.Second)
	first := at
	e := audit.Event{
		Event: kind, Time: at, Message: kind, Listener: id, Transport: "tcp", Address: "0.0.0.0", Port: port, Namespace: "host",
		FirstSeen: &first, LastSeen: &at, Owners: []audit.Owner{{Executable: "/usr/bin/" + id, How: "process"}},
	}
	if change != nil {
		change(&e)
	}
	return e
}

func agentAt(kind string, seconds int) audit.Event {
	return audit.Event{Event: kind, Time: epoch.Add(time.Duration(seconds) * time.Second), Message: kind}
}

func TestLife(t *testing.T) {
	finding := func(e *audit.Event) { e.ID, e.Rule, e.Severity = "f", "r", "high" }
	instead := func(e *audit.Event) { e.Change, e.Replaces = changeOwner, "app" }
	seen := func(seconds int) func(*audit.Event) {
		return func(e *audit.Event) { at := epoch.Add(time.Duration(seconds) * time.Second); e.LastSeen = &at }
	}
	for _, tt := range []struct {
		reason  string
		records []audit.Event
		want    []string // event, seconds, ? where that is unsure
		open    []string // owners, findings
	}{
		{"opened and closed, for as long as it was seen",
			[]audit.Event{agentAt(audit.AgentStarted, 0), about(audit.ListenerOpened, 10, "app", 80, nil), about(audit.ListenerClosed, 100, "app", 80, seen(70))},
			[]string{"opened", "closed 60"}, nil},
		{"a finding, for as long as it was raised",
			[]audit.Event{about(audit.ListenerOpened, 10, "app", 80, nil), about(audit.FindingRaised, 11, "app", 80, finding), about(audit.FindingCleared, 41, "app", 80, finding)},
			[]string{"opened", "raised", "cleared 30"}, []string{"app []"}},
		{"open still, with its finding",
			[]audit.Event{about(audit.ListenerOpened, 10, "app", 80, nil), about(audit.FindingRaised, 11, "app", 80, finding)},
			[]string{"opened", "raised"}, []string{"app [r]"}},
		{"another took its place",
			[]audit.Event{about(audit.ListenerOpened, 10, "app", 80, nil), about(audit.ListenerChanged, 70, "other", 80, instead)},
			[]string{"opened", "changed 60"}, []string{"other []"}},
		{"other ports are of no interest",
			[]audit.Event{about(audit.ListenerOpened, 10, "app", 81, nil), about(audit.ListenerOpened, 11, "app", 8080, nil), about(audit.ListenerOpened, 12, "app", 80, nil)},
			[]string{"opened"}, []string{"app []"}},
		{"nobody was there",
			[]audit.Event{agentAt(audit.AgentStarted, 0), about(audit.ListenerOpened, 10, "app", 80, nil), agentAt(audit.AgentStopped, 20), agentAt(audit.AgentStarted, 620), about(audit.ListenerClosed, 700, "app", 80, seen(690))},
			[]string{"opened", "absent 600", "closed 680?"}, nil},
		{"a restart is no turn, and counts",
			[]audit.Event{agentAt(audit.AgentStarted, 0), about(audit.ListenerOpened, 10, "app", 80, nil), agentAt(audit.AgentStopped, 20), agentAt(audit.AgentStarted, 21), about(audit.ListenerClosed, 100, "app", 80, seen(90))},
			[]string{"opened", "closed 80?"}, nil},
		{"nobody was there before anything was known of the port",
			[]audit.Event{agentAt(audit.AgentStarted, 0), agentAt(audit.AgentStopped, 20), agentAt(audit.AgentStarted, 620), about(audit.ListenerOpened, 700, "app", 80, nil)},
			[]string{"opened"}, []string{"app []"}},
		{"killed: what the log writes of itself is no sign of life",
			[]audit.Event{about(audit.ListenerOpened, 10, "app", 80, nil), agentAt(audit.LogSegment, 600), agentAt(audit.AgentStarted, 610)},
			[]string{"opened", "absent 600"}, []string{"app []"}},
		{"its beginning was removed: it is known by the record itself",
			[]audit.Event{about(audit.ListenerClosed, 100, "app", 80, func(e *audit.Event) { seen(90)(e); at := epoch; e.FirstSeen = &at })},
			[]string{"closed 90"}, nil},
		{"a clock that was put back gives no duration",
			[]audit.Event{about(audit.ListenerOpened, 100, "app", 80, nil), about(audit.ListenerClosed, 50, "app", 80, nil)},
			[]string{"opened", "closed"}, nil},
		{"of a cross-check",
			[]audit.Event{about(audit.FindingRaised, 10, "", 80, finding), about(audit.FindingCleared, 20, "", 80, finding)},
			[]string{"raised", "cleared 10"}, nil},
	} {
		life := NewLife(PortRange32{80, 80}, "tcp", time.Time{})
		var got, open []string
		for i, e := range tt.records {
			e.Seq = uint64(i + 1)
			turns, err := life.Take(lineOf(t, e))
			if err != nil {
				t.Fatal(err)
			}
			for _, turn := range turns {
				_, word, _ := strings.Cut(turn.Event, ".")
				if turn.Seconds != nil {
					word += fmt.Sprintf(" %v", *turn.Seconds)
				}
				if turn.Unsure {
					word += "?"
				}
				got = append(got, word)
			}
		}
		for _, l := range life.Sum().Open {
			open = append(open, fmt.Sprintf("%s %v", l.Owners, l.Findings))
		}
		if d := cmp.Diff(tt.want, got); d != "" {
			t.Errorf("%s: turns (-want +got):\n%s", tt.reason, d)
		}
		if !slices.Equal(open, tt.open) {
			t.Errorf("%s: open are %q, want %q", tt.reason, open, tt.open)
		}
	}
}

// TestThenDoubts holds what a moment says of how sure it is.
func TestThenDoubts(t *testing.T) {
	uint := func(n uint64) *uint64 { return &n }
	app := about(audit.ListenerOpened, 10, "app", 80, nil)
	restored := agentAt(audit.LogRestored, 30)
	restored.Lost = uint(3)
	nothingLost := agentAt(audit.LogRestored, 30)
	nothingLost.Lost = uint(0)
	blind := agentAt(audit.CoverageChanged, 5)
	blind.Coverage = &audit.Coverage{Gaps: []audit.Gap{{Source: "s", Reason: "r", Hides: "owners"}}}
	for _, tt := range []struct {
		reason  string
		records []audit.Event
		first   uint64 // sequence number
		at      int
		held    bool
		want    []string
	}{
		{"no record", nil, 1, 50, false, []string{DoubtBefore}},
		{"before the log", []audit.Event{agentAt(audit.AgentStarted, 100)}, 1, 50, true, []string{DoubtBefore}},
		{"a daemon was there", []audit.Event{agentAt(audit.AgentStarted, 0), app, agentAt(audit.AgentStopped, 100)}, 1, 50, false, nil},
		{"it works still", []audit.Event{agentAt(audit.AgentStarted, 0), app}, 1, 50, true, nil},
		{"its beginning is gone", []audit.Event{app, agentAt(audit.AgentStopped, 100)}, 500, 50, false, []string{DoubtRemoved}},
		{"stopped", []audit.Event{agentAt(audit.AgentStarted, 0), agentAt(audit.AgentStopped, 20)}, 1, 50, false, []string{DoubtAbsent}},
		{"stopped and started", []audit.Event{agentAt(audit.AgentStarted, 0), agentAt(audit.AgentStopped, 20), agentAt(audit.AgentStarted, 90)}, 1, 50, true, []string{DoubtAbsent}},
		{"what the log writes at its stop is no sign of life", []audit.Event{agentAt(audit.AgentStarted, 0), agentAt(audit.AgentStopped, 20), agentAt("log.checkpoint", 21)}, 1, 50, false, []string{DoubtAbsent}},
		{"killed", []audit.Event{agentAt(audit.AgentStarted, 0), app, agentAt(audit.AgentStarted, 90)}, 1, 50, true, []string{DoubtSilent}},
		{"killed, and not started again", []audit.Event{agentAt(audit.AgentStarted, 0), app}, 1, 50, false, []string{DoubtSilent}},
		{"audits failed", []audit.Event{agentAt(audit.AgentStarted, 0), agentAt(audit.AuditFailed, 20), about(audit.ListenerOpened, 90, "app", 80, nil)}, 1, 50, true, []string{DoubtFailing}},
		{"and worked again", []audit.Event{agentAt(audit.AgentStarted, 0), agentAt(audit.AuditFailed, 5), app}, 1, 50, true, nil},
		{"not everything was seen", []audit.Event{agentAt(audit.AgentStarted, 0), blind}, 1, 50, true, []string{DoubtCoverage}},
		{"records are missing", []audit.Event{agentAt(audit.AgentStarted, 0), agentAt(audit.LogDegraded, 20), restored}, 1, 50, true, []string{DoubtLost}},
		{"it could not be written at that time", []audit.Event{agentAt(audit.AgentStarted, 0), agentAt(audit.LogDegraded, 20)}, 1, 50, true, []string{DoubtLost}},
		{"all was written later", []audit.Event{agentAt(audit.AgentStarted, 0), agentAt(audit.LogDegraded, 20), nothingLost}, 1, 50, true, nil},
		{"the clock was put back", []audit.Event{agentAt(audit.AgentStarted, 0), agentAt(audit.PolicyLoaded, 60), app}, 1, 50, true, []string{DoubtClock}},
	} {
		for i := range tt.records {
			tt.records[i].Seq = tt.first + uint64(i)
		}
		m := Then(reading(linesOf(t, tt.records)), epoch.Add(time.Duration(tt.at)*time.Second), epoch.Add(time.Hour), tt.held)
		var got []string
		for _, d := range m.Doubts {
			got = append(got, d.Kind)
			if !strings.HasSuffix(d.Text, ".") {
				t.Errorf("%s: %q is no sentence", tt.reason, d.Text)
			}
		}
		if m.Err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, %v, want %q", tt.reason, got, m.Err, tt.want)
		}
	}
}

// TestThenCrowd: what is held has its bound, and what there was no room for is told.
func TestThenCrowd(t *testing.T) {
	lines := func(yield func(audit.Line, error) bool) {
		for i := range 40000 {
			e := about(audit.ListenerOpened, 10, fmt.Sprintf("app%d", i), uint32(i+1), nil)
			e.Seq, e.Why = uint64(i+1), strings.Repeat("w", 1000)
			if !yield(lineOf(t, e), nil) {
				return
			}
		}
	}
	m := Then(lines, epoch.Add(time.Minute), epoch.Add(time.Hour), true)
	if n := len(m.Listeners); n < 10000 || n > 20000 || m.Doubts[len(m.Doubts)-1].Kind != DoubtCrowd {
		t.Errorf("%d of 40000 listeners are told, and %+v", n, m.Doubts)
	}
}

func TestTally(t *testing.T) {
	few := newTally(10)
	for i := range 100000 {
		few.add([]byte("frequent"))
		few.add(fmt.Appendf(nil, "rare %d", i))
	}
	top := few.top(1)
	if len(few.counts) > 20 || top[0].Name != "frequent" || top[0].Records+few.short < 100000 || top[0].Records > 100000 {
		t.Errorf("%d are held, the most frequent is %+v, too small by %d", len(few.counts), top[0], few.short)
	}
}

func TestSumming(t *testing.T) {
	finding := func(rule, severity string) func(*audit.Event) {
		return func(e *audit.Event) { e.ID, e.Rule, e.Severity = "f", rule, severity }
	}
	const day = 24 * 60 * 60
	records := []audit.Event{
		agentAt(audit.AgentStarted, 0), about(audit.ListenerOpened, 10, "app", 80, nil),
		about(audit.FindingRaised, 11, "app", 80, finding("r", "low")), about(audit.FindingRaised, day, "web", 443, finding(`q"`, "critical")),
		about(audit.FindingCleared, 3*day, "app", 80, finding("r", "low")),
	}
	for _, tt := range []struct {
		reason string
		s      Selection
		want   string
	}{
		{"all", Selection{}, "5 1-5 day 3 [{finding.raised 2} {agent.started 1} {finding.cleared 1} {listener.opened 1}] [{q\" critical 1 0} {r low 1 1}] [{80/tcp 3} {443/tcp 1}] [{app 3} {web 1}]"},
		{"of an hour", Selection{Until: epoch.Add(time.Hour)}, "3 1-3 hour 1 [{agent.started 1} {finding.raised 1} {listener.opened 1}] [{r low 1 0}] [{80/tcp 2}] [{app 2}]"},
		{"of a port", Selection{Port: PortRange32{443, 443}}, "1 4-4 hour 1 [{finding.raised 1}] [{q\" critical 1 0}] [{443/tcp 1}] [{web 1}]"},
	} {
		s := NewSumming(tt.s, time.UTC)
		for i, e := range records {
			e.Seq = uint64(i + 1)
			if err := s.Take(lineOf(t, e)); err != nil {
				t.Fatal(err)
			}
		}
		sum := s.Sum()
		got := fmt.Sprint(sum.Records, " ", sum.First.Record, "-", sum.Last.Record, " ", sum.Span, " ", len(sum.Spans), " ", sum.Kinds, " ", sum.Rules, " ", sum.Ports, " ", sum.Programs)
		if got != tt.want {
			t.Errorf("%s:\n%s, want\n%s", tt.reason, got, tt.want)
		}
	}
	if sum := NewSumming(Selection{}, time.UTC).Sum(); sum.First != nil || sum.Last != nil || sum.Records != 0 || sum.Kinds == nil {
		t.Errorf("of nothing: %+v", sum)
	}
}

// TestLifeSince: what was before the time that is asked for is not told, and what
// ends later began there all the same.
func TestLifeSince(t *testing.T) {
	life := NewLife(PortRange32{80, 80}, "tcp", epoch.Add(100*time.Second))
	var got []string
	for i, e := range []audit.Event{
		agentAt(audit.AgentStarted, 0),
		about(audit.ListenerOpened, 10, "app", 80, nil),
		about(audit.ListenerOpened, 20, "other", 80, nil),
		about(audit.ListenerClosed, 30, "other", 80, nil),
		agentAt(audit.AgentStopped, 40),
		agentAt(audit.AgentStarted, 400),
		about(audit.ListenerClosed, 500, "app", 80, nil),
		about(audit.ListenerOpened, 600, "third", 80, nil),
	} {
		e.Seq = uint64(i + 1)
		turns, err := life.Take(lineOf(t, e))
		if err != nil {
			t.Fatal(err)
		}
		for _, turn := range turns {
			got = append(got, fmt.Sprintf("%s %d", turn.Event, turn.Record))
			if turn.Seconds != nil {
				got = append(got, fmt.Sprint(*turn.Seconds))
			}
		}
	}
	if want := []string{"agent.absent 6", "360", "listener.closed 7", "490", "listener.opened 8"}; !slices.Equal(got, want) {
		t.Errorf("turns %q, want %q", got, want)
	}
	sum := life.Sum()
	if sum.Opened != 1 || sum.Closed != 1 || sum.Absences != 1 || len(sum.Open) != 1 || !sum.Begins.Equal(epoch) {
		t.Errorf("sum %+v", sum)
	}
}
