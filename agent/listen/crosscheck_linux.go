package listen

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/portaudit/portaudit/agent/listen/sockdiag"
	"github.com/portaudit/portaudit/agent/listen/walk"
	"github.com/portaudit/portaudit/registry"
)

// crossCheckAlone returns a cross-check that opens what it needs, for a way that
// has but one view.
func crossCheckAlone(o Options) func(context.Context, CrossOptions) (CrossReport, error) {
	o.Way = Auto
	return func(ctx context.Context, c CrossOptions) (CrossReport, error) {
		e, err := openEngine(o, procRoot)
		if err != nil {
			return CrossReport{}, err
		}
		r, err := e.crossCheck(ctx, c)
		return r, errors.Join(err, e.close())
	}
}

// crossCheck compares what the kernel tells of listening sockets in different
// ways: code that hides a port, in a library or in the kernel, seldom hides it
// from all of them.
func (e *engine) crossCheck(ctx context.Context, o CrossOptions) (CrossReport, error) {
	if err := e.discover(); err != nil {
		return CrossReport{}, err
	}
	e.openSpaces(true)
	e.ask()
	e.ready()
	if e.options.Way == Auto && !e.triedBPF {
		// Chosen for speed, /proc alone would leave a view out; without the right
		// to load a program there is none, which is said below.
		_ = e.useBPF(walk.Open(0, 1))
	}
	before, err := e.boundInactive()
	if err != nil {
		return CrossReport{}, fmt.Errorf("list bound sockets: %w", err)
	}
	r, err := compareViews(ctx, e.views())
	if err != nil {
		return CrossReport{}, err
	}
	if _, ok := e.finder.(*bpfFinder); !ok {
		r.Gaps = append(r.Gaps, Gap{
			Source: "descriptors", Reason: "the descriptors of processes were not compared: only a BPF iterator sees them past /proc; owners are found " + e.wayNote.Text,
			Hides: HidesOwners, Fix: remedy("CAP_BPF and CAP_PERFMON"),
		})
	}
	if r.Bound, err = e.stillBound(ctx, before); err != nil {
		return CrossReport{}, err
	}
	if o.Probe {
		err = e.probe(ctx, &r)
	}
	return r, err
}

// views are the ways in which this host shows its sockets.
func (e *engine) views() []view {
	byTables := map[registry.Transport]bool{}
	for i, q := range e.queries {
		if q.table != "" && e.sources[i] == byDiag {
			byTables[q.transport] = true
		}
	}
	// In a namespace that could not be entered, or of which a table could not be
	// read once, nothing is missing.
	blind := map[string]bool{}
	covers := func(at Endpoint) bool { return byTables[at.Transport] && !blind[at.Namespace] }
	views := []view{
		{"sock_diag", func(ctx context.Context) (map[Endpoint]bool, []Gap, error) { return e.seeDiag(ctx, blind) }, covers},
		{"/proc/net", func(ctx context.Context) (map[Endpoint]bool, []Gap, error) { return e.seeTables(ctx, blind) }, covers},
	}
	if f, ok := e.finder.(*bpfFinder); ok {
		views = append(views, e.descriptorViews(f)...)
	}
	return views
}

// seeDiag shows what sock_diag tells, and adds the namespaces of which it does
// not tell all to blind.
func (e *engine) seeDiag(ctx context.Context, blind map[string]bool) (map[Endpoint]bool, []Gap, error) {
	seen := map[Endpoint]bool{}
	var gaps []Gap
	for _, s := range e.spaces {
		if s.conn == nil {
			blind[s.rules.Label] = true
			continue
		}
		for i, q := range e.queries {
			if e.sources[i] != byDiag || q.table == "" {
				continue
			}
			rows, err := s.conn.Dump(q.Query, e.rows[:0])
			e.rows = rows
			if err != nil {
				blind[s.rules.Label] = true
				gaps = append(gaps, Gap{Source: "sock_diag " + q.protocol, Reason: err.Error(), Hides: HidesSockets})
			}
			for i := range rows {
				if r := &rows[i]; r.RemotePort == 0 && r.LocalPort != 0 {
					seen[Endpoint{s.rules.Label, q.transport, r.Address(), registry.Port(r.LocalPort)}] = true
				}
			}
		}
	}
	return seen, gaps, ctx.Err()
}

