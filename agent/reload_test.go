package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/agent/listen"
	"github.com/portaudit/portaudit/policy"
	"github.com/portaudit/portaudit/registry"
)

// parsed returns what a program reads of a policy.
func parsed(text string) (*policy.Policy, error) {
	p, err := policy.Parse([]byte(text), "p.yaml")
	if err != nil {
		return nil, &Refused{Policy: audit.Policy{Source: "p.yaml", SHA256: digestOf(text)}, Err: err}
	}
	return p, nil
}

// digestOf stands for the digest of a text: the agent makes none.
func digestOf(text string) string { return fmt.Sprintf("%064x", len(text)) }

func TestRejected(t *testing.T) {
	mistakes := policy.Errors{{File: "p", Line: 1, Column: 2, Message: "a"}, {File: "p", Message: "b"}}
	refused := audit.Policy{Source: "p", SHA256: "2"}
	inForce := &policy.Policy{Source: "o", SHA256: "1"}
	const message = "the policy was refused; the one loaded before stays in force"
	tests := []struct {
		reason  string
		err     error
		inForce *policy.Policy
		want    audit.Event
	}{
		{"mistakes of a text, one by one", &Refused{refused, mistakes}, inForce,
			audit.Event{Message: message, Policy: &audit.Policy{Source: "o", SHA256: "1"}, Refused: &refused, Errors: []string{"p:1:2: a", "p: b"}}},
		{"no text", fmt.Errorf("policy: %w", fs.ErrNotExist), inForce,
			audit.Event{Message: message, Policy: &audit.Policy{Source: "o", SHA256: "1"}, Errors: []string{"policy: file does not exist"}}},
		{"at the start", &Refused{refused, mistakes}, nil,
			audit.Event{Message: "the policy was refused", Refused: &refused, Errors: []string{"p:1:2: a", "p: b"}}},
	}
	for _, tt := range tests {
		tt.want.Event = audit.PolicyRejected
		if diff := cmp.Diff(tt.want, Rejected(tt.err, tt.inForce)); diff != "" {
			t.Errorf("%s: want (-), got (+):\n%s", tt.reason, diff)
		}
	}
}

// TestRunLooksAtThePolicy holds what is recorded of a policy that is read again
// without having been asked for: what is new.
func TestRunLooksAtThePolicy(t *testing.T) {
	const bad, worse = "version: 2\n", "version: 3\nrules: []\n"
	tests := []struct {
		reason string
		texts  []string // that are read, one after the other
		want   []string
	}{
		{"another one", []string{allowAll}, []string{"policy.loaded"}},
		{"the same text, written anew", []string{alertAll, alertAll}, nil},
		{"a bad one, once", []string{bad, bad, bad}, []string{"policy.rejected"}},
		{"two that are bad", []string{bad, worse, bad}, []string{"policy.rejected", "policy.rejected", "policy.rejected"}},
		{"what was in force before a bad one: it is mended", []string{bad, alertAll, alertAll}, []string{"policy.rejected", "policy.loaded"}},
		{"one that cannot be read, once", []string{"", ""}, []string{"policy.rejected"}},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir, next := t.TempDir(), 0
				runFor(t, dir, &host{snapshot: listening()}, mustPolicy(t, alertAll), time.Minute, func(o *Options) {
					o.PolicyChanged = func() bool { return next < len(tt.texts) }
					o.LoadPolicy = func() (*policy.Policy, error) {
						next++
						if tt.texts[next-1] == "" {
							return nil, errors.New("permission denied")
						}
						return parsed(tt.texts[next-1])
					}
				})
				wantLogged(t, dir, slices.Concat([]string{"agent.started", "policy.loaded"}, tt.want, []string{"agent.stopped"})...)
			})
		})
	}
}

// TestRunAnswersEachReload: who asks is answered, though there be nothing new.
func TestRunAnswersEachReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		texts := []string{alertAll, "version: 2\n", "version: 2\n", alertAll}
		dir, reload, next := t.TempDir(), make(chan struct{}), 0
		go func() { // ends with the texts
			for range texts {
				time.Sleep(3 * time.Second)
				reload <- struct{}{}
			}
		}()
		runFor(t, dir, &host{snapshot: listening()}, mustPolicy(t, alertAll), 20*time.Second, func(o *Options) {
			o.Reload = reload
			o.LoadPolicy = func() (*policy.Policy, error) { next++; return parsed(texts[next-1]) }
		})
		wantLogged(t, dir, "agent.started", "policy.loaded", "policy.loaded", "policy.rejected", "policy.rejected", "policy.loaded", "agent.stopped")
	})
}

