package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

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
}

// account is what is known of one writer.
type account struct {
	page
	last int // its last record that is in the log
	kept int // of its acknowledged records, how many are in the log
}

func newJudge(dir string) *judge {
	return &judge{dir: dir, lives: map[int]*account{}, kinds: map[string]int{}}
}

// hear takes a writer's ledger into evidence.
func (j *judge) hear(life int, p page) { j.lives[life] = &account{page: p} }

// recover opens the log as the next writer would.
func (j *judge) recover() error {
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
	return log.Close()
}

// check reads the log behind what was seen, and returns an error for all that
// is wrong with it. With whole it reads the log from its first record.
func (j *judge) check(whole bool) error {
	if whole {
		j.seen, j.records, j.told = 0, 0, 0
		clear(j.kinds)
		for _, a := range j.lives {
			a.last, a.kept = 0, 0
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
	return errors.Join(append(wrong, j.missing()...)...)
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
		a.kept++
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
		if lost := a.acked - a.kept; lost > 0 {
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
		n += a.acked - a.kept
	}
	return n
}

// acked is how many records were acknowledged.
func (j *judge) acked() int {
	n := 0
	for _, a := range j.lives {
		n += a.acked
	}
	return n
}
