package agent

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
)

// event makes the record of a change.
func event(c change) audit.Event {
	l := c.listener
	lastSeen, firstSeen := c.lastSeen, l.FirstSeen
	e := audit.Event{
		Event: c.kind, Message: message(c),
		Listener: l.ID, Change: c.word, Replaces: c.replaces,
		Transport: l.Transport, Address: l.Address, Port: l.Port, Interface: l.Interface,
		Namespace: l.Namespace, Scope: l.Scope, Reach: l.Exposure.Reach,
		Privileged: l.Privileged, Ephemeral: l.Ephemeral, DualStack: l.DualStack, Authority: l.Authority,
		FirstSeen: &firstSeen, LastSeen: &lastSeen, Registry: &l.Registry, Owners: l.Owners,
		Verdict: l.Verdict, Rule: l.Rule,
	}
	e.Escaped = slices.Clip(l.Escaped)
	if len(c.addresses) > 1 {
		e.Addresses = c.addresses
		for i, address := range c.addresses {
			if strings.Contains(address, `\`) { // see addressOf
				e.Escaped = append(e.Escaped, fmt.Sprintf("addresses[%d]", i))
			}
		}
	}
	if f := c.finding; f.ID != "" {
		e.ID, e.Rule, e.Severity, e.Why, e.Fix, e.Tags = f.ID, f.Rule, f.Severity, f.Why, f.Fix, f.Tags
	}
	return e
}

// message says in one sentence what happened.
func message(c change) string {
	l := c.listener
	at := EndpointText(l)
	who := OwnersText(l.Owners, OwnerText)
	switch c.kind {
	case audit.FindingRaised:
		return c.finding.Message
	case audit.FindingCleared:
		if c.repealed {
			return "the policy changed, and finds this no more: " + c.finding.Message
		}
		return "no longer: " + c.finding.Message
	case audit.ListenerOpened:
		return fmt.Sprintf("%s listens on %s", who, at)
	case audit.ListenerClosed:
		if c.brief {
			return fmt.Sprintf("%s listened on %s for %v", who, at, c.lastSeen.Sub(l.FirstSeen))
		}
		return fmt.Sprintf("%s no longer listens on %s, last seen %s", who, at, c.lastSeen.Format(time.RFC3339))
	}
	switch c.word {
	case changeReplaced:
		return fmt.Sprintf("%s was started anew and listens on %s", who, at)
	case changeResolved:
		return fmt.Sprintf("the owner of %s can be seen now: %s", at, who)
	case changeOwner:
		return fmt.Sprintf("%s is now owned by %s", at, who)
	case changeScopeWidened:
		return fmt.Sprintf("%s can now be reached from further away: it listens on %s", who, at)
	case changeScopeMoved:
		return fmt.Sprintf("%s moved to %s", who, at)
	case changeHashed:
		return fmt.Sprintf("the program that listens on %s is hashed now: %s", at, who)
	default:
		return fmt.Sprintf("%s listens on other addresses: %s", who, at)
	}
}

// replay brings what is remembered up to what the log holds: a record may have
// been written just before the agent was killed, and what it says must not be
// said again. It changes the map, of which a log may have a million records.
func replay(after map[string]track, e audit.Event) {
	switch {
	case ofCrossCheck(e), ofHost(e):
		return
	case e.Event == audit.ListenerClosed:
		delete(after, e.Listener)
		return
	case !slices.Contains([]string{audit.ListenerOpened, audit.ListenerChanged, audit.FindingRaised, audit.FindingCleared}, e.Event):
		return
	}
	t, known := after[e.Listener]
	delete(after, e.Replaces)
	if !known || e.Event == audit.ListenerOpened || e.Event == audit.ListenerChanged {
		raised, was := t.Raised, t
		t = trackOf(e)
		t.Raised = raised
		if t.Change == "" {
			t.Change, t.ChangedAt = was.Change, was.ChangedAt
		}
	}
	switch e.Event {
	case audit.FindingRaised:
		t.Raised = maps.Clone(t.Raised)
		if t.Raised == nil {
			t.Raised = map[string]Finding{}
		}
		t.Raised[e.ID] = Finding{ID: e.ID, Rule: e.Rule, Severity: e.Severity, Message: e.Message, Why: e.Why, Fix: e.Fix, Tags: e.Tags}
	case audit.FindingCleared:
		t.Raised = maps.Clone(t.Raised)
		delete(t.Raised, e.ID)
	}
	after[e.Listener] = t
}

// escapedOf returns what Listener.Escaped was when a record was made.
func escapedOf(e audit.Event) []string {
	var names []string
	for _, name := range []string{"address", "interface", "namespace"} {
		if slices.Contains(e.Escaped, name) {
			names = append(names, name)
		}
	}
	return names
}

// trackOf rebuilds what is remembered of a listener from a record about it.
func trackOf(e audit.Event) track {
	l := Listener{
		ID: e.Listener, Transport: e.Transport, Address: e.Address, Port: e.Port, Interface: e.Interface,
		Namespace: e.Namespace, Scope: e.Scope, Owners: e.EscapedOwners(), Escaped: escapedOf(e), Verdict: e.Verdict, Rule: e.Rule,
		Privileged: e.Privileged, Ephemeral: e.Ephemeral, DualStack: e.DualStack, Authority: e.Authority,
		Exposure: Exposure{Reach: e.Reach},
	}
	if e.Registry != nil {
		l.Registry = *e.Registry
	}
	t := track{Listener: l, Addresses: e.Addresses, Confirmed: true, Programs: union(signatures(e.Owners), nil)}
	if len(t.Addresses) == 0 {
		t.Addresses = []string{e.Address}
	}
	if e.FirstSeen != nil {
		t.Listener.FirstSeen = *e.FirstSeen
	}
	if e.LastSeen != nil {
		t.LastSeen = *e.LastSeen
	}
	return t.turned(e.Change)
}
