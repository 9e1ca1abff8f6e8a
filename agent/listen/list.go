package listen

import (
	"cmp"
	"net/netip"
	"reflect"
	"slices"

	"github.com/portaudit/portaudit/registry"
)

// endpoint is what makes two sockets one Socket.
type endpoint struct {
	namespace string
	transport registry.Transport
	address   netip.Addr
	id        uint32
	device    string
}

func endpointOf(s Socket) endpoint {
	return endpoint{s.Namespace, s.Transport, s.Address, s.ID(), s.Interface}
}

// merge returns the sockets with those of one endpoint made one, each owner
// named once, in a fixed order. It takes the slice over.
func merge(sockets []Socket) []Socket {
	index := make(map[endpoint]int, len(sockets))
	merged := sockets[:0]
	shared := map[int]bool{} // those of which there were several
	for _, s := range sockets {
		at := endpointOf(s)
		i, seen := index[at]
		if !seen {
			index[at] = len(merged)
			merged = append(merged, s)
			continue
		}
		m := &merged[i]
		m.inodes = slices.Concat(m.inodes, s.inodes)
		m.Owners = slices.Concat(m.Owners, s.Owners)
		m.Queued, m.Backlog = m.Queued+s.Queued, m.Backlog+s.Backlog
		if m.Creator != s.Creator {
			m.Creator = UID{} // sockets of different users behind one endpoint
		}
		if m.DualStack != s.DualStack {
			m.DualStack = Unknown
		}
		if m.Multipath != s.Multipath {
			m.Multipath = Unknown
		}
		shared[i] = true
	}
	for i := range shared {
		merged[i].Owners = distinctOwners(merged[i].Owners)
	}
	return inOrder(merged)
}

// inOrder returns the sockets in the order in which people look for them. It
// sorts pointers: a Socket is large.
func inOrder(sockets []Socket) []Socket {
	order := make([]*Socket, len(sockets))
	for i := range sockets {
		order[i] = &sockets[i]
	}
	slices.SortFunc(order, compareSockets)
	sorted := make([]Socket, len(sockets))
	for i, s := range order {
		sorted[i] = *s
	}
	return sorted
}

func compareSockets(a, b *Socket) int {
	if a.Namespace != b.Namespace {
		return compareLabels(a.Namespace, b.Namespace)
	}
	if c := cmp.Or(cmp.Compare(a.Transport, b.Transport), cmp.Compare(a.ID(), b.ID())); c != 0 {
		return c
	}
	return cmp.Or(a.Address.Compare(b.Address), cmp.Compare(a.Interface, b.Interface))
}

// compareLabels puts the host's namespace first.
func compareLabels(a, b string) int {
	return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b))
}

func rank(label string) int {
	if label == HostNamespace {
		return 0
	}
	return 1
}

func compareGaps(a, b Gap) int {
	return cmp.Or(cmp.Compare(a.Hides, b.Hides), cmp.Compare(a.Source, b.Source), cmp.Compare(a.Reason, b.Reason))
}

// equalRules reports whether a snapshot tells the same of both namespaces.
func equalRules(a, b Namespace) bool {
	return a.Label == b.Label && a.Container == b.Container && a.UnprivilegedStart == b.UnprivilegedStart &&
		a.Ephemeral == b.Ephemeral && slices.Equal(a.Excluded, b.Excluded) &&
		a.StartKnown == b.StartKnown && a.StartSet == b.StartSet && a.EphemeralKnown == b.EphemeralKnown && a.Complete == b.Complete
}

// equal reports whether a snapshot tells the same of both owners.
func (o Owner) equal(p Owner) bool {
	if !slices.Equal(o.Parents, p.Parents) || !slices.Equal(o.Arguments, p.Arguments) || !slices.Equal(o.Services, p.Services) || !slices.Equal(o.Groups, p.Groups) {
		return false
	}
	o.Parents, o.Arguments, o.Services, o.Groups = nil, nil, nil, nil
	p.Parents, p.Arguments, p.Services, p.Groups = nil, nil, nil, nil
	return reflect.DeepEqual(o, p)
}

// distinctOwners sorts the owners by process and drops repetitions: one
// process may hold an endpoint through several descriptors or sockets.
func distinctOwners(owners []Owner) []Owner {
	owners = slices.Clone(owners)
	slices.SortFunc(owners, func(a, b Owner) int {
		return cmp.Or(cmp.Compare(a.PID, b.PID), cmp.Compare(a.How, b.How))
	})
	return slices.CompactFunc(owners, func(a, b Owner) bool {
		return a.PID == b.PID && a.How == b.How
	})
}
