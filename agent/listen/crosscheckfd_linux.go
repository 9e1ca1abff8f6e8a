package listen

import (
	"context"
	"os"

	"golang.org/x/sys/unix"

	"github.com/portaudit/portaudit/agent/listen/walk"
	"github.com/portaudit/portaudit/registry"
)

// descriptors is what a walk in the kernel tells of the descriptors that lead
// to listening sockets.
type descriptors struct {
	endpoints map[uint64]Endpoint // by inode of the socket; a walk tells no addresses
	holders   map[int32][]uint64  // which of them each process holds, of those that /proc numbers
	numbered  map[Endpoint]bool   // those with such a holder
	refused   map[Endpoint]bool   // those with a holder that does not let itself be looked at
}

// descriptorViews are the views of descriptors: as the kernel walks them, and as
// the links in /proc show them, where a process may be hidden.
func (e *engine) descriptorViews(f *bpfFinder) []view {
	d := &descriptors{}
	return []view{
		// A socket of the kernel's own has no descriptor, so none is missing here.
		// What has none and is not the kernel's is told by its owner, Unheld.
		{"descriptors", func(ctx context.Context) (map[Endpoint]bool, []Gap, error) {
			err := e.walkDescriptors(ctx, f, d)
			seen := make(map[Endpoint]bool, len(d.endpoints))
			for _, at := range d.endpoints {
				seen[at] = true
			}
			return seen, nil, err
		}, func(Endpoint) bool { return false }},
		{"/proc/PID/fd", func(ctx context.Context) (map[Endpoint]bool, []Gap, error) {
			return seeLinks(ctx, d)
		}, d.tellsOf},
	}
}

// tellsOf reports whether the links in /proc would lead to a socket there: a
// process that /proc numbers holds it and may be looked at.
func (d *descriptors) tellsOf(at Endpoint) bool {
	at = at.anywhere()
	return d.numbered[at] && !d.refused[at]
}

// walkDescriptors fills d anew.
func (e *engine) walkDescriptors(ctx context.Context, f *bpfFinder, d *descriptors) error {
	*d = descriptors{
		endpoints: map[uint64]Endpoint{}, holders: map[int32][]uint64{},
		numbered: map[Endpoint]bool{}, refused: map[Endpoint]bool{},
	}
	return f.walker.Walk(ctx, func(r *walk.Row) {
		s := e.spaces[uint64(r.Namespace)]
		t := listeningTransport(r)
		if s == nil || t == 0 {
			return
		}
		at := Endpoint{Namespace: s.rules.Label, Transport: t, Port: registry.Port(r.Port)}
		d.endpoints[r.Inode] = at
		if r.PID != 0 {
			d.numbered[at] = true
			d.holders[r.PID] = append(d.holders[r.PID], r.Inode)
		}
	})
}

// listeningTransport returns the transport of a row whose socket listens, 0 for
// any other and where that cannot be told.
func listeningTransport(r *walk.Row) registry.Transport {
	switch {
	case r.Family != unix.AF_INET && r.Family != unix.AF_INET6, r.Protocol == unix.IPPROTO_SCTP: // whose states are its own
		return 0
	case r.Protocol == unix.IPPROTO_UDPLITE && r.State == stateClose:
		return registry.UDPLite
	case r.Type == unix.SOCK_STREAM && r.State == stateListen:
		return registry.TCP // Multipath TCP is one of them
	case r.Type == unix.SOCK_DGRAM && r.State == stateClose:
		return registry.UDP
	}
	return 0
}

// seeLinks shows the sockets of d to which the links in /proc lead, as any
// program sees them: through what is mounted there.
func seeLinks(ctx context.Context, d *descriptors) (map[Endpoint]bool, []Gap, error) {
	seen := map[Endpoint]bool{}
	proc, err := unix.Open(procRoot, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, &os.PathError{Op: "open", Path: procRoot, Err: err}
	}
	defer unix.Close(proc)
	w := procWorker{buffer: make([]byte, 16<<10)}
	for pid, inodes := range d.holders {
		wanted := make(map[uint64]bool, len(inodes))
		for _, inode := range inodes {
			wanted[inode] = true
		}
		w.found, w.denied = w.found[:0], 0
		w.process(proc, pid, wanted)
		for _, h := range w.found {
			seen[d.endpoints[h.inode]] = true
		}
		for _, inode := range inodes {
			if w.denied > 0 {
				d.refused[d.endpoints[inode]] = true
			}
		}
	}
	return seen, nil, ctx.Err()
}
