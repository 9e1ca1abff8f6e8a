// Package systemd asks systemd which socket units listen on the network, where,
// and for which services (systemd.socket(5)). It owns the conversation with a
// service manager, the reading of its answers, and the match of a socket with
// its unit. It refuses to know which process holds a socket: a caller asks once
// it has seen a service manager hold one.
//
// It speaks D-Bus itself, the three calls that it needs of it. A general client
// would keep goroutines that nobody can wait for, take answers of 128 MiB, and
// make the program half a megabyte larger.
package systemd

import (
	"errors"
	"fmt"
	"net/netip"
)

// Unit is a socket unit that is up and listens on the network.
type Unit struct {
	Name  string // "ssh.socket"
	State string // the lower state: "listening", or "running" while its service does
	// Triggers are the services that it starts, as a rule one. Of a unit that
	// starts one for each connection (Accept=yes) it is the template alone,
	// "sshd@.service".
	Triggers []string
	Listen   []Address // in the order of the unit's file
	Device   string    // what its sockets are bound to (BindToDevice=), "" if nothing
	// Private says that its sockets are in another network namespace than the
	// service manager (PrivateNetwork=, NetworkNamespacePath=).
	Private bool
}

// Address is one thing that a socket unit listens on.
type Address struct {
	// Kind is the type as systemd calls it: "Stream", "Datagram",
	// "SequentialPacket", "Netlink", "FIFO", "Special", "MessageQueue" or
	// "USBFunction".
	Kind string
	Text string // the address as systemd writes it
	// Transport is "tcp", "udp", "udplite", "sctp", "dccp" or "vsock"; "" where
	// the address is of no network.
	Transport string
	Local     netip.AddrPort // of all of these but vsock; with its zone
	CID, Port uint32         // of vsock: context id, AnyCID for each of them, and port
}

// AnyCID stands for every context id of a vsock (VMADDR_CID_ANY, vsock(7)).
const AnyCID = 1<<32 - 1

// ErrAbsent is the error where no systemd answers that could know the sockets.
var ErrAbsent = errors.New("no systemd answers here")

// A MessageError reports an answer that is not of the documented form.
type MessageError struct {
	Problem string
	Message []byte // the first bytes of it
}

func (e *MessageError) Error() string {
	return fmt.Sprintf("answer of systemd: %s: %q", e.Problem, e.Message)
}

func malformed(b []byte, format string, a ...any) error {
	return &MessageError{Problem: fmt.Sprintf(format, a...), Message: append([]byte(nil), b[:min(len(b), 64)]...)}
}
