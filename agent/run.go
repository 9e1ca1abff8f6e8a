package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"time"

	"github.com/portaudit/portaudit/agent/alert"
	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/agent/listen"
	"github.com/portaudit/portaudit/policy"
	"github.com/portaudit/portaudit/registry"
)

// Options is what the loop works with. All but Realtime, CrossCheck, Reload,
// LoadPolicy, PolicyChanged, Sign, Alerts, Notes, Rotated and Metrics are required.
type Options struct {
	List    func(context.Context) (listen.Snapshot, error) // listen.List
	Catalog *registry.Catalog
	Policy  *policy.Policy

	// Reload asks for the policy to be read again by LoadPolicy. A policy that
	// is refused leaves the one before in force.
	Reload     <-chan struct{}
	LoadPolicy func() (*policy.Policy, error)
	// PolicyChanged reports, every second, whether what LoadPolicy reads has changed
	// since it did; nil: nobody looks.
	PolicyChanged func() bool

	Log      *audit.Log
	LogDir   string // of Log, to read back what was said before
	StateDir string
	Logger   *slog.Logger
	Unlogged Unlogged // what to do while Log cannot be written

	// Notes are records that others have for the log.
	Notes <-chan Note
	// Rotated is called when the log has begun a new file. It must not wait for
	// anything.
	Rotated func()

	// Alerts takes what the log has acknowledged; Seq is 0 in an event that it cannot
	// hold at present. It must not wait for anything, and nobody changes the events
	// after.
	Alerts func(...audit.Event)

	// Sign signs Log (audit.Log.Checkpoint) at the start, at the end, after SignAfter
	// records and every SignEvery; nil: nobody does.
	Sign      func() ([]audit.Event, error)
	SignAfter uint64
	SignEvery time.Duration

	// Metrics takes the metrics after each audit that something was recorded
	// before or by, and each minute. It must not wait for anything.
	Metrics func(alert.Metrics)

	// Realtime tells of listeners between audits.
	Realtime Realtime

	// CrossCheck compares the system's views of its sockets after the first audit
	// and then every CrossEvery; nil: never.
	CrossCheck func(context.Context) (listen.CrossReport, error)
	CrossEvery time.Duration

	Interval time.Duration // between the starts of two audits
	Limits   Limits
	Version  string // of this program
	PID      int
}

// Run audits the host until ctx is done, which is no error. It starts no
// goroutine. An audit that fails is recorded and tried again; an error means
// that the log cannot be written, so that nothing could be recorded any more: as
// Options.Unlogged says, that is waited out first.
func Run(ctx context.Context, o Options) error {
	l, err := start(ctx, o)
	switch {
	case err != nil && errors.Is(err, ctx.Err()):
		return nil // nothing was recorded yet that it is here
	case err != nil:
		return err
	}
	c, stop := clocksOf(o)
	defer stop()
	for due := o.CrossCheck != nil; ; {
		if stop, err := l.pause(ctx, c.tell); err != nil {
			return err
		} else if stop {
			return l.stop()
		}
		if err := l.audit(ctx); err != nil {
			return err
		}
		if l.early {
			l.peeking = time.Since(l.peeked)
		}
		if due {
			if err := l.crossCheck(ctx); err != nil {
				return err
			}
		}
		if l.measured.changed {
			l.tell()
		}
		next, err := l.wait(ctx, c)
		err = errors.Join(err, l.sync()) // an audit takes its time
		switch {
		case err != nil:
			return err
		case next == stopNow:
			return l.stop()
		}
		due = next == crossCheckNow
	}
}

// lookEvery is how often it is asked whether the policy has changed.
const lookEvery = time.Second

// clocks are what a loop is woken by: to audit, to cross-check, to look at the
// policy, to tell metrics, to sign the log. nil is never.
type clocks struct{ audit, cross, policy, tell, sign <-chan time.Time }

// clocksOf returns the clocks for what is asked for, and what stops them.
func clocksOf(o Options) (c clocks, stop func()) {
	var all []*time.Ticker
	every := func(d time.Duration, asked bool) <-chan time.Time {
		if !asked {
			return nil
		}
		t := time.NewTicker(d)
		all = append(all, t)
		return t.C
	}
	c = clocks{
		audit:  every(o.Interval, true),
		cross:  every(o.CrossEvery, o.CrossCheck != nil),
		policy: every(lookEvery, o.PolicyChanged != nil && o.LoadPolicy != nil),
		tell:   every(tellEvery, o.Metrics != nil),
		sign:   every(o.SignEvery, o.Sign != nil && o.SignEvery > 0),
	}
	return c, func() {
		for _, t := range all {
			t.Stop()
		}
	}
}

