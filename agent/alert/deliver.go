package alert

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
)

const (
	// sendTimeout is how long one try to deliver may take.
	sendTimeout = 30 * time.Second
	// The time between two tries grows from firstRetry to lastRetry, each drawn
	// from its upper half, so that many hosts do not come back at once.
	firstRetry = 500 * time.Millisecond
	lastRetry  = time.Minute
	// longestLater bounds what a receiver may ask for.
	longestLater = 10 * time.Minute
	// saveEvery bounds how old the cursor is while nothing is delivered: what was
	// only counted since is counted again after a crash.
	saveEvery = 10 * time.Second
)

// Grace is how long an Output goes on after its context is done, to deliver what
// is there.
const Grace = 3 * time.Second

// Selection is which records an output is for. The zero value is those that a
// person should know of.
type Selection struct {
	All      bool   // every record, and each by itself: nothing is held back
	Severity string // of findings, those of this severity or a higher one; "" all
}

func (s Selection) takes(e audit.Event) bool {
	if (e.Event == audit.FindingRaised || e.Event == audit.FindingCleared) && severityRank(e.Severity) < severityRank(s.Severity) {
		return false
	}
	return s.All || alerts(e.Event)
}

// Severities returns the severities from the lowest to the highest.
func Severities() []string { return []string{"low", "medium", "high", "critical"} }

// severityRank orders severities; one that nobody knows is the lowest.
func severityRank(severity string) int { return slices.Index(Severities(), severity) }

// OutputOptions is what an Output works with.
type OutputOptions struct {
	Name     string // unique among the outputs of the Feed
	Sender   Sender
	Select   Selection
	Feed     *Feed
	StateDir string // of the cursor file
	Logger   *slog.Logger
}

// Output delivers what is selected of a Feed to one receiver, in order and each
// record at least once, over restarts of either side. Nothing that happens to it
// concerns the log or another output.
type Output struct {
	OutputOptions
	path     string // of the cursor file
	cursor   cursor
	place    *place
	saved    time.Time // when cursor was written
	dirty    bool      // whether it has changed since
	tend     time.Time // when the Sender is to be tended next, zero: never
	missed   uint64    // of place.missed, those that were told
	untended string    // why the Sender could not be tended, "" if it could
	unfit    string    // why the cursor file cannot be written, "" if it can

	delivered, failures, dropped, behind atomic.Uint64
}

// OutputCounts is what became of an output's messages since the start.
type OutputCounts struct {
	Delivered uint64 // messages
	Failures  uint64 // tries that failed
	Dropped   uint64 // records that were refused, or gone before they could be delivered
	Behind    uint64 // records that wait
}

// NewOutput returns an output that goes on where its cursor file says, or where
// there is none begins with what comes next.
func NewOutput(o OutputOptions) *Output {
	out := &Output{OutputOptions: o, path: filepath.Join(o.StateDir, o.Name+".cursor"), saved: time.Now(), tend: time.Now()}
	c, problem := recallCursor(out.path, o.Feed.lastSeq())
	if problem != nil {
		o.Logger.Warn("where this output was is not known: it begins with what comes now", "output", o.Name, "error", problem)
	}
	out.cursor = c
	if r, ok := o.Sender.(Recaller); ok {
		if err := r.Recall(filepath.Join(o.StateDir, o.Name+".memory")); err != nil {
			o.Logger.Warn("what this output remembers cannot be read", "output", o.Name, "error", err)
		}
	}
	out.place = o.Feed.join(c.Seq)
	out.cursor.Seq = min(c.Seq, o.Feed.lastSeq())
	return out
}

// Counts may be called by any goroutine.
func (o *Output) Counts() OutputCounts {
	return OutputCounts{
		Delivered: o.delivered.Load(), Failures: o.failures.Load(), Dropped: o.dropped.Load(),
		Behind: o.Feed.behind(o.place) + o.behind.Load(),
	}
}

// Run delivers until ctx is done, and then for at most Grace what is there. What
// is not delivered then, is after the next start.
func (o *Output) Run(ctx context.Context) {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(Grace, cancel) })()
	for o.step(ctx, work) {
	}
	o.Feed.leave(o.place)
	o.save(true)
	if err := o.Sender.Close(); err != nil {
		o.Logger.Warn("output not closed", "output", o.Name, "error", err)
	}
}

