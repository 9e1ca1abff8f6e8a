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

// Snapshot is the result of one enumeration. It is never changed after it was
// returned; parts of it may be shared with later ones.
type Snapshot struct {
	Time time.Time
	// Generation is equal in two snapshots of one Lister only if nothing but
	// Time differs between them; 0 says that the snapshots cannot be compared.
	Generation uint64
	Sockets    []Socket    // by namespace, transport, port and address
	Namespaces []Namespace // the network namespaces that were read
	// Published is what the packet filter of the host hands on, and no socket of
	// the snapshot serves, 256 at the most; none where the filter was not read.
	Published []Publication
	Coverage  Coverage
}

// Socket is one listening endpoint: a connection-oriented socket in LISTEN, or
// a datagram socket that is bound and not connected. Sockets that share one
// endpoint of one namespace (SO_REUSEPORT, a forked child) are one Socket with
// all the owners.
type Socket struct {
	Transport registry.Transport
	Address   netip.Addr // IPv4-mapped addresses stay mapped; the zone is kept; invalid where the transport has none
	Port      registry.Port
	// Number stands in for Port where the transport has no ports of IANA's: the
	// IP protocol of a raw socket, the EtherType of a packet socket, the port
	// of a vsock.
	Number    uint32
	Interface string // the device that the socket is bound to (SO_BINDTODEVICE), "" if none
	Namespace string // label of the network namespace, HostNamespace if it is the host's
	DualStack Answer // an IPv6 socket that also takes IPv4
	Multipath Answer // takes Multipath TCP too (RFC 8684)
	Creator   UID    // who created the socket; its owners may have changed their uid since
	Owners    []Owner
	Exposure  Exposure

	// Queued and Backlog are, of a socket in LISTEN, the connections that wait
	// to be accepted and how many may; of another one the bytes that wait to
	// be read, and 0. They are of the time when the socket was first seen or
	// last changed: a Lister does not report a snapshot as new for them alone.
	Queued, Backlog uint32

	inodes []uint64 // Linux: of the sockets behind this endpoint
}

// ID returns the number that tells listeners of one transport apart: the port,
// or what stands in for it.
func (s Socket) ID() uint32 {
	if s.Transport.Assigned() == 0 {
		return s.Number
	}
	return uint32(s.Port)
}

// HostNamespace labels the network namespace of the host: on Linux that of
// process 1 as this process sees it, elsewhere the only one.
const HostNamespace = "host"

// UID is a numeric Unix user id that may be unknown.
type UID struct {
	ID    uint32
	Known bool
}

// Group is a Unix group. Its name is its number where the system has none.
type Group struct {
	ID   uint32
	Name string
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
	Ring               // a process holds it as a registered file of an io_uring, without a descriptor
	Unheld             // no process has a descriptor of it, and the kernel does not keep it: in a message under way, mapped, or under a call that has not returned
	howCount       = iota
)

var howNames = [howCount]string{
	"", "process", "socket unit", "kernel", "container proxy", "other pid namespace", "denied", "raced", "io_uring", "unheld",
}

// String returns the words used in policies and output, "" for the zero value.
func (h How) String() string {
	if int(h) >= len(howNames) {
		return fmt.Sprintf("How(%d)", uint8(h))
	}
	return howNames[h]
}

