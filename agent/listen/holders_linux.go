package listen

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/portaudit/portaudit/agent/listen/walk"
)

// endingTime is how long a process that ends may take from giving up its
// descriptors to having its sockets closed (exit_files, then task_work_run in
// kernel/exit.c): the kernel may run others in between.
const endingTime = 20 * time.Millisecond

// walk finds who holds each known socket.
//
// The tables and the descriptors are read one after the other, so a socket may
// be born or die in between: if some stay without a holder, all is looked at a
// second time, between two looks at the tables. What has no holder in either is
// nobody's, or of a process that is ending: that gives up its descriptors a
// while before its sockets leave the tables. A daemon finds out at the next
// enumeration; one that makes a single one waits.
func (e *engine) walk(ctx context.Context) error {
	clear(e.refused)
	if err := e.find(ctx); err != nil {
		return err
	}
	if e.orphans() {
		e.dump() // what is gone leaves the tables; what is new is looked for too
		if err := e.find(ctx); err != nil {
			return err
		}
		e.dump() // what is new now waits for the next enumeration
	}
	if e.options.Once && e.orphans() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(endingTime):
			e.dump()
		}
	}
	e.trust()
	if err := e.askStrays(ctx); err != nil {
		return err
	}
	e.assign()
	if err := e.readHolders(ctx); err != nil {
		return err
	}
	e.found, e.first, e.inodes = nil, nil, map[uint64]bool{} // the next walk may be a minute away
	e.settle(true)
	if e.changed {
		e.askManagers(ctx)
	}
	return nil
}

// settle looks again whether each of several holders still has its descriptor.
// A program that is starting another one holds its sockets twice for the time
// between fork(2) and execve(2): what closes then was never an owner of its
// own. Those that are new at a walk are looked at right after it, and once more
// at the next enumeration.
func (e *engine) settle(first bool) {
	for _, s := range e.spaces {
		for _, k := range s.known {
			if !k.unsettled {
				continue
			}
			k.unsettled = first
			kept := make([]holder, 0, len(k.holders))
			for _, h := range k.holders {
				if p := e.processes[h.pid]; h.pid == 0 || p != nil && p.owner.How != Raced && (h.how == Ring || e.reader.stillHolds(h, uint64(k.row.Inode))) {
					kept = append(kept, h)
				}
			}
			if len(kept) > 0 && len(kept) < len(k.holders) {
				k.holders = kept
				e.changed = true
			}
		}
	}
	e.unsettled = first
}

// find looks for the holders of all known sockets, and for those of namespaces
// that it comes upon. Of these it looks once: whoever makes one after the other
// must not hold an audit up.
func (e *engine) find(ctx context.Context) error {
	if err := e.findKnown(ctx); err != nil {
		return err
	}
	if !e.adopted() {
		return nil
	}
	return e.findKnown(ctx)
}

// findKnown looks for the holders of all known sockets.
func (e *engine) findKnown(ctx context.Context) error {
	e.ready()
	clear(e.inodes)
	for _, s := range e.spaces {
		for _, k := range s.known {
			e.inodes[uint64(k.row.Inode)] = true
		}
	}
	if len(e.pids) == 0 || !e.finder.everywhere() {
		pids, err := listNumbers(e.proc, []byte(".\x00"), e.pids[:0])
		if err != nil {
			return err
		}
		e.pids = pids
	}
	e.hidden = !e.finder.everywhere() && !slices.Contains(e.pids, 1)
	var err error
	e.found, e.denied, err = e.finder.find(ctx, e.pids, e.inodes, e.found[:0])
	if err != nil {
		return err
	}
	if e.denied > 0 && e.options.Way == Auto && !e.triedBPF && e.useBPF(walk.Open(0, 1)) == nil {
		return e.findKnown(ctx) // the kernel does not ask those processes
	}
	e.addRings()
	e.index()
	return nil
}

// index sorts what was found by socket.
func (e *engine) index() {
	slices.SortFunc(e.found, func(a, b holding) int {
		return cmp.Or(cmp.Compare(a.inode, b.inode), cmp.Compare(a.pid, b.pid), compareBool(a.ring, b.ring), cmp.Compare(a.fd, b.fd))
	})
	e.found = slices.CompactFunc(e.found, func(a, b holding) bool { return a.inode == b.inode && a.pid == b.pid })
	e.first = make(map[uint64]int32, len(e.inodes))
	for i := len(e.found) - 1; i >= 0; i-- {
		e.first[e.found[i].inode] = int32(i)
	}
}

