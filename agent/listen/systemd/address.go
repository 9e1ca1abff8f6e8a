package systemd

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// The protocols that SocketProtocol= may name instead of the type's own
// (include/uapi/linux/in.h).
const (
	protocolTCP     = 6
	protocolUDP     = 17
	protocolDCCP    = 33
	protocolSCTP    = 132
	protocolUDPLite = 136
	protocolMPTCP   = 262 // TCP to those who know no more: the kernel lists it as such too
)

// ParseAddress reads an entry of the property Listen: the kind of socket, and
// the address as sockaddr_pretty writes it (systemd, src/basic/socket-util.c).
// The protocol is that of the property SocketProtocol, 0 for the kind's own. A
// path, an abstract name or a netlink family makes an Address without a
// transport; the error is of one that only looks like a network address.
func ParseAddress(kind, text string, protocol int32) (Address, error) {
	a := Address{Kind: kind, Text: text}
	if kind != "Stream" && kind != "Datagram" && kind != "SequentialPacket" {
		return a, nil
	}
	var err error
	switch {
	case text == "" || text[0] == '/' || text[0] == '@' || text == "<unnamed>":
		return a, nil
	case strings.HasPrefix(text, "vsock:"):
		a.Transport = "vsock"
		a.CID, a.Port, err = parseVSOCK(text)
	default:
		a.Transport = transport(kind, protocol)
		a.Local, err = parseInternet(text)
	}
	if err != nil {
		return Address{Kind: kind, Text: text}, fmt.Errorf("address %q of a socket unit: %w", text, err)
	}
	return a, nil
}

// transport returns the transport of an Internet socket, "" if it is none that
// is known.
func transport(kind string, protocol int32) string {
	switch protocol {
	case 0:
		switch kind {
		case "Stream":
			return "tcp"
		case "Datagram":
			return "udp"
		}
		return "sctp" // the only one with sequential packets (net/sctp/protocol.c)
	case protocolTCP, protocolMPTCP:
		return "tcp"
	case protocolUDP:
		return "udp"
	case protocolDCCP:
		return "dccp"
	case protocolSCTP:
		return "sctp"
	case protocolUDPLite:
		return "udplite"
	}
	return ""
}

// parseInternet reads "192.0.2.1:22", "[::]:22" or "[fe80::1]:22%eth0": systemd
// writes the zone, a name or a number, behind the port (from version 247 on).
func parseInternet(text string) (netip.AddrPort, error) {
	address, zone := text, ""
	if bracket := strings.IndexByte(text, ']'); bracket >= 0 {
		if i := strings.IndexByte(text[bracket:], '%'); i >= 0 {
			address, zone = text[:bracket+i], text[bracket+i+1:]
			if zone == "" {
				return netip.AddrPort{}, fmt.Errorf("an empty zone")
			}
		}
	}
	ap, err := netip.ParseAddrPort(address)
	if err != nil || zone == "" {
		return ap, err
	}
	zoned := ap.Addr().WithZone(zone)
	if zoned.Zone() != zone {
		return netip.AddrPort{}, fmt.Errorf("a zone of an address that has none")
	}
	return netip.AddrPortFrom(zoned, ap.Port()), nil
}

// parseVSOCK reads "vsock:2:1234", or "vsock::1234" for every context id.
func parseVSOCK(text string) (cid, port uint32, err error) {
	first, second, ok := strings.Cut(strings.TrimPrefix(text, "vsock:"), ":")
	if !ok {
		return 0, 0, fmt.Errorf("no port")
	}
	c := uint64(AnyCID)
	if first != "" {
		if c, err = strconv.ParseUint(first, 10, 32); err != nil {
			return 0, 0, err
		}
	}
	p, err := strconv.ParseUint(second, 10, 32)
	if err != nil {
		return 0, 0, err
	}
	return uint32(c), uint32(p), nil
}
