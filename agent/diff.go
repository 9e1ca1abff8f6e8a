package agent

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/agent/listen"
	"github.com/portaudit/portaudit/policy"
)

// Limits say how many audits make a listener.
type Limits struct {
	Confirm int // audits in which it must be seen before it is reported
	Gone    int // audits in a row without it before it is reported closed
}

// The words for what changed about a listener, in Event.Change.
const (
	changeReplaced     = "replaced"       // the program was started anew
	changeOwner        = "owner-changed"  // another program, user or service has the port
	changeResolved     = "owner-resolved" // its owner can be seen now, and could not before
	changeScopeWidened = "scope-widened"  // it can be reached from further away
	changeScopeMoved   = "scope-moved"    // it moved to another scope that is not wider
	changeAddresses    = "addresses"      // other addresses of the same scope
	changeHashed       = "hashed"         // the digest of its program is known now, and was not when it was reported
)

// change is one difference between two audits, or between an audit and what
// had been reported before.
type change struct {
	kind     string // one of audit's listener and finding events
	word     string // of listener.changed
	listener Listener
	replaces string // id of the listener that gave its place up for this one
	finding  Finding

	addresses []string
	lastSeen  time.Time
	repealed  bool // cleared by another policy, not by what the listener did
	brief     bool // the kernel told of its beginning and its end, and no audit saw it
}

// track is what is remembered of one listener.
type track struct {
	Listener  Listener           `json:"listener"` // as last seen, FirstSeen the true one
	Addresses []string           `json:"addresses"`
	LastSeen  time.Time          `json:"last_seen"`
	Seen      int                `json:"seen"`   // audits until it was confirmed
	Missed    int                `json:"missed"` // audits in a row without it
	Confirmed bool               `json:"confirmed"`
	Programs  []string           `json:"programs"`         // signatures of all owners it ever had
	Raised    map[string]Finding `json:"raised"`           // by id
	Change    string             `json:"change,omitempty"` // how it changed last, of those that a policy can ask for
	ChangedAt time.Time          `json:"changed_at,omitzero"`
}

// change makes a change of the kind about the track as it is.
func (t track) change(kind string) change {
	return change{kind: kind, listener: t.Listener, addresses: t.Addresses, lastSeen: t.LastSeen}
}

// changed makes a change to the listener itself.
func (t track) changed(word string) change {
	c := t.change(audit.ListenerChanged)
	c.word = word
	return c
}

// about makes a change of the kind about a finding.
func (t track) about(kind string, f Finding) change {
	c := t.change(kind)
	c.finding = f
	return c
}

