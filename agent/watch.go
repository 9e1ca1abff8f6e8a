package agent

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/agent/listen"
)

// WatchOptions is what Watch works with: what a scan does, without its
// cross-check.
type WatchOptions struct {
	ScanOptions
	Realtime Realtime
	Interval time.Duration // between the starts of two audits
}

// View is the host at one moment, and what changed on it since the view before.
type View struct {
	// Report is of the last audit, with what changes told since. A listener's
	// FirstSeen is zero where it was there before anybody looked.
	Report
	// Changes are records that no log has: what a daemon would report. Those of
	// the first view are of everything that is there.
	Changes []audit.Event
	// Failure is why the last audit failed, "" if it did not: then the rest is of
	// the one before.
	Failure string
	// Explain tells how the policy came to its verdict on a listener of this
	// view. It may be called at any time.
	Explain func(Listener) []Step
}

// showAfter is how long changes are gathered before they are shown: nobody reads
// faster, and something may open a thousand listeners a second.
const showAfter = 50 * time.Millisecond

// Watch audits the host until ctx is done, which is no error, and shows what is
// there at first and each time that something changed. It writes nothing, and
// starts no goroutine. Only the first audit may fail.
func Watch(ctx context.Context, o WatchOptions, show func(View)) error {
	w := watcher{WatchOptions: o, tracks: map[string]track{}, live: live{}, opened: map[socketKey]arrival{}, since: map[string]time.Time{}}
	err := w.lookAround(ctx)
	if err == nil {
		err = w.audit(ctx)
	}
	switch {
	case ctx.Err() != nil:
		return nil
	case err != nil:
		return err
	}
	show(w.view())
	ticker := time.NewTicker(o.Interval)
	defer ticker.Stop()
	var soon <-chan time.Time // nil: there is nothing to show
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-soon:
			soon = nil
			show(w.view())
			continue
		case <-ticker.C:
			w.look(ctx)
		case c, ok := <-w.Realtime.Changes:
			if !ok {
				w.Realtime.Changes, w.Realtime.Text = nil, endedText
				continue
			}
			if w.follow(c); w.missed() {
				w.look(ctx)
			}
		}
		if w.changed && soon == nil {
			soon = time.After(showAfter)
		}
	}
}

// watcher is the state of Watch, which alone changes it.
type watcher struct {
	WatchOptions
	last    observation // of the last audit
	sockets []listen.Socket
	by      classifier
	tracks  map[string]track
	seen    uint64 // generation of the last snapshot
	live    live
	opened  map[socketKey]arrival // what opened since the last audit
	since   map[string]time.Time  // first sight of each listener, by id
	lost    uint64
	failure string
	before  state // as the daemon had it when the watch began, if the policy asks for the past

	changed bool // since the last view
	changes []audit.Event
}

// arrival is a socket that a change told of, and its document.
type arrival struct {
	listener Listener
	socket   listen.Socket
}

// settling is how long an enumeration may take to be sure that nobody holds a
// socket, rather than a process that is about to end.
const settling = 150 * time.Millisecond

// lookAround lets the first enumeration come to its conclusions, so that what is
// shown first is what stays.
func (w *watcher) lookAround(ctx context.Context) error {
	s, err := w.List(ctx)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(s.Sockets, func(s listen.Socket) bool {
		return slices.ContainsFunc(s.Owners, func(o listen.Owner) bool { return o.How == listen.Raced })
	}) {
		select {
		case <-ctx.Done():
		case <-time.After(settling):
		}
	}
	return nil
}

// look makes an audit, or notes why it failed.
func (w *watcher) look(ctx context.Context) {
	failure := ""
	if err := w.audit(ctx); err != nil && ctx.Err() == nil {
		failure = err.Error()
	}
	w.changed = w.changed || failure != w.failure
	w.failure = failure
}

