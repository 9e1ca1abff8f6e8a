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

// classify puts the socket of namespace ns beside what the registry says of
// its port.
func classify(s listen.Socket, ns listen.Namespace, says registry.Facts) classified {
	c := classified{socket: s, registry: says, facts: policy.Listener{
		Transport:  s.Transport,
		Port:       s.Port,
		Scope:      policy.ScopeOf(s.Address),
		State:      says.State,
		Names:      says.Names,
		Privileged: policyAnswer(ns.Privileged(s.Port)),
		Ephemeral:  policyAnswer(ns.InEphemeral(s.Port)),
		Authority:  authority(s, ns),
	}}
	if says.Common != nil {
		// An unknown word is as harmless as "none": the table is tested to have none.
		c.facts.Risk, _ = policy.ParseSeverity(says.Common.Severity)
	}
	for _, o := range s.Owners {
		c.facts.Owners = append(c.facts.Owners, policyOwner(o))
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
	return policy.Owner{
		How: o.How.String(), User: o.User, Root: root(o), Executable: o.Executable,
		Deleted: deleted, WorldWritable: policyAnswer(o.WorldWritable), Unit: o.Unit,
	}
}