// step is what a loop does next.
type step uint8

const (
	auditNow step = iota
	crossCheckNow
	stopNow
)

// wait waits until there is more to do than to follow changes.
func (l *loop) wait(ctx context.Context, c clocks) (step, error) {
	l.early = false
	var peek <-chan time.Time // never, where the system tells of changes
	if l.Realtime.Peek != nil && l.Realtime.Changes == nil {
		peek = time.After(peekAfter(l.peeking))
	}
	for !l.suspended() {
		select {
		case <-l.syncDue():
			if err := l.sync(); err != nil {
				return auditNow, err
			}
		case <-peek:
			l.peeked = time.Now()
			if l.early = l.peek(ctx); l.early {
				return auditNow, nil
			}
			l.peeking = time.Since(l.peeked)
			peek = time.After(peekAfter(l.peeking))
		case <-ctx.Done():
			return stopNow, nil
		case <-l.Reload:
			_, err := l.reload(true)
			return auditNow, err
		case <-c.policy:
			if !l.PolicyChanged() {
				continue
			}
			if changed, err := l.reload(false); changed || err != nil {
				return auditNow, err
			}
		case n := <-l.Notes:
			if err := l.note(n); err != nil {
				return auditNow, err
			}
		case <-c.audit:
			return auditNow, nil
		case <-c.cross:
			return crossCheckNow, nil
		case <-c.tell:
			l.tell()
		case <-c.sign:
			if err := l.sign(); err != nil {
				return auditNow, err
			}
		case c, ok := <-l.Realtime.Changes:
			switch {
			case ctx.Err() != nil: // who tells of changes ends with it too
				return stopNow, nil
			case !ok:
				l.deafened()
				return auditNow, nil
			}
			lost, err := l.follow(c)
			if lost || err != nil {
				return auditNow, err
			}
		}
	}
	return auditNow, nil
}

// loop is the state of Run, which alone changes it.
type loop struct {
	Options
	state   state
	saved   time.Time // when state was last written
	stale   bool      // whether the state has changed since
	unsaved bool      // whether something was said since
	failure string    // of the audit before, "" if it worked

	crossFailure string // of the cross-check before, "" if it worked

	refused string // what was said of the last policy, "" if it was taken

	// An audit that sees what the one before saw has nothing to report, and
	// does no more than to note when it was.
	seen    uint64    // generation of the snapshot that the state accounts for, 0 if it may not be skipped
	audited time.Time // of the last audit
	again   time.Time // when the policy may decide otherwise on the same, zero: never
	skipped bool      // whether that one was such an audit
	quiet   int       // such audits in a row
	resting bool      // whether state.Tracks was left to the state file

	gcPercent int // of the runtime's collector, while not resting

	live live       // what changes told since the last audit
	by   classifier // of the last audit's snapshot
	lost bool       // whether changes were lost since the last audit

	losses uint64 // of this watch, as far as they were counted

	signed uint64 // the record up to which the log was signed, or was to be

	degraded bool  // whether the log cannot be written
	ahead    ahead // of the log

	early   bool          // whether this audit is made for what a peek saw
	peeked  time.Time     // when the last peek began
	peeking time.Duration // how long it took, with the audit that it led to

	measured measured
}

// start recalls what was said before and records that the agent is here.
func start(ctx context.Context, o Options) (*loop, error) {
	s, err := recall(ctx, o.StateDir, o.LogDir)
	if err != nil && errors.Is(err, ctx.Err()) {
		return nil, err
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		// Without what was said before, findings may be raised once more: that
		// is said, and better than not to audit.
		o.Logger.Warn("state made anew from the log", "error", err)
	}
	s.Seq = min(s.Seq, o.Log.Seq()) // a log that was moved aside starts again
	l := &loop{Options: o, state: s, live: live{}}
	l.by = newClassifier(listen.Snapshot{}, o.Catalog, o.Policy, false) // changes may come before an audit has worked
	events := []audit.Event{{
		Event: audit.AgentStarted, Message: "portaudit " + o.Version + " started",
		Program: o.Version, PID: o.PID, Policy: named(o.Policy),
	}}
	if r := o.Log.Recovered(); r.Dropped > 0 {
		events[0].Errors = []string{fmt.Sprintf("%d bytes behind the last whole record of the log were dropped", r.Dropped)}
	}
	events = append(events, loaded(o.Policy))
	if err := l.record(events); err != nil {
		return l, err
	}
	return l, l.sign() // the program before this may not have come to it
}

func named(p *policy.Policy) *audit.Policy {
	return &audit.Policy{Source: p.Source, SHA256: p.SHA256}
}

