package agent

import (
	"slices"
	"time"

	"github.com/portaudit/portaudit/policy"
)

// For how long a listener is new, and how long a host must have been watched for
// one to be: what the first audits see was there before.
const (
	newFor       = 24 * time.Hour
	watchedFirst = time.Hour
)

// past tells what is remembered of a listener, by its id, at a time. nil: nobody
// watched.
type past func(id string, at time.Time) recollection

// recollection is what a policy may ask of a listener's past.
type recollection struct {
	firstSeen time.Time
	isNew     policy.Answer
	changed   string
}

// asksPast reports whether a policy asks for what must be remembered.
func asksPast(p *policy.Policy) bool {
	return p.Asks("older_than") || p.Asks("new") || p.Asks("changed")
}

// pastOf tells what tracks remember, which were begun at a time; nil if that is
// not known.
func pastOf(tracks map[string]track, began time.Time) past {
	if began.IsZero() {
		return nil
	}
	return func(id string, at time.Time) recollection {
		t := tracks[id]
		r := recollection{firstSeen: t.Listener.FirstSeen, isNew: policy.No, changed: unchanged}
		if r.firstSeen.IsZero() {
			r.firstSeen = at
		}
		if !r.firstSeen.Before(began.Add(watchedFirst)) && at.Sub(r.firstSeen) < newFor {
			r.isNew = policy.Yes
		}
		if t.Change != "" && at.Sub(t.ChangedAt) < newFor {
			r.changed = t.Change
		}
		return r
	}
}

// unchanged is what policy.Listener.Changed says of a listener that did not.
const unchanged = "none"

// turned returns the track with the word for how it changed, if a policy can ask
// for that.
func (t track) turned(word string) track {
	if slices.Contains(policy.Changes(), word) {
		t.Change, t.ChangedAt = word, t.LastSeen
	}
	return t
}

// earliest returns the earlier of two times, of which zero is never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// decideAgain returns the first time after now at which a policy may decide
// otherwise though the host is as it was, zero if it never does.
func decideAgain(p *policy.Policy, tracks map[string]track, now time.Time) time.Time {
	next := p.NextChange(now)
	if !asksPast(p) {
		return next
	}
	consider := func(at time.Time) {
		if at.After(now) {
			next = earliest(next, at)
		}
	}
	for _, t := range tracks {
		for _, age := range p.Ages() {
			consider(t.Listener.FirstSeen.Add(age))
		}
		if p.Asks("new") {
			consider(t.Listener.FirstSeen.Add(newFor))
		}
		if p.Asks("changed") && t.Change != "" {
			consider(t.ChangedAt.Add(newFor))
		}
	}
	return next
}
