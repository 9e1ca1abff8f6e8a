package agent

import (
	"encoding/hex"
	"strings"

	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/agent/listen"
	"github.com/portaudit/portaudit/policy"
)

// ownership is what an audit makes of the owners of a socket, whichever socket
// it is.
type ownership struct {
	facts     []policy.Owner
	documents []audit.Owner
	program   string // see programOf
}

// ownerships makes each ownership once: the sockets of a process share one list
// of owners, and a host may have many sockets a process. What it returns is
// shared too.
type ownerships struct {
	commandLines bool
	detailed     bool
	made         map[ownersKey]ownership
}

// ownersKey tells lists apart by where they lie. Lists that are equal but lie
// apart are made anew.
type ownersKey struct {
	first *listen.Owner
	n     int
}

func newOwnerships(commandLines, detailed bool) ownerships {
	return ownerships{commandLines: commandLines, detailed: detailed, made: map[ownersKey]ownership{}}
}

func (m ownerships) of(owners []listen.Owner) ownership {
	var key ownersKey
	if len(owners) > 0 {
		key = ownersKey{&owners[0], len(owners)}
	}
	made, ok := m.made[key]
	if ok {
		return made
	}
	made.facts, made.documents = make([]policy.Owner, len(owners)), make([]audit.Owner, len(owners))
	for i, o := range owners {
		made.facts[i], made.documents[i] = policyOwner(o), ownerOf(o, m.commandLines)
		if m.detailed {
			made.documents[i].OwnerDetail = detailOf(o)
			made.documents[i] = made.documents[i].Visible()
		}
	}
	made.program = programOf(made.documents)
	m.made[key] = made
	return made
}

func policyOwner(o listen.Owner) policy.Owner {
	deleted := policyAnswer(o.Deleted)
	if o.Replaced == listen.Yes {
		deleted = policy.No // an upgrade: the program is there, in a newer version
	}
	unit := o.Unit
	if unit == "" && len(o.Services) == 1 {
		unit = o.Services[0] // of several it is not known which one has the socket
	}
	parent := ""
	if len(o.Parents) > 0 {
		parent = o.Parents[0].Command
	}
	digest := ""
	if o.SHA256 != [32]byte{} {
		digest = hex.EncodeToString(o.SHA256[:])
	}
	return policy.Owner{
		How: o.How.String(), User: o.User, Root: root(o), Executable: o.Executable,
		Deleted: deleted, Memory: policyAnswer(o.Memory), Concealed: policyAnswer(o.Concealed),
		WorldWritable: policyAnswer(o.WorldWritable), Unit: unit, UID: policy.UID{ID: o.UID.ID, Known: o.UID.Known},
		CommandLine: strings.Join(o.Arguments, " "), Parent: parent, Container: o.Container, Image: o.Image, Groups: groupNames(o.Groups), SHA256: digest,
		Capabilities: policy.Capabilities{Set: o.Effective, Known: o.BindCapability != listen.Unknown},
	}
}

// groupNames returns the names of groups; nil where they are not known.
func groupNames(groups []listen.Group) []string {
	var names []string
	for _, g := range groups {
		names = append(names, g.Name)
	}
	return names
}

// ownerOf makes the document of an owner, as evidence needs it. Every string of
// it comes from outside: a process may call itself anything. So they are made
// visible, and which were is said.
func ownerOf(o listen.Owner, commandLines bool) audit.Owner {
	owner := audit.Owner{
		Executable: o.Executable, Command: o.Command,
		Deleted: answerOf(o.Deleted), Memory: o.Memory == listen.Yes, Concealed: o.Concealed == listen.Yes, User: o.User, SID: o.SID,
		Root: boolOf(root(o)), Writable: answerOf(o.WorldWritable),
		How: o.How.String(), Unit: o.Unit, Services: o.Services, Container: o.Container,
		ContainerName: o.ContainerName, Image: o.Image,
	}
	if o.SHA256 != [32]byte{} {
		owner.SHA256 = hex.EncodeToString(o.SHA256[:])
	}
	if p := o.Package; p != (listen.Package{}) {
		owner.Package = &audit.Package{Manager: p.Manager, Name: p.Name, Version: p.Version}
	}
	if commandLines && len(o.Arguments) > 0 {
		owner.Command = redact(o.Arguments)
	}
	if o.Deleted == listen.Yes {
		owner.Replaced = answerOf(o.Replaced)
	}
	if o.PID != 0 {
		owner.PID = &o.PID
	}
	if o.Parent != 0 {
		owner.Parent = &o.Parent
	}
	if len(o.Parents) > 0 {
		owner.ParentName = o.Parents[0].Command
	}
	if !o.Started.IsZero() {
		started := o.Started.UTC()
		owner.Started = &started
	}
	if o.UID.Known {
		owner.UID = &o.UID.ID
	}
	return owner.Visible()
}