// seeTables shows what the tables of /proc tell, and adds the namespaces of
// which they do not tell all to blind.
func (e *engine) seeTables(ctx context.Context, blind map[string]bool) (map[Endpoint]bool, []Gap, error) {
	seen := map[Endpoint]bool{}
	var gaps []Gap
	for _, s := range e.spaces {
		if s.conn == nil {
			continue
		}
		for i, q := range e.queries {
			if e.sources[i] != byDiag || q.table == "" {
				continue
			}
			path := e.tablePath(s, q)
			var rows []tableRow
			err := s.inside(func() (err error) {
				rows, err = readTable(path, q.transport)
				return err
			})
			if errors.Is(err, os.ErrNotExist) {
				continue
			}
			if err != nil {
				blind[s.rules.Label] = true
				gaps = append(gaps, Gap{Source: path, Reason: err.Error(), Hides: HidesSockets})
			}
			for _, r := range rows {
				seen[Endpoint{s.rules.Label, q.transport, r.address, r.port}] = true
			}
		}
	}
	return seen, gaps, ctx.Err()
}

// tablePath returns where a thread inside the namespace finds a table of its
// own: /proc/self would be that of the process's first thread.
func (e *engine) tablePath(s *space, q query) string {
	if s.own {
		return e.root + "/self/net/" + q.table
	}
	return e.root + "/thread-self/net/" + q.table
}

// boundKey tells one bound socket from another.
type boundKey struct {
	at    Endpoint
	inode uint64
}

// boundInactive returns the TCP sockets that have a port and neither listen nor
// are connected: one step from listening, and in no table of /proc. Kernels
// before Linux 6.8 do not tell of them.
func (e *engine) boundInactive() (map[boundKey]bool, error) {
	bound := map[boundKey]bool{}
	var errs []error
	for _, s := range e.spaces {
		if s.conn == nil {
			continue
		}
		for _, family := range [...]uint8{sockdiag.Inet, sockdiag.Inet6} {
			q := sockdiag.Query{Family: family, Protocol: sockdiag.TCP, States: sockdiag.BoundInactive}
			rows, err := s.conn.Dump(q, e.rows[:0])
			e.rows = rows
			if err != nil {
				errs = append(errs, err)
			}
			for i := range rows {
				r := &rows[i]
				at := Endpoint{s.rules.Label, registry.TCP, r.Address(), registry.Port(r.LocalPort)}
				bound[boundKey{at, uint64(r.Inode)}] = true
			}
		}
	}
	return bound, errors.Join(errs...)
}

// stillBound returns those of the bound sockets that are bound still, with
// their owners: a server that starts binds and listens within microseconds.
func (e *engine) stillBound(ctx context.Context, before map[boundKey]bool) ([]Bound, error) {
	if len(before) == 0 {
		return nil, nil
	}
	now, err := e.boundInactive()
	if err != nil {
		return nil, fmt.Errorf("list bound sockets: %w", err)
	}
	wanted := map[uint64]bool{}
	for key := range now {
		if before[key] {
			wanted[key.inode] = true
		}
	}
	pids, err := listNumbers(e.proc, []byte(".\x00"), nil)
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	holdings, denied, err := newProcFinder(e.proc).find(ctx, pids, wanted, nil) // the walk in the kernel tells of listening sockets only
	if err != nil {
		return nil, err
	}
	var list []Bound
	for key := range now {
		if !before[key] {
			continue
		}
		b := Bound{Endpoint: key.at}
		for _, h := range holdings {
			if h.inode == key.inode {
				b.Owners = append(b.Owners, e.ownerNow(h))
			}
		}
		b.Owners = distinctOwners(b.Owners)
		if len(b.Owners) == 0 && denied > 0 {
			b.Owners = []Owner{{How: Denied}}
		}
		list = append(list, b)
	}
	slices.SortFunc(list, func(a, b Bound) int { return compareEndpoints(a.Endpoint, b.Endpoint) })
	return list, nil
}

// ownerNow reads who holds a socket at this moment.
func (e *engine) ownerNow(h holding) Owner {
	o := e.reader.read(claim{holding: h}).owner
	if o.UID.Known {
		o.User = e.userName(o.UID.ID)
	}
	if o.Start != 0 {
		o.Started = e.boot.Add(ticks(o.Start))
	}
	return o
}

