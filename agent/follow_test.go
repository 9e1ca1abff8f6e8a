package agent

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/agent/listen"
	"github.com/portaudit/portaudit/registry"
)

// step of a host whose kernel tells of its listeners.
type told struct {
	after time.Duration // since the step before
	do    func(h *host, changes chan<- listen.Change)
}

// opens tells of a TCP socket that opens, and adds it to what audits see if it
// is to last.
func opens(socket uint64, port registry.Port, lasts bool) func(*host, chan<- listen.Change) {
	return func(h *host, changes chan<- listen.Change) {
		if lasts {
			h.snapshot.Sockets = append(h.snapshot.Sockets, listening(port).Sockets...)
			h.snapshot.Generation++
		}
		changes <- listen.Change{Opened: true, Time: time.Now(), Transport: registry.TCP, Port: port, Socket: socket}
	}
}

func closes(socket uint64, port registry.Port) func(*host, chan<- listen.Change) {
	return func(_ *host, changes chan<- listen.Change) {
		changes <- listen.Change{Time: time.Now(), Transport: registry.TCP, Port: port, Socket: socket}
	}
}

// binds tells of a UDP socket of a client.
// TestFollowBeforeAnAudit: what is told of before any audit has worked is decided
// on, without what only an audit knows of the host.
func TestFollowBeforeAnAudit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, h, changes := t.TempDir(), &host{err: errors.New("the kernel is busy")}, make(chan listen.Change, 4)
		runFor(t, dir, h, mustPolicy(t, alertAll), 5*time.Second, func(o *Options) {
			o.Realtime = Realtime{Changes: changes, Admit: admit, Lost: func() uint64 { return 0 }}
			opens(1, 8080, false)(h, changes)
		})
		wantLogged(t, dir, "agent.started", "policy.loaded", "audit.failed", "listener.opened", "finding.raised all", "agent.stopped")
	})
}

func binds(socket uint64) func(*host, chan<- listen.Change) {
	return func(_ *host, changes chan<- listen.Change) {
		changes <- listen.Change{Opened: true, Time: time.Now(), Transport: registry.UDP, Port: 40000, Socket: socket, Asked: listen.Yes}
	}
}

// admit makes the socket that a change tells of.
func admit(c listen.Change) (listen.Socket, bool) {
	s := listening(c.Port).Sockets[0]
	s.Transport, s.Address = c.Transport, netip.IPv4Unspecified()
	return s, c.Port != 9999
}

// followFor lets the agent follow the steps, and audit every ten seconds.
func followFor(t *testing.T, dir, rules string, lost func() uint64, steps []told) {
	t.Helper()
	var mu sync.Mutex // of the host, which changes while it is audited
	h, changes := &host{snapshot: listening()}, make(chan listen.Change, 16)
	h.snapshot.Generation = 1
	if lost == nil {
		lost = func() uint64 { return 0 }
	}
	go func() { // ends with the steps
		for _, s := range steps {
			time.Sleep(s.after)
			mu.Lock()
			s.do(h, changes)
			mu.Unlock()
		}
	}()
	runFor(t, dir, h, mustPolicy(t, rules), 65*time.Second, func(o *Options) {
		o.Interval = 10 * time.Second
		o.List = func(ctx context.Context) (listen.Snapshot, error) {
			mu.Lock()
			defer mu.Unlock()
			s, err := h.list(ctx)
			s.Sockets = slices.Clone(s.Sockets)
			return s, err
		}
		o.Realtime = Realtime{Changes: changes, Admit: admit, Lost: lost, Text: "told"}
	})
}

