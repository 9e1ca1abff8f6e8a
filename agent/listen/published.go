package listen

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/portaudit/portaudit/agent/listen/firewall"
	"github.com/portaudit/portaudit/registry"
)

// Publication is a port of the host that its packet filter hands on to another
// host, or to a namespace of this one.
type Publication struct {
	Transport registry.Transport // 0: any
	// Addresses are those of the host to which others connect, both ends included;
	// invalid: all of them.
	First, Last netip.Addr
	Ports       PortRange // 0 to 65535: any
	Interface   string    // on which it must arrive, "" any; one that ends in * stands for all that begin so
	To          netip.Addr
	ToPorts     PortRange // the zero range: the same
	Because     string    // the rule that does it, and what else that depends on
}

// maxPublished bounds those that are told of: a host that hands more on is a router
// between networks, and its rules are the better list.
const maxPublished = 256

// network is what surrounds the sockets of a snapshot.
type network struct {
	published []firewall.Publication
	host      []netip.Addr            // addresses of the host
	inside    map[string][]netip.Addr // of the other namespaces, by label
}

// unserved returns the publications for other hosts that lead to no socket of the
// snapshot, each port of the host once: to none of the host, such as that of a
// proxy, and to none of another namespace. What is redirected to the host itself
// is not among them, for there a socket shows or nothing answers; nor is what was
// sent to addresses that are not the host's, as those of Kubernetes' services.
func unserved(n network, sockets []Socket) []Publication {
	type port struct {
		Publication // without where it leads to
		six         bool
	}
	served, found := map[port]bool{}, map[port]Publication{}
	byPort := map[registry.Port][]*Socket{}
	if len(n.published) > 0 {
		for i := range sockets {
			byPort[sockets[i].Port] = append(byPort[sockets[i].Port], &sockets[i])
		}
	}
	for _, p := range n.published {
		if !n.forOthers(p) {
			continue
		}
		at := port{Publication{
			Transport: p.Transport, First: p.Addresses.First, Last: p.Addresses.Last,
			Ports: PortRange(p.Ports), Interface: p.Interface,
		}, p.To.Is6()}
		if served[at] = served[at] || n.serves(p, byPort); served[at] {
			continue
		}
		if _, here := found[at]; here {
			continue // one of several targets, among which chance decides
		}
		whole := at.Publication
		whole.To, whole.ToPorts, whole.Because = p.To, PortRange(p.ToPorts), p.Because
		if p.On != 0 {
			whole.Because += ", for some connections: it depends on " + p.On.String()
		}
		found[at] = whole
	}
	var list []Publication
	for at, p := range found {
		if !served[at] {
			list = append(list, p)
		}
	}
	slices.SortFunc(list, comparePublications)
	return list[:min(len(list), maxPublished)]
}

func comparePublications(a, b Publication) int {
	return cmp.Or(cmp.Compare(a.Transport, b.Transport), cmp.Compare(a.Ports.First, b.Ports.First), cmp.Compare(a.Ports.Last, b.Ports.Last),
		a.First.Compare(b.First), a.Last.Compare(b.Last), cmp.Compare(a.Interface, b.Interface), a.To.Compare(b.To))
}

// forOthers reports whether other hosts get to another one, or to a namespace of
// this one, by a publication of the host.
func (n network) forOthers(p firewall.Publication) bool {
	if p.Local || p.Interface == "lo" || !p.To.IsValid() || p.To.IsLoopback() || slices.Contains(n.host, p.To.Unmap()) {
		return false
	}
	if p.Addresses == (firewall.Addresses{}) {
		return true
	}
	return slices.ContainsFunc(n.host, func(a netip.Addr) bool { return within(p.Addresses, a.Unmap()) })
}

func within(r firewall.Addresses, a netip.Addr) bool {
	return r.First.BitLen() == a.BitLen() && r.First.Compare(a) <= 0 && a.Compare(r.Last) <= 0
}

// serves reports whether a socket is what a publication is for.
func (n network) serves(p firewall.Publication, byPort map[registry.Port][]*Socket) bool {
	target := p.ToPorts
	if target == (firewall.Ports{}) {
		target = p.Ports
	}
	return anyOf(byPort, p.Ports, func(s *Socket) bool { return s.Namespace == HostNamespace && listensAt(p, s) }) ||
		anyOf(byPort, target, func(s *Socket) bool {
			return s.Namespace != HostNamespace && handsOn(p, *s, surroundings{addresses: n.inside[s.Namespace]})
		})
}

// anyOf reports whether a socket with a port of the range is as asked for.
func anyOf(byPort map[registry.Port][]*Socket, r firewall.Ports, is func(*Socket) bool) bool {
	if int(r.Last)-int(r.First) < len(byPort) {
		for port := int(r.First); port <= int(r.Last); port++ {
			if slices.ContainsFunc(byPort[registry.Port(port)], is) {
				return true
			}
		}
		return false
	}
	for port, sockets := range byPort {
		if r.First <= port && port <= r.Last && slices.ContainsFunc(sockets, is) {
			return true
		}
	}
	return false
}

// listensAt reports whether a socket of the host shows what a publication hands
// on: one that listens where others connect. Of a range that is a proxy's alone,
// for anything may listen on one port of many.
func listensAt(p firewall.Publication, s *Socket) bool {
	if p.Transport != 0 && p.Transport != s.Transport || s.Transport.Assigned() == 0 {
		return false
	}
	proxy := func(o Owner) bool { return o.How == ContainerProxy }
	if p.Ports.First != p.Ports.Last && !slices.ContainsFunc(s.Owners, proxy) {
		return false
	}
	a := s.Address.Unmap().WithZone("")
	switch {
	case a.IsUnspecified():
		return a.BitLen() == p.To.Unmap().BitLen() || a.Is6() && s.DualStack != No
	case p.Addresses == (firewall.Addresses{}):
		return a.BitLen() == p.To.Unmap().BitLen() && !a.IsLoopback()
	default:
		return within(p.Addresses, a)
	}
}
