package audit

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// rewrite replaces the log in dir by what change makes of it.
func rewrite(t *testing.T, dir string, change func(raw []byte) []byte) {
	t.Helper()
	path := filepath.Join(dir, logName)
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, change(raw), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestTornTail(t *testing.T) {
	nul := strings.Repeat("\x00", 300)
	tests := []struct {
		name, tail string
		torn       bool // the tail has no newline at its end
	}{
		{"nothing", "", false},
		{"a short line", `{"schema":1,"seq":4,"ti`, true},
		{"one byte", "{", true},
		{"half a rune", `{"schema":1,"seq":4,"message":"` + "\xe6\x9d", true},
		{"300 NUL bytes after a power cut", nul, true},
		{"NUL bytes, then the end of a line", nul + "\"}\n", false},
		{"a short line, then NUL bytes", `{"schema":1,` + nul, true},
		{"an empty line", "\n", false},
		{"two lines of something else", "hello\nworld\n", false},
		{"JSON that is no record", "{}\n", false},
		{"a line longer than any record", strings.Repeat("x", maxLine+1) + "\n", false},
		{"a long line without an end", strings.Repeat("\x00", maxLine+70_000), true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := writeLog(t, 3)
			rewrite(t, dir, func(raw []byte) []byte { return append(raw, tt.tail...) })
			_, err := verifyFile(t, dir)
			if (err == nil) != (tt.tail == "") || errors.Is(err, io.ErrUnexpectedEOF) != tt.torn {
				t.Errorf("before the recovery, Verify says %v", err)
			}
			l := openLog(t, dir)
			rec := l.Recovered()
			if rec.Dropped != int64(len(tt.tail)) || rec.Seq != 3 || (rec.Reason == nil) != (tt.tail == "") {
				t.Errorf("Recovered = %+v, want %d bytes dropped behind record 3", rec, len(tt.tail))
			}
			if seq, err := add(l, Event{Event: AgentStarted}); seq != 4 || err != nil {
				t.Fatalf("Append = %d, %v, want 4", seq, err)
			}
			if got := readLog(t, dir, 0); len(got) != 4 {
				t.Errorf("%d records, want 4", len(got))
			}
		})
	}
}

// A record whose newline did not reach the disk was never acknowledged.
func TestTornNewline(t *testing.T) {
	dir := writeLog(t, 3)
	rewrite(t, dir, func(raw []byte) []byte { return bytes.TrimSuffix(raw, []byte("\n")) })
	if rec := openLog(t, dir).Recovered(); rec.Seq != 2 || rec.Dropped == 0 {
		t.Errorf("Recovered = %+v, want 2 records", rec)
	}
}

func TestOnlyGarbage(t *testing.T) {
	for _, garbage := range []string{"", "\x00", "{", "hello\n", strings.Repeat("\x00", 300)} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, logName), []byte(garbage), 0o600); err != nil {
			t.Fatal(err)
		}
		l := openLog(t, dir)
		if rec := l.Recovered(); rec.Seq != 0 || rec.Dropped != int64(len(garbage)) {
			t.Errorf("%q: Recovered = %+v", garbage, rec)
		}
		if seq, err := add(l, Event{Event: AgentStarted}); seq != 2 || err != nil {
			t.Errorf("%q: Append = %d, %v, want 2, behind a header", garbage, seq, err)
		}
	}
}

func verifyFile(t testing.TB, dir string) (Head, error) {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, logName))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return Verify(f)
}

// damage changes a log of 5 records, given line by line with newlines.
type damage func(lines []string) []string

func replace(i int, old, new string) damage {
	return func(lines []string) []string {
		lines[i] = strings.Replace(lines[i], old, new, 1)
		return lines
	}
}