// step delivers what there is, or waits for more. It returns false at the end.
func (o *Output) step(ctx, work context.Context) bool {
	o.tendSender(work)
	if !o.flush(work) { // of a run before this one, too
		return false
	}
	events, log, arrived := o.Feed.take(o.place)
	switch {
	case log != 0:
		return o.catchUp(work, log)
	case len(events) == 0:
		o.tellMissed()
		return o.wait(ctx, work, arrived)
	}
	for i, e := range events {
		o.behind.Store(uint64(len(events) - i))
		if e.Seq != 0 && e.Seq <= o.cursor.Seq {
			continue // it was read from the log
		}
		if !o.handle(work, e, hash(e)) {
			return false
		}
	}
	o.behind.Store(0)
	o.save(false)
	return true
}

// catchUp delivers from the log, up to the record that memory goes on from.
func (o *Output) catchUp(work context.Context, upTo uint64) bool {
	for l, err := range o.Feed.records(o.cursor.Seq) {
		if err != nil {
			return o.unreadable(work, upTo, err)
		}
		if l.event.Seq > upTo {
			break
		}
		if gone := l.event.Seq - o.cursor.Seq - 1; gone > 0 {
			o.dropped.Add(gone)
			o.Logger.Warn("records were removed from the log before the output could deliver them", "output", o.Name, "records", gone)
		}
		if !o.handle(work, l.event, l.hash) {
			return false
		}
		if upTo = o.Feed.read(o.place, o.cursor.Seq); upTo == 0 {
			break
		}
		o.save(false)
	}
	if upTo != 0 {
		o.leaveOut(upTo, "the log does not have what this output is to deliver")
	}
	return true
}

// unreadable waits until the log can be read, or leaves out what is damaged.
func (o *Output) unreadable(work context.Context, upTo uint64, err error) bool {
	if damage := (*audit.DamageError)(nil); errors.As(err, &damage) {
		o.leaveOut(upTo, err.Error())
		return true
	}
	o.Logger.Warn("the log cannot be read: the output goes on when it can", "output", o.Name, "error", err)
	return o.pause(work, lastRetry/2)
}

// leaveOut goes on from memory, without the records before it.
func (o *Output) leaveOut(upTo uint64, why string) {
	o.Logger.Warn("records are not delivered", "output", o.Name, "first", o.cursor.Seq+1, "last", upTo, "error", why)
	o.dropped.Add(upTo - o.cursor.Seq)
	o.cursor.Seq, o.dirty = upTo, true
	o.Feed.read(o.place, upTo)
}

// handle delivers one event, counts it or leaves it, and returns false if that
// could not be done before the end.
func (o *Output) handle(work context.Context, e audit.Event, hash string) bool {
	o.cursor.Due = append(o.cursor.Due, o.cursor.Flood.advance(e.Time)...)
	if !o.flush(work) {
		return false
	}
	takes := o.Select.takes(e)
	delivers := takes && (o.Select.All || o.cursor.Flood.passes(e)) || o.awaits(e)
	if delivers && !o.send(work, Message{Event: e, Hash: hash}) {
		return false
	}
	switch {
	case takes && !delivers:
		o.cursor.Flood.hold(e)
	case takes && !o.Select.All:
		o.cursor.Flood.passed(e)
	}
	o.cursor.Seq, o.dirty = max(o.cursor.Seq, e.Seq), true
	o.save(delivers)
	return true
}

// flush delivers the summaries that are due.
func (o *Output) flush(work context.Context) bool {
	for len(o.cursor.Due) > 0 {
		if !o.send(work, o.cursor.Due[0].message()) {
			return false
		}
		o.cursor.Due = o.cursor.Due[1:]
		o.save(true)
	}
	return true
}

// send tries to deliver a message until that is done, the receiver refuses it, or
// the end; in the last case it returns false.
func (o *Output) send(work context.Context, m Message) bool {
	failing := ""
	for try := 0; ; try++ {
		err := o.try(work, m)
		switch {
		case err == nil:
			o.delivered.Add(1)
			if o.tend.IsZero() {
				o.tend = time.Now()
			}
			if failing != "" {
				o.Logger.Info("the output delivers again", "output", o.Name)
			}
			return true
		case errors.Is(err, ErrRefused):
			o.failures.Add(1)
			o.dropped.Add(1)
			o.Logger.Warn("alert not delivered, and not tried again", "output", o.Name, "event", m.Event.Event, "seq", m.Event.Seq, "error", err)
			return true
		case work.Err() != nil:
			return false
		}
		o.failures.Add(1)
		if why := cause(err); why != failing {
			failing = why
			o.Logger.Warn("alert not delivered: it is tried again", "output", o.Name, "event", m.Event.Event, "seq", m.Event.Seq, "error", err)
		}
		if !o.pause(work, retryAfter(try, err)) {
			return false
		}
	}
}