// audit makes one audit, and notes what changed.
func (w *watcher) audit(ctx context.Context) error {
	began := time.Now()
	snapshot, err := w.List(ctx)
	if err != nil {
		return err
	}
	if snapshot.Generation != 0 && snapshot.Generation == w.seen && len(w.live) == 0 && settled(w.tracks) {
		return nil
	}
	first := w.by.catalog == nil
	w.seen, w.sockets = snapshot.Generation, snapshot.Sockets
	w.by = newClassifier(snapshot, w.Catalog, w.Policy, true)
	if asksPast(w.Policy) {
		w.by.past = w.past(first)
	}
	w.last = observe(snapshot, w.by, w.Policy)
	w.last.coverage = heard(w.last.coverage, w.Realtime.Text, false)
	w.date(first)
	var changes []change
	w.tracks, changes = diff(w.tracks, w.last, Limits{Confirm: 1, Gone: 1})
	w.live, _ = w.live.settle(w.tracks, began)
	maps.DeleteFunc(w.opened, func(key socketKey, _ arrival) bool { _, open := w.live[key]; return !open })
	w.note(changes)
	w.changed = true
	return nil
}

// past tells what the daemon remembered when the watch began, and what was seen
// since.
func (w *watcher) past(first bool) past {
	if first {
		s, _ := readState(w.StateDir) // there may be no daemon, or one of another user
		w.before = s
	}
	tracks := maps.Clone(w.tracks)
	for id, t := range w.before.Tracks {
		if _, here := tracks[id]; !here || tracks[id].Listener.FirstSeen.IsZero() {
			tracks[id] = t
		}
	}
	return pastOf(tracks, w.before.Began)
}

// date gives each listener of the last audit its first sight, and forgets those
// of others.
func (w *watcher) date(first bool) {
	since := make(map[string]time.Time, len(w.last.listeners))
	sights := func(Listener) time.Time { return w.last.time }
	if first {
		s, _ := readState(w.StateDir) // there may be no daemon, or one of another user
		sights = func(l Listener) time.Time { return s.Tracks[l.ID].Listener.FirstSeen }
	}
	for i := range w.last.listeners {
		l := &w.last.listeners[i]
		at, known := w.since[l.ID]
		if !known {
			at = sights(*l)
		}
		l.FirstSeen, since[l.ID] = at, at
	}
	w.since = since
}

// follow works on a change.
func (w *watcher) follow(c listen.Change) {
	key, at := keyOf(c), c.Time.UTC()
	if !c.Opened {
		_, open := w.live[key]
		delete(w.opened, key)
		changes, _ := w.live.close(w.tracks, key, at)
		w.note(changes)
		w.changed = w.changed || open
		return
	}
	s, ok := w.Realtime.Admit(c)
	if !ok {
		return
	}
	l := w.by.decide(s, w.Policy, c.Time)
	if quiet(l, c.Asked) {
		w.live.overhear(l, key, at)
		return
	}
	w.note(w.live.open(w.tracks, l, key, at))
	w.opened[key], w.changed = arrival{l, s}, true
	if _, known := w.since[l.ID]; !known {
		w.since[l.ID] = at
	}
}

// missed reports whether changes were lost since it was last asked, and notes it.
func (w *watcher) missed() bool {
	n := w.Realtime.Lost()
	if n == w.lost {
		return false
	}
	w.changes = append(w.changes, lostEvent(n-w.lost))
	w.lost, w.changed = n, true
	return true
}

// note keeps what changed for the next view.
func (w *watcher) note(changes []change) {
	now := time.Now()
	for _, c := range changes {
		e := event(c)
		e.Time = now
		w.changes = append(w.changes, e)
	}
	w.changed = w.changed || len(changes) > 0
}

// view makes a view of what is known, and begins to gather for the next.
func (w *watcher) view() View {
	o, sockets := w.last, w.sockets
	o.listeners, o.time = slices.Clone(o.listeners), time.Now().UTC()
	known := map[string]bool{}
	for _, l := range o.listeners {
		known[l.ID+l.Address] = true
	}
	for _, opened := range w.opened {
		l := opened.listener
		if !known[l.ID+l.Address] {
			l.FirstSeen = w.since[l.ID]
			o.listeners, sockets = append(o.listeners, l), append(slices.Clip(sockets), opened.socket)
		}
	}
	by, p := w.by, w.Policy
	v := View{
		Report: report(o, w.Host, w.Policy), Changes: w.changes, Failure: w.failure,
		Explain: func(l Listener) []Step {
			by := by.clone() // for the caller's goroutine
			for _, s := range sockets {
				c := by.remembered(by.classify(s), o.time)
				if of := listener(c, p.Decide(c.facts, o.time), o.time); of.ID == l.ID && of.Address == l.Address {
					return Steps(p.Explain(c.facts, o.time))
				}
			}
			return nil
		},
	}
	w.changes, w.changed = nil, false
	return v
}
