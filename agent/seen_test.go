package agent

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/agent/listen"
	"github.com/portaudit/portaudit/registry"
)

// TestSightings holds what records make of a listener: when it was seen first and
// last, and how often.
func TestSightings(t *testing.T) {
	hour := func(h int) time.Time { return time.Date(2026, 11, 28, h, 0, 0, 0, time.UTC) }
	record := func(h int, kind, change string, owners ...listen.Owner) audit.Event {
		e, _ := recordOf(t, tcp("127.0.0.1", 8080, owners...))
		first, last := hour(h), hour(h)
		e.Event, e.Change, e.Time, e.FirstSeen, e.LastSeen = kind, change, hour(h).Add(time.Minute), &first, &last
		return e
	}
	x, y, denied := ran("/x", "u", 7), ran("/y", "u", 7), listen.Owner{How: listen.Denied}
	replaced := record(12, audit.ListenerChanged, changeOwner, y)
	replaced.Replaces = record(12, "", "", x).Listener
	resolved := record(12, audit.ListenerChanged, changeResolved, x)
	resolved.Replaces = record(12, "", "", denied).Listener
	tests := []struct {
		reason  string
		records []audit.Event
		since   int
		want    []string
	}{
		{"it is there", []audit.Event{record(9, audit.ListenerOpened, "", x)}, 0, []string{"/x 1 09:00-20:00"}},
		{"it was found, and nothing is known of its beginning", []audit.Event{record(9, audit.FindingRaised, "", x)}, 0, []string{"/x 1 09:00-20:00"}},
		{"opened and closed twice", []audit.Event{record(9, audit.ListenerOpened, "", x), record(10, audit.ListenerClosed, "", x), record(11, audit.ListenerOpened, "", x), record(12, audit.ListenerClosed, "", x)}, 0,
			[]string{"/x 2 09:00-12:00"}},
		{"started anew", []audit.Event{record(9, audit.ListenerOpened, "", x), record(10, audit.ListenerChanged, changeReplaced, x)}, 0, []string{"/x 2 09:00-20:00"}},
		{"hashed is no other sight", []audit.Event{record(9, audit.ListenerOpened, "", x), record(10, audit.ListenerChanged, changeHashed, x)}, 0, []string{"/x 1 09:00-20:00"}},
		{"another program took its place", []audit.Event{record(9, audit.ListenerOpened, "", x), replaced}, 0, []string{"/x 1 09:00-12:01", "/y 1 12:01-20:00"}},
		{"what was not seen at first is forgotten when it is", []audit.Event{record(9, audit.ListenerOpened, "", denied), resolved}, 0, []string{"/x 1 12:01-20:00"}},
		{"closed before the time that is asked for", []audit.Event{record(9, audit.ListenerOpened, "", x), record(10, audit.ListenerClosed, "", x)}, 11, nil},
		{"open in it, though from before", []audit.Event{record(9, audit.ListenerOpened, "", x), record(12, audit.ListenerClosed, "", x)}, 11, []string{"/x 1 09:00-12:00"}},
		{"about something else", []audit.Event{{Event: audit.AgentStarted, Time: hour(9)}}, 0, nil},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			s := newMemory(&registry.Catalog{})
			for _, e := range tt.records {
				s.take(e)
				s.forget(hour(tt.since))
			}
			var got []string
			for _, seen := range s.all(hour(20)) {
				got = append(got, fmt.Sprintf("%s %d %s-%s", seen.Facts.Owners[0].Executable, seen.Times, seen.First.Format("15:04"), seen.Last.Format("15:04")))
			}
			slices.Sort(got)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("want (-), got (+):\n%s", diff)
			}
		})
	}
}

// TestSeenInLog holds that the log of a daemon, a watch and a look teach the same.
func TestSeenInLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, judge := t.TempDir(), mustPolicy(t, allowAll)
		h := &host{snapshot: listening(8080)}
		for i := range h.snapshot.Sockets {
			h.snapshot.Sockets[i].Owners = []listen.Owner{ran("/usr/bin/x", "u", 7)}
		}
		runFor(t, dir, h, judge, 5*time.Second, nil)
		o := ScanOptions{List: h.list, Catalog: &registry.Catalog{}, Policy: judge, StateDir: t.TempDir()}
		once, _, err := See(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		watched, _, err := SeeWhile(ctx, WatchOptions{ScanOptions: o, Interval: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		recorded, err := SeenInLog(filepath.Join(dir, "log"), o.Catalog, bubbleStart())
		if err != nil {
			t.Fatal(err)
		}
		rules := func(seen []Sighting) string { return rulesOf(Learn(seen, LearnOptions{Judge: judge})) }
		if want := rules(once); !strings.Contains(want, "x-8080") || rules(watched) != want || rules(recorded) != want {
			t.Errorf("a look\n%s\na watch\n%s\nthe log\n%s", want, rules(watched), rules(recorded))
		}
		if later, err := SeenInLog(filepath.Join(dir, "log"), o.Catalog, time.Now().Add(time.Hour)); err != nil || len(later) > 0 {
			t.Errorf("in an hour %d were seen: %v", len(later), err)
		}
		if _, err := SeenInLog(filepath.Join(dir, "none"), o.Catalog, bubbleStart()); err == nil {
			t.Error("no log, and no error")
		}
	})
}

// TestLearnFromARecord holds what is not learnt of names that the log made
// visible.
func TestLearnFromARecord(t *testing.T) {
	for _, tt := range []struct {
		reason, path, want string
	}{
		{"as it was", "/opt/x", "- id: x-1"},
		{"a newline, which reads like a backslash and an n", "/opt/x\n", "the log does not hold the name of its program as it was"},
	} {
		e, _ := recordOf(t, tcp("127.0.0.1", 1, in(`a\x2d.service`, ran(tt.path, "u", 7))))
		s := newMemory(&registry.Catalog{})
		s.take(e)
		seen := s.all(time.Unix(1e9, 0))
		lesson := Learn(seen, LearnOptions{Judge: mustPolicy(t, allowAll)})
		if !strings.Contains(strings.ReplaceAll(string(lesson.Text), "\n#  ", ""), tt.want) {
			t.Errorf("%s: want %q in\n%s", tt.reason, tt.want, lesson.Text)
		}
		holdsLesson(t, seen, lesson, mustPolicy(t, allowAll), false)
	}
}
