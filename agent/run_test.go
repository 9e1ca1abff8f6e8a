package agent

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/agent/listen"
	"github.com/portaudit/portaudit/policy"
	"github.com/portaudit/portaudit/registry"
)

// host is a host whose listeners a test sets.
type host struct {
	snapshot listen.Snapshot
	err      error
}

func (h *host) list(context.Context) (listen.Snapshot, error) {
	s := h.snapshot
	s.Time = time.Now()
	return s, h.err
}

// listening makes a snapshot of TCP listeners on all addresses, complete.
func listening(ports ...registry.Port) listen.Snapshot {
	s := listen.Snapshot{Namespaces: []listen.Namespace{{
		Label: listen.HostNamespace, Complete: true, UnprivilegedStart: 1024, StartKnown: true,
		Ephemeral: listen.PortRange{First: 32768, Last: 60999}, EphemeralKnown: true,
	}}, Coverage: listen.Coverage{Sources: []string{"test"}}}
	for _, p := range ports {
		s.Sockets = append(s.Sockets, listen.Socket{
			Transport: registry.TCP, Address: netip.IPv4Unspecified(), Port: p, Namespace: listen.HostNamespace,
			Owners: []listen.Owner{{How: listen.Process, PID: 100, Start: 1, Executable: "/usr/bin/app", User: "app",
				UID: listen.UID{ID: 1000, Known: true}, Arguments: []string{"app", "--password=hunter2"}}},
		})
	}
	return s
}

func mustPolicy(t *testing.T, text string) *policy.Policy {
	t.Helper()
	p, err := policy.Parse([]byte(text), "test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

const (
	alertAll = "version: 1\ndefault: allow\nrules: [{id: all, verdict: alert, severity: high, match: any}]\n"
	allowAll = "version: 1\ndefault: allow\nrules: []\n"
)

// runFor lets the agent work on h in dir for a time, during which do may change
// the host. It must be called in a synctest bubble.
func runFor(t *testing.T, dir string, h *host, p *policy.Policy, d time.Duration, change func(*Options)) {
	t.Helper()
	o := optionsOf(t, dir, h, p)
	defer o.Log.Close()
	if change != nil {
		change(&o)
	}
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	if err := Run(ctx, o); err != nil {
		t.Fatal(err)
	}
}

// optionsOf makes the options of an agent that works on h in dir.
func optionsOf(t *testing.T, dir string, h *host, p *policy.Policy) Options {
	t.Helper()
	log, err := audit.Open(filepath.Join(dir, "log"), audit.Options{Host: "test", Boot: "boot"})
	if err != nil {
		t.Fatal(err)
	}
	return Options{
		List: h.list, Catalog: &registry.Catalog{}, Policy: p, Log: log, LogDir: filepath.Join(dir, "log"),
		StateDir: filepath.Join(dir, "state"), Logger: slog.New(slog.DiscardHandler),
		Interval: time.Second, Limits: Limits{Confirm: 2, Gone: 3}, Version: "test", PID: 1,
	}
}

// logged returns what the log in dir holds, "event rule" each, without the headers
// of its files.
func logged(t *testing.T, dir string) []string {
	t.Helper()
	var words []string
	for e, err := range audit.ReadFrom(filepath.Join(dir, "log"), 0) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Event == audit.LogSegment {
			continue
		}
		word := e.Event
		if strings.HasPrefix(e.Event, "finding.") {
			word += " " + e.Rule
		}
		words = append(words, word)
	}
	return words
}

func wantLogged(t *testing.T, dir string, want ...string) {
	t.Helper()
	if got := logged(t, dir); !slices.Equal(got, want) {
		t.Errorf("the log has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestRunRecordsOnceOverRestarts(t *testing.T) {
	ways := map[string]func(t *testing.T, dir string){
		"stopped and started": func(*testing.T, string) {},
		"the state file is lost": func(t *testing.T, dir string) {
			if err := os.RemoveAll(filepath.Join(dir, "state")); err != nil {
				t.Fatal(err)
			}
		},
		"the state file is torn": func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, "state", stateFile), []byte(`{"version":1,"seq":`), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"the state file is from before the last records": func(t *testing.T, dir string) {
			old := state{Version: stateVersion, Seq: 2}
			if err := old.save(filepath.Join(dir, "state")); err != nil {
				t.Fatal(err)
			}
		},
	}
	for way, between := range ways {
		t.Run(way, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir, h, p := t.TempDir(), &host{snapshot: listening(8080)}, mustPolicy(t, alertAll)
				runFor(t, dir, h, p, 5*time.Second, nil)
				between(t, dir)
				runFor(t, dir, h, p, 5*time.Second, nil)
				wantLogged(t, dir,
					"agent.started", "policy.loaded", "listener.opened", "finding.raised all", "agent.stopped",
					"agent.started", "policy.loaded", "agent.stopped")
			})
		})
	}
}