// compareBool sorts false before true: a descriptor says more than an io_uring.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// adopted enters the namespaces that the walk came upon and nobody knew, and
// reports whether there are sockets to be looked for in them.
func (e *engine) adopted() bool {
	f, ok := e.finder.(*bpfFinder)
	if !ok {
		return false
	}
	fresh := false
	for id, h := range f.unknown {
		if e.refused[id] {
			continue
		}
		if err := e.adopt(id, h); err != nil {
			// A process that ended meanwhile may have been the last that led there;
			// one that lives is asked again by the next walk.
			e.refused[id] = true
			e.gap(Gap{
				Source: fmt.Sprintf("net:[%d]", id), Hides: HidesSockets, Fix: remedy("CAP_SYS_PTRACE and CAP_NET_ADMIN"),
				Reason: "no process lives in this network namespace, and it could not be entered: " + err.Error(),
			})
			continue
		}
		fresh = true
	}
	if fresh {
		e.dump()
	}
	return fresh
}

// orphans reports whether a socket has no holder, and had one or is new.
func (e *engine) orphans() bool {
	for _, s := range e.spaces {
		for _, k := range s.known {
			if k.orphan.IsZero() && len(e.holdings(k)) == 0 {
				return true
			}
		}
	}
	return false
}

// ownerless reports whether a socket has no holder.
func (e *engine) ownerless() bool {
	for _, s := range e.spaces {
		for _, k := range s.known {
			if e.inodes[uint64(k.row.Inode)] && len(e.holdings(k)) == 0 {
				return true
			}
		}
	}
	return false
}

// holdings returns who holds the socket of k, of what was found.
func (e *engine) holdings(k *entry) []holding {
	inode := uint64(k.row.Inode)
	i, held := e.first[inode]
	if !held {
		return nil
	}
	j := i + 1
	for int(j) < len(e.found) && e.found[j].inode == inode {
		j++
	}
	return e.found[i:j]
}

// trust notes how far a socket without a holder can be believed to have none.
func (e *engine) trust() {
	if e.finder.everywhere() && e.ownerless() {
		// A walk in the kernel does not ask the processes, but a host that hides
		// one from root may hide it from BPF too, and then a socket without a
		// holder is not the kernel's own. Who does not show its namespace does
		// not show its descriptors: both ask for the same right
		// (PTRACE_MODE_READ_FSCREDS in fs/proc).
		e.denied = e.blind
	}
}

// assign gives each socket its holders.
func (e *engine) assign() {
	now := time.Now()
	all := make([]holder, 0, len(e.found))
	clear(e.held)
	for _, s := range e.spaces {
		for _, k := range s.known {
			if !e.inodes[uint64(k.row.Inode)] {
				continue // too new: it was not looked for
			}
			start := len(all)
			for _, h := range e.holdings(k) {
				how := Process
				switch {
				case h.ring:
					how = Ring
				case h.pid == 0:
					how = OtherPIDSpace
				}
				all = append(all, holder{h.pid, h.fd, how})
				e.held[h.space] = true
			}
			again := false
			if len(all) > start {
				k.orphan = time.Time{}
				if len(k.stray.rings) == 0 {
					k.stray = stray{}
				}
			} else {
				how := k.stray.holder(e.nobody(), k.row.UID)
				if k.orphan.IsZero() {
					k.orphan = now
				}
				if !e.options.Once && now.Sub(k.orphan) < 5*endingTime {
					how, again = Raced, true
				}
				all = append(all, holder{how: how})
			}
			holders := all[start:len(all):len(all)]
			if !slices.Equal(holders, k.holders) {
				e.changed = true
				k.unsettled = len(holders) > 1
			}
			k.holders, k.looked = holders, !again
		}
	}
	e.holders = all
}

// nobody says why no process was found that holds a socket.
func (e *engine) nobody() How {
	switch {
	case e.denied > 0 || e.hidden || len(e.covered) > 0 && !e.cloned():
		return Denied
	case !e.finder.everywhere() && !e.initialPIDs():
		return OtherPIDSpace
	default:
		return Kernel
	}
}

// holder says what holds a stray, where nobody is what is said of a socket
// without a holder otherwise. What the kernel told counts; else its own are
// those that root opened.
func (s stray) holder(nobody How, creator uint32) How {
	switch {
	case s.how == Kernel:
		return Kernel
	case nobody == Kernel && (s.how == Unheld || creator != 0):
		return Unheld
	}
	return nobody
}

// initialPIDs reports whether every process of the host is visible from here.
func (e *engine) initialPIDs() bool {
	link, err := os.Readlink(e.root + "/self/ns/pid")
	if err != nil {
		return false
	}
	id, ok := parseNamespaceLink([]byte(link))
	return ok && id == initialPIDNamespace
}
