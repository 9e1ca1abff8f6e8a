package agent

import (
	"time"

	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/agent/listen"
	"github.com/portaudit/portaudit/policy"
	"github.com/portaudit/portaudit/registry"
)

// classified is a socket with all that a policy may ask of it.
type classified struct {
	socket   listen.Socket
	owners   ownership
	registry registry.Facts
	facts    policy.Listener
}

// classifier classifies the sockets of one snapshot.
type classifier struct {
	catalog *registry.Catalog
	rules   map[string]listen.Namespace // by label
	owners  ownerships
	shadows shadows // nil where nobody asks
	past    past
}

// newClassifier returns the classifier of a snapshot; detailed, it also makes
// the documents of what a scan tells of owners and the log does not keep.
func newClassifier(s listen.Snapshot, catalog *registry.Catalog, p *policy.Policy, detailed bool) classifier {
	c := classifier{catalog: catalog, rules: map[string]listen.Namespace{}, owners: newOwnerships(p.CommandLines, detailed)}
	for _, ns := range s.Namespaces {
		c.rules[ns.Label] = ns
	}
	if p.Asks("shadows") {
		c.shadows = shadowsOf(s.Sockets)
	}
	return c
}

// clone returns a classifier that may be used beside this one.
func (by classifier) clone() classifier {
	by.owners = newOwnerships(by.owners.commandLines, by.owners.detailed)
	return by
}

// classify puts a socket beside what the catalog says of its port. A raw,
// packet or vsock socket has none that IANA assigns: neither the registry nor
// the namespace's rules for ports apply to it.
func (by classifier) classify(s listen.Socket) classified {
	ns := by.rules[s.Namespace]
	c := classified{socket: s, owners: by.owners.of(s.Owners), facts: policy.Listener{
		Transport: s.Transport, Port: s.Port, Address: s.Address, Scope: policy.ScopeOf(s.Address), Authority: authority(s, ns),
		Interface: s.Interface, DualStack: policyAnswer(s.DualStack), Namespace: s.Namespace,
	}}
	c.facts.Owners = c.owners.facts
	if by.shadows != nil {
		c.facts.Shadows = by.shadows.by(&s)
	}
	if s.Exposure.Reach != listen.ReachUnknown {
		c.facts.Reach = s.Exposure.Reach.String()
	}
	if !ported(s.Transport) {
		return c
	}
	c.registry = by.catalog.Describe(s.Port, s.Transport)
	c.facts.State, c.facts.Names = c.registry.State, c.registry.Names
	c.facts.Privileged, c.facts.Ephemeral = policyAnswer(ns.Privileged(s.Port)), policyAnswer(ns.InEphemeral(s.Port))
	if use := c.registry.Common; use != nil {
		// An unknown word is as harmless as "none": the table is tested to have none.
		c.facts.Risk, _ = policy.ParseSeverity(use.Severity)
	}
	return c
}

// decide makes the document of a socket as the policy decides on it at a time.
func (by classifier) decide(s listen.Socket, p *policy.Policy, at time.Time) Listener {
	c := by.remembered(by.classify(s), at)
	return listener(c, p.Decide(c.facts, at), at)
}

// remembered adds to what is known of a socket what is remembered of its listener.
func (by classifier) remembered(c classified, at time.Time) classified {
	if by.past == nil {
		return c
	}
	r := by.past(c.id(), at)
	c.facts.FirstSeen, c.facts.New, c.facts.Changed = r.firstSeen, r.isNew, r.changed
	return c
}

// id is that of the listener.
func (c classified) id() string {
	at := place{audit.Visible(c.socket.Namespace), c.socket.Transport.String(), c.facts.Scope.String(), c.socket.ID()}
	return identity(at, c.owners.program)
}

// policyAnswer translates a fact of listen into policy's own type: neither
// package knows the other.
func policyAnswer(a listen.Answer) policy.Answer {
	switch a {
	case listen.Yes:
		return policy.Yes
	case listen.No:
		return policy.No
	default:
		return policy.Unknown
	}
}
