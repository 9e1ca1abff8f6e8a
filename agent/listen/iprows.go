package listen

import (
	"slices"
	"strconv"
	"strings"

	"github.com/portaudit/portaudit/agent/listen/iphelper"
	"github.com/portaudit/portaudit/registry"
)

// socketsOfRows makes sockets of the rows of Windows' tables, with the owner
// that owner names for each. Rows of one endpoint and one process are one: its
// services are those of all of them.
func socketsOfRows(rows []iphelper.Row, owner func(iphelper.Row) Owner) []Socket {
	type holder struct {
		endpoint endpoint
		pid      uint32
	}
	index := make(map[holder]int, len(rows))
	sockets := make([]Socket, 0, len(rows))
	for _, row := range rows {
		s := Socket{
			Transport: registry.UDP, Address: row.Local.Addr(), Port: registry.Port(row.Local.Port()),
			Namespace: HostNamespace, DualStack: dualStack(row.Local.Addr()),
		}
		if row.Table.TCP() {
			s.Transport = registry.TCP
		}
		o := owner(row)
		h := holder{endpointOf(s), row.PID}
		if i, seen := index[h]; seen {
			first := &sockets[i].Owners[0]
			first.Services = union(first.Services, o.Services)
			continue
		}
		index[h] = len(sockets)
		s.Owners = []Owner{o}
		sockets = append(sockets, s)
	}
	return merge(sockets)
}

// union returns what is in a or b, sorted.
func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// ownerOfRow makes the owner of one socket of the process that has its pid now,
// and of the services that it hosts; tagged is the one that made the bind, ""
// if that is unknown. A process that started after the bind is another one that
// was given the pid of an ended process, from which somebody else inherited the
// socket. A clock set back between the start and the bind looks the same, and
// is told the same: no name is better than a wrong one.
func ownerOfRow(row iphelper.Row, process Owner, tagged string, hosted []string) Owner {
	if process.How == Process && !row.Created.IsZero() && process.Started.After(row.Created) {
		return Owner{How: Raced, PID: int(row.PID)}
	}
	if process.How == Process || process.How == Denied {
		process.Services = hosted
		if tagged != "" {
			process.Services = []string{tagged}
		}
	}
	return process
}

// httpService is the service, and httpDriver the file, of the part of Windows'
// kernel that listens for HTTP on behalf of processes.
const (
	httpService = "HTTP"
	httpDriver  = "http.sys"
)

// systemOwner makes the owner of a socket of the kernel. Of those, http.sys has
// the ports of TCP that httpPorts says are reserved with it.
func systemOwner(row iphelper.Row, httpPorts map[registry.Port]bool) Owner {
	o := Owner{How: Kernel, PID: systemPID, Command: "System"}
	if row.Table.TCP() && httpPorts[registry.Port(row.Local.Port())] {
		o.Command, o.Services = httpDriver, []string{httpService}
	}
	return o
}

// parseURLPort returns the port of a URL prefix as http.sys keeps them
// (https://learn.microsoft.com/windows/win32/http/urlprefix-strings), such as
// "http://+:5985/wsman/", "https://[::1]:443/" or "http://*:80:10.0.0.1/".
func parseURLPort(prefix string) (registry.Port, bool) {
	_, rest, ok := strings.Cut(prefix, "://")
	if !ok {
		return 0, false
	}
	authority, _, _ := strings.Cut(rest, "/")
	if i := strings.LastIndexByte(authority, ']'); strings.HasPrefix(authority, "[") && i > 0 {
		authority = authority[i:]
	}
	_, port, ok := strings.Cut(authority, ":")
	if !ok {
		return 0, false
	}
	port, _, _ = strings.Cut(port, ":") // the address that a host is bound to
	return parsePort(port)
}

// parseBindingPort returns the port of a certificate's binding as http.sys keeps
// them: "0.0.0.0:443", "[::]:443" or "www.example.com:443".
func parseBindingPort(binding string) (registry.Port, bool) {
	return parsePort(binding[strings.LastIndexByte(binding, ':')+1:])
}

func parsePort(s string) (registry.Port, bool) {
	n, err := strconv.ParseUint(s, 10, 16)
	return registry.Port(n), err == nil && n != 0
}

// integrityOf names the integrity level of a token by the last number of its
// label, a SECURITY_MANDATORY_..._RID of winnt.h; levels between two have the
// name of the lower one.
func integrityOf(rid uint32) string {
	switch {
	case rid >= 0x4000: // also 0x5000, protected processes
		return "system"
	case rid >= 0x3000:
		return "high"
	case rid >= 0x2000: // also 0x2100, medium plus
		return "medium"
	case rid >= 0x1000:
		return "low"
	default:
		return "untrusted"
	}
}