func TestRunSurvivesAFailedAudit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, h := t.TempDir(), &host{snapshot: listening(8080)}
		runFor(t, dir, h, mustPolicy(t, alertAll), 20*time.Second, func(o *Options) {
			o.List = func(ctx context.Context) (listen.Snapshot, error) {
				h.err = nil
				if since := time.Since(bubbleStart()); since > 5*time.Second && since < 15*time.Second {
					h.err = errors.New("the kernel is busy")
				}
				return h.list(ctx)
			}
		})
		// Ten failed audits: one record, nothing closed or cleared, and one
		// record when it works again.
		wantLogged(t, dir, "agent.started", "policy.loaded", "listener.opened", "finding.raised all",
			"audit.failed", "coverage.changed", "agent.stopped")
	})
}

// bubbleStart is the time at which every synctest bubble begins.
func bubbleStart() time.Time { return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) }

func TestRunReloadsThePolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, reload := t.TempDir(), make(chan struct{})
		answers := []func() (*policy.Policy, error){
			func() (*policy.Policy, error) { return policy.Parse([]byte("version: 2\n"), "bad.yaml") },
			func() (*policy.Policy, error) { return policy.Parse([]byte(allowAll), "good.yaml") },
		}
		go func() { // ends after two requests
			for range answers {
				time.Sleep(5 * time.Second)
				reload <- struct{}{}
			}
		}()
		next := 0
		runFor(t, dir, &host{snapshot: listening(8080)}, mustPolicy(t, alertAll), 20*time.Second, func(o *Options) {
			o.Reload = reload
			o.LoadPolicy = func() (*policy.Policy, error) {
				next++
				return answers[next-1]()
			}
		})
		wantLogged(t, dir, "agent.started", "policy.loaded", "listener.opened", "finding.raised all",
			"policy.rejected", "policy.loaded", "finding.cleared all", "agent.stopped")
		wantMessages(t, dir, audit.FindingCleared, "the policy changed, and finds this no more: ")
	})
}

// TestRunWithAnotherPolicy: who starts the agent with another policy is told
// that it was the policy that changed, once.
func TestRunWithAnotherPolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, h := t.TempDir(), &host{snapshot: listening(8080)}
		runFor(t, dir, h, mustPolicy(t, alertAll), 5*time.Second, nil)
		runFor(t, dir, h, mustPolicy(t, allowAll), 5*time.Second, nil)
		runFor(t, dir, h, mustPolicy(t, alertAll), 5*time.Second, nil)
		h.snapshot = listening()
		runFor(t, dir, h, mustPolicy(t, alertAll), 5*time.Second, nil)
		wantMessages(t, dir, audit.FindingCleared, "the policy changed, and finds this no more: ", "no longer: ")
	})
}

// wantMessages holds how the messages of the records of a kind begin.
func wantMessages(t *testing.T, dir, kind string, want ...string) {
	t.Helper()
	var got []string
	for e, err := range audit.ReadFrom(filepath.Join(dir, "log"), 0) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Event == kind {
			got = append(got, e.Message)
		}
	}
	if !slices.EqualFunc(got, want, strings.HasPrefix) {
		t.Errorf("the messages of %s are %q, want %q", kind, got, want)
	}
}