func loaded(p *policy.Policy) audit.Event {
	return audit.Event{Event: audit.PolicyLoaded, Message: "policy " + p.Source + " is in force", Policy: named(p)}
}

// audit makes one audit and records what changed.
func (l *loop) audit(ctx context.Context) error {
	began := time.Now()
	snapshot, err := l.List(ctx)
	if ctx.Err() != nil {
		return nil // the caller stops next
	}
	if err != nil {
		return l.failed(err)
	}
	if snapshot.Generation != 0 && snapshot.Generation == l.seen && !l.lost && (l.again.IsZero() || snapshot.Time.Before(l.again)) {
		l.settleLive(began)
		l.audited, l.skipped = snapshot.Time, true
		if l.quiet++; l.quiet == restAfter {
			l.rest()
		}
		l.worked(began)
		return l.record(nil)
	}
	l.quiet = 0
	l.wake()
	if l.skipped {
		l.state.Tracks, l.skipped = seenAgain(l.state.Tracks, l.audited.UTC()), false
	}
	l.audited = snapshot.Time
	by := newClassifier(snapshot, l.Catalog, l.Policy, false)
	l.by = by.clone() // without the documents that it makes
	if l.state.Began.IsZero() {
		l.state.Began = snapshot.Time.UTC()
	}
	if asksPast(l.Policy) {
		by.past = pastOf(l.state.Tracks, l.state.Began)
	}
	o := observe(snapshot, by, l.Policy)
	o.early = l.early
	o.coverage = heard(o.coverage, l.Realtime.Text, l.lost)
	events := l.coverage(o.coverage)
	host, hostEvents, patience := standingDiff(l.state.Standing, o)
	l.state.Standing = host
	events = append(events, hostEvents...)
	tracks, changes := diff(l.state.Tracks, o, l.Limits)
	if p := l.state.Policy; p != "" && p != l.Policy.SHA256 {
		changes = repealed(changes, tracks)
	}
	l.state.Policy = l.Policy.SHA256
	coverage := o.coverage // a copy: a pointer into o would keep all of it
	l.state.Tracks, l.state.Coverage, l.failure = tracks, &coverage, ""
	l.settleLive(began)
	l.seen, l.stale, l.again = 0, true, earliest(patience, decideAgain(l.Policy, tracks, snapshot.Time))
	if len(changes) == 0 && settled(tracks) && !l.lost {
		l.seen = snapshot.Generation
	}
	l.lost = false
	if err := l.say(events, changes); err != nil {
		return err
	}
	l.worked(began)
	l.Logger.Debug("audited", "listeners", len(o.listeners), "changes", len(changes), "took", time.Since(began))
	l.saveSoon()
	return nil
}

// failed records that an audit failed, once for each reason in a row. Nothing
// is closed or cleared by an audit that did not happen.
func (l *loop) failed(err error) error {
	l.measured.failed++
	if err.Error() == l.failure {
		return nil
	}
	l.failure, l.seen = err.Error(), 0
	return l.record([]audit.Event{{
		Event: audit.AuditFailed, Message: "the audit failed: " + err.Error(), Errors: []string{err.Error()},
	}})
}

// coverage records what can no longer be seen, or can be seen again.
func (l *loop) coverage(now audit.Coverage) []audit.Event {
	var before audit.Coverage
	if l.state.Coverage != nil {
		before = *l.state.Coverage
	} else {
		before.Complete = true
	}
	if l.failure == "" && before.Complete == now.Complete && maps.Equal(gapSet(before), gapSet(now)) {
		return nil
	}
	message := "everything can be seen"
	if !now.Complete {
		message = "not everything can be seen: " + now.Gaps[0].Source + ": " + now.Gaps[0].Reason
	}
	return []audit.Event{{Event: audit.CoverageChanged, Message: message, Coverage: &now}}
}

// gapSet holds what a coverage lacks, without the counts, which change with
// every process that starts.
func gapSet(c audit.Coverage) map[audit.Gap]bool {
	set := map[audit.Gap]bool{}
	for _, g := range c.Gaps {
		g.Count = 0
		set[g] = true
	}
	return set
}

func (l *loop) stop() error {
	err := l.record([]audit.Event{{
		Event: audit.AgentStopped, Message: "portaudit " + l.Version + " stopped", Program: l.Version, PID: l.PID,
	}})
	err = errors.Join(err, l.sign())
	l.tell()
	saved := l.save()
	if errors.Is(saved, errAhead) {
		l.Logger.Warn("state not saved", "error", saved)
		saved = nil // closing the log tells whether it got the rest
	}
	return errors.Join(err, saved)
}