// TestReloadReachesChanges: what is told between a reload and the next audit that
// works is of the new policy, its command lines too.
func TestReloadReachesChanges(t *testing.T) {
	l, _ := quietLoop(t, 0)
	l.Policy = mustPolicy(t, alertAll+"command_lines: true\n")
	if err := l.audit(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.LoadPolicy = func() (*policy.Policy, error) { return parsed(allowAll) }
	if _, err := l.reload(true); err != nil {
		t.Fatal(err)
	}
	l.Realtime.Admit = admit
	changes := l.apply([]listen.Change{{Opened: true, Time: time.Now(), Transport: registry.TCP, Port: 8080, Socket: 1}})
	if len(changes) != 1 {
		t.Fatalf("%d changes", len(changes))
	}
	if e := event(changes[0]); e.Rule != policy.DefaultRule || e.Verdict != policy.Allow.String() || strings.Contains(e.Owners[0].Command, "--") {
		t.Errorf("%s by rule %s, of %q", e.Verdict, e.Rule, e.Owners[0].Command)
	}
}

// generation is a policy that tells itself by its only rule.
func generation(n int) string {
	return fmt.Sprintf("version: 1\ndefault: allow\nrules: [{id: g%d, verdict: alert, severity: high, match: any}]\n", n)
}

// stress is a host on which listeners come and go, and audits fail now and then.
type stress struct {
	mu      sync.Mutex
	host    host
	changes chan listen.Change
	random  *rand.Rand
}

func (s *stress) list(ctx context.Context) (listen.Snapshot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.host.err = nil
	if s.random.IntN(5) == 0 {
		s.host.err = errors.New("the kernel is busy")
	}
	seen, err := s.host.list(ctx)
	seen.Sockets = slices.Clone(seen.Sockets)
	return seen, err
}

// work opens and closes as many sockets, half of which audits see.
func (s *stress) work(sockets int) {
	for n := range uint64(sockets) {
		s.mu.Lock()
		pause, port, lasts := time.Duration(s.random.IntN(100))*time.Millisecond, registry.Port(1024+s.random.IntN(40)), s.random.IntN(2) == 0
		opens(n, port, lasts)(&s.host, s.changes)
		if len(s.host.snapshot.Sockets) > 20 {
			s.host.snapshot.Sockets = s.host.snapshot.Sockets[10:]
		}
		s.mu.Unlock()
		time.Sleep(pause)
		if !lasts {
			closes(n, port)(nil, s.changes)
		}
	}
}

// TestReloadsUnderLoad reads a thousand policies, good and bad at random, while
// listeners come and go, in audits and between them. What each record says was
// decided must be what the policy decides that the log says is in force.
func TestReloadsUnderLoad(t *testing.T) {
	const reloads, longest = 1000, 100 * time.Millisecond
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := func(stream uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, stream)) } //nolint:gosec // a test
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s, reload := &stress{changes: make(chan listen.Change, 4096), random: random(1)}, make(chan struct{})
		go s.work(reloads) // ends with the sockets
		go func() {        // ends with the reloads
			random := random(2)
			for range reloads {
				time.Sleep(time.Duration(random.Int64N(int64(longest))))
				reload <- struct{}{}
			}
		}()
		read, random := 0, random(3)
		runFor(t, dir, &s.host, mustPolicy(t, generation(0)), 2*reloads*longest, func(o *Options) {
			o.List, o.Limits.Confirm, o.Reload = s.list, 1, reload
			o.Realtime = Realtime{Changes: s.changes, Admit: admit, Lost: func() uint64 { return 0 }}
			o.LoadPolicy = func() (*policy.Policy, error) {
				read++
				if random.IntN(3) == 0 {
					return parsed(generation(read) + "oops: 1\n")
				}
				return parsed(generation(read))
			}
		})
		if read != reloads {
			t.Errorf("%d policies were read, want %d", read, reloads)
		}
	})
	wantGenerations(t, dir, reloads)
}

// wantGenerations holds that no record tells of a decision of another policy than
// the one in force at it. What ends tells what was decided of it before.
func wantGenerations(t *testing.T, dir string, reloads int) {
	t.Helper()
	rules := map[string]string{} // by digest of the policy
	for n := range reloads + 1 {
		rules[mustPolicy(t, generation(n)).SHA256] = fmt.Sprintf("g%d", n)
	}
	inForce, counts, deciders, raised := "", map[string]int{}, map[string]bool{}, map[string]string{}
	for e, err := range audit.ReadFrom(filepath.Join(dir, "log"), 0) {
		if err != nil {
			t.Fatal(err)
		}
		counts[e.Event]++
		switch e.Event {
		case audit.PolicyLoaded:
			inForce = rules[e.Policy.SHA256]
		case audit.PolicyRejected:
			if rules[e.Policy.SHA256] != inForce || e.Refused == nil || rules[e.Refused.SHA256] != "" {
				t.Fatalf("record %d: %+v was refused, %+v stays, and %s is in force", e.Seq, e.Refused, e.Policy, inForce)
			}
		case audit.ListenerOpened, audit.ListenerChanged, audit.FindingRaised:
			if e.Rule != inForce {
				t.Fatalf("record %d: %s by %s, and %s is in force", e.Seq, e.Event, e.Rule, inForce)
			}
			deciders[e.Rule] = true
			if e.Event == audit.FindingRaised {
				raised[e.ID] = e.Rule
			}
		case audit.FindingCleared:
			if raised[e.ID] != e.Rule {
				t.Fatalf("record %d clears a finding of %s, which was raised by %q", e.Seq, e.Rule, raised[e.ID])
			}
			delete(raised, e.ID)
		}
	}
	t.Logf("%v, by %d policies", counts, len(deciders))
	if counts[audit.PolicyLoaded]+counts[audit.PolicyRejected] != reloads+1 {
		t.Errorf("not every reload was answered")
	}
	for _, kind := range []string{audit.PolicyRejected, audit.ListenerOpened, audit.FindingRaised, audit.FindingCleared, audit.AuditFailed} {
		if counts[kind] < reloads/20 {
			t.Errorf("%d records of %s: that is no load", counts[kind], kind)
		}
	}
	if len(deciders) < reloads/4 {
		t.Errorf("%d policies decided something: that is no load", len(deciders))
	}
}
