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

// root reports whether the owner is all-powerful: uid 0, or on Windows the
// account of the system (well-known SID S-1-5-18) or its kernel.
func root(o listen.Owner) policy.Answer {
	switch {
	case o.UID.Known:
		if o.UID.ID == 0 {
			return policy.Yes
		}
		return policy.No
	case o.SID == "S-1-5-18", o.How == listen.Kernel:
		return policy.Yes
	case o.SID != "":
		return policy.No
	default:
		return policy.Unknown
	}
}

// authority says why the owners may hold a port that needs a privilege: one of
// policy.Authorities, "" where nothing needs explaining or too little is known.
//
// On Linux the privilege is CAP_NET_BIND_SERVICE at the time of bind(2)
// (capabilities(7)); a process that had it then may have given it up since.
func authority(s listen.Socket, ns listen.Namespace) string {
	switch ns.Privileged(s.Port) {
	case listen.Unknown:
		return ""
	case listen.No:
		if ns.UnprivilegedStart > 0 && s.Port < registry.FirstRegistered {
			return "sysctl"
		}
		return ""
	}
	known := len(s.Owners) > 0
	var isRoot, activated, capable bool
	for _, o := range s.Owners {
		isRoot = isRoot || root(o) == policy.Yes
		activated = activated || o.How == listen.SocketUnit
		capable = capable || o.BindCapability == listen.Yes
		known = known && o.UID.Known && o.BindCapability != listen.Unknown
	}
	switch {
	case activated:
		return "inherited"
	case isRoot:
		return "root"
	case !known:
		return ""
	case capable:
		return "capability"
	case s.Creator.Known && s.Creator.ID == 0:
		return "creator-root"
	case s.Creator.Known:
		return "unexplained"
	}
	return ""
}
