package listen

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/portaudit/portaudit/agent/listen/firewall"
	"github.com/portaudit/portaudit/registry"
)

// surroundings is what lies between a socket and other hosts.
type surroundings struct {
	host bool // the socket is in the host's own namespace
	// devices are those of the socket's namespace but for the loopback device,
	// addresses those of the devices.
	devices   []string
	addresses []netip.Addr

	filter    firewall.Ruleset
	filterErr error // why the packet filter could not be read
	// published is what the packet filter of the host hands on.
	published []firewall.Publication
}

// expose says from where the socket can be reached in effect.
func expose(s Socket, around surroundings) Exposure {
	switch s.Transport {
	case registry.Raw:
		return Exposure{ReachNetwork, "It receives every packet of its protocol that reaches the host" + bound(s) + "; the packet filter was not evaluated."}
	case registry.Packet:
		return Exposure{ReachNetwork, "It receives frames" + bound(s) + " before the packet filter does."}
	case registry.VSOCK:
		return Exposure{ReachRestricted, "Reached from the virtual machine's host or its guests, not over a network."}
	}
	a := s.Address.Unmap().WithZone("")
	switch {
	case a.IsLoopback() || s.Interface == "lo":
		return loopback(around)
	case !around.host && len(around.devices) == 0:
		return Exposure{ReachNone, "No device leads out of its network namespace."}
	case !around.host:
		return inContainer(s, around)
	case a.IsLinkLocalUnicast():
		return filtered(s, around, ReachRestricted, "Reached from hosts of the same link"+bound(s))
	case s.Interface != "":
		return filtered(s, around, ReachRestricted, "Reached only"+bound(s))
	case a.IsUnspecified():
		return filtered(s, around, ReachNetwork, "Bound to every address"+family(s))
	default:
		return filtered(s, around, ReachNetwork, "Bound to one address of the host")
	}
}

func loopback(around surroundings) Exposure {
	if !around.host {
		return Exposure{ReachNamespace, "Bound to the loopback of its own network namespace: only what runs inside reaches it."}
	}
	return Exposure{ReachHost, "Bound to loopback: only this host reaches it."}
}

func bound(s Socket) string {
	if s.Interface == "" {
		return ""
	}
	return " through " + s.Interface
}

func family(s Socket) string {
	switch {
	case s.Address.Is4():
		return " of IPv4"
	case s.DualStack == Yes:
		return " of IPv6 and IPv4"
	case s.DualStack == No:
		return " of IPv6"
	default:
		return " of IPv6, perhaps IPv4 too"
	}
}

// inContainer says how a socket of another namespace can be reached: by what
// the host publishes for it, or over the network of its namespace, as far as the
// packet filter in there lets it.
func inContainer(s Socket, around surroundings) Exposure {
	reach := ReachNamespace
	how := fmt.Sprintf("Reached over the network of its namespace (%s); whether other hosts have a route there is not evaluated",
		strings.Join(around.devices, ", "))
	for _, p := range around.published {
		if handsOn(p, s, around) {
			reach = ReachPublished
			how = fmt.Sprintf("Published by the host as port %s (%s); what the host filters on the way is not evaluated", portsText(p.Ports), p.Because)
			break
		}
	}
	outcome, clause := passage(s, around, "the packet filter of its namespace")
	switch outcome {
	case firewall.Dropped, firewall.Rejected, firewall.Diverted:
		return Exposure{ReachBlocked, how + "; but " + clause + "."}
	default:
		return Exposure{reach, how + "; " + clause + "."}
	}
}

// handsOn reports whether a publication leads to the socket.
func handsOn(p firewall.Publication, s Socket, around surroundings) bool {
	if p.Local || p.Transport != 0 && p.Transport != s.Transport || !p.To.IsValid() {
		return false
	}
	ports := p.ToPorts
	if ports == (firewall.Ports{}) {
		ports = p.Ports
	}
	if s.Port < ports.First || ports.Last < s.Port {
		return false
	}
	for _, a := range around.addresses {
		if a.Unmap() == p.To.Unmap() {
			own := s.Address.Unmap().WithZone("")
			return own.IsUnspecified() || own == a.Unmap()
		}
	}
	return false
}

func portsText(p firewall.Ports) string {
	if p.First == p.Last {
		return p.First.String()
	}
	return p.First.String() + " to " + p.Last.String()
}

// filtered narrows what the bind alone would allow by what the packet filter
// lets through.
func filtered(s Socket, around surroundings, reach Reach, how string) Exposure {
	redirected := ""
	for _, p := range around.published {
		if !p.To.IsValid() && !p.Local && (p.Transport == 0 || p.Transport == s.Transport) &&
			p.ToPorts != (firewall.Ports{}) && p.ToPorts.First <= s.Port && s.Port <= p.ToPorts.Last && p.Ports != p.ToPorts {
			redirected = fmt.Sprintf("; port %s is redirected to it", portsText(p.Ports))
		}
	}
	outcome, clause := passage(s, around, "the packet filter")
	switch outcome {
	case firewall.Dropped, firewall.Rejected, firewall.Diverted:
		return Exposure{ReachBlocked, how + redirected + ", but " + clause + "."}
	case firewall.Partly:
		return Exposure{ReachRestricted, how + redirected + "; " + clause + "."}
	default:
		return Exposure{reach, how + redirected + "; " + clause + "."}
	}
}

// passage asks the packet filter of the socket's namespace, which is called
// whose, what it does to new connections, and returns that in words too.
func passage(s Socket, around surroundings, whose string) (firewall.Outcome, string) {
	if around.filterErr != nil {
		return firewall.Unknown, whose + " was not evaluated: " + around.filterErr.Error()
	}
	result := ask(s, around.filter)
	switch result.Outcome {
	case firewall.Accepted:
		return result.Outcome, whose + " lets new connections in (" + result.Because + ")"
	case firewall.Dropped, firewall.Rejected:
		return result.Outcome, whose + " lets no other host in: " + result.Because
	case firewall.Diverted:
		return result.Outcome, whose + " hands its port on to somebody else: " + result.Because
	case firewall.Partly:
		return result.Outcome, "what " + whose + " lets in depends on " + result.On.String() + ": " + result.Because
	default:
		return result.Outcome, whose + " could not be evaluated, for it hangs on " + result.On.String() + ": " + result.Because
	}
}

// ask asks the packet filter for each family that the socket takes, and
// returns the answer that lets most in.
func ask(s Socket, filter firewall.Ruleset) firewall.Result {
	q := firewall.Query{Transport: s.Transport, Address: s.Address.WithZone(""), Port: s.Port, Interface: s.Interface}
	if s.Address.Is4In6() {
		q.Address = s.Address.Unmap()
	}
	result := filter.Input(q)
	if s.Address.Is6() && s.Address.IsUnspecified() && s.DualStack != No {
		q.Address = netip.IPv4Unspecified()
		if other := filter.Input(q); openness(other.Outcome) > openness(result.Outcome) {
			result = other
		}
	}
	return result
}

// openness orders outcomes by how many they let in, at the worst.
func openness(o firewall.Outcome) int {
	switch o {
	case firewall.Accepted:
		return 3
	case firewall.Unknown:
		return 2
	case firewall.Partly:
		return 1
	default:
		return 0
	}
}
