package agent

import (
	"context"
	"net/netip"
	"path"
	"strings"

	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/agent/listen"
	"github.com/portaudit/portaudit/policy"
	"github.com/portaudit/portaudit/registry"
)

// Supposed is a listener of this host that is not there.
type Supposed struct {
	Transport registry.Transport
	Port      registry.Port
	Number    uint32        // of a socket that has no port of IANA's
	Address   netip.Addr    // invalid: all addresses of this host
	Facts     []policy.Fact // all else that is known of it
}

// UnknownProgram is of what nobody knows anything.
func UnknownProgram() []policy.Fact {
	return []policy.Fact{{Name: "owner", Value: "process"}, {Name: "executable", Value: "/unknown/program"}}
}

// Suppose tells what the policy would say of a listener that is not there. It makes
// an audit, for the rules by which this host gives out ports. That a fact makes no
// sense is an error of type policy.Errors.
func Suppose(ctx context.Context, o ScanOptions, s Supposed) (Explanation, audit.Coverage, error) {
	snapshot, err := o.List(ctx)
	if err != nil {
		return Explanation{}, audit.Coverage{}, err
	}
	c := newClassifier(snapshot, o.Catalog, o.Policy, false).classify(s.socket())
	if c.facts, err = policy.Suppose(c.facts, s.Facts, snapshot.Time); err != nil {
		return Explanation{}, audit.Coverage{}, err
	}
	c.socket.Interface, c.socket.Namespace = c.facts.Interface, c.facts.Namespace
	for _, owner := range c.facts.Owners {
		c.owners.documents = append(c.owners.documents, supposedOwner(owner))
	}
	c.owners.program = programOf(c.owners.documents)
	l := listener(c, o.Policy.Decide(c.facts, snapshot.Time), snapshot.Time)
	l.DualStack, l.Exposure.Reach = boolOf(c.facts.DualStack), c.facts.Reach
	return Explanation{Listener: l, Steps: Steps(o.Policy.Explain(c.facts, snapshot.Time))}, coverageOf(snapshot.Coverage), nil
}

func (s Supposed) socket() listen.Socket {
	socket := listen.Socket{Transport: s.Transport, Port: s.Port, Number: s.Number, Address: s.Address, Namespace: listen.HostNamespace}
	switch {
	case s.Transport == registry.Packet || s.Transport == registry.VSOCK: // which have no address of IP
		socket.Address = netip.Addr{}
	case !s.Address.IsValid():
		socket.Address = netip.IPv6Unspecified()
	case s.Address.Is4():
		socket.DualStack = listen.No
	}
	return socket
}

// supposedOwner makes the document of an owner of which only these facts are known.
func supposedOwner(o policy.Owner) audit.Owner {
	owner := audit.Owner{
		Executable: audit.Visible(o.Executable), Deleted: boolOf(o.Deleted), Memory: o.Memory == policy.Yes, Concealed: o.Concealed == policy.Yes,
		SHA256: o.SHA256, User: audit.Visible(o.User), How: o.How, Unit: audit.Visible(o.Unit), Container: audit.Visible(o.Container),
		Command: audit.Visible(path.Base(strings.ReplaceAll(o.Executable, `\`, "/"))),
	}
	if o.Executable == "" {
		owner.Command = ""
	}
	if o.UID.Known {
		owner.UID = &o.UID.ID
	}
	return owner
}
