// Package sockdiag asks the Linux kernel for its sockets by NETLINK_SOCK_DIAG
// (sock_diag(7)). It owns the messages and the care that a dump needs: one that
// was truncated or changed under way is repeated. It refuses to know who owns a
// socket and what a listener is: the caller says which states it wants.
//
// A dump by state costs nothing for the sockets in other states: the kernel
// keeps listening TCP sockets apart (net/ipv4/inet_diag.c, inet_diag_dump_icsk),
// so a million established connections do not slow it.
package sockdiag

import (
	"errors"
	"fmt"
	"net/netip"
)

// Query says which sockets a dump returns.
type Query struct {
	Family   uint8  // AF_INET, AF_INET6, AF_PACKET or AF_VSOCK
	Protocol uint16 // of the Internet families: IPPROTO_TCP and so on
	States   uint32 // a bit for each wanted state; ignored by AF_PACKET
}

// The address families, as Linux numbers them (include/linux/socket.h).
const (
	Inet   = 2
	Inet6  = 10
	Packet = 17
	VSOCK  = 40
)

// The protocols of the Internet families (include/uapi/linux/in.h).
const (
	TCP     = 6
	UDP     = 17
	DCCP    = 33
	SCTP    = 132
	UDPLite = 136
	Raw     = 255
	MPTCP   = 262
)

// The states of a socket, as bits of Query.States (include/net/tcp_states.h).
// Other protocols borrow them: a UDP socket that is not connected, and a raw
// one, are in Closed.
const (
	Closed = 1 << 7
	Listen = 1 << 10
	// BoundInactive is a TCP socket that is bound and neither listens nor is
	// connected; Linux 6.8 and later.
	BoundInactive = 1 << 13
)

// Row is one socket. Fields that a family does not have are zero.
type Row struct {
	Family   uint8
	State    uint8 // number, not bit; 0 for AF_PACKET
	V6Only   Flag  // IPV6_V6ONLY, of AF_INET6
	Type     uint8 // of AF_PACKET: SOCK_RAW or SOCK_DGRAM
	Protocol uint16

	LocalPort  uint16 // of a raw socket: its IP protocol
	RemotePort uint16
	Local      [16]byte // the first 4 bytes of AF_INET
	Interface  uint32   // index of the device that it is bound to, 0: none

	// Number is the EtherType of AF_PACKET, the local port of AF_VSOCK; CID is
	// the local context id of AF_VSOCK.
	Number uint32
	CID    uint32

	UID    uint32 // who created it
	Inode  uint32 // 0: no process has it open
	Cookie uint64 // tells it from every other socket since boot; before Linux 5.12 within its network namespace
	Cgroup uint64 // id of the control group that created it; 0 before Linux 5.9

	// Queue is, of a listening socket, how many connections wait to be
	// accepted, and Limit how many may; else the bytes that wait.
	Queue, Limit uint32
}

// Flag is a fact that may be unknown.
type Flag uint8

// The values of a Flag.
const (
	Unknown Flag = iota
	Off
	On
)

// Address returns the local address; invalid for families without one.
func (r *Row) Address() netip.Addr {
	switch r.Family {
	case Inet:
		return netip.AddrFrom4([4]byte(r.Local[:4]))
	case Inet6:
		return netip.AddrFrom16(r.Local)
	}
	return netip.Addr{}
}

// ErrAbsent is the error of a dump of a family or protocol that the kernel, or
// its diag module, does not have.
var ErrAbsent = errors.New("the kernel has no such socket diagnostics")

// ErrIncomplete is the error of a dump that was cut short or changed under way
// each time that it was tried.
var ErrIncomplete = errors.New("the kernel did not answer in full")

// A MessageError reports an answer that is not of the documented form.
type MessageError struct {
	Problem string
	Message []byte // the first bytes of it
}

func (e *MessageError) Error() string {
	return fmt.Sprintf("answer of the kernel: %s: % x", e.Problem, e.Message)
}

func malformed(b []byte, format string, a ...any) error {
	return &MessageError{Problem: fmt.Sprintf(format, a...), Message: append([]byte(nil), b[:min(len(b), 64)]...)}
}
