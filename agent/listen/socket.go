package listen

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/portaudit/portaudit/registry"
)

// Answer is a fact that may be unknown, the zero value.
type Answer uint8

// The answers.
const (
	Unknown Answer = iota
	No
	Yes
)

func answer(b bool) Answer {
	if b {
		return Yes
	}
	return No
}

// Snapshot is the result of one enumeration.
type Snapshot struct {
	Time       time.Time
	Sockets    []Socket    // by namespace, transport, port and address
	Namespaces []Namespace // the network namespaces that were read
	Coverage   Coverage
}

// Socket is one listening endpoint: a TCP socket in LISTEN, or a UDP socket
// that is bound and not connected. Sockets that share one endpoint of one
// namespace (SO_REUSEPORT, a forked child) are one Socket with all the owners.
type Socket struct {
	Transport registry.Transport
	Address   netip.Addr // IPv4-mapped addresses stay mapped; the zone is kept
	Port      registry.Port
	Namespace string // label of the network namespace, HostNamespace if it is the host's
	DualStack Answer // an IPv6 socket that also takes IPv4
	Creator   UID    // who created the socket; its owners may have changed their uid since
	Owners    []Owner

	inodes []uint64 // Linux: of the sockets behind this endpoint
}

// HostNamespace labels the network namespace of the host: on Linux that of
// process 1 as this process sees it, elsewhere the only one.
const HostNamespace = "host"

// UID is a numeric Unix user id that may be unknown.
type UID struct {
	ID    uint32
	Known bool
}

// How says how an owner was resolved. The zero value says that it was not.
type How uint8

// The ways.
const (
	NotResolved    How = iota
	Process            // a process holds the socket
	SocketUnit         // the service manager holds it for a service
	Kernel             // no process: the kernel itself listens (NFS, lockd, WireGuard, http.sys)
	ContainerProxy     // a proxy that forwards into a container
	OtherPIDSpace      // held by a process that this pid namespace cannot see
	Denied             // held by a process that this user may not look into
	Raced              // gone, or replaced by another process, before it could be read
	howCount       = iota
)

var howNames = [howCount]string{
	"", "process", "socket unit", "kernel", "container proxy", "other pid namespace", "denied", "raced",
}

// String returns the words used in policies and output, "" for the zero value.
func (h How) String() string {
	if int(h) >= len(howNames) {
		return fmt.Sprintf("How(%d)", uint8(h))
	}
	return howNames[h]
}

// Owner is one holder of a socket. Where How is not Process, SocketUnit or
// ContainerProxy there is no process to tell of, and PID is 0. Empty strings
// and zero times are unknown.
type Owner struct {
	How     How
	PID     int
	Start   uint64    // start time in the platform's own clock: tells a reused PID
	Started time.Time // the same, on the wall clock
	Parent  int       // 0 if unknown or none

	Executable    string   // path as the process sees it, without " (deleted)"
	Deleted       Answer   // the running file has no name on disk any more
	Replaced      Answer   // deleted, and another file has taken its path
	WorldWritable Answer   // every user may write to the file or into a directory above it
	Command       string   // name of the program, as the system shows it
	Arguments     []string // whole command line; may hold secrets
	User          string   // account name
	UID           UID      // effective uid
	SID           string   // Windows: security identifier of the account

	Unit      string // systemd unit
	Container string // container id
	// BindCapability says whether the process holds CAP_NET_BIND_SERVICE.
	BindCapability Answer
}

// Resolved reports whether there is a process behind the owner.
func (o Owner) Resolved() bool { return o.PID != 0 }

// Namespace is a network namespace with its rules for ports.
type Namespace struct {
	Label string
	// UnprivilegedStart is the first port that needs no privilege (Linux
	// net.ipv4.ip_unprivileged_port_start, Linux ip-sysctl.rst); 0 where no
	// port needs any, as on Windows.
	UnprivilegedStart uint32
	// Ephemeral is the range for automatic binds, Excluded the ports in it
	// that are never given out.
	Ephemeral PortRange
	Excluded  []PortRange
	// StartKnown and EphemeralKnown say whether the rules could be read.
	StartKnown, EphemeralKnown bool
	// Complete says whether every socket table of the namespace was read.
	Complete bool
}

// PortRange is a range of ports, both ends included.
type PortRange struct{ First, Last registry.Port }

// Contains reports whether p lies in r.
func (r PortRange) Contains(p registry.Port) bool { return r.First <= p && p <= r.Last }

// Privileged reports whether a bind to p needs a privilege in n.
func (n Namespace) Privileged(p registry.Port) Answer {
	if !n.StartKnown {
		return Unknown
	}
	return answer(uint32(p) < n.UnprivilegedStart)
}

// InEphemeral reports whether p lies in the range for automatic binds of n.
func (n Namespace) InEphemeral(p registry.Port) Answer {
	if !n.EphemeralKnown {
		return Unknown
	}
	for _, r := range n.Excluded {
		if r.Contains(p) {
			return No
		}
	}
	return answer(n.Ephemeral.Contains(p))
}

// Coverage is the record of what a snapshot could and could not see.
type Coverage struct {
	Sources []string // what was asked
	Gaps    []Gap    // what did not answer; none: the snapshot is complete
}

// Gap is something that a snapshot could not see.
type Gap struct {
	Source string // what was asked
	Reason string // why it did not answer
	Hides  Hides
	Count  int    // how many, 0 if that is unknown
	Fix    string // how to see it, "" if there is no way
}

// Hides says what a gap takes out of sight.
type Hides uint8

// What a gap may hide.
const (
	HidesSockets Hides = iota // listeners may exist that are not in the snapshot
	HidesOwners               // owners of sockets in the snapshot
	HidesFacts                // facts about sockets or owners in the snapshot
)

// String returns "sockets", "owners" or "facts".
func (h Hides) String() string {
	switch h {
	case HidesSockets:
		return "sockets"
	case HidesOwners:
		return "owners"
	case HidesFacts:
		return "facts"
	}
	return fmt.Sprintf("Hides(%d)", uint8(h))
}

// Hidden reports whether any gap hides h.
func (c Coverage) Hidden(h Hides) bool {
	for _, g := range c.Gaps {
		if g.Hides == h {
			return true
		}
	}
	return false
}
