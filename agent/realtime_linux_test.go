package agent

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/agent/listen"
	"github.com/portaudit/portaudit/registry"
)

// briefPorts are the ports that TestBriefListenersAreSeen opens, one after the
// other.
const firstBrief, countBrief = 21000, 300

// openBriefly opens each of the ports for less than a millisecond, a hundred a
// second, and notes when listen(2) had returned.
func openBriefly(t *testing.T) map[uint32]time.Time {
	t.Helper()
	opened := map[uint32]time.Time{}
	began := time.Now()
	for i := range countBrief {
		time.Sleep(time.Until(began.Add(time.Duration(i) * 10 * time.Millisecond)))
		l, err := net.Listen("tcp4", "127.0.0.1:"+strconv.Itoa(firstBrief+i))
		if err != nil {
			t.Fatal(err)
		}
		opened[uint32(firstBrief+i)] = time.Now()
		l.Close()
	}
	return opened
}

// watchBriefly lets the agent work while brief listeners open, and returns when
// each finding was on disk: an alert goes out after that.
func watchBriefly(t *testing.T, realtime func(context.Context, *listen.Lister) Realtime) (opened, synced map[uint32]time.Time) {
	t.Helper()
	dir := t.TempDir()
	log, err := audit.Open(filepath.Join(dir, "log"), audit.Options{Host: "test", Boot: "boot"})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	sockets, err := listen.Open(listen.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer sockets.Close()
	ctx, cancel := context.WithCancel(t.Context())
	synced = map[uint32]time.Time{}
	var mu sync.Mutex
	ended := make(chan error, 1)
	o := Options{
		List: sockets.List, Catalog: &registry.Catalog{}, Policy: mustPolicy(t, alertAll), Log: log, LogDir: filepath.Join(dir, "log"),
		StateDir: filepath.Join(dir, "state"), Logger: slog.New(slog.DiscardHandler), Realtime: realtime(ctx, sockets),
		Interval: time.Second, Limits: Limits{Confirm: 1, Gone: 3}, Version: "test", PID: 1,
		Alerts: func(events ...audit.Event) {
			mu.Lock()
			defer mu.Unlock()
			for _, e := range events {
				if e.Event == audit.FindingRaised {
					synced[e.Port] = time.Now()
				}
			}
		},
	}
	go func() { ended <- Run(ctx, o) }() // ends with the context
	time.Sleep(500 * time.Millisecond)   // the first audit
	opened = openBriefly(t)
	told := func() (n int) {
		mu.Lock()
		defer mu.Unlock()
		for port := range opened {
			if _, ok := synced[port]; ok {
				n++
			}
		}
		return n
	}
	for deadline := time.Now().Add(3 * time.Second); o.Realtime.Changes != nil && told() < countBrief && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	return opened, synced
}

// TestBriefListenersAreSeen opens listeners that live for less than a
// millisecond: each is a finding on disk within milliseconds where the kernel
// tells of them, and next to none where audits are all there is.
func TestBriefListenersAreSeen(t *testing.T) {
	if os.Getenv("PORTAUDIT_TEST_TIMING") == "" || os.Geteuid() != 0 {
		t.Skip("needs root, a machine that does nothing else, and PORTAUDIT_TEST_TIMING=1")
	}
	told := func(ctx context.Context, sockets *listen.Lister) Realtime {
		w, err := listen.Watch(listen.WatchOptions{})
		if err != nil {
			t.Fatal(err)
		}
		changes := make(chan listen.Change, 1024)
		ended := make(chan error, 1)
		go func() { ended <- w.Send(ctx, changes) }() // ends with the watcher
		t.Cleanup(func() {
			t.Logf("%d changes were lost", w.Lost())
			if err := errors.Join(w.Close(), <-ended); err != nil {
				t.Error(err)
			}
		})
		return Realtime{Changes: changes, Admit: sockets.Admit, Lost: w.Lost, Text: "told"}
	}
	opened, synced := watchBriefly(t, told)
	var delays []time.Duration
	for port, at := range opened {
		if seen, ok := synced[port]; ok {
			delays = append(delays, seen.Sub(at))
		}
	}
	if len(delays) != countBrief {
		t.Fatalf("%d of %d listeners were seen", len(delays), countBrief)
	}
	slices.Sort(delays)
	median, most := delays[countBrief/2], delays[countBrief*99/100]
	_, polled := watchBriefly(t, func(context.Context, *listen.Lister) Realtime { return Realtime{} })
	seen := 0
	for port := range opened {
		if _, ok := polled[port]; ok {
			seen++
		}
	}
	t.Logf("%d of %d seen, on disk %v (median), %v (99 of 100) after listen(2) had returned; by audits alone %d", len(delays), countBrief, median, most, seen)
	if median > 5*time.Millisecond || most > 20*time.Millisecond {
		t.Error("want less than 5 ms, and 20 ms for 99 of 100")
	}
	if seen > countBrief/10 {
		t.Errorf("audits alone saw %d: these listeners are not brief", seen)
	}
}
