package agent

import (
	"cmp"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/portaudit/portaudit/agent/listen"
	"github.com/portaudit/portaudit/registry"
)

// EndpointText is how a listener's endpoint is written everywhere: "tcp
// 0.0.0.0:22", "udp [::1]:323", behind the namespace if it is not the host's.
// A device that the socket is bound to follows the address ("udp
// 0.0.0.0%eth0:68"), and an asterisk stands for an address that there is not
// ("packet *%eth0:0x88cc").
func EndpointText(l Listener) string {
	text := l.Transport + " " + net.JoinHostPort(AddressText(l), PortText(l))
	if l.Namespace != listen.HostNamespace {
		text = l.Namespace + " " + text
	}
	return text
}

// AddressText is the address with the device that the socket is bound to, as
// in 0.0.0.0%eth0; an asterisk where the transport has no addresses; of a vsock
// the number of the machine that it takes connections for.
func AddressText(l Listener) string {
	address := cmp.Or(l.Address, "*")
	if cid, ok := strings.CutPrefix(l.Interface, "cid "); ok && l.Transport == registry.VSOCK.String() {
		return cid
	}
	if l.Interface != "" && !strings.Contains(address, "%") {
		address += "%" + l.Interface
	}
	return address
}

// PortText is the port in decimal, an EtherType as it is usually written.
func PortText(l Listener) string {
	if l.Transport == registry.Packet.String() {
		return fmt.Sprintf("0x%04x", l.Port)
	}
	return strconv.FormatUint(uint64(l.Port), 10)
}

// placeText is where a listener takes its traffic, for a sentence: the address,
// else the device.
func placeText(l Listener) string {
	switch {
	case l.Address != "":
		return l.Address
	case l.Interface != "":
		return l.Interface
	case l.Transport == registry.Packet.String():
		return "every interface"
	default:
		return "every machine"
	}
}

// endpointPhrase says in a sentence where a listener takes its traffic:
// "0.0.0.0 port 22/tcp", "a packet socket for EtherType 0x88cc on eth0".
func endpointPhrase(l Listener) string {
	var text string
	switch l.Transport {
	case registry.Raw.String():
		text = "a raw socket for IP protocol " + PortText(l) + " on " + placeText(l)
	case registry.Packet.String():
		return "a packet socket for EtherType " + PortText(l) + " on " + placeText(l)
	case registry.VSOCK.String():
		return "port " + PortText(l) + "/vsock for " + placeText(l)
	default:
		text = l.Address + " port " + PortText(l) + "/" + l.Transport
	}
	if l.Interface != "" && !strings.Contains(l.Address, "%") {
		text += " of the device " + l.Interface
	}
	return text
}

// protocolName names what a raw or packet socket takes; "" if it has no name
// here. The IP protocols are those of IANA's protocol-numbers registry, the
// EtherTypes those of its ieee-802-numbers and of linux/if_ether.h, of which a
// host has sockets.
func protocolName(transport string, number uint32) string {
	switch transport {
	case registry.Raw.String():
		return map[uint32]string{
			1: "icmp", 2: "igmp", 4: "ipv4", 6: "tcp", 17: "udp", 41: "ipv6", 46: "rsvp", 47: "gre", 50: "esp",
			51: "ah", 58: "ipv6-icmp", 88: "eigrp", 89: "ospf", 103: "pim", 112: "vrrp", 115: "l2tp", 132: "sctp",
			255: "raw",
		}[number]
	case registry.Packet.String():
		return map[uint32]string{
			0: "no frames", 0x0003: "all frames", 0x0004: "802.2", 0x0800: "ipv4", 0x0806: "arp", 0x22f0: "avtp", 0x8100: "vlan",
			0x86dd: "ipv6", 0x8847: "mpls", 0x8863: "pppoe discovery", 0x8864: "pppoe", 0x888e: "eapol",
			0x88c7: "wlan preauth", 0x88cc: "lldp", 0x88e5: "macsec", 0x88f7: "ptp", 0x8902: "cfm", 0x890d: "tdls",
		}[number]
	}
	return ""
}
