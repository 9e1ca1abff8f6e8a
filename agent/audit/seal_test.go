package audit

import (
	"bytes"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// TestCheckpoint signs a log as it is written, rotated, compressed, pruned and opened
// again, and verifies it each time.
func TestCheckpoint(t *testing.T) {
	dir, state := t.TempDir(), t.TempDir()
	signer, err := OpenSigner(state, dir, "web1")
	if err != nil {
		t.Fatal(err)
	}
	open := func() *Log {
		t.Helper()
		l, err := Open(dir, Options{Host: "web1", MaxSize: 4 << 10})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	l := open()
	removed := uint64(0)
	for i := range 120 {
		if _, err := l.Append(Event{Event: FindingRaised, Message: "record " + strconv.Itoa(i)}); err != nil {
			t.Fatal(err)
		}
		if i%3 == 0 {
			events, err := l.Checkpoint(signer)
			if err != nil {
				t.Fatal(err)
			}
			if last := events[len(events)-1]; last.Event != LogCheckpoint || last.Seq != l.Seq() || !strings.Contains(last.Checkpoint, "\n"+strconv.FormatUint(last.Seq-1, 10)+"\n") {
				t.Fatalf("the last event that is returned is %+v", last)
			}
			if again, err := l.Checkpoint(signer); err != nil || len(again) > 0 {
				t.Fatalf("nothing is new, and signed again: %+v, %v", again, err)
			}
			if got, err := VerifyLog(dir, VerifyOptions{}); err != nil || got.Covered != l.Seq() || got.Last != l.Seq() {
				t.Fatalf("after record %d: %+v, %v", l.Seq(), got, err)
			}
		}
		if i%40 == 10 {
			err := Tidy(t.Context(), dir, Retention{Count: 3}, func(e Event) error {
				removed = e.Through
				_, err := l.Append(e)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			l = open()
		}
	}
	if _, err := l.Checkpoint(signer); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := VerifyLog(dir, VerifyOptions{})
	if err != nil || got.First == 1 || got.First != removed+1 || got.Files < 4 || got.Covered != got.Last || got.Signed < 10 {
		t.Errorf("in the end: %+v, %v; up to %d was removed", got, err, removed)
	}
	if _, err := l.Checkpoint(signer); !errors.Is(err, os.ErrClosed) {
		t.Errorf("closed: %v, want os.ErrClosed", err)
	}
}

// TestCheckpointFile holds that where the file cannot be replaced the record is
// written, the log goes on, and the next checkpoint makes it good.
func TestCheckpointFile(t *testing.T) {
	dir := t.TempDir()
	signer, _ := newKey(t, "web1")
	l := openLog(t, dir)
	if _, err := l.Checkpoint(signer); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(Event{Event: AgentStarted}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, CheckpointName)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(path, "in the way"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	events, err := l.Checkpoint(signer)
	if err == nil || errors.Is(err, ErrDegraded) || len(events) == 0 || events[len(events)-1].Event != LogCheckpoint {
		t.Errorf("%+v, %v, want the record and an error that is not ErrDegraded", events, err)
	}
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Checkpoint(signer); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}

// TestCheckpointInTrouble holds that what was signed for one place in the log never
// comes to stand in another.
func TestCheckpointInTrouble(t *testing.T) {
	dir, state := t.TempDir(), t.TempDir()
	signer, err := OpenSigner(state, dir, "web1")
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("injected")
	for n := range 40 {
		d, calls := realDisk(), 0
		sync := d.sync
		d.sync = func(f *os.File) error {
			if calls++; calls == n+1 {
				return broken
			}
			return sync(f)
		}
		dir := copyLog(t, dir)
		l, err := openOn(d, dir, Options{Host: "web1"})
		if err != nil {
			continue // it failed at the start
		}
		for range 8 {
			_, _ = l.Append(Event{Event: ListenerOpened})
			_, _ = l.Checkpoint(signer)
			l.retryNow()
		}
		if _, err := l.Checkpoint(signer); err != nil {
			t.Fatalf("fsync %d failed, and after it: %v", n+1, err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if got, err := VerifyLog(dir, VerifyOptions{}); err != nil || got.Covered != got.Last {
			t.Fatalf("fsync %d failed: %+v, %v", n+1, got, err)
		}
	}
}

// retryNow makes a log that cannot be written try again at its next call.
func (l *Log) retryNow() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.trouble != nil {
		l.trouble.tried = time.Time{}
	}
}

// TestCheckpointOfAnother holds that a log that was cut off or changed while nobody
// wrote it is written on, tells of it once, and is not signed: what shows it stays.
func TestCheckpointOfAnother(t *testing.T) {
	for _, test := range []struct {
		why, want string
		tamper    func(m *maker)
	}{
		{"nothing was done", "", func(*maker) {}},
		{"the end was cut off", "not the log of 31 records that was signed last", func(m *maker) {
			edit(t, m.dir, logName, func(l [][]byte) [][]byte { return l[:4] })
		}},
		{"the active file was deleted", "not the log of 31 records that was signed last", func(m *maker) { m.unlink(logName) }},
		{"a record was changed, and all behind it made anew", "not the log of 31 records that was signed last", func(m *maker) { remake(t, m, nil, changed(27)) }},
		{"a record of another file was changed, and all made anew", "not the log of 31 records that was signed last", func(m *maker) { remake(t, m, nil, changed(3)) }},
		{"the checkpoint was deleted", "the file audit.checkpoint, which would show what, is missing", func(m *maker) { m.unlink(CheckpointName) }},
		{"the checkpoint was changed", "was changed: its signature is not by web1/portaudit", func(m *maker) {
			alter(t, filepath.Join(m.dir, CheckpointName), func(b []byte) []byte { return bytes.Replace(b, []byte("\n31\n"), []byte("\n30\n"), 1) })
		}},
		{"the checkpoint cannot be read", "cannot be read", func(m *maker) {
			m.unlink(CheckpointName)
			if err := os.Mkdir(filepath.Join(m.dir, CheckpointName), 0o700); err != nil {
				t.Fatal(err)
			}
		}},
		{"the checkpoint is no longer one", "it is no signed note", func(m *maker) { alter(t, filepath.Join(m.dir, CheckpointName), func([]byte) []byte { return nil }) }},
		{"the keys were replaced", "the keys were replaced, or the checkpoint in audit.checkpoint is of another log", func(m *maker) {
			alter(t, filepath.Join(m.dir, KeyName), func([]byte) []byte {
				_, public, err := note.GenerateKey(rand.Reader, "web1/portaudit")
				if err != nil {
					t.Fatal(err)
				}
				return []byte(public + "\n")
			})
		}},
		{"the keys are none", "the public keys in audit.key were changed", func(m *maker) { alter(t, filepath.Join(m.dir, KeyName), func([]byte) []byte { return []byte("x\n") }) }},
		{"retention has removed files", "", func(m *maker) { m.unlink(segment{first: 1, packed: true}.name()) }},
	} {
		t.Run(test.why, func(t *testing.T) {
			m := makeLog(t)
			test.tamper(m)
			before, _ := os.ReadFile(filepath.Join(m.dir, CheckpointName)) // it may be gone
			l, err := Open(m.dir, Options{Host: "web1"})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			var told []Event
			for range 2 {
				if _, err := l.Append(Event{Event: AgentStarted}); err != nil {
					t.Fatal(err)
				}
				var done []Event
				done, err = l.Checkpoint(m.signer)
				for _, e := range done {
					if e.Event == LogDamaged {
						told = append(told, e)
					}
				}
			}
			after, _ := os.ReadFile(filepath.Join(m.dir, CheckpointName))
			if test.want == "" {
				if err != nil || string(before) == string(after) {
					t.Errorf("%v, and the checkpoint is\n%s", err, after)
				}
				if len(told) > 0 {
					t.Errorf("the log says %+v", told)
				}
				return
			}
			if len(told) != 1 || told[0].Seq == 0 || len(told[0].Errors) != 1 || !strings.Contains(told[0].Errors[0], test.want) {
				t.Errorf("the log says %+v, want one log.damaged with %q", told, test.want)
			}
			if err == nil || !strings.Contains(err.Error(), test.want) || errors.Is(err, ErrDegraded) || string(before) != string(after) {
				t.Errorf("%v, want %q; the checkpoint is\n%s", err, test.want, after)
			}
			if _, err := VerifyLog(m.dir, VerifyOptions{}); err == nil {
				t.Error("verify finds nothing")
			}
		})
	}
}

// alter changes a file beside the log.
func alter(t *testing.T, path string, change func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, change(b), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestCheckpointUnreadable holds that a log that cannot be read when it is signed for
// the first time is not called a changed one, and is signed when it can be read.
func TestCheckpointUnreadable(t *testing.T) {
	dir, state := t.TempDir(), t.TempDir()
	signer, err := OpenSigner(state, dir, "web1")
	if err != nil {
		t.Fatal(err)
	}
	l, err := Open(dir, Options{MaxSize: 4 << 10})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 9 {
		if _, err := l.Append(Event{Event: FindingRaised, Message: strings.Repeat("m", 300)}); err != nil {
			t.Fatal(err)
		}
		if i == 1 {
			if _, err := l.Checkpoint(signer); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if l, err = Open(dir, Options{MaxSize: 4 << 10}); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	signed := filepath.Join(dir, segment{first: 1}.name())
	aside := filepath.Join(t.TempDir(), "aside")
	if err := os.Rename(signed, aside); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(signed, 0o700); err != nil { // it can be opened, and not read
		t.Fatal(err)
	}
	_, err = l.Checkpoint(signer)
	if err == nil || strings.Contains(err.Error(), "changed or cut off") {
		t.Fatalf("got %v", err)
	}
	if err := errors.Join(os.Remove(signed), os.Rename(aside, signed)); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Checkpoint(signer); err != nil {
		t.Fatal(err)
	}
}

// TestOpenSweeps holds that Open removes what a writer of a checkpoint or of the
// public key left when it was killed, and nothing else.
func TestOpenSweeps(t *testing.T) {
	tests := []struct {
		reason, name string
		stays        bool
	}{
		{"a checkpoint that was not finished", ".audit.checkpoint.2792878266.tmp", false},
		{"a public key that was not finished", ".audit.key.1.tmp", false},
		{"the checkpoint", CheckpointName, true},
		{"it may be just compressed", ".audit-00000000000000000001.jsonl.gz.12.tmp", true},
		{"another program's", ".state.json.12.tmp", true},
		{"it is not hidden", "audit.checkpoint.12.tmp", true},
		{"it is no temporary one", ".audit.checkpoint.12", true},
		{"it has no number", ".audit.checkpoint.tmp", true},
	}
	dir := t.TempDir()
	put := func() {
		t.Helper()
		for _, tt := range tests {
			if err := os.WriteFile(filepath.Join(dir, tt.name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	put()
	l, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		if _, err := os.Stat(filepath.Join(dir, tt.name)); (err == nil) != tt.stays {
			t.Errorf("%s: %s stays: %v, want %v", tt.reason, tt.name, err == nil, tt.stays)
		}
	}
	put() // now they are those of the Log that is open
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrLocked) {
		t.Fatalf("got %v", err)
	}
	for _, tt := range tests {
		if _, err := os.Stat(filepath.Join(dir, tt.name)); err != nil {
			t.Errorf("of a log that is open: %v", err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestFirstCheckpointKilled holds that a log verifies that was left between the first
// record of a checkpoint and its file: the file is there before.
func TestFirstCheckpointKilled(t *testing.T) {
	dir := t.TempDir()
	signer, err := OpenSigner(t.TempDir(), dir, "web1")
	if err != nil {
		t.Fatal(err)
	}
	d := realDisk()
	var beside []byte
	write := d.write
	d.write = func(f *os.File, line []byte) (int, error) {
		if bytes.Contains(line, []byte(LogCheckpoint)) {
			beside, _ = os.ReadFile(filepath.Join(dir, CheckpointName)) // judged below
		}
		return write(f, line)
	}
	l, err := openOn(d, dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(Event{Event: FindingRaised}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Checkpoint(signer); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, CheckpointName), beside, 0o600); err != nil { // as a kill would leave it
		t.Fatal(err)
	}
	if v, err := VerifyLog(dir, VerifyOptions{}); err != nil || v.Signed != 1 {
		t.Errorf("%+v, %v", v, err)
	}
}