// diff compares an audit with what is remembered and returns what to remember
// now, and what to report, in an order that does not depend on map iteration.
//
// What an audit could not see is neither gone nor mended: a listener of a
// namespace that was not read stays as it was, and so do the findings of a
// listener whose owners could not be seen.
func diff(before map[string]track, o observation, limits Limits) (map[string]track, []change) {
	after := maps.Clone(before)
	if after == nil {
		after = map[string]track{}
	}
	sightings := group(before, o.listeners)
	ports := byPort(before)
	var changes []change
	for _, id := range slices.Sorted(maps.Keys(before)) {
		if _, here := sightings[id]; !here && !o.early {
			changes = append(changes, miss(after, id, o, limits)...)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(sightings)) {
		changes = append(changes, sight(after, ports, id, sightings[id], o, limits)...)
	}
	return after, changes
}

// port is a place without its scope.
type port struct {
	namespace, transport string
	number               uint32
}

func portOf(l Listener) port { return port{l.Namespace, l.Transport, l.Port} }

// byPort returns the ids of what was remembered before this audit, in order. A
// new listener is only ever compared with those: without it each of thousands
// of new ones would be compared with all.
func byPort(tracks map[string]track) map[port][]string {
	ids := make(map[port][]string, len(tracks))
	for _, id := range slices.Sorted(maps.Keys(tracks)) {
		at := portOf(tracks[id].Listener)
		ids[at] = append(ids[at], id)
	}
	return ids
}

// settled reports whether the next audit would find nothing to report if it saw
// the same again: every listener is confirmed, and none is missing.
func settled(tracks map[string]track) bool {
	for _, t := range tracks {
		if !t.Confirmed || t.Missed > 0 {
			return false
		}
	}
	return true
}

// seenAgain returns the tracks with their last sight no earlier than at: audits
// until then found everything as it was.
func seenAgain(tracks map[string]track, at time.Time) map[string]track {
	seen := make(map[string]track, len(tracks))
	for id, t := range tracks {
		if t.Missed == 0 && t.LastSeen.Before(at) {
			t.LastSeen = at
		}
		seen[id] = t
	}
	return seen
}

// miss counts an audit without the listener, and reports it when it is gone.
func miss(tracks map[string]track, id string, o observation, limits Limits) []change {
	t := tracks[id]
	read, found := o.read[t.Listener.Namespace]
	if found && !read || !found && o.blind {
		return nil // nobody looked
	}
	t.Missed++
	tracks[id] = t
	if t.Missed < limits.Gone {
		return nil
	}
	delete(tracks, id)
	var changes []change
	if !t.Confirmed { // too short-lived to be confirmed, yet it was there
		t, changes = confirm(t)
	}
	changes = append(changes, clearAll(t)...)
	return append(changes, t.change(audit.ListenerClosed))
}

// clearAll reports every raised finding of a track as cleared.
func clearAll(t track) []change {
	var changes []change
	for _, id := range slices.Sorted(maps.Keys(t.Raised)) {
		changes = append(changes, t.about(audit.FindingCleared, t.Raised[id]))
	}
	return changes
}

// repealed marks what was cleared of listeners that are still there, at the
// first audit by another policy.
func repealed(changes []change, tracks map[string]track) []change {
	marked := slices.Clone(changes)
	for i, c := range marked {
		_, here := tracks[c.listener.ID]
		marked[i].repealed = here && c.kind == audit.FindingCleared
	}
	return marked
}

// confirm marks a track as reported, and reports it with its findings.
func confirm(t track) (track, []change) {
	t.Confirmed = true
	changes := []change{t.change(audit.ListenerOpened)}
	raised := raise(&t)
	return t, append(changes, raised...)
}

// raise reports the findings of the track's listener that are not yet raised.
func raise(t *track) []change {
	var changes []change
	t.Raised = maps.Clone(t.Raised)
	for _, f := range t.Listener.Findings {
		if _, old := t.Raised[f.ID]; old {
			continue
		}
		if t.Raised == nil {
			t.Raised = map[string]Finding{}
		}
		t.Raised[f.ID] = f
		changes = append(changes, t.about(audit.FindingRaised, f))
	}
	return changes
}

// sight counts an audit with the listener, and reports it when it is confirmed
// and when it changed.
func sight(tracks map[string]track, ports map[port][]string, id string, s sighting, o observation, limits Limits) []change {
	t, known := tracks[id]
	if !known {
		t = inherited(tracks, ports, s.listener)
	}
	old := t
	firstSeen := t.Listener.FirstSeen
	if firstSeen.IsZero() {
		firstSeen = o.time
	}
	t.Listener = s.listener
	t.Listener.FirstSeen = firstSeen
	t.Addresses, t.LastSeen, t.Missed = s.addresses, o.time, 0
	if s.owners {
		t.Programs = union(t.Programs, signatures(s.listener.Owners))
	}
	var changes []change
	switch {
	case t.Confirmed:
		t.Seen = max(t.Seen, 1) // it may have been reported before any audit saw it
		t, changes = compare(old, t, s.owners)
	default:
		if t.Seen++; o.early && !known && !quiet(s.listener, listen.Unknown) {
			t.Seen++
		}
		if t.Seen >= limits.Confirm {
			t, changes = appear(tracks, ports, t)
		}
	}
	tracks[id] = t
	return changes
}

// inherited returns what is remembered of a listener that was seen at the place
// of l, was not yet reported and had owners that could not be seen: it is the
// same, and now they can. It is forgotten under its old id.
func inherited(tracks map[string]track, ports map[port][]string, l Listener) track {
	for _, id := range ports[portOf(l)] {
		was, there := tracks[id]
		if there && !was.Confirmed && was.Missed > 0 && placeOf(was.Listener) == placeOf(l) && unresolved(was.Listener.Owners) {
			delete(tracks, id)
			return track{Listener: Listener{FirstSeen: was.Listener.FirstSeen}, Seen: was.Seen}
		}
	}
	return track{}
}

// appear confirms a track, as a change of the listener whose place it takes if
// there is one, else as a new one.
func appear(tracks map[string]track, ports map[port][]string, t track) (track, []change) {
	id, word := predecessor(tracks, ports[portOf(t.Listener)], t)
	t, changes := confirm(t)
	if word == "" {
		return t, changes
	}
	was := tracks[id]
	t = t.turned(word)
	changes[0] = t.changed(word)
	if was.Missed > 0 { // it gave its place up; else both are there
		changes[0].replaces = id
		delete(tracks, id)
		changes = append(clearAll(was), changes...)
	}
	return t, changes
}

// predecessor finds, among the listeners of the same port, the confirmed one
// whose place t takes: of another program, when that is missing now, or of the
// same program in another scope. It was there before: a program that opens its
// port on several addresses at once widens nothing.
func predecessor(tracks map[string]track, ids []string, t track) (id, word string) {
	program := programOf(t.Listener.Owners)
	for _, id := range ids {
		was, there := tracks[id]
		if !there || !was.Confirmed || !was.Listener.FirstSeen.Before(t.Listener.FirstSeen) {
			continue
		}
		sameScope := was.Listener.Scope == t.Listener.Scope
		switch {
		case sameScope && was.Missed > 0 && unresolved(was.Listener.Owners):
			return id, changeResolved
		case sameScope && was.Missed > 0:
			return id, changeOwner
		case !sameScope && programOf(was.Listener.Owners) == program:
			if wider(t.Listener.Scope, was.Listener.Scope) {
				return id, changeScopeWidened
			}
			if was.Missed > 0 {
				return id, changeScopeMoved
			}
		}
	}
	return "", ""
}

func wider(now, was string) bool {
	a, errA := policy.ParseScope(now)
	b, errB := policy.ParseScope(was)
	return errA == nil && errB == nil && a > b
}

// compare reports what changed about a confirmed listener. Of one whose owners
// were never seen what was found is compared, for it was found without them; of
// one whose owners cannot be seen any more it stays.
func compare(old, t track, owners bool) (track, []change) {
	var changes []change
	switch {
	case owners:
		if word := whatChanged(old, t); word != "" {
			t = t.turned(word)
			changes = append(changes, t.changed(word))
		}
	case !unresolved(old.Listener.Owners) || !slices.EqualFunc(old.Listener.Owners, t.Listener.Owners, sameHow):
		t.Listener.Findings = old.Listener.Findings
		return t, nil
	}
	for _, id := range slices.Sorted(maps.Keys(t.Raised)) {
		if !slices.ContainsFunc(t.Listener.Findings, func(f Finding) bool { return f.ID == id }) {
			changes = append(changes, t.about(audit.FindingCleared, t.Raised[id]))
			t.Raised = maps.Clone(t.Raised)
			delete(t.Raised, id)
		}
	}
	return t, append(changes, raise(&t)...)
}

// whatChanged returns the word for the gravest change, "" for none. Workers
// that come and go beside a process that stays are no change, nor is an owner
// of a kind that the listener has had before.
func whatChanged(old, t track) string {
	switch {
	case len(t.Programs) > len(old.Programs):
		return changeOwner
	case !slices.ContainsFunc(t.Listener.Owners, func(o audit.Owner) bool {
		return slices.ContainsFunc(old.Listener.Owners, func(p audit.Owner) bool { return sameProcess(o, p) })
	}):
		return changeReplaced
	case !slices.Equal(sorted(old.Addresses), sorted(t.Addresses)):
		return changeAddresses
	case len(hashed(old.Listener.Owners, t.Listener.Owners)) > 0:
		return changeHashed
	}
	return ""
}

// hashed returns the owners whose digest is known now and was not before. A
// large program is hashed in turn, after it was reported.
func hashed(before, now []audit.Owner) []audit.Owner {
	var all []audit.Owner
	for _, o := range now {
		if o.SHA256 != "" && slices.ContainsFunc(before, func(b audit.Owner) bool {
			return b.SHA256 == "" && b.Executable == o.Executable && sameProcess(b, o)
		}) {
			all = append(all, o)
		}
	}
	return all
}

func sorted(s []string) []string { return slices.Sorted(slices.Values(s)) }

// signatures tell owners apart by what a restart does not change: which
// program it is, run as whom, for which service.
func signatures(owners []audit.Owner) []string {
	var all []string
	for _, o := range owners {
		all = append(all, strings.Join([]string{cmp.Or(o.Executable, o.Command, o.How), o.User, o.SID, o.Unit}, "\t"))
	}
	return all
}

// union returns the sorted distinct strings of a and b.
func union(a, b []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(slices.Concat(a, b))))
}
