package agent

import (
	"cmp"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/agent/listen"
)

// ServiceText names the service of a port, or the protocol of a raw or packet
// socket; where there is no name, the state of the registry.
func ServiceText(l Listener) string {
	return cmp.Or(l.Service, l.Registry.State, protocolName(l.Transport, l.Port), "unnamed")
}

// ProgramText names the program of an owner: the base name of its executable,
// with the name that the system shows behind it if that is another, else that
// name alone, else why it is unknown. A process chooses its name, but not its
// executable; of Debian's Redis the latter is redis-check-rdb.
func ProgramText(o audit.Owner) string {
	switch {
	case o.Executable != "":
		base := baseName(o.Executable)
		// Without arguments and quotes, where the whole command line is told.
		name, _, _ := strings.Cut(strings.TrimLeft(o.Command, "'"), " ")
		name = baseName(name)
		if o.Command == "" || strings.HasPrefix(base, name) || strings.HasPrefix(name, base) {
			return base
		}
		return base + " (" + name + ")"
	case o.Command != "":
		return o.Command
	case o.How == listen.Kernel.String():
		return "the kernel"
	case o.How == listen.Denied.String():
		return "unknown (no permission)"
	case o.How == "":
		return "unknown"
	default:
		return "unknown (" + o.How + ")"
	}
}

// baseName returns the last part of a path of either system. A backslash only
// separates in a path of Windows: elsewhere it is a part of a name, by which a
// program could call itself another.
func baseName(name string) string {
	if isWindows(name) {
		name = strings.ReplaceAll(name, `\`, "/")
	}
	return path.Base(name)
}

// isWindows reports whether a path is one of Windows.
func isWindows(path string) bool {
	return strings.HasPrefix(path, `\\`) || len(path) > 2 && path[1] == ':' && (path[2] == '\\' || path[2] == '/')
}

// OwnerText names one owner for people: "sshd (pid 812, user root)".
func OwnerText(o audit.Owner) string {
	if o.PID == nil {
		return ProgramText(o)
	}
	text := ProgramText(o) + " (pid " + strconv.Itoa(*o.PID)
	if o.User != "" {
		text += ", user " + o.User
	}
	return text + ")"
}

// OwnersText lists what text says of each owner, each text once.
func OwnersText(owners []audit.Owner, text func(audit.Owner) string) string {
	var texts []string
	for _, o := range owners {
		if s := text(o); s != "" && !slices.Contains(texts, s) {
			texts = append(texts, s)
		}
	}
	if len(texts) == 0 {
		return "unknown"
	}
	return strings.Join(texts, ", ")
}