func TestRunRecordsLostCoverage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, h, audits := t.TempDir(), &host{snapshot: listening(8080)}, 0
		runFor(t, dir, h, mustPolicy(t, allowAll), 10*time.Second, func(o *Options) {
			o.List = func(ctx context.Context) (listen.Snapshot, error) {
				audits++
				h.snapshot.Coverage.Gaps = nil
				if audits > 3 && audits < 7 { // the count alone is no change
					h.snapshot.Coverage.Gaps = []listen.Gap{{Source: "x", Reason: "no rights", Hides: listen.HidesOwners, Count: audits}}
				}
				return h.list(ctx)
			}
		})
		wantLogged(t, dir, "agent.started", "policy.loaded", "listener.opened",
			"coverage.changed", "coverage.changed", "agent.stopped")
	})
}

func TestRunEndsWhenTheLogDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, h := t.TempDir(), &host{snapshot: listening(8080)}
		log, err := audit.Open(filepath.Join(dir, "log"), audit.Options{})
		if err != nil {
			t.Fatal(err)
		}
		o := Options{
			List: func(ctx context.Context) (listen.Snapshot, error) {
				_ = log.Close() // the disk is gone
				return h.list(ctx)
			},
			Catalog: &registry.Catalog{}, Policy: mustPolicy(t, alertAll), Log: log, LogDir: filepath.Join(dir, "log"),
			StateDir: filepath.Join(dir, "state"), Logger: slog.New(slog.DiscardHandler),
			Interval: time.Second, Limits: Limits{Confirm: 1, Gone: 3},
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := Run(ctx, o); !errors.Is(err, os.ErrClosed) {
			t.Errorf("Run returned %v, want the error of the log", err)
		}
	})
}

func TestCommandLinesAreLoggedOnlyWhenAsked(t *testing.T) {
	for asked, want := range map[string]string{
		"":                      "",
		"command_lines: true\n": "app --password=[redacted]",
	} {
		synctest.Test(t, func(t *testing.T) {
			dir := t.TempDir()
			runFor(t, dir, &host{snapshot: listening(8080)}, mustPolicy(t, allowAll+asked), 3*time.Second, nil)
			text, err := os.ReadFile(filepath.Join(dir, "log", "audit.jsonl"))
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(text), "hunter2") {
				t.Errorf("policy %q: the secret is in the log:\n%s", asked, text)
			}
			if got := strings.Contains(string(text), "--password"); got != (want != "") {
				t.Errorf("policy %q: the command line is in the log: %v", asked, got)
			}
			if !strings.Contains(string(text), want) {
				t.Errorf("policy %q: the log does not have %q:\n%s", asked, want, text)
			}
		})
	}
}

// TestHostileNames: a process may call itself anything.
func TestHostileNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, h := t.TempDir(), &host{snapshot: listening(8080)}
		hostile := "a\nb\x1b]0;owned\x07\u202egpj.exe\xff\x00"
		o := &h.snapshot.Sockets[0].Owners[0]
		o.Executable, o.Command, o.User, o.Unit = "/tmp/"+hostile, hostile, hostile, hostile+".service"
		runFor(t, dir, h, mustPolicy(t, alertAll), 3*time.Second, nil)
		text, err := os.ReadFile(filepath.Join(dir, "log", "audit.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		for _, bad := range []string{"\x1b", "\x07", "\u202e", "\xff", "\x00", "\ufffd"} {
			if strings.Contains(string(text), bad) {
				t.Errorf("the log has %q", bad)
			}
		}
		wantLogged(t, dir, "agent.started", "policy.loaded", "listener.opened", "finding.raised all", "agent.stopped")
	})
}

