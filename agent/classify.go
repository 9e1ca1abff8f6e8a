package agent

import (
	"github.com/portaudit/portaudit/agent/listen"
	"github.com/portaudit/portaudit/policy"
	"github.com/portaudit/portaudit/registry"
)

// classified is a socket with all that a policy may ask of it.
type classified struct {
	socket   listen.Socket
	registry registry.Facts
	facts    policy.Listener
}

// classify puts the socket of namespace ns beside what the catalog says of its
// port. A raw, packet or vsock socket has none that IANA assigns: neither the
// registry nor the namespace's rules for ports apply to it.
func classify(s listen.Socket, ns listen.Namespace, catalog *registry.Catalog) classified {
	c := classified{socket: s, facts: policy.Listener{
		Transport: s.Transport, Port: s.Port, Scope: policy.ScopeOf(s.Address), Authority: authority(s, ns),
	}}
	if s.Exposure.Reach != listen.ReachUnknown {
		c.facts.Reach = s.Exposure.Reach.String()
	}
	c.facts.Owners = make([]policy.Owner, 0, len(s.Owners))
	for _, o := range s.Owners {
		c.facts.Owners = append(c.facts.Owners, policyOwner(o))
	}
	if !ported(s.Transport) {
		return c
	}
	c.registry = catalog.Describe(s.Port, s.Transport)
	c.facts.State, c.facts.Names = c.registry.State, c.registry.Names
	c.facts.Privileged, c.facts.Ephemeral = policyAnswer(ns.Privileged(s.Port)), policyAnswer(ns.InEphemeral(s.Port))
	if use := c.registry.Common; use != nil {
		// An unknown word is as harmless as "none": the table is tested to have none.
		c.facts.Risk, _ = policy.ParseSeverity(use.Severity)
	}
	return c
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

func policyOwner(o listen.Owner) policy.Owner {
	deleted := policyAnswer(o.Deleted)
	if o.Replaced == listen.Yes {
		deleted = policy.No // an upgrade: the program is there, in a newer version
	}
	unit := o.Unit
	if unit == "" && len(o.Services) == 1 {
		unit = o.Services[0] // of several it is not known which one has the socket
	}
	return policy.Owner{
		How: o.How.String(), User: o.User, Root: root(o), Executable: o.Executable,
		Deleted: deleted, WorldWritable: policyAnswer(o.WorldWritable), Unit: unit,
	}
}
