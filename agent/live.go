package agent

import (
	"slices"
	"strings"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/agent/listen"
	"github.com/portaudit/portaudit/policy"
	"github.com/portaudit/portaudit/registry"
)

// socketKey tells one socket from another, in both changes of it.
type socketKey struct {
	transport registry.Transport
	socket    uint64
}

func keyOf(c listen.Change) socketKey { return socketKey{c.Transport, c.Socket} }

// live is what is known of the sockets that a change told of and no audit has
// seen yet, by socket. An audit that began after a change settles it.
type live map[socketKey]sudden

// sudden is a socket that opened since the last audit.
type sudden struct {
	id    string // of its listener
	at    time.Time
	quiet bool // nothing was said of it, and nothing will be if it closes before an audit
}

// Tally counts what became of changes, since the state was begun.
type Tally struct {
	Told      uint64 `json:"told"`      // changes that were worked on
	Brief     uint64 `json:"brief"`     // sockets that opened and closed between two audits
	Unsettled uint64 `json:"unsettled"` // sockets that a change opened, and the audit after it did not see
	Lost      uint64 `json:"lost"`      // changes that were lost in the kernel's buffer
}

// quiet reports whether a listener that opens is nothing to speak of before an
// audit has seen it: a datagram socket on a port of the range for automatic
// binds, that the policy allows or that may be a client's. Resolvers open one for
// each question.
func quiet(l Listener, asked listen.Answer) bool {
	datagram := l.Transport == registry.UDP.String() || l.Transport == registry.UDPLite.String()
	return datagram && l.Ephemeral != nil && *l.Ephemeral && (l.Verdict == policy.Allow.String() || asked != listen.Yes)
}

// overhear remembers that a socket is open of which nothing is to be said.
func (s live) overhear(l Listener, key socketKey, at time.Time) {
	s[key] = sudden{id: l.ID, at: at, quiet: true}
}

// open adds a listener that a change opened to what is remembered, and returns
// what to report. One that is remembered already was started anew or has one
// more address: that is for the audit to say.
func (s live) open(tracks map[string]track, l Listener, key socketKey, at time.Time) []change {
	s[key] = sudden{id: l.ID, at: at}
	if _, known := tracks[l.ID]; known {
		return nil
	}
	t := track{Listener: l, Addresses: []string{l.Address}, LastSeen: at, Programs: union(signatures(l.Owners), nil)}
	t.Listener.FirstSeen = at
	t, changes := appear(tracks, byPortOf(tracks, portOf(l)), t)
	tracks[l.ID] = t
	return changes
}

// close takes a listener that no audit has seen from what is remembered, and
// returns what to report. It returns false for a socket that no change opened, or
// that an audit has seen: when that is gone, an audit says so.
func (s live) close(tracks map[string]track, key socketKey, at time.Time) ([]change, bool) {
	opened, here := s[key]
	if !here {
		return nil, false
	}
	delete(s, key)
	t, known := tracks[opened.id]
	if opened.quiet || !known || t.Seen > 0 || t.Missed > 0 || s.has(opened.id) {
		return nil, true
	}
	delete(tracks, opened.id)
	t.LastSeen = at
	closed := t.change(audit.ListenerClosed)
	closed.brief = true
	return append(clearAll(t), closed), true
}

// has reports whether a socket of the listener is open.
func (s live) has(id string) bool {
	for _, o := range s {
		if o.id == id {
			return true
		}
	}
	return false
}

// settle forgets what was opened before an audit began, which has looked at it,
// and counts what that did not see.
func (s live) settle(tracks map[string]track, began time.Time) (rest live, unsettled uint64) {
	rest = live{}
	for key, o := range s {
		if !o.at.Before(began) {
			rest[key] = o
			continue
		}
		if o.quiet {
			continue // it may have been connected meanwhile
		}
		if t, known := tracks[o.id]; !known || t.Missed > 0 || t.Seen == 0 {
			unsettled++
		}
	}
	return rest, unsettled
}

// byPortOf is byPort, of one port.
func byPortOf(tracks map[string]track, at port) map[port][]string {
	var ids []string
	for id, t := range tracks {
		if portOf(t.Listener) == at {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, strings.Compare)
	return map[port][]string{at: ids}
}
