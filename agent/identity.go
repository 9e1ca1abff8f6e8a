package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"

	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/agent/listen"
)

// A listener's identity is (network namespace, transport, address scope, port,
// program): neither a pid nor an inode is in it, so a program that restarts is
// the same listener. place is the identity without the program.
type place struct {
	namespace, transport, scope string
	port                        uint32
}

func placeOf(l Listener) place {
	return place{l.Namespace, l.Transport, l.Scope, l.Port}
}

// programOf names what owns a listener over restarts: the container, else the
// service, else the executable, else how it was resolved. A scope (systemd's
// group for a login or an application) is no name: the next start has another.
// The service manager that holds a socket for a service steps back behind it,
// and goes by its name before it is started.
func programOf(owners []audit.Owner) string {
	var names []string
	for _, o := range owners {
		if o.How == listen.SocketUnit.String() && len(owners) > 1 {
			continue
		}
		names = append(names, programName(o))
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), "+")
}

func programName(o audit.Owner) string {
	switch {
	case o.Container != "":
		return "container:" + o.Container
	case o.How == listen.SocketUnit.String() && len(o.Services) == 1:
		return "unit:" + o.Services[0]
	case strings.HasSuffix(o.Unit, ".service"), strings.HasSuffix(o.Unit, ".socket"):
		return "unit:" + o.Unit
	case o.Executable != "":
		return "exe:" + o.Executable
	case o.Command != "":
		return "command:" + o.Command
	case o.How == "", o.How == listen.Denied.String(), o.How == listen.Raced.String():
		return "unresolved" // the one may turn into the other between two audits
	default:
		return "how:" + o.How
	}
}

// unresolved reports whether the owners say nothing of who owns the listener:
// this audit could not see them, and an earlier one may have.
func unresolved(owners []audit.Owner) bool {
	return !slices.ContainsFunc(owners, func(o audit.Owner) bool {
		switch o.How {
		case "", listen.Denied.String(), listen.Raced.String():
			return o.Executable != "" || o.Command != ""
		}
		return true
	})
}

// identify returns the stable id of a listener.
func identify(l Listener) string { return identity(placeOf(l), programOf(l.Owners)) }

func identity(p place, program string) string {
	text := make([]byte, 0, 128)
	for _, part := range []string{p.namespace, p.transport, p.scope, strconv.FormatUint(uint64(p.port), 10)} {
		text = append(append(text, part...), 0)
	}
	return digest(append(text, program...))
}

// findingID returns the stable id of what rule found of a listener.
func findingID(rule, listener string) string { return digest([]byte(rule + "\x00" + listener)) }

// digest shortens an identity to 64 bits: enough to tell the listeners of one
// host apart, short enough to be read out.
func digest(identity []byte) string {
	sum := sha256.Sum256(identity)
	return hex.EncodeToString(sum[:8])
}
