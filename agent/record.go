package agent

import (
	"context"
	"errors"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
)

// restAfter is after how many audits with nothing new the loop leaves what it
// remembers of each listener to the state file: thousands of listeners take
// some ten megabytes, which a host that is quiet can have back. It takes a
// fifth of a second to read them again.
const restAfter = 10

// restPercent is how much garbage may lie beside what a resting loop needs: it
// makes next to none, and the collector takes a millisecond.
const restPercent = 10

// saveEvery bounds how old the last sight of a listener can be in the state
// file after a crash. What was said is saved at once.
const saveEvery = time.Minute

// say writes events to the log, then changes, a part at a time.
func (l *loop) say(events []audit.Event, changes []change) error {
	if err := l.append(events); err != nil {
		return err
	}
	for some := range slices.Chunk(changes, appendAtOnce) {
		events = events[:0]
		for _, c := range some {
			events = append(events, event(c))
		}
		if err := l.append(events); err != nil {
			return err
		}
	}
	return nil
}

// appendAtOnce is how many changes are written between two fsyncs, at the most:
// the first audit of a large host has some ten thousand, and the records of all
// of them at once would take tens of megabytes.
const appendAtOnce = 512

// record writes a few events to the log, alerts, and remembers that they were
// said.
func (l *loop) record(events []audit.Event) error {
	if err := l.append(events); err != nil {
		return err
	}
	l.saveSoon()
	return nil
}

// append writes events to the log. Alerts get what it acknowledges, in this order:
// what an alert says is in the log. A crash before the state is saved is made good
// from the log at the next start.
func (l *loop) append(events []audit.Event) error {
	if len(events) == 0 {
		return nil
	}
	for i := range events {
		events[i].Time = time.Now()
	}
	l.wake()
	l.stale, l.unsaved, l.measured.changed = true, true, true
	if l.Unlogged == Alert {
		l.ahead.open = append(l.ahead.open, events...)
	}
	if err := l.took(l.Log.Append(events...)); err != nil {
		return err
	}
	return l.signDue()
}

// signDue signs the log if enough records are on disk that are not signed.
func (l *loop) signDue() error {
	if l.SignAfter == 0 || l.Log.Seq()-l.signed < l.SignAfter {
		return nil
	}
	return l.sign()
}

// sign signs the log, if something was recorded since it was signed. That it could
// not be signed ends nothing: what it holds is worth recording all the same.
func (l *loop) sign() error {
	if l.Sign == nil || l.degraded {
		return nil
	}
	acknowledged, err := l.Sign()
	if err != nil && !errors.Is(err, audit.ErrDegraded) {
		l.Logger.Error("no checkpoint of the audit log: who changes it now may not be found out", "error", err)
		err = nil
	}
	if len(acknowledged) > 0 {
		l.wake()
		l.stale, l.unsaved = true, true
	}
	err = l.took(acknowledged, err)
	l.signed = l.Log.Seq() // whether it was or not: it is not tried at each record
	return err
}

// saveSoon saves the state if something was said since, or if it is time.
func (l *loop) saveSoon() {
	if l.degraded || !l.unsaved && time.Since(l.saved) < saveEvery {
		return
	}
	l.unsaved = false
	if err := l.save(); err != nil {
		l.Logger.Warn("state not saved: after a crash it is made anew from the log", "error", err)
	}
}

// rest leaves what is remembered of the listeners to the state file.
func (l *loop) rest() {
	if err := l.save(); err != nil {
		l.Logger.Warn("state not saved: it is kept in memory", "error", err)
		return
	}
	l.count()
	l.state.Tracks, l.resting = nil, true
	l.gcPercent = debug.SetGCPercent(restPercent)
	runtime.GC() // pools, such as that of encoding/json, give up what they hold at the second collection
	debug.FreeOSMemory()
}

// wake reads again what was left to the state file.
func (l *loop) wake() {
	if !l.resting {
		return
	}
	s, err := recall(context.Background(), l.StateDir, l.LogDir) // little: the state was saved
	if err != nil {
		l.Logger.Warn("state made anew from the log", "error", err)
	}
	l.state.Tracks, l.resting = s.Tracks, false
	debug.SetGCPercent(l.gcPercent)
}

// save writes the state. Where nothing changed since it was written but the
// time of the last audit, that alone is noted, as the file's own time: a host
// has thousands of listeners, and they seldom change. The log goes before the state:
// what that does not hold would be said by nobody after a crash.
func (l *loop) save() error {
	if err := l.sync(); err != nil {
		return err
	}
	if _, waits := l.Log.Pending(); waits {
		return errAhead
	}
	l.saved = time.Now()
	if l.stale {
		if err := l.state.save(l.StateDir); err != nil {
			return err
		}
		l.stale = false
	}
	if l.audited.IsZero() {
		return nil
	}
	return touch(l.StateDir, l.audited)
}