func TestRunFollowsChanges(t *testing.T) {
	begin := []string{"agent.started", "policy.loaded"}
	tests := []struct {
		reason, rules string
		steps         []told
		want          []string
	}{
		{"one that lasts is told of at once, and once", alertAll, []told{{5 * time.Second, opens(1, 80, true)}},
			[]string{"listener.opened", "finding.raised all"}},
		{"one that is gone before an audit is told of with its end", alertAll,
			[]told{{5 * time.Second, opens(1, 80, false)}, {time.Millisecond, closes(1, 80)}},
			[]string{"listener.opened", "finding.raised all", "finding.cleared all", "listener.closed"}},
		{"it is so where the policy allows it", allowAll,
			[]told{{5 * time.Second, opens(1, 80, false)}, {time.Millisecond, closes(1, 80)}},
			[]string{"listener.opened", "listener.closed"}},
		{"a socket of several of one listener closes", alertAll,
			[]told{{5 * time.Second, opens(1, 80, true)}, {time.Millisecond, opens(2, 80, false)}, {time.Millisecond, closes(2, 80)}},
			[]string{"listener.opened", "finding.raised all"}},
		{"an audit has seen it: audits say when it is gone", alertAll,
			[]told{{5 * time.Second, opens(1, 80, true)}, {10 * time.Second, closes(1, 80)}},
			[]string{"listener.opened", "finding.raised all"}},
		{"one of which no audit sees anything is given up", alertAll, []told{{5 * time.Second, opens(1, 80, false)}},
			[]string{"listener.opened", "finding.raised all", "finding.cleared all", "listener.closed"}},
		{"the end of one that opened before", alertAll, []told{{5 * time.Second, closes(7, 80)}}, nil},
		{"a client's question, that the policy allows", allowAll, []told{{5 * time.Second, binds(1)}}, nil},
		{"a client's question, that it does not", alertAll, []told{{5 * time.Second, binds(1)}},
			[]string{"listener.opened", "finding.raised all", "finding.cleared all", "listener.closed"}},
		{"one that cannot be told of", alertAll, []told{{5 * time.Second, opens(1, 9999, false)}}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				followFor(t, dir, tt.rules, nil, tt.steps)
				wantLogged(t, dir, append(append(append([]string{}, begin...), tt.want...), "agent.stopped")...)
			})
		})
	}
}

// TestBriefListener holds what is recorded of a listener that lived between two
// audits.
func TestBriefListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		followFor(t, dir, allowAll, nil, []told{{5 * time.Second, opens(1, 80, false)}, {3 * time.Millisecond, closes(1, 80)}})
		for e, err := range audit.ReadFrom(dir+"/log", 0) {
			if err != nil {
				t.Fatal(err)
			}
			if e.Event != audit.ListenerClosed {
				continue
			}
			if e.LastSeen.Sub(*e.FirstSeen) != 3*time.Millisecond || !strings.HasSuffix(e.Message, " for 3ms") {
				t.Errorf("%q, from %v to %v: want 3 ms", e.Message, e.FirstSeen, e.LastSeen)
			}
			if at := e.Time.Sub(bubbleStart()); at > 5100*time.Millisecond {
				t.Errorf("it was recorded after %v", at)
			}
		}
		wantTally(t, dir, Tally{Told: 2, Brief: 1})
	})
}

// TestLostChanges: what was lost is an event, a gap of the next audit, which
// comes at once, and of no other.
func TestLostChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		var lost atomic.Uint64
		followFor(t, dir, allowAll, lost.Load, []told{
			{5 * time.Second, func(h *host, changes chan<- listen.Change) { lost.Store(7); opens(1, 80, true)(h, changes) }},
		})
		wantLogged(t, dir, "agent.started", "policy.loaded", "listener.opened", "changes.lost", "coverage.changed", "coverage.changed", "agent.stopped")
		wantMessages(t, dir, audit.ChangesLost, "7 changes were lost")
		wantTally(t, dir, Tally{Told: 1, Lost: 7})

		// After a restart it is counted anew, and told of.
		lost.Store(0)
		followFor(t, dir, allowAll, lost.Load, []told{
			{5 * time.Second, func(h *host, changes chan<- listen.Change) { lost.Store(3); opens(2, 81, true)(h, changes) }},
		})
		wantMessages(t, dir, audit.ChangesLost, "7 changes were lost", "3 changes were lost")
		wantTally(t, dir, Tally{Told: 2, Lost: 10})
	})
}

// TestWatchEnds: that nothing is told of any more is known to who asks, and the
// audits go on.
func TestWatchEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		followFor(t, dir, allowAll, nil, []told{
			{5 * time.Second, func(_ *host, changes chan<- listen.Change) { close(changes) }},
		})
		wantLogged(t, dir, "agent.started", "policy.loaded", "coverage.changed", "coverage.changed", "agent.stopped")
		s, err := readState(dir + "/state")
		if err != nil || len(s.Coverage.Notes) != 1 || !strings.HasPrefix(s.Coverage.Notes[0].Text, "ended") {
			t.Errorf("the coverage is %+v, %v", s.Coverage, err)
		}
	})
}

// TestUnsettledChange: what a change told of and the audit did not see is counted.
func TestUnsettledChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		followFor(t, dir, allowAll, nil, []told{{5 * time.Second, opens(1, 80, false)}, {time.Second, opens(2, 81, true)}})
		wantTally(t, dir, Tally{Told: 2, Unsettled: 1})
	})
}

func wantTally(t *testing.T, dir string, want Tally) {
	t.Helper()
	s, err := readState(dir + "/state")
	if err != nil || s.Tally != want {
		t.Errorf("counted %+v, %v; want %+v", s.Tally, err, want)
	}
}
