package listen

import (
	"cmp"
	"context"
	"net/netip"
	"slices"

	"github.com/portaudit/portaudit/registry"
)

// List enumerates the listening sockets of this host with their owners, by the
// best way this platform has. An error means that there is no snapshot at all;
// whatever else could not be seen is in the snapshot's coverage.
func List(ctx context.Context) (Snapshot, error) {
	return list(ctx)
}

// endpoint is what makes two sockets one Socket.
type endpoint struct {
	namespace string
	transport registry.Transport
	address   netip.Addr
	port      registry.Port
}

func endpointOf(s Socket) endpoint {
	return endpoint{s.Namespace, s.Transport, s.Address, s.Port}
}

// merge returns the sockets with those of one endpoint made one, each owner
// named once, in a fixed order.
func merge(sockets []Socket) []Socket {
	index := make(map[endpoint]int, len(sockets))
	var merged []Socket
	for _, s := range sockets {
		i, seen := index[endpointOf(s)]
		if !seen {
			i = len(merged)
			index[endpointOf(s)] = i
			merged = append(merged, Socket{
				Transport: s.Transport, Address: s.Address, Port: s.Port, Namespace: s.Namespace,
				DualStack: s.DualStack, Creator: s.Creator,
			})
		}
		m := &merged[i]
		m.inodes = append(m.inodes, s.inodes...)
		m.Owners = append(m.Owners, s.Owners...)
		if m.Creator != s.Creator {
			m.Creator = UID{} // sockets of different users behind one endpoint
		}
	}
	for i := range merged {
		merged[i].Owners = distinctOwners(merged[i].Owners)
	}
	slices.SortFunc(merged, compareSockets)
	return merged
}

func compareSockets(a, b Socket) int {
	return cmp.Or(
		cmp.Compare(a.Namespace, b.Namespace),
		cmp.Compare(a.Transport, b.Transport),
		cmp.Compare(a.Port, b.Port),
		a.Address.Compare(b.Address),
	)
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