func FuzzParseState(f *testing.F) {
	f.Add([]byte(`{"version":1,"seq":3,"listeners":{"a":{"listener":{"id":"a"},"raised":null}}}`))
	f.Add([]byte(`{"version":2}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseState(bytes.NewReader(b))
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := s.write(&again); err != nil {
			t.Fatal(err)
		}
		if r, err := parseState(&again); err != nil || len(r.Tracks) != len(s.Tracks) || r.Seq != s.Seq {
			t.Fatalf("written and read again it is another state: %v", err)
		}
		// Whatever was remembered, an audit must come out of it.
		o := observation{time: epoch, listeners: []Listener{at("tcp 0.0.0.0 8080 wildcard /usr/bin/app 100", "r")},
			read: map[string]bool{listen.HostNamespace: true}}
		tracks, _ := diff(s.Tracks, o, Limits{1, 1})
		if _, here := tracks[o.listeners[0].ID]; !here {
			t.Error("the listener of the audit is not remembered")
		}
	})
}

// TestNothingNew makes audits of one and the same snapshot: after the first few
// they do nothing but note when they were.
func TestNothingNew(t *testing.T) {
	l, list := quietLoop(t, 100)
	for range 3 { // seen, confirmed, settled
		if err := l.audit(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	before := l.Log.Seq()
	if l.seen != list.Generation {
		t.Fatalf("after three audits generation %d may be skipped, want %d", l.seen, list.Generation)
	}
	for range restAfter { // the listeners are left to the state file meanwhile
		if err := l.audit(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := testing.AllocsPerRun(50, func() {
		list.Time = list.Time.Add(time.Second)
		if err := l.audit(t.Context()); err != nil {
			t.Fatal(err)
		}
	}); n > 10 {
		t.Errorf("%v allocations an audit with nothing new", n)
	}
	if l.Log.Seq() != before {
		t.Errorf("%d records of nothing new", l.Log.Seq()-before)
	}
	if !l.resting || len(l.state.Tracks) > 0 {
		t.Errorf("after 50 quiet audits %d listeners are still in memory", len(l.state.Tracks))
	}
	if err := l.save(); err != nil {
		t.Fatal(err)
	}
	s, err := readState(l.StateDir)
	if err != nil {
		t.Fatal(err)
	}
	for id, track := range s.Tracks {
		if d := list.Time.Sub(track.LastSeen); d < 0 || d > time.Millisecond {
			t.Fatalf("%s was last seen %s, want the last audit, %s", id, track.LastSeen, list.Time)
		}
	}
	list.Sockets, list.Generation = nil, list.Generation+1
	for range 3 {
		if err := l.audit(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	closed := 0
	for e, err := range audit.ReadFrom(l.LogDir, before) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Event == audit.ListenerClosed {
			closed++
			if d := list.Time.Sub(*e.LastSeen); d < 0 || d > time.Millisecond {
				t.Fatalf("closed, last seen %s, want %s", e.LastSeen, list.Time)
			}
		}
	}
	if closed != 100 {
		t.Errorf("%d listeners closed, want 100", closed)
	}
}

// quietLoop returns a loop and the snapshot that its audits see.
func quietLoop(t testing.TB, listeners int) (*loop, *listen.Snapshot) {
	t.Helper()
	p, err := policy.Parse([]byte("version: 1\nrules: []\n"), "test")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	log, err := audit.Open(dir, audit.Options{Host: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	s := &listen.Snapshot{
		Time: time.Now().Add(-time.Hour), Generation: 1,
		Namespaces: []listen.Namespace{{Label: listen.HostNamespace, Complete: true}},
	}
	for i := range listeners {
		s.Sockets = append(s.Sockets, listen.Socket{
			Transport: registry.TCP, Address: netip.MustParseAddr("127.0.0.1"), Port: registry.Port(1024 + i%60000),
			Namespace: listen.HostNamespace, Owners: []listen.Owner{{
				How: listen.Process, PID: 100 + i/6, Executable: "/usr/bin/server", Command: "server", User: "root",
			}},
		})
	}
	l, err := start(t.Context(), Options{
		List:    func(context.Context) (listen.Snapshot, error) { return *s, nil },
		Catalog: &registry.Catalog{}, Policy: p, Log: log, LogDir: dir, StateDir: t.TempDir(),
		Logger: slog.New(slog.DiscardHandler), Interval: time.Second, Limits: Limits{Confirm: 2, Gone: 3},
	})
	if err != nil {
		t.Fatal(err)
	}
	return l, s
}

// BenchmarkFirstAudit is the audit that finds thousands of listeners at once.
func BenchmarkFirstAudit(b *testing.B) {
	for b.Loop() {
		l, _ := quietLoop(b, 12000)
		for range 2 {
			if err := l.audit(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	}
}
