package agent

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/agent/listen"
	"github.com/portaudit/portaudit/policy"
	"github.com/portaudit/portaudit/registry"
)

// factsOf turns a record of a listener back into what a policy can look at: one
// for each of its addresses, none if the record is about something else. What a
// record does not hold is unknown: the command line, groups and capabilities of an
// owner, and whatever its version did not write. What is known of the port is
// today's; its past is not a record's to tell. doubtful says that a name may not be
// the one that was seen: it was cut, or an older version wrote the record.
func factsOf(e audit.Event, catalog *registry.Catalog) (facts []policy.Listener, doubtful bool) {
	e, doubts := e.Original()
	transport, err := registry.ParseSocketTransport(e.Transport)
	if e.Listener == "" || err != nil {
		return nil, false
	}
	l := policy.Listener{
		Transport: transport, Interface: e.Interface, DualStack: answerFrom(e.DualStack), Namespace: e.Namespace,
		Authority: e.Authority, Privileged: answerFrom(e.Privileged), Ephemeral: answerFrom(e.Ephemeral),
	}
	l.Scope, _ = policy.ParseScope(e.Scope) // "unknown" is no word of the language
	if e.Reach != listen.ReachUnknown.String() {
		l.Reach = e.Reach
	}
	if ported(transport) {
		l.Port = registry.Port(e.Port)
		known := catalog.Describe(l.Port, transport)
		l.State, l.Names = known.State, known.Names
		if known.Common != nil {
			l.Risk, _ = policy.ParseSeverity(known.Common.Severity) // the table is tested to have none that is unknown
		}
	}
	for _, o := range e.Owners {
		l.Owners = append(l.Owners, ownerFrom(o))
	}
	addresses := e.Addresses
	if len(addresses) == 0 {
		addresses = []string{e.Address}
	}
	all := make([]policy.Listener, len(addresses))
	for i, text := range addresses {
		all[i] = l
		all[i].Address, _ = netip.ParseAddr(text) // "" is the address of what has none
	}
	return all, slices.ContainsFunc(doubts, ofFact)
}

// ofFact reports whether the text at a path of a record is one that factsOf takes.
func ofFact(path string) bool {
	return strings.HasPrefix(path, "owners") || slices.Contains([]string{"interface", "namespace", "address", "addresses"}, path)
}

// ownerFrom turns the document of an owner back into what a policy can look at.
func ownerFrom(o audit.Owner) policy.Owner {
	owner := policy.Owner{
		How: o.How, User: o.User, Root: rootFrom(o), Executable: o.Executable,
		Deleted: answerFrom(o.Deleted), WorldWritable: answerFrom(o.Writable), Unit: o.Unit, Container: o.Container, Parent: o.ParentName, Image: o.Image, SHA256: o.SHA256,
	}
	if !slices.Contains(policy.Hows(), o.How) {
		owner.How = "" // it stands for owners that were too many to record
	}
	if o.Unit == "" && len(o.Services) == 1 {
		owner.Unit = o.Services[0]
	}
	if o.UID != nil {
		owner.UID = policy.UID{ID: *o.UID, Known: true}
	}
	if o.Replaced != nil && *o.Replaced {
		owner.Deleted = policy.No // as policyOwner has it
	}
	// These are written where they are so. That they are not is known where the
	// process could be looked into, which the fate of its file tells.
	owner.Memory, owner.Concealed = unless(o.Memory, o.Deleted != nil), unless(o.Concealed, o.Deleted != nil || o.Memory)
	return owner
}

// rootFrom is what the record says, or of an older one what the account does.
func rootFrom(o audit.Owner) policy.Answer {
	switch {
	case o.Root != nil:
		return answerFrom(o.Root)
	case o.UID != nil:
		return root(listen.Owner{UID: listen.UID{ID: *o.UID, Known: true}})
	case o.How == listen.Kernel.String(), o.SID == systemSID:
		return policy.Yes
	}
	return policy.Unknown
}

// unless makes a fact that is written where it is so; seen says whether its
// absence means that it is not.
func unless(so, seen bool) policy.Answer {
	switch {
	case so:
		return policy.Yes
	case seen:
		return policy.No
	}
	return policy.Unknown
}

// answerFrom is boolOf the other way round.
func answerFrom(b *bool) policy.Answer {
	switch {
	case b == nil:
		return policy.Unknown
	case *b:
		return policy.Yes
	}
	return policy.No
}
