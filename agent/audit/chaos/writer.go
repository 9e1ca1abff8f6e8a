package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
	"golang.org/x/mod/sumdb/note"
)

// ledgerFD is the descriptor of the ledger in a writer.
const ledgerFD = 3

// record makes the record n of the writer life: its content follows from the two,
// so that the judge knows it. Sizes are mixed; findings are among them, for
// which the log does not wait.
func record(life, n int) audit.Event {
	e := audit.Event{
		Event:   audit.ListenerOpened,
		ID:      fmt.Sprintf("chaos/%d/%d", life, n),
		Message: strings.Repeat("m", n*977%600),
		Why:     strings.Repeat("w", n%11*50),
	}
	switch {
	case n%13 == 0:
		e.Event = audit.FindingRaised
	case n%97 == 0:
		e.Message = strings.Repeat("M", 20_000)
	}
	return e
}

// parseID is the inverse of the ID that record gives.
func parseID(id string) (life, n int, ok bool) {
	got, err := fmt.Sscanf(id, "chaos/%d/%d", &life, &n)
	return life, n, err == nil && got == 2
}

// writeLog is the writer: it appends to a log and enters into the ledger what was
// acknowledged, until it is killed or has written what it should.
func writeLog(args []string) error {
	w := &writer{}
	flags := flag.NewFlagSet("writer", flag.ExitOnError)
	dir := flags.String("dir", "", "directory of the log")
	flags.IntVar(&w.life, "life", 0, "number of this writer")
	count := flags.Int("count", ledgerRecords, "how many records to write")
	steady := flags.Bool("steady", false, "write the same bytes whenever it is")
	stay := flags.Bool("stay", false, "wait to be killed when all is written")
	segment := flags.Int64("segment", 32<<10, "size at which a segment is closed")
	beside := flags.Bool("tidy", false, "compress closed segments all the time")
	keep := flags.Int("keep", 0, "with -tidy, remove closed segments beyond so many, 0: none")
	keys := flags.String("keys", "", "directory of the key that the log is signed by; empty: it is not signed")
	flags.IntVar(&w.every, "sign-every", 30, "sign the log after so many records")
	between := flags.Int("tidy-every", ledgerRecords, "compress closed segments after so many records")
	limit := flags.Uint64("limit", 0, "fail to write beyond this size of a file, until the log has failed")
	if err := flags.Parse(args); err != nil {
		return err
	}
	// strace counts the calls of each thread.
	runtime.LockOSThread()
	var err error
	if w.book, err = mapLedger(ledgerFD); err != nil {
		return err
	}
	o := audit.Options{Host: "alpha", Boot: "b1", MaxSize: *segment}
	if *steady {
		o.Now = steadyClock()
	}
	if *limit > 0 {
		if err := limitFiles(*limit); err != nil {
			return err
		}
	}
	if w.log, err = audit.Open(*dir, o); err != nil {
		return err
	}
	w.book.opened.Store(true)
	if *keys != "" {
		if w.signer, err = audit.OpenSigner(*keys, *dir, "alpha"); err != nil {
			return err
		}
	}
	if *beside {
		go func() { // ends with the process, which is killed
			for w.tidy(*dir, *keep) {
				time.Sleep(time.Millisecond)
			}
		}()
	}
	if err := w.all(*dir, *count, *between); err != nil {
		return err
	}
	w.book.done.Store(true)
	if *stay {
		select {}
	}
	return w.log.Close()
}

// all writes so many records, and compresses closed segments between so many.
func (w *writer) all(dir string, count, between int) error {
	for done := 0; w.n < count; {
		if err := w.append(min(1+w.n%7, count-w.n)); err != nil {
			return err
		}
		if w.n/between > done {
			done = w.n / between
			w.tidy(dir, 0)
		}
	}
	return errors.Join(w.settle(), w.sign())
}

// tidy compresses the closed segments of a log, and removes them beyond so many, if
// that is not 0; false if it could not, and said so.
func (w *writer) tidy(dir string, keep int) bool {
	err := audit.Tidy(context.Background(), dir, audit.Retention{Count: keep}, func(e audit.Event) error {
		if keep == 0 {
			return fmt.Errorf("%s, where everything is to be kept", e.Event)
		}
		// And signed, as the agent does: the last checkpoint has to be of records that stay.
		acknowledged, err := w.log.Append(e)
		w.enter(acknowledged)
		if err == nil && w.signer != nil {
			acknowledged, err = w.log.Checkpoint(w.signer)
			w.enter(acknowledged)
		}
		return err
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return err == nil
}

// steadyClock returns a clock that tells the same times in every process.
func steadyClock() func() time.Time {
	now := time.Date(2026, 11, 20, 14, 0, 0, 0, time.UTC)
	return func() time.Time {
		now = now.Add(time.Millisecond)
		return now
	}
}

type writer struct {
	log    *audit.Log
	book   *ledger
	life   int
	n      int         // of the last record that was given to the log
	signer note.Signer // nil: the log is not signed
	every  int         // after so many records it is
	signed int         // after so many records it was

	entering sync.Mutex // tidy enters too
}

// append appends so many records with one call, and syncs as the agent does.
func (w *writer) append(count int) error {
	events := make([]audit.Event, count)
	for i := range events {
		events[i] = record(w.life, w.n+1+i)
	}
	w.n += count
	w.book.begun.Store(uint32(w.n))
	if err := w.note(w.log.Append(events...)); err != nil {
		return err
	}
	if w.n-w.signed >= w.every {
		return w.sign()
	}
	if due, waits := w.log.Pending(); waits && time.Now().After(due) {
		return w.settle()
	}
	return nil
}

// sign signs the log. That alone may fail while the log itself can be written: it
// is said, and the next time makes up for it, as with the agent.
func (w *writer) sign() error {
	if w.signer == nil {
		return nil
	}
	w.signed = w.n
	acknowledged, err := w.log.Checkpoint(w.signer)
	if err != nil && !errors.Is(err, audit.ErrDegraded) {
		fmt.Fprintln(os.Stderr, err)
		err = nil
	}
	return w.note(acknowledged, err)
}

// settle lets nothing wait.
func (w *writer) settle() error { return w.note(w.log.Sync()) }

// enter enters into the ledger what was acknowledged.
func (w *writer) enter(acknowledged []audit.Event) {
	w.entering.Lock()
	defer w.entering.Unlock()
	for _, e := range acknowledged {
		if life, n, ok := parseID(e.ID); ok && life == w.life {
			w.book.acknowledge(n, e.Seq)
		}
	}
}

// note enters into the ledger what was acknowledged. While the log cannot be
// written, it waits until it can, for a minute.
func (w *writer) note(acknowledged []audit.Event, err error) error {
	for start := time.Now(); ; {
		w.enter(acknowledged)
		if err == nil {
			return nil
		}
		w.book.refused.Add(1)
		if !errors.Is(err, audit.ErrDegraded) || time.Since(start) > time.Minute {
			return err
		}
		if err := limitFiles(0); err != nil {
			return err
		}
		if due, waits := w.log.Pending(); waits {
			time.Sleep(time.Until(due))
		}
		acknowledged, err = w.log.Sync()
	}
}
