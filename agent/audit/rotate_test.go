package audit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// rotated makes a log of segments of about ten records each.
func rotated(t testing.TB, dir string, n int) *Log {
	t.Helper()
	l, err := Open(dir, Options{Host: "alpha", Boot: "b1", MaxSize: 3000})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if _, err := add(l, Event{Event: ListenerOpened, Message: fmt.Sprintf("event %d", i)}); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

func TestRotate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "log")
	l := rotated(t, dir, 100)
	all, err := readRaw(dir)
	if err != nil {
		t.Fatal(err)
	}
	list, err := listSegments(dir)
	if err != nil || len(list) < 5 {
		t.Fatalf("%d closed segments, %v", len(list), err)
	}
	if len(all) != 100+len(list)+1 || l.Seq() != uint64(len(all)) {
		t.Errorf("%d records in %d closed segments and the active one, Seq = %d", len(all), len(list), l.Seq())
	}
	for _, s := range list {
		if all[s.first-1].Event != LogSegment {
			t.Errorf("%s begins with %s", s.name(), all[s.first-1].Event)
		}
		info, err := os.Stat(filepath.Join(dir, s.name()))
		if err != nil || info.Size() > 3000 || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", s.name(), info, err)
		}
	}
	if got := readLog(t, dir, 0); len(got) != len(all) {
		t.Errorf("ReadFrom reads %d records, want %d", len(got), len(all))
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	checkModes(t, dir)
}

func TestRotateByAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		o := Options{MaxAge: time.Hour}
		l, err := Open(dir, o)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 5 {
			if i == 3 { // a log that is opened again is as old as it was
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				if l, err = Open(dir, o); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := add(l, Event{Event: AgentStarted}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(40 * time.Minute)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		var kinds []string
		for _, e := range readLog(t, dir, 0) {
			kinds = append(kinds, e.Event)
		}
		want := "log.segment agent.started agent.started log.segment agent.started agent.started log.segment agent.started"
		if got := strings.Join(kinds, " "); got != want {
			t.Errorf("the log is %s, want %s", got, want)
		}
	})
}

// A record that is larger than a segment may be gets one.
func TestRotateOfLargeRecords(t *testing.T) {
	dir := t.TempDir()
	l, err := Open(dir, Options{MaxSize: 100})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for range 3 {
		if _, err := add(l, Event{Event: AgentStarted, Message: strings.Repeat("x", 1000)}); err != nil {
			t.Fatal(err)
		}
	}
	if got := readLog(t, dir, 0); len(got) != 6 {
		t.Errorf("%d records, want 3 behind a header each", len(got))
	}
}

// What a crash between any two steps of a rotation leaves is gone on with.
func TestCrashWithinRotation(t *testing.T) {
	active := func(dir string) string { return filepath.Join(dir, logName) }
	last := func(dir string) string {
		list, err := listSegments(dir)
		if err != nil || len(list) == 0 {
			panic(err)
		}
		return filepath.Join(dir, list[len(list)-1].name())
	}
	tests := []struct {
		reason  string
		leave   func(dir string) error
		lost    int   // records of the log before
		dropped int64 // bytes; -1: some
	}{
		{"renamed, and no new file", func(dir string) error { return os.Remove(active(dir)) }, 1, 0},
		{"the new file is empty", func(dir string) error { return os.Truncate(active(dir), 0) }, 1, 0},
		{"its header is torn", func(dir string) error { return os.Truncate(active(dir), 50) }, 1, 50},
		{"its header is NUL bytes", func(dir string) error { return os.WriteFile(active(dir), make([]byte, 300), 0o600) }, 1, 300},
		{"its header lacks the newline", func(dir string) error {
			info, err := os.Stat(active(dir))
			return errors.Join(err, os.Truncate(active(dir), info.Size()-1))
		}, 1, -1},
		{"its header is whole", func(string) error { return nil }, 0, 0},
		{"the closed one is torn too, of which an fsync failed", func(dir string) error {
			info, err := os.Stat(last(dir))
			return errors.Join(err, os.Truncate(last(dir), info.Size()-10), os.Remove(active(dir)))
		}, 2, -1},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			dir := t.TempDir()
			l := rotated(t, dir, 30)
			if err := l.rotate(); err != nil {
				t.Fatal(err)
			}
			before := int(l.Seq())
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if err := tt.leave(dir); err != nil {
				t.Fatal(err)
			}
			l = openLog(t, dir)
			rec := l.Recovered()
			if rec.Seq != uint64(before-tt.lost) || rec.Dropped != tt.dropped && (tt.dropped >= 0 || rec.Dropped == 0) {
				t.Errorf("Recovered = %+v, want record %d and %d bytes dropped", rec, before-tt.lost, tt.dropped)
			}
			if _, err := l.Append(Event{Event: AgentStarted}); err != nil {
				t.Fatal(err)
			}
			all, err := readRaw(dir)
			if err != nil {
				t.Fatal(err)
			}
			want := before + 1
			if tt.lost > 1 {
				want-- // of the two, the header was made anew
			}
			if len(all) != want || all[len(all)-1].Event != AgentStarted {
				t.Errorf("%d records, the last %s; want %d", len(all), all[len(all)-1].Event, want)
			}
		})
	}
}

// A closed segment that is compressed has the head of the log too.
func TestOpenBehindPacked(t *testing.T) {
	dir := t.TempDir()
	l := rotated(t, dir, 30)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Tidy(t.Context(), dir, Retention{}, func(Event) error { return nil }); err != nil {
		t.Fatal(err)
	}
	list, err := listSegments(dir)
	if err != nil || !list[len(list)-1].packed {
		t.Fatalf("%+v, %v", list, err)
	}
	if err := os.Remove(filepath.Join(dir, logName)); err != nil {
		t.Fatal(err)
	}
	before := openLog(t, dir).Recovered().Seq
	if all := readLog(t, dir, before); before == 0 || len(all) != 1 || all[0].Event != LogSegment {
		t.Errorf("behind record %d: %+v, want a header", before, all)
	}
}

// A log that cannot be renamed goes on as it is, and says so.
func TestRotateStuck(t *testing.T) {
	refused := errors.New("refused")
	d := realDisk()
	rename := d.rename
	d.rename = func(string, string) error { return refused }
	now := time.Now()
	dir := t.TempDir()
	l, err := openOn(d, dir, Options{MaxSize: 1000, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for range 20 {
		if _, err := add(l, Event{Event: AgentStarted}); err != nil {
			t.Fatal(err)
		}
	}
	if h := l.Health(); h.Err != nil || !errors.Is(h.Unrotated, refused) {
		t.Errorf("%+v, want that it cannot be rotated", h)
	}
	l.disk.rename = rename
	now = now.Add(rotateAgain)
	if _, err := add(l, Event{Event: AgentStarted}); err != nil || l.Health().Unrotated != nil || l.first == 1 {
		t.Errorf("%v, %+v, want a new segment a minute later", err, l.Health())
	}
}