// Owner is one holder of a socket. Where How is not Process, SocketUnit, Ring or
// ContainerProxy there is no process to tell of, and PID is 0. Empty strings
// and zero times are unknown.
type Owner struct {
	How     How
	PID     int
	Start   uint64     // start time in the platform's own clock: tells a reused PID
	Started time.Time  // the same, on the wall clock
	Parent  int        // 0 if unknown or none
	Parents []Ancestor // the chain of parents, the nearest first

	Executable    string // path as the process sees it, without " (deleted)"
	Deleted       Answer // the running file has no name on disk any more; Unknown where Memory is Yes
	Replaced      Answer // deleted, and another file has taken its path
	Memory        Answer // the running file never had a name on disk: memfd_create(2)
	Concealed     Answer // something is mounted over the process's directory in /proc, which hides it from other tools
	WorldWritable Answer // every user may write to the file or into a directory above it
	SHA256        [32]byte
	Unhashed      Unhashed // why SHA256 is not known, where that is told of the program
	Package       Package  // which package brought the file; zero if none did or it is unknown
	Command       string   // name of the program, as the system shows it
	Arguments     []string // whole command line; may hold secrets

	User  string // account name
	UID   UID    // effective uid
	Login UID    // who logged in and started it (audit login uid, proc_pid_loginuid(5))
	SID   string // Windows: security identifier of the account
	// Groups are those of the process, the effective one first; nil if they are
	// unknown, or more than maxGroups.
	Groups []Group

	Unit          string   // systemd unit
	Cgroup        string   // path of the control group
	Container     string   // container id
	ContainerName string   // name of the container, where its tools tell it
	Image         string   // what the container was made of, where its tools tell it
	Services      []string // Windows: services that the process hosts; of a socket unit: what it starts
	Elevated      Answer   // Windows: runs with an administrator's full token
	Integrity     string   // Windows: integrity level: low, medium, high, system

	// Effective and Permitted are the process's capability sets, a bit for each
	// (linux/capability.h); they mean nothing while BindCapability is Unknown.
	Effective, Permitted uint64
	// BindCapability says whether the process holds CAP_NET_BIND_SERVICE.
	BindCapability Answer
	// NamespaceOwner says whether the process lives in the user namespace, not
	// the initial one, that owns the network namespace of the socket: there its
	// capabilities count (user_namespaces(7)).
	NamespaceOwner Answer
	// Inherits says whether another owner, its parent or a service manager,
	// opened the socket and the process only received it.
	Inherits Answer
}

// Unhashed is why the digest of a program is not known. What hides the file, and
// that nothing is hashed at all, is told of the whole enumeration.
type Unhashed uint8

// The reasons.
const (
	UnhashedOther   Unhashed = iota
	UnhashedLarge            // it is larger than Options.MaxDigest
	UnhashedPending          // so many bytes were read already: it will be
	unhashedCount   = iota
)

var unhashedNames = [unhashedCount]string{"", "too large", "pending"}

// String returns the word used in output, "" for the zero value.
func (u Unhashed) String() string {
	if int(u) >= len(unhashedNames) {
		return fmt.Sprintf("Unhashed(%d)", uint8(u))
	}
	return unhashedNames[u]
}

// Ancestor is a process above an owner.
type Ancestor struct {
	PID     int
	Command string
}

// Package is a piece of software as the host's package manager knows it.
type Package struct{ Manager, Name, Version string }

// Exposure says from where a listener can be reached in effect, as far as that
// was evaluated.
type Exposure struct {
	Reach    Reach
	Sentence string // what that was concluded from, and what was not evaluated
}

// Reach is the word for an exposure. The zero value says that it was not
// evaluated.
type Reach uint8

// The reaches, from the narrowest to the widest.
const (
	ReachUnknown    Reach = iota
	ReachNone             // from nowhere: no way leads to its namespace
	ReachHost             // from this host alone
	ReachBlocked          // from this host alone, because the packet filter drops the rest
	ReachNamespace        // from the network of its container or namespace
	ReachRestricted       // from some hosts: one link, one interface, or those that the filter accepts
	ReachPublished        // from other hosts through address translation
	ReachNetwork          // from every host that has a route
	reachCount      = iota
)

var reachNames = [reachCount]string{
	"unknown", "none", "host", "blocked", "namespace", "restricted", "published", "network",
}

// String returns the word used in policies and output.
func (r Reach) String() string {
	if int(r) >= len(reachNames) {
		return fmt.Sprintf("Reach(%d)", uint8(r))
	}
	return reachNames[r]
}

// Resolved reports whether there is a process behind the owner.
func (o Owner) Resolved() bool { return o.PID != 0 }

// Namespace is a network namespace with its rules for ports.
type Namespace struct {
	// Label is HostNamespace, the name under which the namespace is mounted
	// ("netns:blue"), else the kernel's own ("net:[4026532008]").
	Label     string
	Container string // id of the container that it belongs to, "" if none or unknown
	// UnprivilegedStart is the first port that needs no privilege (Linux
	// net.ipv4.ip_unprivileged_port_start, Linux ip-sysctl.rst); 0 where no
	// port needs any, as on Windows.
	UnprivilegedStart uint32
	StartSet          bool // whether it is a setting, which somebody may have changed (Linux 4.11)
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
	Notes   []Note   // how it was asked, and what this host does not have: no gaps
}

// Note is something worth knowing about how a snapshot was made.
type Note struct{ Source, Text string }

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
