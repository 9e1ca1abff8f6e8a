package audit

import "time"

// Version is the version of the Event format. It grows only when a field
// changes its meaning; new fields leave it as it is.
const Version = 1

// The kinds of event.
const (
	AgentStarted    = "agent.started"
	AgentStopped    = "agent.stopped"
	PolicyLoaded    = "policy.loaded"
	PolicyRejected  = "policy.rejected"
	ListenerOpened  = "listener.opened"
	ListenerChanged = "listener.changed"
	ListenerClosed  = "listener.closed"
	FindingRaised   = "finding.raised"
	FindingCleared  = "finding.cleared"
	AuditFailed     = "audit.failed"
	CoverageChanged = "coverage.changed"
	CrossFailed     = "crosscheck.failed"
	ChangesLost     = "changes.lost"
	LogPruned       = "log.pruned" // what is too old or too much is removed

	// Of the log itself.
	LogSegment    = "log.segment"    // begins a file
	LogCheckpoint = "log.checkpoint" // signs the log up to here
	LogDegraded   = "log.degraded"   // it could not be written
	LogRestored   = "log.restored"   // it can be written again
	LogDamaged    = "log.damaged"    // it is not what was signed
)

// Kinds returns all kinds of event.
func Kinds() []string {
	return []string{
		AgentStarted, AgentStopped, PolicyLoaded, PolicyRejected, ListenerOpened, ListenerChanged, ListenerClosed,
		FindingRaised, FindingCleared, AuditFailed, CoverageChanged, CrossFailed, ChangesLost,
		LogPruned, LogSegment, LogCheckpoint, LogDegraded, LogRestored, LogDamaged,
	}
}

// Event is one record of the audit log, one JSON object on one line. It is
// flat: one struct for every kind of event, a field that a kind does not use
// left out. docs/json.md says which kind has which fields.
//
// Log.Append fills Version, Seq, Prev, Monotonic, Boot and Host, and Time if it is
// zero.
type Event struct {
	Version int       `json:"schema"`
	Seq     uint64    `json:"seq"`
	Time    time.Time `json:"time"`
	Event   string    `json:"event"`
	Host    string    `json:"host"`
	Boot    string    `json:"boot"`
	Prev    string    `json:"prev"`
	// Monotonic is how long the host was up, in microseconds: nobody sets that
	// clock back. 0 is unknown.
	Monotonic uint64 `json:"monotonic_us,omitempty"`

	// What happened, in one sentence.
	Message string `json:"message,omitempty"`

	// The listener, for listener.* and finding.*. A finding of a cross-check has
	// no more of it than Transport, Address, Port, Namespace and Owners.
	Listener  string   `json:"listener,omitempty"` // stable id, no pid in it
	Change    string   `json:"change,omitempty"`   // of listener.changed
	Replaces  string   `json:"replaces,omitempty"` // id of the listener whose place it took
	Transport string   `json:"transport,omitempty"`
	Address   string   `json:"address,omitempty"`
	Addresses []string `json:"addresses,omitempty"` // all, where there are several
	Port      uint32   `json:"port,omitempty"`
	Interface string   `json:"interface,omitempty"` // that it is bound to
	Namespace string   `json:"namespace,omitempty"`
	Scope     string   `json:"scope,omitempty"`
	Reach     string   `json:"reach,omitempty"` // where that was evaluated
	// Privileged to Authority are what a policy asks of the port beside its number,
	// so that another policy can be tried on the record. Absent is unknown.
	Privileged *bool      `json:"privileged,omitempty"`
	Ephemeral  *bool      `json:"ephemeral,omitempty"`
	DualStack  *bool      `json:"dual_stack,omitempty"`
	Authority  string     `json:"authority,omitempty"`
	FirstSeen  *time.Time `json:"first_seen,omitempty"`
	LastSeen   *time.Time `json:"last_seen,omitempty"`
	Registry   *Registry  `json:"registry,omitempty"`
	Owners     []Owner    `json:"owners,omitempty"`
	Verdict    string     `json:"verdict,omitempty"`

	// The finding, for finding.*; Rule also for the rule that decided.
	ID       string   `json:"id,omitempty"` // stable over restarts
	Rule     string   `json:"rule,omitempty"`
	Severity string   `json:"severity,omitempty"`
	Why      string   `json:"why,omitempty"`
	Fix      string   `json:"fix,omitempty"`
	Tags     []string `json:"tags,omitempty"` // of the rule

	// The policy in force, for policy.* and agent.started, and of policy.rejected
	// the one that is not.
	Policy  *Policy `json:"policy,omitempty"`
	Refused *Policy `json:"refused,omitempty"` // where its whole text was read

	// The coverage, for coverage.changed.
	Coverage *Coverage `json:"coverage,omitempty"`

	// Errors of policy.rejected, audit.failed, crosscheck.failed, log.degraded and
	// log.damaged.
	Errors []string `json:"errors,omitempty"`

	// The files of the log that are removed, for log.pruned.
	Removed []string `json:"removed,omitempty"`
	// Lost is how many records of the time in which the log could not be written are
	// in it nowhere, for log.restored. nil is unknown.
	Lost *uint64 `json:"lost,omitempty"`
	// The log itself.
	Tree       []string `json:"tree,omitempty"`       // of log.segment: the Merkle tree of the records before
	Through    uint64   `json:"through,omitempty"`    // of log.pruned: the last record that was removed
	Checkpoint string   `json:"checkpoint,omitempty"` // of log.checkpoint: the signed note, with its newlines

	// The program, for agent.started and agent.stopped.
	Program string `json:"program,omitempty"` // version of portaudit
	PID     int    `json:"pid,omitempty"`

	// Escaped and Clipped are the paths of the texts that are not as they were, such
	// as "owners[0].command": Log.Append made them visible, or cut them or a list.
	// See Original. nil is that nothing is said, as by older versions.
	Escaped []string `json:"escaped,omitzero"`
	Clipped []string `json:"clipped,omitzero"`
}

