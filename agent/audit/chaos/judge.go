package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/portaudit/portaudit/agent/audit"
)

// judge holds a log against what its writers acknowledged.
type judge struct {
	dir   string
	lives map[int]*account
	// Up to and with this record of the log the judge has seen all.
	seen    uint64
	records int
	kinds   map[string]int // of the log's own records
	told    uint64         // how many records it says were lost
	dropped int64          // bytes that recovery cut off
	torn    int            // how often it did
	amid    int            // how often it found no active segment, or one without a record
	keys    string         // directory of the key that the log is signed by; empty: it is not signed, nor verified
	keep    int            // how many closed segments retention leaves, 0: all
	first   uint64         // the first record that is there
}

// account is what is known of one writer.
type account struct {
	page
	last int    // its last record that is in the log
	here []bool // of its acknowledged records, those that are in the log
}

func newJudge(dir, keys string, keep int) *judge {
	return &judge{dir: dir, keys: keys, keep: keep, lives: map[int]*account{}, kinds: map[string]int{}}
}

// hear takes a writer's ledger into evidence.
func (j *judge) hear(life int, p page) {
	j.lives[life] = &account{page: p, here: make([]bool, len(p.seqs))}
}

// recover verifies the log as it was left, opens it as the next writer would,
// verifies it again, and signs it.
func (j *judge) recover() error {
	if err := j.verify("as it was left"); err != nil {
		return err
	}
	if active, err := os.ReadFile(filepath.Join(j.dir, "audit.jsonl")); err != nil || !bytes.Contains(active, []byte("\n")) {
		j.amid++
	}
	log, err := audit.Open(j.dir, audit.Options{Host: "alpha", Boot: "b1"})
	if err != nil {
		return err
	}
	if n := log.Recovered().Dropped; n > 0 {
		j.dropped += n
		j.torn++
	}
	err = j.verify("that was recovered")
	if err == nil && j.keys != "" {
		err = j.sign(log)
	}
	return errors.Join(err, log.Close(), j.litter())
}

// verify verifies the log, the checkpoints in it and that of its last writer.
func (j *judge) verify(which string) error {
	if j.keys == "" {
		return nil
	}
	found, err := audit.VerifyLog(j.dir, audit.VerifyOptions{})
	if errors.Is(err, fs.ErrNotExist) && len(j.lives) <= 1 {
		return nil // the first writer was killed before it had made anything
	}
	if err != nil {
		return fmt.Errorf("the log %s does not verify: %w", which, err)
	}
	j.first = found.First
	return nil
}

// sign signs the log, which is refused if it is not what was signed before.
func (j *judge) sign(log *audit.Log) error {
	signer, err := audit.OpenSigner(j.keys, j.dir, "alpha")
	if err != nil {
		return err
	}
	if _, err := log.Checkpoint(signer); err != nil {
		return err
	}
	found, err := audit.VerifyLog(j.dir, audit.VerifyOptions{})
	if err == nil && found.Covered != found.Last {
		err = fmt.Errorf("the log has %d records, and its checkpoint covers %d", found.Last, found.Covered)
	}
	return err
}

// litter returns an error if a file lies beside the log that nobody will remove.
func (j *judge) litter() error {
	names, _ := filepath.Glob(filepath.Join(j.dir, ".*.tmp")) // the pattern is a right one
	names = slices.DeleteFunc(names, func(name string) bool { return strings.Contains(name, ".gz.") })
	if len(names) > 0 {
		return fmt.Errorf("left behind: %s", strings.Join(names, ", "))
	}
	return nil
}

