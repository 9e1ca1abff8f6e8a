package audit

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// A log does not acknowledge what it writes to a file that nobody can open any more.
func TestTakenAway(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("on Windows a file that is open keeps its name until it is closed")
	}
	tests := []struct {
		reason string
		take   func(t *testing.T, dir string)
		waits  error                          // what the log waits with, nil if it goes on at once
		mend   func(t *testing.T, dir string) // so that it need not
	}{
		{"the file is removed", func(t *testing.T, dir string) { remove(t, filepath.Join(dir, logName)) }, nil, nil},
		{"the file is renamed, as other programs rotate logs",
			func(t *testing.T, dir string) {
				if err := os.Rename(filepath.Join(dir, logName), filepath.Join(dir, "audit.jsonl.1")); err != nil {
					t.Fatal(err)
				}
			}, nil, nil},
		{"the file is another's, which is left alone",
			func(t *testing.T, dir string) {
				remove(t, filepath.Join(dir, logName))
				if err := os.WriteFile(filepath.Join(dir, logName), []byte("mine\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}, fs.ErrExist,
			func(t *testing.T, dir string) {
				if data, err := os.ReadFile(filepath.Join(dir, logName)); string(data) != "mine\n" {
					t.Errorf("another's file has become %q, %v", data, err)
				}
				remove(t, filepath.Join(dir, logName))
			}},
		{"the directory is removed", func(t *testing.T, dir string) { remove(t, dir) }, fs.ErrNotExist,
			func(t *testing.T, dir string) {
				if err := os.Mkdir(dir, 0o700); err != nil {
					t.Fatal(err)
				}
			}},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "log")
			l := openLog(t, dir)
			if _, err := add(l, Event{Event: AgentStarted}); err != nil {
				t.Fatal(err)
			}
			tt.take(t, dir)
			_, err := l.Append(Event{Event: FindingRaised, ID: "f"})
			if tt.mend != nil {
				if !errors.Is(err, ErrDegraded) || !errors.Is(err, tt.waits) {
					t.Errorf("Append: %v, want %v", err, tt.waits)
				}
				tt.mend(t, dir)
				l.trouble.tried = time.Time{} // it is time to try again
				_, err = l.Sync()
			}
			if err != nil {
				t.Fatal(err)
			}
			checkTaken(t, filepath.Join(dir, logName))
		})
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

// checkTaken checks that the new file goes on behind the header and the one record
// of the one that was taken away.
func checkTaken(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var kinds []string
	first := uint64(0)
	for e, err := range Read(f) {
		if err != nil {
			t.Fatal(err)
		}
		if first == 0 {
			first = e.Seq
		}
		kinds = append(kinds, e.Event)
	}
	if first != 3 || len(kinds) != 4 || kinds[0] != LogSegment || kinds[1] != LogDegraded || kinds[2] != FindingRaised || kinds[3] != LogRestored {
		t.Errorf("the new file begins with record %d and has %v", first, kinds)
	}
}
