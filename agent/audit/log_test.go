package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

func openLog(t testing.TB, dir string) *Log {
	t.Helper()
	l, err := Open(dir, Options{Host: "alpha", Boot: "b1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// add appends events and makes them durable, and returns the number of the last.
func add(l *Log, events ...Event) (uint64, error) {
	_, err := l.Append(events...)
	if err == nil {
		_, err = l.Sync()
	}
	return l.Seq(), err
}

// writeLog makes a log of n small records in a new directory, the first of which
// is its header, and returns that.
func writeLog(t testing.TB, n int) string {
	t.Helper()
	dir := t.TempDir()
	l := openLog(t, dir)
	for i := 2; i <= n; i++ {
		if _, err := add(l, Event{Event: ListenerOpened, Message: "record " + strconv.Itoa(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func readLog(t testing.TB, dir string, after uint64) []Event {
	t.Helper()
	var all []Event
	for e, err := range ReadFrom(dir, after) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

func TestAppendFillsIn(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "log")
	zone := time.FixedZone("elsewhere", 3600)
	now := time.Date(2026, 11, 20, 14, 0, 0, 123456789, zone)
	up := 90 * time.Second
	l, err := Open(dir, Options{
		Host: "alpha", Boot: "b1", Now: func() time.Time { return now },
		Uptime: func() time.Duration { up += 1500 * time.Nanosecond; return up },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	given := []Event{
		{Event: AgentStarted, Version: 9, Seq: 9, Prev: "x", Host: "forged", Boot: "forged", Monotonic: 7},
		{Event: ListenerOpened, Time: now.Add(-time.Hour)},
	}
	done, err := l.Append(given...)
	if err != nil || len(done) != 3 || l.Seq() != 3 {
		t.Fatalf("Append = %d events, %v and Seq = %d, want 3", len(done), err, l.Seq())
	}
	for i, want := range []string{LogSegment, AgentStarted, ListenerOpened} {
		if e := done[i]; e.Event != want || e.Seq != uint64(i)+1 || e.Host != "alpha" {
			t.Errorf("acknowledged as %d: %+v, want %s as it was recorded", i+1, e, want)
		}
	}
	if given[0].Seq != 9 || given[1].Host != "" {
		t.Error("Append changed the events of its caller")
	}
	raw, err := os.ReadFile(filepath.Join(dir, logName))
	if err != nil {
		t.Fatal(err)
	}
	lines := []string{
		`"time":"2026-11-20T13:00:00.123456789Z","event":"log.segment","host":"alpha","boot":"b1",` +
			`"prev":"0000000000000000000000000000000000000000000000000000000000000000","monotonic_us":90000001,"message":"the log begins"}`,
		`"time":"2026-11-20T13:00:00.123456789Z","event":"agent.started","host":"alpha","boot":"b1","prev":"SUM","monotonic_us":90000003}`,
		`"time":"2026-11-20T12:00:00.123456789Z","event":"listener.opened","host":"alpha","boot":"b1","prev":"SUM","monotonic_us":90000004}`,
	}
	want, head := "", firstHead()
	for i, line := range lines {
		line = fmt.Sprintf(`{"schema":1,"seq":%d,`, i+1) + strings.Replace(line, "SUM", head.Hash, 1)
		head = head.follow([]byte(line))
		want += line + "\n"
	}
	if string(raw) != want {
		t.Errorf("the log is\n%swant\n%s", raw, want)
	}
	checkModes(t, dir)
}

func checkModes(t *testing.T, dir string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		return // has no such modes
	}
	for name, want := range map[string]fs.FileMode{"": 0o700, "..": 0o700, logName: 0o600, lockName: 0o600, reserveName: 0o600} {
		fi, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
		} else if fi.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v", fi.Name(), fi.Mode().Perm(), want)
		}
	}
}

func TestAppendNothing(t *testing.T) {
	l := openLog(t, writeLog(t, 3))
	if seq, err := add(l); seq != 3 || err != nil {
		t.Errorf("Append() = %d, %v, want 3", seq, err)
	}
}

func TestReopenGoesOn(t *testing.T) {
	dir := writeLog(t, 3)
	l := openLog(t, dir)
	if rec := l.Recovered(); rec.Seq != 3 || rec.Dropped != 0 || rec.Reason != nil {
		t.Errorf("Recovered = %+v, want 3 records and nothing dropped", rec)
	}
	if seq, err := add(l, Event{Event: AgentStopped}); seq != 4 || err != nil {
		t.Fatalf("Append = %d, %v, want 4", seq, err)
	}
	for after, want := range []int{4, 3, 2, 1, 0, 0} {
		got := readLog(t, dir, uint64(after))
		if len(got) != want {
			t.Errorf("%d records after %d, want %d", len(got), after, want)
		}
		if want > 0 && got[0].Seq != uint64(after)+1 {
			t.Errorf("the first record after %d is %d", after, got[0].Seq)
		}
	}
}

func TestAppendConcurrently(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, dir)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 5 {
				if _, err := l.Append(Event{Event: ListenerOpened}, Event{Event: ListenerClosed}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if _, err := l.Sync(); err != nil {
		t.Error(err)
	}
	if got := readLog(t, dir, 1); len(got) != 80 {
		t.Errorf("%d records, want 80", len(got))
	}
}

func TestHostileStrings(t *testing.T) {
	tests := []struct{ name, command, want string }{
		{"newline and a forged record", "x\n{\"schema\":1,\"seq\":9}", `x\n{"schema":1,"seq":9}`},
		{"terminal title", "\x1b]0;owned\a", `\x1b]0;owned\a`},
		{"right-to-left override", "\u202egpj.exe", `\u202egpj.exe`},
		{"NUL", "a\x00b", `a\x00b`},
		{"DEL and C1", "\x7f\u0085", `\x7f\u0085`},
		{"invalid UTF-8", "\xff\xfe\xc3", `\xff\xfe\xc3`},
		{"line separator", "\u2028", `\u2028`},
		{"markup and quotes", `<b>"'&\`, `<b>"'&\`},
		{"2 MB command line", strings.Repeat("A", 2_000_000), strings.Repeat("A", 4065) + "…[+1995935 bytes]"},
	}
	dir := t.TempDir()
	l := openLog(t, dir)
	for _, tt := range tests {
		e := Event{Event: ListenerOpened, Message: tt.name, Owners: []Owner{{Command: tt.command}}}
		if _, err := l.Append(e); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
	}
	for i, e := range readLog(t, dir, 1) {
		if got := e.Owners[0].Command; got != tests[i].want {
			t.Errorf("%s: command %.80q, want %.80q", tests[i].name, got, tests[i].want)
		}
	}
	raw, err := os.ReadFile(filepath.Join(dir, logName))
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(raw, []byte("\n")); n != 1+len(tests) {
		t.Errorf("%d lines for a header and %d records", n, len(tests))
	}
	for _, line := range strings.Split(strings.TrimSuffix(string(raw), "\n"), "\n") {
		if Visible(line) != line {
			t.Errorf("the file itself is not harmless: %.200q", line)
		}
	}
}

func TestAppendRefusesWhatHasNoJSON(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, dir)
	bad := time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)
	_, err := l.Append(Event{Event: AgentStarted}, Event{Event: ListenerOpened, FirstSeen: &bad})
	if err == nil || !strings.Contains(err.Error(), ListenerOpened) {
		t.Errorf("error %v, want one that names the event", err)
	}
	if seq, err := add(l, Event{Event: AgentStarted}); seq != 2 || err != nil {
		t.Errorf("Append afterwards = %d, %v, want 2: nothing was written before", seq, err)
	}
	readLog(t, dir, 0)
}

func TestClosed(t *testing.T) {
	dir := writeLog(t, 1)
	l := openLog(t, dir)
	for range 2 {
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if seq, err := add(l, Event{Event: AgentStopped}); !errors.Is(err, os.ErrClosed) || seq != 1 {
		t.Errorf("Append = %d, %v, want 1 and os.ErrClosed", seq, err)
	}
	openLog(t, dir) // is free again
}

func TestOpenRefuses(t *testing.T) {
	tests := []struct {
		name string
		make func(t *testing.T, dir string) // at dir, which does not exist
	}{
		{"a file where the directory should be", func(t *testing.T, dir string) {
			if err := os.WriteFile(dir, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		{"a directory where the file should be", func(t *testing.T, dir string) {
			if err := os.MkdirAll(filepath.Join(dir, logName), 0o700); err != nil {
				t.Fatal(err)
			}
		}},
		{"a read-only directory", func(t *testing.T, dir string) {
			if runtime.GOOS == "windows" || os.Geteuid() == 0 {
				t.Skip("no mode keeps root, or anyone on Windows, from writing into a directory")
			}
			if err := os.Mkdir(dir, 0o500); err != nil {
				t.Fatal(err)
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "log")
			tt.make(t, dir)
			l, err := Open(dir, Options{})
			if err == nil {
				l.Close()
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), dir) {
				t.Errorf("%v: does not name %s", err, dir)
			}
		})
	}
}

func TestReadFromWithoutLog(t *testing.T) {
	for _, err := range ReadFrom(t.TempDir(), 0) {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("error %v, want fs.ErrNotExist", err)
		}
		return
	}
	t.Error("no error")
}
