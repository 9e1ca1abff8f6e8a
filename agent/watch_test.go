package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/portaudit/portaudit/agent/listen"
	"github.com/portaudit/portaudit/registry"
)

// watchFor watches a host, which is audited every ten seconds, while steps are
// taken, and returns what each view showed: the time since the start, the ports,
// and what changed.
func watchFor(t *testing.T, h *host, lost func() uint64, steps []told) (shown []string, views []View) {
	t.Helper()
	if lost == nil {
		lost = func() uint64 { return 0 }
	}
	var mu sync.Mutex // of the host
	changes := make(chan listen.Change, 16)
	go func() { // ends with the steps
		for _, s := range steps {
			time.Sleep(s.after)
			mu.Lock()
			s.do(h, changes)
			mu.Unlock()
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 35*time.Second)
	defer cancel()
	began := time.Now()
	err := Watch(ctx, WatchOptions{
		ScanOptions: ScanOptions{Catalog: &registry.Catalog{}, Policy: mustPolicy(t, alertAll), Host: "test", StateDir: t.TempDir(),
			List: func(ctx context.Context) (listen.Snapshot, error) {
				mu.Lock()
				defer mu.Unlock()
				s, err := h.list(ctx)
				s.Sockets = slices.Clone(s.Sockets)
				return s, err
			}},
		Realtime: Realtime{Changes: changes, Admit: admit, Lost: lost, Text: "told"}, Interval: 10 * time.Second,
	}, func(v View) {
		var ports []string
		for _, l := range v.Listeners {
			ports = append(ports, fmt.Sprint(l.Port))
		}
		var kinds []string
		for _, e := range v.Changes {
			kinds = append(kinds, strings.TrimPrefix(strings.TrimPrefix(e.Event, "listener."), "finding."))
		}
		if v.Failure != "" {
			kinds = append(kinds, v.Failure)
		}
		shown = append(shown, fmt.Sprintf("%v [%s] %s", time.Since(began), strings.Join(ports, " "), strings.Join(kinds, " ")))
		views = append(views, v)
	})
	if err != nil {
		t.Fatal(err)
	}
	return shown, views
}

func TestWatch(t *testing.T) {
	goes := func(h *host, _ chan<- listen.Change) { h.snapshot.Sockets, h.snapshot.Generation = nil, 9 }
	fails := func(h *host, _ chan<- listen.Change) { h.err = errors.New("no tables") }
	works := func(h *host, _ chan<- listen.Change) { h.err = nil }
	ends := func(_ *host, changes chan<- listen.Change) { close(changes) }
	start := "0s [22] opened raised"
	for _, tt := range []struct {
		reason string
		steps  []told
		want   []string
	}{
		{"nothing changes: it is shown once", nil, []string{start}},
		{"one that lasts is shown at once, and is no news to the audit", []told{{5 * time.Second, opens(1, 80, true)}},
			[]string{start, "5.05s [22 80] opened raised", "10.05s [22 80] "}},
		{"one that is gone before it was shown", []told{{5 * time.Second, opens(1, 80, false)}, {time.Millisecond, closes(1, 80)}},
			[]string{start, "5.05s [22] opened raised cleared closed"}},
		{"one that is gone before an audit", []told{{5 * time.Second, opens(1, 80, false)}, {time.Second, closes(1, 80)}},
			[]string{start, "5.05s [22 80] opened raised", "6.05s [22] cleared closed"}},
		{"one that closes between audits", []told{{5 * time.Second, goes}},
			[]string{start, "10.05s [] cleared closed"}},
		{"a client's question is not spoken of before an audit", []told{{5 * time.Second, binds(1)}},
			[]string{start, "5.05s [22 40000] opened raised", "10.05s [22] cleared closed"}},
		{"audits that fail leave what was seen", []told{{5 * time.Second, fails}, {10 * time.Second, works}},
			[]string{start, "10.05s [22] no tables", "20.05s [22] "}},
		{"nothing is told of any more: audits go on", []told{{5 * time.Second, ends}, {time.Second, goes}},
			[]string{start, "10.05s [] cleared closed"}},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &host{snapshot: listening(22)}
				h.snapshot.Generation = 1
				shown, _ := watchFor(t, h, nil, tt.steps)
				if d := cmp.Diff(tt.want, shown); d != "" {
					t.Errorf("shown (-want +got):\n%s", d)
				}
			})
		})
	}
}

// TestWatchLoses: what was lost is said, and an audit looks at once.
func TestWatchLoses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, n := &host{snapshot: listening(22)}, uint64(0)
		h.snapshot.Generation = 1
		shown, views := watchFor(t, h, func() uint64 { return n }, []told{{5 * time.Second, func(h *host, changes chan<- listen.Change) {
			n = 7
			opens(1, 80, true)(h, changes)
			opens(2, 81, true)(h, swallowed())
		}}})
		want := []string{"0s [22] opened raised", "5.05s [22 80 81] opened raised changes.lost opened raised", "10.05s [22 80 81] "}
		if d := cmp.Diff(want, shown); d != "" {
			t.Errorf("shown (-want +got):\n%s", d)
		}
		if c := views[1].Changes[2]; c.Message != "7 changes were lost: listeners may have opened and closed unseen" {
			t.Errorf("it says %q", c.Message)
		}
	})
}

// swallowed takes a change: the kernel's buffer had no room for it.
func swallowed() chan<- listen.Change {
	return make(chan listen.Change, 1)
}

// TestViewExplains: each listener of a view, and one that only a change told of,
// is explained by the rules; one that is not in it is not.
func TestViewExplains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &host{snapshot: listening(22)}
		_, views := watchFor(t, h, nil, []told{{5 * time.Second, opens(1, 80, false)}})
		v := views[1]
		for _, l := range v.Listeners {
			steps := v.Explain(l)
			if len(steps) == 0 || steps[0].Rule != "all" || steps[0].Outcome != "matched" {
				t.Errorf("port %d is explained by %+v", l.Port, steps)
			}
		}
		if steps := views[0].Explain(v.Listeners[1]); steps != nil {
			t.Errorf("a view before it opened explains it by %+v", steps)
		}
		if since := v.Listeners[0].FirstSeen; !since.IsZero() {
			t.Errorf("what was there before anybody looked is since %v", since)
		}
		if since := v.Listeners[1].FirstSeen; since.Sub(bubbleStart()) != 5*time.Second {
			t.Errorf("what opened is since %v", since)
		}
	})
}

// TestWatchFailsAtFirst: without a first audit there is nothing to show.
func TestWatchFailsAtFirst(t *testing.T) {
	h := &host{err: errors.New("no tables")}
	err := Watch(t.Context(), WatchOptions{ScanOptions: ScanOptions{List: h.list}}, func(View) { t.Error("shown") })
	if !errors.Is(err, h.err) {
		t.Errorf("the error is %v, want %v", err, h.err)
	}
}
