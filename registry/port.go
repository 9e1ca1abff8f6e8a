package registry

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Port is a transport port number, 0 to 65535 (RFC 6335 section 6).
type Port uint16

// ParsePort reads a port in plain decimal without sign or leading zero.
func ParsePort(s string) (Port, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || strconv.FormatUint(n, 10) != s {
		return 0, fmt.Errorf("%q is no port: a port is a whole number from 0 to 65535", s)
	}
	return Port(n), nil
}

// String returns the port in decimal.
func (p Port) String() string { return strconv.Itoa(int(p)) }

// Transport is what a socket takes its traffic from. The zero value is no
// transport.
type Transport uint8

// The transports: those for which IANA assigns ports (RFC 6335 section 1), in
// the order in which it lists them; UDP-Lite, which shares the ports of UDP
// (RFC 3828 section 6); and kinds of socket that no port of IANA's applies to.
const (
	TCP Transport = iota + 1
	UDP
	SCTP
	DCCP
	UDPLite
	Raw            // IP protocols (raw(7)): numbered by IP protocol
	Packet         // frames of a link (packet(7)): numbered by EtherType
	VSOCK          // between a virtual machine and its host (vsock(7)): 32-bit ports of its own
	transportCount = iota + 1
)

// Transports lists every transport of the registry, in IANA's order.
var Transports = [...]Transport{TCP, UDP, SCTP, DCCP}

var transportNames = [transportCount]string{
	"unknown", "tcp", "udp", "sctp", "dccp", "udplite", "raw", "packet", "vsock",
}

// TransportNames returns the lower-case name of every kind of socket, those of
// the registry first.
func TransportNames() []string { return slices.Clone(transportNames[1:]) }

// ParseTransport reads the lower-case name of a transport of the registry.
func ParseTransport(s string) (Transport, error) {
	for _, t := range Transports {
		if t.String() == s {
			return t, nil
		}
	}
	return 0, fmt.Errorf("%q is no transport: use tcp, udp, sctp or dccp", s)
}

// ParseSocketTransport reads the lower-case name of any kind of socket.
func ParseSocketTransport(s string) (Transport, error) {
	if i := slices.Index(transportNames[1:], s); i >= 0 {
		return Transport(i + 1), nil
	}
	return 0, fmt.Errorf("%q is no transport: use %s", s, strings.Join(transportNames[1:], ", "))
}

// Assigned returns the transport under which IANA assigns the ports of t, 0
// where it assigns none.
func (t Transport) Assigned() Transport {
	switch t {
	case UDPLite:
		return UDP
	case Raw, Packet, VSOCK:
		return 0
	default:
		return t
	}
}

// String returns the lower-case name, "unknown" for the zero value.
func (t Transport) String() string {
	if int(t) >= len(transportNames) {
		return transportNames[0]
	}
	return transportNames[t]
}

// Range is one of the three ranges into which IANA divides the ports
// (RFC 6335 section 6).
type Range uint8

// The ranges; RFC 6335 calls them System, User and Dynamic.
const (
	WellKnown  Range = iota // 0-1023
	Registered              // 1024-49151
	Dynamic                 // 49152-65535
)

// Bounds of the ranges: the first port of the Registered and of the Dynamic
// range, and the last of the historic one (RFC 1060 and before: "the assigned
// ports use a small portion of the possible port numbers, 0-255").
const (
	FirstRegistered Port = 1024
	FirstDynamic    Port = 49152
	LastHistoric    Port = 255
)

// RangeOf returns the range that holds p.
func RangeOf(p Port) Range {
	switch {
	case p < FirstRegistered:
		return WellKnown
	case p < FirstDynamic:
		return Registered
	default:
		return Dynamic
	}
}

var rangeNames = [...]string{"well-known", "registered", "dynamic"}

// ParseRange reads a range's name.
func ParseRange(s string) (Range, error) {
	for i, name := range rangeNames {
		if name == s {
			return Range(i), nil
		}
	}
	return 0, fmt.Errorf("%q is no range: use well-known, registered or dynamic", s)
}

// String returns "well-known", "registered" or "dynamic".
func (r Range) String() string {
	if int(r) >= len(rangeNames) {
		return fmt.Sprintf("Range(%d)", uint8(r))
	}
	return rangeNames[r]
}

// State says what IANA's registry holds of one port of one transport
// (RFC 6335 section 6).
type State uint8

// The states. NoStatement, the zero value, is all that can be said where IANA
// lists nothing and silence means nothing: SCTP and DCCP, and the dynamic
// range, in which nothing is ever assigned.
const (
	NoStatement State = iota
	Unassigned
	Reserved
	Assigned
)

var stateNames = [...]string{"no statement", "unassigned", "reserved", "assigned"}

// ParseState reads a state's name.
func ParseState(s string) (State, error) {
	for i, name := range stateNames {
		if name == s {
			return State(i), nil
		}
	}
	return 0, fmt.Errorf("%q is no state: use assigned, unassigned, reserved or no statement", s)
}

// String returns "assigned", "unassigned", "reserved" or "no statement".
func (s State) String() string {
	if int(s) >= len(stateNames) {
		return fmt.Sprintf("State(%d)", uint8(s))
	}
	return stateNames[s]
}
