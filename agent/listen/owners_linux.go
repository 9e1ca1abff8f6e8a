package listen

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/portaudit/portaudit/agent/listen/walk"
)

// readAgain is how long it takes until every process that holds a socket has
// been read again, in turn: a change that neither the socket tables nor a walk
// show, such as a file that was deleted under a running program, is seen after
// this time at the latest.
const readAgain = 5 * time.Minute

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
				if p := e.processes[h.pid]; h.pid == 0 || p != nil && p.owner.How != Raced && e.reader.stillHolds(h, uint64(k.row.Inode)) {
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

// find looks for the holders of all known sockets.
func (e *engine) find(ctx context.Context) error {
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
		return e.find(ctx) // the kernel does not ask those processes
	}
	if e.adopted() {
		return e.find(ctx)
	}
	slices.SortFunc(e.found, func(a, b holding) int {
		return cmp.Or(cmp.Compare(a.inode, b.inode), cmp.Compare(a.pid, b.pid), cmp.Compare(a.fd, b.fd))
	})
	e.found = slices.CompactFunc(e.found, func(a, b holding) bool { return a.inode == b.inode && a.pid == b.pid })
	e.first = make(map[uint64]int32, len(e.inodes))
	for i := len(e.found) - 1; i >= 0; i-- {
		e.first[e.found[i].inode] = int32(i)
	}
	return nil
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

// assign gives each socket its holders.
func (e *engine) assign() {
	now := time.Now()
	all := make([]holder, 0, len(e.found))
	clear(e.held)
	if e.finder.everywhere() && e.ownerless() {
		// A walk in the kernel does not ask the processes, but a host that hides
		// one from root may hide it from BPF too, and then a socket without a
		// holder is not the kernel's own. Who does not show its namespace does
		// not show its descriptors: both ask for the same right
		// (PTRACE_MODE_READ_FSCREDS in fs/proc).
		e.denied = e.blind
	}
	for _, s := range e.spaces {
		for _, k := range s.known {
			if !e.inodes[uint64(k.row.Inode)] {
				continue // too new: it was not looked for
			}
			start := len(all)
			for _, h := range e.holdings(k) {
				how := Process
				if h.pid == 0 {
					how = OtherPIDSpace
				}
				all = append(all, holder{h.pid, h.fd, how})
				e.held[h.space] = true
			}
			again := false
			if len(all) > start {
				k.orphan = time.Time{}
			} else {
				how := e.nobody()
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
	case e.denied > 0 || e.hidden:
		return Denied
	case !e.finder.everywhere() && !e.initialPIDs():
		return OtherPIDSpace
	default:
		return Kernel
	}
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

// readHolders reads the processes that a walk found, where they are new or not
// the same any more, and forgets those that it did not find.
func (e *engine) readHolders(ctx context.Context) error {
	now := time.Now()
	var unread []holding
	for _, h := range e.found {
		if h.pid == 0 {
			continue
		}
		p := e.processes[h.pid]
		if p != nil && p.walk == e.audit {
			continue
		}
		if p != nil && e.same(p, h) {
			p.walk = e.audit
			continue
		}
		e.processes[h.pid] = &known{walk: e.audit, ran: h.exe}
		unread = append(unread, h)
	}
	for pid, p := range e.processes {
		if p.walk != e.audit {
			delete(e.processes, pid)
			e.changed = true
		}
	}
	read, err := e.readAll(ctx, unread)
	if err != nil {
		return err
	}
	pids := make([]int32, len(unread))
	for i, h := range unread {
		pids[i] = h.pid
	}
	e.keep(ctx, pids, read, now)
	return nil
}

// same reports whether a process that was read before is the one of h, and
// still runs the same program. A way that tells neither is followed by a look.
func (e *engine) same(p *known, h holding) bool {
	if p.owner.How == Raced {
		return false
	}
	if h.start != 0 {
		return h.start == p.owner.Start && h.exe == p.ran
	}
	s, err := e.reader.readParent(int(h.pid))
	if err != nil || s.start != p.owner.Start {
		return false
	}
	exe, err := e.reader.executable(h.pid)
	return err != nil || exe == p.exe
}

// readAll reads processes on every core. All goroutines have ended when it
// returns.
func (e *engine) readAll(ctx context.Context, list []holding) ([]processFacts, error) {
	read := make([]processFacts, len(list))
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), (len(list)+31)/32) {
		all.Go(func() {
			r := newProcessReader(e.proc)
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(list) {
					return
				}
				read[i] = r.read(list[i])
			}
		})
	}
	all.Wait()
	return read, ctx.Err()
}

// keep remembers what was read of processes.
func (e *engine) keep(ctx context.Context, pids []int32, read []processFacts, now time.Time) {
	programs := e.programs(ctx, pids, read)
	ancestors := map[int][]Ancestor{}
	for i, p := range read {
		o := &p.owner
		if o.UID.Known {
			o.User = e.userName(o.UID.ID)
		}
		if e.userManager(p) {
			o.How = SocketUnit
		}
		if o.Start != 0 {
			o.Started = e.boot.Add(ticks(o.Start))
		}
		f := programs[programOf(p)]
		o.WorldWritable, o.SHA256, o.Package = f.writable, f.sum, f.pkg
		delete(e.pending, pids[i])
		if f.pending {
			e.pending[pids[i]] = true
		}
		o.Parents = e.parents(o.Parent, ancestors)
		if p.err != nil {
			e.gap(Gap{Source: "/proc/PID/status", Reason: p.err.Error(), Hides: HidesFacts})
		}
		k := e.processes[pids[i]]
		k.read = now
		if k.alone == nil || !equalProcesses(k.processFacts, p) {
			k.processFacts, k.alone = p, []Owner{p.owner}
			e.changed = true
		}
	}
}

// maxParents bounds the chain of parents.
const maxParents = 16

// parents returns the chain from a process up to the first. Processes of one
// parent share it: chains are those found before.
func (e *engine) parents(pid int, chains map[int][]Ancestor) []Ancestor {
	if pid <= 0 {
		return nil
	}
	if chain, done := chains[pid]; done {
		return chain
	}
	var chain []Ancestor
	for next := pid; next > 0 && len(chain) < maxParents; {
		s, err := e.reader.readParent(next)
		if err != nil {
			break
		}
		chain = append(chain, Ancestor{PID: next, Command: s.command})
		next = s.parent
	}
	chains[pid] = chain
	return chain
}

// userName returns the account's name, the number where it has none.
func (e *engine) userName(uid uint32) string {
	name, ok := e.users[uid]
	if !ok {
		name = lookUpUser(strconv.FormatUint(uint64(uid), 10))
		e.users[uid] = name
	}
	return name
}

// readInTurn reads some of the known processes again, as many as it takes to
// have read each within readAgain, and first one whose program is not hashed yet.
func (e *engine) readInTurn(ctx context.Context, now time.Time) {
	elapsed := now.Sub(e.turned)
	e.turned = now
	n := int(float64(len(e.processes))*float64(elapsed)/float64(readAgain)) + 1
	e.again = e.again[:0]
	for pid := range e.pending {
		e.again = append(e.again, pid)
		break
	}
	for range min(n, len(e.processes)) {
		if len(e.turn) == 0 {
			for pid := range e.processes {
				e.turn = append(e.turn, pid)
			}
		}
		e.again = append(e.again, e.turn[len(e.turn)-1])
		e.turn = e.turn[:len(e.turn)-1]
	}
	e.read = e.read[:0]
	pids := e.again[:0]
	for _, pid := range e.again {
		k := e.processes[pid]
		if k == nil {
			delete(e.pending, pid)
			continue
		}
		if k.owner.Start != 0 {
			pids = append(pids, pid)
			e.read = append(e.read, e.reader.read(holding{pid: pid, start: k.owner.Start}))
		}
	}
	e.keep(ctx, pids, e.read, now)
}

// ownersOf returns the owners of a socket. The slices are shared between
// sockets and snapshots, and never changed.
func (e *engine) ownersOf(s *space, k *entry) []Owner {
	if len(k.holders) == 1 && k.holders[0].pid != 0 {
		if p := e.processes[k.holders[0].pid]; p != nil && p.owner.How != SocketUnit && !e.foreign(s, p) {
			return p.alone
		}
	}
	owners := make([]Owner, 0, len(k.holders))
	for _, h := range k.holders {
		p := e.processes[h.pid]
		switch {
		case h.pid == 0:
			owners = append(owners, Owner{How: h.how})
		case p == nil:
			owners = append(owners, Owner{How: Raced, PID: int(h.pid)})
		case p.owner.How == SocketUnit:
			owners = append(owners, e.activation(e.inside(s, p), s, k))
		default:
			owners = append(owners, e.inside(s, p))
		}
	}
	inherit(owners)
	return owners
}

// foreign reports whether the capabilities of p mean something else to the
// namespace s than to the host.
func (e *engine) foreign(s *space, p *known) bool {
	return p.users != initialUserNamespace || s.users != 0 && s.users != initialUserNamespace
}

// inside returns the owner as the network namespace of its socket judges it: a
// capability counts in the user namespace that owns the network namespace, for
// processes that are in it or in one above it (user_namespaces(7)). Of those
// above only the initial one is recognised.
func (e *engine) inside(s *space, p *known) Owner {
	o := p.owner
	if s.users == 0 || p.users == 0 {
		return o
	}
	o.NamespaceOwner = answer(s.users == p.users && s.users != initialUserNamespace)
	if s.users != p.users && p.users != initialUserNamespace && o.BindCapability == Yes {
		o.BindCapability = No
	}
	return o
}

// inherit marks the owners whose parent, or a service manager, holds the
// socket too: they received it.
func inherit(owners []Owner) {
	for i := range owners {
		o := &owners[i]
		if o.How != Process {
			continue
		}
		o.Inherits = answer(slices.ContainsFunc(owners, func(other Owner) bool {
			return other.How == SocketUnit || slices.ContainsFunc(o.Parents, func(a Ancestor) bool { return a.PID == other.PID })
		}))
	}
}
