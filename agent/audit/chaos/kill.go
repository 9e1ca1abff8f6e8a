package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
)

// killsOfLog is how many writers follow each other on one log.
const killsOfLog = 25

// kill kills writers at any moment: most while they write and rotate, some
// while they start and recover what the one before them left.
func (l *lab) kill(ctx context.Context) error {
	var sum tally
	for number := 0; number < l.kills; {
		dir, err := l.fresh("kill")
		if err != nil {
			return err
		}
		// On a disk most of them are killed in fsync, in memory they are not.
		if l.memory != "" && number/killsOfLog%2 == 1 {
			dir = filepath.Join(l.memory, "kill")
		}
		keys, err := l.fresh("keys")
		if err != nil {
			return err
		}
		j := newJudge(dir, keys, kept(number/killsOfLog/2))
		for range min(killsOfLog, l.kills-number) {
			number++
			if err := l.killOne(ctx, j, number); err != nil {
				return fmt.Errorf("kill %d: %w", number, err)
			}
		}
		if err := j.check(true); err != nil {
			return fmt.Errorf("the log after kill %d: %w", number, err)
		}
		sum.add(j)
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	say("kill: %d writers killed; %v", l.kills, sum)
	return nil
}

func (l *lab) killOne(ctx context.Context, j *judge, number int) error {
	w, err := l.start(number, j.dir, nil, j.flags()...)
	if err != nil {
		return err
	}
	if number%8 != 0 {
		err = w.awaitOpen(ctx)
	}
	time.Sleep(rand.N(30 * time.Millisecond))
	p, killed := w.end()
	if err == nil {
		err = killed
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return err
	}
	j.hear(number, p)
	if err := j.recover(); err != nil {
		return err
	}
	return j.check(false)
}

// kept is how many closed segments retention leaves of the log of a number: all of
// every other one.
func kept(number int) int {
	if number%2 == 1 {
		return 3
	}
	return 0
}

// flags are those of a writer on the log of j.
func (j *judge) flags() []string {
	return []string{"-tidy", "-segment", "8192", "-keep", strconv.Itoa(j.keep), "-keys", j.keys}
}

// tally sums what judges found.
type tally struct {
	acked, records, lost             int
	segments, compressed, amid, torn int
	dropped                          int64
	signed, pruned, prunings         int
}

func (t *tally) add(j *judge) {
	t.sum(tally{
		acked: j.acked(), records: j.records, lost: j.lost(),
		segments: j.kinds[audit.LogSegment], compressed: j.compressed(), amid: j.amid, torn: j.torn, dropped: j.dropped,
		signed: j.kinds[audit.LogCheckpoint], pruned: j.pruned(), prunings: j.kinds[audit.LogPruned],
	})
}

func (t *tally) sum(o tally) {
	t.acked += o.acked
	t.records += o.records
	t.lost += o.lost
	t.segments += o.segments
	t.compressed += o.compressed
	t.amid += o.amid
	t.torn += o.torn
	t.dropped += o.dropped
	t.signed += o.signed
	t.pruned += o.pruned
	t.prunings += o.prunings
}

func (t tally) String() string {
	return fmt.Sprintf("%d records acknowledged, %d of them removed by retention in what %d records tell of, %d in the log, %d lost; %d checkpoints; %d segments, %d of them compressed, no active one %d times; a torn tail %d times, %d bytes dropped",
		t.acked, t.pruned, t.prunings, t.records, t.lost, t.signed, t.segments, t.compressed, t.amid, t.torn, t.dropped)
}
