package agent

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/agent/listen"
)

// Realtime is how the loop hears of listeners at the moment at which they open.
// The zero value is a host on which it does not.
type Realtime struct {
	Changes <-chan listen.Change // nil: none are told of
	// Admit is listen.Lister.Admit, Lost listen.Watcher.Lost; both are required
	// where Changes is not nil.
	Admit func(listen.Change) (listen.Socket, bool)
	Lost  func() uint64
	// Text says what is heard of, or why nothing is: a note of the coverage.
	Text string
	// Peek is listen.Lister.Peek: where nothing tells of changes, or nothing does any
	// more, it is asked between two audits whether there is something new. nil: it is
	// not.
	Peek func(context.Context) (bool, error)
}

// Where nothing tells of changes, the host is peeked at this often, and no more
// often than takes the given part of a core.
const (
	peekEvery = time.Second
	peekShare = 1000
)

// peekAfter is how long to wait until the next peek after one that took so long,
// with the audit that it led to.
func peekAfter(took time.Duration) time.Duration { return max(peekEvery, peekShare*took) }

// peek reports whether an audit has something new to see.
func (l *loop) peek(ctx context.Context) bool {
	found, err := l.Realtime.Peek(ctx)
	if err != nil {
		l.Logger.Debug("no look between audits", "error", err) // the next audit says what is wrong
	}
	return found && err == nil
}

// maxBatch is how many changes are worked on before what they came to is
// written: a record that is waited for is on disk after the first sync.
const maxBatch = 256

// follow works on a change, and on those that wait behind it. It reports whether
// some were lost, so that only an audit can say what there is.
func (l *loop) follow(c listen.Change) (lost bool, err error) {
	var batch []listen.Change
	for more := true; more && len(batch) < maxBatch; {
		batch = append(batch, c)
		select {
		case c, more = <-l.Realtime.Changes: // that it was closed is for wait to see
		default:
			more = false
		}
	}
	changes := l.apply(batch)
	events := make([]audit.Event, len(changes))
	for i, c := range changes {
		events[i] = event(c)
	}
	if n := l.Realtime.Lost() - l.losses; n > 0 {
		events = append(events, lostEvent(n))
		l.state.Tally.Lost += n
		l.losses, l.lost, lost = l.losses+n, true, true
	}
	return lost, l.append(events) // the next audit saves the state; until then the log accounts for it
}

// endedText is Realtime.Text of a watch that ended by itself.
const endedText = "ended: what opens and closes between two looks is not seen until portaudit is started again"

func lostEvent(n uint64) audit.Event {
	return audit.Event{
		Event: audit.ChangesLost, Time: time.Now(),
		Message: fmt.Sprintf("%d changes were lost: listeners may have opened and closed unseen", n),
	}
}

// deafened notes that nothing is told of any more: the watch has ended, and the
// loop has not been asked to.
func (l *loop) deafened() {
	l.Realtime.Changes, l.lost = nil, true
	l.Realtime.Text = endedText
	l.Logger.Warn("nothing is heard of listeners between audits any more")
}

// apply brings what is remembered up to some changes, and returns what to report.
func (l *loop) apply(batch []listen.Change) []change {
	var all []change
	var tracks map[string]track // nil until one is needed: what rests need not be woken for a resolver's question
	remembered := func() map[string]track {
		if tracks == nil {
			l.wake()
			if tracks = maps.Clone(l.state.Tracks); tracks == nil {
				tracks = map[string]track{}
			}
		}
		return tracks
	}
	by := l.by.clone()
	if asksPast(l.Policy) {
		by.past = pastOf(remembered(), l.state.Began)
	}
	for _, c := range batch {
		l.state.Tally.Told++
		if !c.Opened {
			if opened, here := l.live[keyOf(c)]; here {
				l.state.Tally.Brief++
				if opened.quiet {
					delete(l.live, keyOf(c))
					continue
				}
				changes, _ := l.live.close(remembered(), keyOf(c), c.Time.UTC())
				all = append(all, changes...)
			}
			continue
		}
		s, ok := l.Realtime.Admit(c)
		if !ok {
			continue
		}
		found := by.decide(s, l.Policy, c.Time)
		if quiet(found, c.Asked) {
			l.live.overhear(found, keyOf(c), c.Time.UTC())
			continue
		}
		all = append(all, l.live.open(remembered(), found, keyOf(c), c.Time.UTC())...)
	}
	if tracks != nil {
		l.state.Tracks, l.stale, l.seen, l.quiet = tracks, true, 0, 0
	}
	return all
}

// heard adds to a coverage what is heard of between audits, as Realtime.Text says
// it, and whether some of it was lost since the one before.
func heard(c audit.Coverage, text string, lost bool) audit.Coverage {
	if text != "" {
		c.Notes = append(c.Notes[:len(c.Notes):len(c.Notes)], audit.Note{Source: "realtime", Text: text})
	}
	if lost {
		c.Complete = false
		c.Gaps = append(c.Gaps[:len(c.Gaps):len(c.Gaps)], audit.Gap{
			Source: "realtime", Reason: "changes were lost, or not told of, since the audit before: listeners may have opened and closed unseen", Hides: listen.HidesSockets.String(),
		})
	}
	return c
}

// settleLive lets an audit that began at a time settle what changes told before.
func (l *loop) settleLive(began time.Time) {
	rest, unsettled := l.live.settle(l.state.Tracks, began)
	l.live = rest
	l.state.Tally.Unsettled += unsettled
}