// Registry is what the port registry says of a listener's port. Range and State
// are "" where IANA assigns no ports: of raw, packet and vsock sockets.
type Registry struct {
	Range       string   `json:"range"`
	State       string   `json:"state"`
	Names       []string `json:"names"`
	Description string   `json:"description"`
}

// Owner is one holder of a listening socket. A null or absent field is unknown.
type Owner struct {
	PID           *int       `json:"pid"`
	Started       *time.Time `json:"started"`
	Executable    string     `json:"executable"`
	Deleted       *bool      `json:"deleted"`
	Replaced      *bool      `json:"replaced,omitempty"`  // deleted, and another file has its path
	Memory        bool       `json:"memory,omitempty"`    // the file never had a name on disk
	Concealed     bool       `json:"concealed,omitempty"` // something is mounted over its directory in /proc
	SHA256        string     `json:"sha256,omitempty"`    // of the running file, in hexadecimal
	Package       *Package   `json:"package,omitempty"`
	Command       string     `json:"command"`
	User          string     `json:"user"`
	UID           *uint32    `json:"uid"`
	SID           string     `json:"sid,omitempty"` // the account on Windows
	Root          *bool      `json:"root,omitempty"`
	Writable      *bool      `json:"world_writable,omitempty"` // every user may write to the file or above it
	How           string     `json:"how"`
	Parent        *int       `json:"parent,omitempty"`
	ParentName    string     `json:"parent_command,omitempty"` // name of that process
	Unit          string     `json:"unit,omitempty"`
	Services      []string   `json:"services,omitempty"` // of Windows
	Container     string     `json:"container,omitempty"`
	ContainerName string     `json:"container_name,omitempty"`
	Image         string     `json:"image,omitempty"` // that the container was made of

	// Escaped are the names of the texts of an owner that are not as they were, such
	// as "command". A record has them in its own list.
	Escaped []string `json:"escaped,omitempty"`

	// OwnerDetail is what a scan tells beside the evidence; a record of the log
	// has none of it.
	*OwnerDetail
}

// OwnerDetail is more about an owner than evidence needs.
type OwnerDetail struct {
	Parents        []Process     `json:"parents,omitempty"` // the nearest first
	Cgroup         string        `json:"cgroup,omitempty"`
	Unhashed       string        `json:"unhashed,omitempty"` // why there is no SHA256
	LoginUID       *uint32       `json:"login_uid,omitempty"`
	Groups         []Group       `json:"groups,omitempty"` // the effective one first
	Capabilities   *Capabilities `json:"capabilities,omitempty"`
	Inherits       *bool         `json:"inherits,omitempty"`        // another owner opened the socket
	NamespaceOwner *bool         `json:"namespace_owner,omitempty"` // of the user namespace that owns the socket's
	Elevated       *bool         `json:"elevated,omitempty"`        // of Windows
	Integrity      string        `json:"integrity,omitempty"`       // of Windows
}

// Package is the software that an owner's file belongs to.
type Package struct {
	Manager string `json:"manager"`
	Name    string `json:"name"`
	Version string `json:"version"`
}

// Process names a process.
type Process struct {
	PID     int    `json:"pid"`
	Command string `json:"command"`
}

// Group is a group of a process.
type Group struct {
	GID  uint32 `json:"gid"`
	Name string `json:"name"`
}

// Capabilities are those of a process that has some and not all; a set that is
// empty or full is nil.
type Capabilities struct {
	Effective []string `json:"effective,omitempty"`
	Permitted []string `json:"permitted,omitempty"`
}

// Policy names a policy by where it came from and by its content.
type Policy struct {
	Source string `json:"source"`
	SHA256 string `json:"sha256"`
}

// Coverage says what an audit could see.
type Coverage struct {
	Complete bool     `json:"complete"`
	Sources  []string `json:"sources"`
	Gaps     []Gap    `json:"gaps"`
	Notes    []Note   `json:"notes"`
}

// Note says how an audit was made, or what this host does not have.
type Note struct {
	Source string `json:"source"`
	Text   string `json:"text"`
}

// Gap is one thing that an audit could not see.
type Gap struct {
	Source string `json:"source"`          // what was asked
	Reason string `json:"reason"`          // why it did not answer
	Hides  string `json:"hides"`           // sockets, owners or facts
	Count  int    `json:"count,omitempty"` // how many, where that is known
	Fix    string `json:"fix,omitempty"`   // how to see it
}
