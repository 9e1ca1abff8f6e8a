package agent

import (
	"github.com/portaudit/portaudit/agent/listen"
	"github.com/portaudit/portaudit/policy"
	"github.com/portaudit/portaudit/registry"
)

// systemSID is the account of Windows itself (well-known SIDs).
const systemSID = "S-1-5-18"

// root reports whether the owner is all-powerful: uid 0, or on Windows the
// account of the system (well-known SID S-1-5-18), an administrator with the
// full token, or the kernel.
func root(o listen.Owner) policy.Answer {
	switch {
	case o.UID.Known:
		if o.UID.ID == 0 {
			return policy.Yes
		}
		return policy.No
	case o.SID == systemSID, o.How == listen.Kernel, o.Elevated == listen.Yes:
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
// On Linux the privilege is CAP_NET_BIND_SERVICE in the user namespace that
// owns the network namespace, at the time of bind(2) (capabilities(7),
// user_namespaces(7)); a process that had it then may have given it up since.
func authority(s listen.Socket, ns listen.Namespace) string {
	if !ported(s.Transport) {
		return ""
	}
	switch ns.Privileged(s.Port) {
	case listen.Unknown:
		return ""
	case listen.No:
		// A system that tells no creator has no such limit to lower: Windows.
		if s.Port < registry.FirstRegistered && (ns.UnprivilegedStart > 0 || s.Creator.Known) {
			return "sysctl"
		}
		return ""
	}
	return holdersOf(s).authority(s.Creator)
}

// holders is what the owners of a privileged port have in common. Those that
// received the socket need no authority of their own; it is the others, who
// opened it, that must be explained: a process must not become explained by
// passing its socket on to a child.
type holders struct {
	activated bool // a privileged service manager opened it for a service
	received  bool // an owner without rights has it from another owner
	root      bool // an owner is all-powerful
	opened    bool // an owner opened it, as far as is known
	unseen    bool // of an owner that may have opened it too little is known
	capable   bool // such an owner holds the capability
	contained bool // such an owner may open ports in its user namespace
}

func holdersOf(s listen.Socket) holders {
	var h holders
	for _, o := range s.Owners {
		isRoot := root(o)
		switch {
		case o.How == listen.SocketUnit && (isRoot != policy.No || o.BindCapability == listen.Yes):
			h.activated = true
		case isRoot == policy.Yes:
			h.root, h.opened = true, true
		case o.Inherits == listen.Yes:
			h.received = true
		default:
			h.opened = true
			h.unseen = h.unseen || !o.UID.Known || o.BindCapability == listen.Unknown
			h.contained = h.contained || contained(o, s.Creator)
			h.capable = h.capable || o.BindCapability == listen.Yes
		}
	}
	return h
}

// contained reports whether an owner has its port from rights in its own user
// namespace: it holds the capability there, or another account of the
// namespace, such as its root, opened the port.
func contained(o listen.Owner, creator listen.UID) bool {
	return o.NamespaceOwner == listen.Yes && (o.BindCapability == listen.Yes || creator.Known && creator != o.UID)
}

func (h holders) authority(creator listen.UID) string {
	switch {
	case h.activated, h.received && (h.root || !h.opened):
		return "inherited"
	case h.root:
		return "root"
	case !h.opened, h.unseen:
		return ""
	case h.contained:
		return "user namespace"
	case h.capable:
		return "capability"
	case !creator.Known:
		return ""
	case creator.ID == 0:
		return "creator-root"
	default:
		return "unexplained"
	}
}

// ported reports whether IANA assigns the ports of a transport. One that is
// not known counts as one of these: so do most.
func ported(t registry.Transport) bool { return t == 0 || t.Assigned() != 0 }