// cause is what tells an error from the one before: a temporary port in it does
// not.
func cause(err error) string {
	for next := errors.Unwrap(err); next != nil; next = errors.Unwrap(err) {
		err = next
	}
	return err.Error()
}

func (o *Output) try(work context.Context, m Message) error {
	ctx, cancel := context.WithTimeout(work, sendTimeout)
	defer cancel()
	return o.Sender.Send(ctx, m)
}

// retryAfter returns how long to wait after a number of tries.
func retryAfter(tries int, err error) time.Duration {
	if later := (*LaterError)(nil); errors.As(err, &later) {
		return min(max(later.After, firstRetry), longestLater)
	}
	d := min(firstRetry<<min(tries, 10), lastRetry)
	return d/2 + rand.N(d/2) //nolint:gosec // nobody gains by guessing it
}

// pause waits, and returns false at the end.
func (o *Output) pause(work context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-work.Done():
		return false
	case <-timer.C:
		return true
	}
}

// wait waits until more has arrived or a summary is due. It returns false when
// ctx is done: everything is delivered.
func (o *Output) wait(ctx, work context.Context, arrived <-chan struct{}) bool {
	now := time.Now()
	if o.cursor.Due = append(o.cursor.Due, o.cursor.Flood.advance(now)...); len(o.cursor.Due) > 0 {
		o.dirty = true
		return true
	}
	o.save(false)
	var due <-chan time.Time // never, where there is nothing to do
	if at := o.wakeAt(now); !at.IsZero() {
		timer := time.NewTimer(at.Sub(now))
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-arrived:
		return true
	case <-ctx.Done():
		// What was put while this was about to wait comes before the end.
		select {
		case <-arrived:
			return true
		default:
			return false
		}
	case <-due:
		return true
	}
}

// wakeAt returns when there is something to do without an event, the zero time
// for never.
func (o *Output) wakeAt(now time.Time) time.Time {
	at := o.cursor.Flood.next()
	sooner := func(t time.Time) {
		if at.IsZero() || t.Before(at) {
			at = t
		}
	}
	if o.dirty {
		sooner(o.saved.Add(saveEvery))
	}
	if !o.tend.IsZero() {
		sooner(o.tend)
	}
	return at
}

func (o *Output) awaits(e audit.Event) bool {
	a, ok := o.Sender.(Awaiter)
	return ok && a.Awaits(e)
}

// tendSender tends the Sender if it is time.
func (o *Output) tendSender(work context.Context) {
	if o.tend.IsZero() || time.Now().Before(o.tend) {
		return
	}
	o.tend = time.Time{}
	t, ok := o.Sender.(Tender)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(work, sendTimeout)
	defer cancel()
	again, err := t.Tend(ctx)
	if again > 0 {
		o.tend = time.Now().Add(again)
	}
	if err == nil {
		o.untended = ""
		return
	}
	o.failures.Add(1)
	if why := cause(err); why != o.untended {
		o.untended = why
		o.Logger.Warn("the receiver may not have what it was sent before: that is tried again", "output", o.Name, "error", err)
	}
}

// save writes the cursor file, if it is time or, if there is something to keep,
// now. Without it a restart delivers again what this run did: told once.
func (o *Output) save(now bool) {
	if !now && (!o.dirty || time.Since(o.saved) < saveEvery) {
		return
	}
	o.saved, o.dirty = time.Now(), false
	err := o.cursor.save(o.path)
	why := ""
	if err != nil {
		why = cause(err)
	}
	if why != o.unfit {
		if o.unfit = why; err != nil {
			o.Logger.Warn("where the output is cannot be saved: after a restart it delivers again", "output", o.Name, "error", err)
		}
	}
}

// tellMissed tells of events that were in memory alone and had no room there.
func (o *Output) tellMissed() {
	missed := o.Feed.lost(o.place)
	if n := missed - o.missed; n > 0 {
		o.missed = missed
		o.dropped.Add(n)
		o.Logger.Warn("alerts that the log could not hold came faster than the output could deliver them", "output", o.Name, "alerts", n)
	}
}
