package listen

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/portaudit/portaudit/agent/listen/systemd"
)

// userManager reports whether a process is the service manager of a user
// (systemd(1), --user). It must be the host's own program: whoever makes a
// container may give any program that name.
func (e *engine) userManager(p processFacts) bool {
	return p.owner.Command == "systemd" && p.root == e.ownRoot &&
		(p.owner.Executable == "/usr/lib/systemd/systemd" || p.owner.Executable == "/lib/systemd/systemd") &&
		slices.Contains(p.owner.Arguments, "--user")
}

// askManagers asks each service manager that holds a socket which units its
// sockets belong to. What a manager does not say leaves its unit unnamed.
func (e *engine) askManagers(ctx context.Context) {
	clear(e.units)
	e.managerProblem = ""
	for pid, p := range e.processes {
		if p.owner.How != SocketUnit {
			continue
		}
		var units []systemd.Unit
		var err error
		if pid == 1 {
			units, err = systemd.Sockets(ctx)
		} else {
			units, err = systemd.SocketsOf(ctx, fmt.Sprintf("/run/user/%d/systemd/private", p.owner.UID.ID), int(pid))
		}
		if err != nil && !errors.Is(err, systemd.ErrAbsent) {
			e.managerProblem = fmt.Sprintf("process %d: %v", pid, err)
		}
		e.units[pid] = units
	}
}

// activation returns the owner that stands for a service manager, with the
// unit for which it holds the socket and the services that a connection starts.
func (e *engine) activation(o Owner, s *space, k *entry) Owner {
	socket := s.socketOf(k)
	at := systemd.Endpoint{
		Transport: socket.Transport.String(), Address: socket.Address, Port: socket.ID(), Device: socket.Interface,
		Private: s.id != e.placed[int32(o.PID)],
	}
	var names, services []string
	for _, u := range systemd.Match(e.units[int32(o.PID)], at) {
		names = append(names, u.Name)
		services = append(services, u.Triggers...)
	}
	if len(names) > 0 {
		o.Unit, o.Services = strings.Join(names, " "), services
	}
	return o
}