// probe tries every port of every network namespace that could be entered. One
// that is in use and in no table, three times, is reported.
func (e *engine) probe(ctx context.Context, r *CrossReport) error {
	r.Views = append(r.Views, bindProbe)
	spaces := slices.SortedFunc(maps.Values(e.spaces), func(a, b *space) int { return compareLabels(a.rules.Label, b.rules.Label) })
	for _, s := range spaces {
		if s.conn == nil {
			r.Gaps = append(r.Gaps, Gap{
				Source: "bind in " + s.rules.Label, Hides: HidesSockets,
				Reason: "without sock_diag a port in use cannot be told from a hidden one", Fix: remedy("CAP_SYS_ADMIN"),
			})
			continue
		}
		for _, t := range [...]registry.Transport{registry.TCP, registry.UDP} {
			err := s.inside(func() error { return e.probeInside(ctx, s, t, r) })
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case err != nil && s.own:
				return err
			case err != nil: // it has vanished, or is of another kind of user
				r.Gaps = append(r.Gaps, Gap{Source: "bind " + t.String() + " in " + s.rules.Label, Reason: err.Error(), Hides: HidesSockets})
			}
		}
	}
	return nil
}

// probeInside tries every port of one transport in a thread that is in the
// namespace.
func (e *engine) probeInside(ctx context.Context, s *space, t registry.Transport, r *CrossReport) error {
	suspects, denied, err := inUse(ctx, t, everyPort())
	if err != nil {
		return err
	}
	r.Probed += 65535 - denied
	if denied > 0 {
		r.Gaps = append(r.Gaps, Gap{
			Source: "bind " + t.String() + " in " + s.rules.Label, Hides: HidesSockets, Count: denied,
			Reason: t.String() + " ports that need a privilege could not be tried", Fix: remedy("CAP_NET_BIND_SERVICE"),
		})
	}
	for look := 0; look < crossLooks && len(suspects) > 0; look++ {
		if suspects, err = unexplained(s, t, suspects); err != nil {
			return err
		}
		if suspects, _, err = inUse(ctx, t, suspects); err != nil {
			return err
		}
	}
	for _, p := range suspects {
		r.Discrepancies = append(r.Discrepancies, Discrepancy{
			Endpoint: Endpoint{Namespace: s.rules.Label, Transport: t, Port: p},
			Shown:    []string{bindProbe}, Missing: []string{"sock_diag"},
		})
	}
	return nil
}

func everyPort() []registry.Port {
	ports := make([]registry.Port, 0, 65535)
	for p := 1; p <= 65535; p++ {
		ports = append(ports, registry.Port(p))
	}
	return ports
}

// inUse returns the ports that cannot be bound on the wildcard address because
// something has them, and how many this process may not try.
func inUse(ctx context.Context, t registry.Transport, ports []registry.Port) (used []registry.Port, denied int, err error) {
	for _, p := range ports {
		if err := ctx.Err(); err != nil {
			return nil, 0, err
		}
		switch err := tryBind(t, p); {
		case err == nil:
		case errors.Is(err, unix.EADDRINUSE):
			used = append(used, p)
		case errors.Is(err, unix.EACCES):
			denied++
		default:
			return nil, 0, fmt.Errorf("bind port %d/%s: %w", p, t, err)
		}
	}
	return used, denied, nil
}

// tryBind binds a port and gives it back at once. The wildcard address of IPv6
// stands for IPv4 too, and collides with a socket on any address of either.
func tryBind(t registry.Transport, p registry.Port) error {
	kind := unix.SOCK_STREAM
	if t == registry.UDP {
		kind = unix.SOCK_DGRAM
	}
	fd, err := unix.Socket(unix.AF_INET6, kind|unix.SOCK_CLOEXEC, 0)
	var address unix.Sockaddr = &unix.SockaddrInet6{Port: int(p)}
	if errors.Is(err, unix.EAFNOSUPPORT) {
		fd, err = unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, 0)
		address = &unix.SockaddrInet4{Port: int(p)}
	} else if err == nil {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0)
	}
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	if t == registry.TCP {
		// With SO_REUSEADDR connections that linger in TIME-WAIT are no
		// obstacle; a listener still is (socket(7), ip(7)).
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	return unix.Bind(fd, address)
}

// unexplained returns the ports that no socket of the namespace has, in any
// state, by sock_diag.
func unexplained(s *space, t registry.Transport, ports []registry.Port) ([]registry.Port, error) {
	protocol := uint16(sockdiag.TCP)
	if t == registry.UDP {
		protocol = sockdiag.UDP
	}
	has := map[registry.Port]bool{}
	for _, family := range [...]uint8{sockdiag.Inet, sockdiag.Inet6} {
		rows, err := s.conn.Dump(sockdiag.Query{Family: family, Protocol: protocol, States: ^uint32(0)}, nil)
		if err != nil {
			return nil, fmt.Errorf("list the sockets in every state: %w", err)
		}
		for i := range rows {
			has[registry.Port(rows[i].LocalPort)] = true
		}
	}
	var rest []registry.Port
	for _, p := range ports {
		if !has[p] {
			rest = append(rest, p)
		}
	}
	return rest, nil
}