// check reads the log behind what was seen, and returns an error for all that
// is wrong with it. With whole it reads the log from its first record.
func (j *judge) check(whole bool) error {
	if whole {
		j.seen, j.records, j.told = 0, 0, 0
		clear(j.kinds)
		for _, a := range j.lives {
			a.last = 0
			clear(a.here)
		}
	}
	var wrong []error
	for e, err := range audit.ReadFrom(j.dir, j.seen) {
		if err == nil {
			j.seen = e.Seq
			err = j.weigh(e)
		}
		if err != nil {
			wrong = append(wrong, err)
		}
		if len(wrong) == 5 {
			break
		}
	}
	return errors.Join(append(append(wrong, j.missing()...), j.retained())...)
}

// weigh judges one record of the log.
func (j *judge) weigh(e audit.Event) error {
	life, n, ok := parseID(e.ID)
	if !ok {
		j.kinds[e.Event]++
		if e.Lost != nil {
			j.told += *e.Lost
		}
		return nil
	}
	j.records++
	a := j.lives[life]
	want := record(life, n)
	switch {
	case a == nil || n < 1 || n > a.begun:
		return fmt.Errorf("record %d: nobody wrote %s", e.Seq, e.ID)
	case n == a.last:
		return fmt.Errorf("record %d: %s is in the log twice", e.Seq, e.ID)
	case n < a.last:
		return fmt.Errorf("record %d: %s comes behind %d", e.Seq, e.ID, a.last)
	case e.Event != want.Event || e.Message != want.Message || e.Why != want.Why:
		return fmt.Errorf("record %d: %s is not as it was written", e.Seq, e.ID)
	}
	a.last = n
	if n < len(a.seqs) && a.seqs[n] != 0 {
		a.here[n] = true
		if uint64(a.seqs[n]) != e.Seq {
			return fmt.Errorf("record %d: %s was acknowledged as record %d", e.Seq, e.ID, a.seqs[n])
		}
	}
	return nil
}

// missing returns an error for each writer whose acknowledged records are not
// all in the log.
func (j *judge) missing() []error {
	var wrong []error
	for life, a := range j.lives {
		if lost := a.lost(j.first); lost > 0 {
			wrong = append(wrong, fmt.Errorf("writer %d: %d of %d acknowledged records are not in the log, which has %d as its last",
				life, lost, a.acked, a.last))
		}
	}
	return wrong
}

// compressed is how many segments of the log are.
func (j *judge) compressed() int {
	names, _ := filepath.Glob(filepath.Join(j.dir, "*.gz")) // the pattern is a right one
	return len(names)
}

// gap is how many records that were begun are not in the log.
func (j *judge) gap() int {
	n := -j.records
	for _, a := range j.lives {
		n += a.begun
	}
	return n
}

// lost is how many acknowledged records are missing.
func (j *judge) lost() int {
	n := 0
	for _, a := range j.lives {
		n += a.lost(j.first)
	}
	return n
}

// lost is how many acknowledged records are missing from a log that begins with
// the record first, for retention has removed what was before.
func (a *account) lost(first uint64) int {
	n := 0
	for i, seq := range a.seqs {
		if seq != 0 && !a.here[i] && uint64(seq) >= first {
			n++
		}
	}
	return n
}

// pruned is how many acknowledged records retention has removed.
func (j *judge) pruned() int {
	n := 0
	for _, a := range j.lives {
		for i, seq := range a.seqs {
			if seq != 0 && !a.here[i] && uint64(seq) < j.first {
				n++
			}
		}
	}
	return n
}

// retained returns an error if retention removed more than it may.
func (j *judge) retained() error {
	names, _ := filepath.Glob(filepath.Join(j.dir, "audit-*.jsonl*")) // the pattern is a right one
	closed := map[string]bool{}
	for _, name := range names {
		closed[strings.TrimSuffix(name, ".gz")] = true
	}
	if j.first > 1 && (j.keep == 0 || len(closed) < j.keep) {
		return fmt.Errorf("the log begins with record %d and has %d closed segments: too much was removed", j.first, len(closed))
	}
	return nil
}

// acked is how many records were acknowledged.
func (j *judge) acked() int {
	n := 0
	for _, a := range j.lives {
		n += a.acked
	}
	return n
}
