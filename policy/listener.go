package policy

import (
	"net/netip"
	"time"

	"github.com/portaudit/portaudit/registry"
)

// Answer is a fact that may be unknown. The zero value is Unknown, and no
// condition of a rule matches an unknown fact.
type Answer uint8

// The answers.
const (
	Unknown Answer = iota
	No
	Yes
)

// Listener is all that a rule can look at: one listening socket with its
// owners, already classified. The caller fills it; the package never asks the
// host. Every zero value means that the fact is unknown, but for
// Port, State, Names, Risk and Interface, which are always known. Where IANA
// assigns no ports to the transport, all that is said of a port applies to
// nothing.
type Listener struct {
	Transport registry.Transport
	Port      registry.Port
	Address   netip.Addr
	Scope     Scope
	Interface string // the device that the socket is bound to, "" if none
	DualStack Answer // an IPv6 socket that also takes IPv4
	Namespace string // name of the network namespace

	// State and Names are what the registry says of (Transport, Port), Names
	// with the preferred one first. Risk is the severity with which the port
	// is commonly abused, None if it is not known to be.
	State registry.State
	Names []string
	Risk  Severity

	// Privileged says whether the port lies below the unprivileged start of
	// the socket's own network namespace, Ephemeral whether it lies in that
	// namespace's range for automatic binds.
	Privileged Answer
	Ephemeral  Answer

	// Authority is why the owners may hold a privileged port: one of
	// Authorities, "" if it was not examined.
	Authority string

	// Shadows says whether it takes what was meant for another program's listener of
	// the same port: by a more specific address, or as one of several with the same.
	Shadows Answer

	// FirstSeen is when it was first seen, zero if that is unknown. New says
	// whether that was within the last day, on a host that was watched before.
	// Changed is how it changed within the last day: one of Changes, "none", or
	// "" if nobody watched.
	FirstSeen time.Time
	New       Answer
	Changed   string

	// Reach is from where the listener can be reached in effect: one of Reaches,
	// "" if it was not evaluated.
	Reach string

	Owners []Owner

	now time.Time // of the decision
}

// Owner is one process (or what stands for it) that holds the socket.
type Owner struct {
	How           string // one of Hows, "" if unknown
	User          string // account name, "" if unknown
	Root          Answer // uid 0; on Windows: System or an elevated administrator
	Executable    string // absolute path, "" if unknown
	Deleted       Answer // the file was removed or replaced on disk
	Memory        Answer // the file never was on disk: memfd_create(2); then Deleted is Unknown
	Concealed     Answer // something is mounted over its directory in /proc
	WorldWritable Answer // the file lies where every user may write
	Unit          string // systemd unit or Windows service, "" if none or unknown
	UID           UID
	CommandLine   string   // the arguments, with a space between two
	Parent        string   // name of the process that started it
	Container     string   // id or name of its container, "" if none or unknown
	Image         string   // what its container was made of, "" if none or unknown
	Groups        []string // that its account belongs to, nil if unknown
	Capabilities  Capabilities
	SHA256        string // of the running file, in lower-case hexadecimal, "" if unknown
}

// Capabilities are the effective ones of a process, a bit for each of
// CapabilityNames, that may be unknown.
type Capabilities struct {
	Set   uint64
	Known bool
}

// UID is a numeric account of Unix that may be unknown.
type UID struct {
	ID    uint32
	Known bool
}
