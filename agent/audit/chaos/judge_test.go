package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/portaudit/portaudit/agent/audit"
)

// The judge is itself tried: each way in which a log could be wrong, on a log that
// has a header and then the records 1 to 6 of writer 1.
func TestJudge(t *testing.T) {
	all := page{begun: 6, acked: 4, seqs: []uint32{0, 2, 3, 4, 5}}
	tests := []struct {
		reason  string
		records []audit.Event
		page    page
		want    string // within the error, "" for none
	}{
		{"more than was acknowledged", written(1, 2, 3, 4, 5, 6), all, ""},
		{"no more than was acknowledged", written(1, 2, 3, 4), all, ""},
		{"the last that was acknowledged is missing", written(1, 2, 3), all, "1 of 4 acknowledged records are not in the log, which has 3"},
		{"one within is missing", written(1, 2, 4, 5), all, "record 4: chaos/1/4 was acknowledged as record 5"},
		{"one that was not acknowledged is missing", written(1, 2, 3, 4, 6), all, ""},
		{"one is twice", written(1, 2, 3, 4, 4), all, "record 6: chaos/1/4 is in the log twice"},
		{"two are in the wrong order", written(1, 2, 3, 4, 6, 5), all, "record 7: chaos/1/5 comes behind 6"},
		{"one that was never begun", written(1, 2, 3, 4, 5, 6, 7), all, "record 8: nobody wrote chaos/1/7"},
		{"one of a writer that was not", append(written(1, 2, 3, 4), record(2, 1)), all, "record 6: nobody wrote chaos/2/1"},
		{"one is other than it was", append(written(1, 2, 3, 4), changed(5)), all, "record 6: chaos/1/5 is not as it was written"},
		{"one of the log's own among them", append([]audit.Event{{Event: audit.AgentStarted}}, written(1, 2)...),
			page{begun: 2, acked: 2, seqs: []uint32{0, 3, 4}}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			dir := t.TempDir()
			log, err := audit.Open(dir, audit.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if err := settle(log, tt.records); err != nil {
				t.Fatal(err)
			}
			if err := log.Close(); err != nil {
				t.Fatal(err)
			}
			j := newJudge(dir, t.TempDir(), 0)
			j.hear(1, tt.page)
			if err := j.recover(); err != nil {
				t.Fatal(err)
			}
			err = j.check(true)
			switch {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

func written(numbers ...int) []audit.Event {
	var events []audit.Event
	for _, n := range numbers {
		events = append(events, record(1, n))
	}
	return events
}

func changed(n int) audit.Event {
	e := record(1, n)
	e.Why += "!"
	return e
}

func TestRetried(t *testing.T) {
	tests := []struct {
		reason, trace string
		want          bool
	}{
		{"nothing fails", "1 fsync(9) = 0\n1 fsync(9)   = 0\n", false},
		{"another file takes its place", "1 fsync(9) = -1 EIO (Input/output error) (INJECTED)\n" +
			`1 openat(AT_FDCWD, "/x", O_RDONLY) = 9` + "\n1 fsync(9) = 0\n", false},
		{"another file is synced", "1 fsync(9) = -1 EIO (INJECTED)\n1 fsync(8) = 0\n", false},
		{"it is tried again", "1 fsync(9) = -1 EIO (Input/output error) (INJECTED)\n1 write(9, \"x\", 1) = 1\n1 fsync(9) = 0\n", true},
	}
	for _, tt := range tests {
		if err := retried(tt.trace); (err != nil) != tt.want {
			t.Errorf("%s: %v", tt.reason, err)
		}
	}
}

// A mapped ledger is read as it is written.
func TestLedger(t *testing.T) {
	book, f, err := newLedger()
	if err != nil {
		t.Skip(err)
	}
	defer f.Close()
	book.begun.Store(3)
	book.acknowledge(1, 7)
	book.acknowledge(3, 9)
	p := book.read()
	if p.begun != 3 || p.acked != 2 || len(p.seqs) != 4 || p.seqs[1] != 7 || p.seqs[2] != 0 || p.seqs[3] != 9 {
		t.Errorf("%+v", p)
	}
	if err := book.unmap(); err != nil {
		t.Error(err)
	}
}

// signedLog writes a log of small segments, signs it, and removes all but so many
// of them, if that is not 0. It returns the directories of the log and of the key.
func signedLog(t *testing.T, keep int) (dir, keys string) {
	t.Helper()
	dir, keys = t.TempDir(), t.TempDir()
	log, err := audit.Open(dir, audit.Options{MaxSize: 4 << 10})
	if err != nil {
		t.Fatal(err)
	}
	signer, err := audit.OpenSigner(keys, dir, "alpha")
	if err != nil {
		t.Fatal(err)
	}
	w := &writer{log: log, book: &ledger{}, life: 1, signer: signer}
	for range 20 {
		if err := w.append(2); err != nil { // and signs
			t.Fatal(err)
		}
	}
	if keep > 0 && !w.tidy(dir, keep) {
		t.Fatal("it could not be tidied")
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, keys
}

// What retention has removed is not missing, unless it is too much, and a log that
// does not fit its last checkpoint is found out.
func TestJudgeSigned(t *testing.T) {
	tests := []struct {
		reason string
		kept   int // segments that were left
		keep   int // segments that were to be left
		spoil  func(dir string) error
		want   string // within the error, "" for none
	}{
		{"all is kept", 0, 0, nil, ""},
		{"retention left what it should", 3, 3, nil, ""},
		{"retention left too few", 2, 3, nil, "too much was removed"},
		{"there was to be no retention", 3, 0, nil, "too much was removed"},
		{"records that were signed are cut off", 0, 0, func(dir string) error {
			return os.Truncate(filepath.Join(dir, "audit.jsonl"), 0)
		}, "the log as it was left does not verify"},
		{"a checkpoint was left half written, which the next start removes", 0, 0, func(dir string) error {
			return os.WriteFile(filepath.Join(dir, ".audit.checkpoint.1.tmp"), nil, 0o600)
		}, ""},
		{"something was left that nobody removes", 0, 0, func(dir string) error {
			return os.WriteFile(filepath.Join(dir, ".audit.else.1.tmp"), nil, 0o600)
		}, "left behind"},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			dir, keys := signedLog(t, tt.kept)
			if tt.spoil != nil {
				if err := tt.spoil(dir); err != nil {
					t.Fatal(err)
				}
			}
			j := newJudge(dir, keys, tt.keep)
			j.hear(1, page{begun: 40, acked: 1, seqs: []uint32{0, 2}}) // the first goes first
			err := j.recover()
			if err == nil {
				err = j.check(true)
			}
			switch {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, want %s", err, tt.want)
			}
			if err == nil && j.pruned() != min(tt.kept, 1) {
				t.Errorf("%d records are pruned", j.pruned())
			}
		})
	}
}
