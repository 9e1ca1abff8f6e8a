package main

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/portaudit/portaudit/agent"
	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/agent/listen"
	"github.com/portaudit/portaudit/policy"
	"github.com/portaudit/portaudit/registry"
)

// describeOwner says all that is known of an owner.
func describeOwner(o audit.Owner) string {
	text := agent.OwnerText(o) + fileText(o)
	if o.Concealed {
		text += ", hidden by a mount over its directory in /proc"
	}
	if o.Unit != "" {
		text += ", of " + o.Unit
	}
	if len(o.Services) > 0 {
		text += ", which hosts " + strings.Join(o.Services, ", ")
	}
	if o.Container != "" {
		text += ", in container " + containerText(o)
	}
	if o.Started != nil {
		text += ", since " + local(*o.Started)
	}
	if o.OwnerDetail != nil {
		text += detailText(*o.OwnerDetail)
	}
	return text
}

// containerText names the container of an owner, and what it was made of.
func containerText(o audit.Owner) string {
	text := shortID(o.Container)
	if o.ContainerName != "" {
		text = o.ContainerName + " (" + text + ")"
	}
	if o.Image != "" {
		text += " of " + o.Image
	}
	return text
}

// fileText says which file an owner runs, and whose that is.
func fileText(o audit.Owner) string {
	if o.Executable == "" {
		return ""
	}
	text := ", running " + o.Executable
	switch {
	case o.Memory:
		text += " (it was never on disk)"
	case o.Replaced != nil && *o.Replaced:
		text += " (replaced on disk since)"
	case o.Deleted != nil && *o.Deleted:
		text += " (deleted from disk)"
	}
	if p := o.Package; p != nil {
		text += " of the " + p.Manager + " package " + strings.TrimSpace(p.Name+" "+p.Version)
	}
	switch {
	case o.SHA256 != "":
		text += " (SHA-256 " + o.SHA256 + ")"
	case o.OwnerDetail != nil && o.Unhashed == listen.UnhashedLarge.String():
		text += " (SHA-256 unknown: the program is larger than hash_limit)"
	case o.OwnerDetail != nil && o.Unhashed != "":
		text += " (SHA-256 unknown: " + o.Unhashed + ")"
	}
	return text
}

// detailText says what is known of an owner beside the evidence.
func detailText(d audit.OwnerDetail) string {
	text := ""
	if len(d.Parents) > 0 {
		var parents []string
		for _, p := range d.Parents {
			parents = append(parents, fmt.Sprintf("%s (%d)", cmp.Or(p.Command, "unknown"), p.PID))
		}
		text += ", started by " + strings.Join(parents, " under ")
	}
	if d.LoginUID != nil {
		text += fmt.Sprintf(", for the login of user %d", *d.LoginUID)
	}
	if len(d.Groups) > 0 {
		var names []string
		for _, g := range d.Groups {
			names = append(names, g.Name)
		}
		text += ", in the groups " + strings.Join(names, " ")
	}
	if d.Capabilities != nil && len(d.Capabilities.Effective) > 0 {
		text += ", with " + strings.Join(d.Capabilities.Effective, " ")
	}
	if d.Integrity != "" {
		text += ", of integrity " + d.Integrity
	}
	return text
}

// reachSentence says from where a listener can be reached: in effect where that
// was evaluated, else by its address.
func reachSentence(l agent.Listener) string {
	switch {
	case l.Exposure.Sentence != "":
		return "Reach: " + l.Exposure.Reach + ". " + l.Exposure.Sentence
	case l.Transport == registry.Packet.String():
		return "It takes frames from the link, before any packet filter."
	case l.Transport == registry.VSOCK.String():
		return "It is for virtual machines and their host: no network leads to it."
	}
	switch l.Scope {
	case policy.Loopback.String():
		return "It listens on a loopback address: other hosts cannot reach it."
	case policy.Wildcard.String():
		return "It listens on all addresses: every host that a firewall lets through can reach it."
	case policy.UnknownScope.String():
		return "On which address it listens is not known: other hosts may reach it."
	default:
		return "It listens on a " + l.Scope + " address: other hosts may reach it."
	}
}

// privilegeSentence says what the port asks of who opens it.
func privilegeSentence(l agent.Listener) string {
	if l.Privileged == nil || !*l.Privileged {
		if l.Ephemeral != nil && *l.Ephemeral {
			return "The port lies in this host's range for automatic binds."
		}
		return ""
	}
	why := map[string]string{
		"root":           "an owner is root",
		"creator-root":   "root opened it, and its owner is not root: it gave root up since, or was handed the socket",
		"capability":     "an owner holds CAP_NET_BIND_SERVICE",
		"user namespace": "an owner may do so in its user namespace, which owns the network namespace",
		"inherited":      "root or the service manager opened it and passed it on",
		"unexplained":    "nothing explains how its owner could open it",
	}[l.Authority]
	if why == "" {
		why = "why its owner may hold it could not be seen"
	}
	return "Opening port " + agent.PortText(l) + " takes a privilege on this host: " + why + "."
}