func TestDamageIsKept(t *testing.T) {
	tests := []struct {
		name   string
		change damage
		bad    uint64
	}{
		{"a record is no JSON", replace(2, "{", "["), 3},
		{"the first record is no JSON", replace(0, "{", ""), 1},
		{"a word was changed", replace(2, "record 3", "record 7"), 3},
		{"a word of the last but one", replace(3, "record 4", "record 7"), 4},
		{"a space was added", replace(2, `,"seq"`, `, "seq"`), 3},
		{"a line end was changed", replace(2, "\n", "\r\n"), 3},
		{"a newline was lost", replace(2, "\n", ""), 3},
		{"invalid UTF-8", replace(2, "record 3", "record \xff"), 3},
		{"NUL bytes in the middle", replace(2, "record", "\x00\x00\x00\x00\x00\x00"), 3},
		{"a port that is none", replace(2, `"message":`, `"port":65536,"message":`), 3},
		{"a newer format", replace(4, `"schema":1`, `"schema":2`), 5},
		{"schema 0", replace(2, `"schema":1`, `"schema":0`), 3},
		{"a forged start", replace(0, `"prev":"0`, `"prev":"1`), 1},
		{"a forged sequence number", replace(2, `"seq":3`, `"seq":33`), 3},
		{"a prev that is no hash", replace(2, `"prev":"`, `"prev":"x`), 3},
		{"a record was deleted", func(l []string) []string { return slices.Delete(l, 2, 3) }, 3},
		{"the last but one was deleted", func(l []string) []string { return slices.Delete(l, 3, 4) }, 4},
		{"the first was deleted", func(l []string) []string { return l[1:] }, 1},
		{"a record stands twice", func(l []string) []string { return slices.Insert(l, 3, l[2]) }, 4},
		{"the last stands twice", func(l []string) []string { return append(l, l[4]) }, 6},
		{"two changed places", func(l []string) []string { l[2], l[3] = l[3], l[2]; return l }, 3},
		{"the last behind a torn line", func(l []string) []string { l[4] = l[3][:50] + l[4]; return l }, 5},
		{"the last behind NUL bytes", func(l []string) []string { l[4] = strings.Repeat("\x00", 300) + l[4]; return l }, 5},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := writeLog(t, 5)
			var want []byte
			rewrite(t, dir, func(raw []byte) []byte {
				lines := slices.Collect(strings.Lines(string(raw)))
				want = []byte(strings.Join(tt.change(lines), ""))
				return want
			})
			checkDamage(t, "Verify", tt.bad, func() error { _, err := verifyFile(t, dir); return err }())
			l, err := Open(dir, Options{})
			if err == nil {
				l.Close()
			}
			checkDamage(t, "Open", tt.bad, err)
			if err != nil && !strings.Contains(err.Error(), "moving it") {
				t.Errorf("%v: does not say the way out", err)
			}
			if got, err := os.ReadFile(filepath.Join(dir, logName)); err != nil || !bytes.Equal(got, want) {
				t.Errorf("Open changed the damaged log (%v)", err)
			}
		})
	}
}

func checkDamage(t *testing.T, call string, bad uint64, err error) {
	t.Helper()
	var d *DamageError
	if !errors.As(err, &d) {
		t.Errorf("%s: %v, want a DamageError", call, err)
	} else if d.Seq != bad {
		t.Errorf("%s: %v, want record %d", call, err, bad)
	}
	if err != nil && Visible(err.Error()) != err.Error() {
		t.Errorf("%s: the error is not harmless: %q", call, err)
	}
}

// What survives of the log says where it can be gone on with.
func TestMovedAside(t *testing.T) {
	dir := writeLog(t, 5)
	rewrite(t, dir, func(raw []byte) []byte { raw[0] = 'x'; return raw })
	if l, err := Open(dir, Options{}); err == nil {
		l.Close()
		t.Fatal("no error")
	}
	path := filepath.Join(dir, logName)
	if err := os.Rename(path, filepath.Join(t.TempDir(), logName)); err != nil {
		t.Fatal(err)
	}
	if seq, err := add(openLog(t, dir), Event{Event: AgentStarted}); seq != 2 || err != nil {
		t.Errorf("Append = %d, %v, want 2, behind a header", seq, err)
	}
}

// failing gives what r has, and then an error of the disk.
type failing struct{ r io.Reader }

func (f failing) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if err == io.EOF {
		err = os.ErrDeadlineExceeded
	}
	return n, err
}

// A disk that cannot be read says nothing of what is on it: nothing is torn.
func TestSurveyStopsAtReadError(t *testing.T) {
	dir := writeLog(t, 2)
	raw, err := os.ReadFile(filepath.Join(dir, logName))
	if err != nil {
		t.Fatal(err)
	}
	for _, tail := range []string{"", "{", "bad\n", "bad\nbad"} {
		s, err := surveyOf(failing{io.MultiReader(bytes.NewReader(raw), strings.NewReader(tail))})
		if !errors.Is(err, os.ErrDeadlineExceeded) || s.tail.Dropped != 0 {
			t.Errorf("%q: %+v, %v, want the error of the disk", tail, s, err)
		}
	}
}

// TestSurveyDecodesTheLast holds that a last record of which only the prefix is whole is
// a torn tail, and that one before records is damage: nothing is cut off.
func TestSurveyDecodesTheLast(t *testing.T) {
	dir := writeLog(t, 5)
	raw, err := os.ReadFile(filepath.Join(dir, logName))
	if err != nil {
		t.Fatal(err)
	}
	spoiled := func(n int) []byte {
		lines := bytes.SplitAfter(bytes.Clone(raw), []byte("\n"))
		line := lines[n-1]
		line[len(line)-2] = 0 // its last brace: the prefix is as it was
		return bytes.Join(lines, nil)
	}
	n := bytes.Count(raw, []byte("\n"))
	s, err := surveyOf(bytes.NewReader(spoiled(n)))
	if err != nil || s.head.Seq != uint64(n-1) || s.tail.Dropped == 0 {
		t.Errorf("the last: %+v, %v", s, err)
	}
	var d *DamageError
	if s, err = surveyOf(bytes.NewReader(spoiled(n - 1))); !errors.As(err, &d) || d.Seq != uint64(n-1) {
		t.Errorf("the last but one: %+v, %v", s, err)
	}
}
