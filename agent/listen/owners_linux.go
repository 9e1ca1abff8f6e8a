package listen

import (
	"context"
	"math"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// readAgain is how long it takes until every process that holds a socket has
// been read again, in turn: a change that neither the socket tables nor a walk
// show, such as a file that was deleted under a running program, is seen after
// this time at the latest.
const readAgain = 5 * time.Minute

// readHolders reads the processes that a walk found, where they are new or not
// the same any more, and forgets those that it did not find.
func (e *engine) readHolders(ctx context.Context) error {
	now := time.Now()
	var unread []claim
	at := map[int32]int{} // of each process in unread
	var lost []holding
	for _, h := range e.found {
		if h.pid == 0 {
			continue
		}
		p := e.processes[h.pid]
		if p != nil && p.walk == e.audit {
			i, isUnread := at[h.pid]
			switch {
			case isUnread && h.start == 0:
				unread[i].rest = append(unread[i].rest, h)
			case isUnread && h.start != unread[i].start, !isUnread && h.start != 0 && h.start != p.owner.Start:
				lost = append(lost, h) // two processes had the number during the walk
			}
			continue
		}
		if p != nil && p.owner.Concealed == e.concealed(h.pid) && e.same(p, h) {
			p.walk = e.audit
			continue
		}
		e.processes[h.pid] = &known{walk: e.audit, ran: h.exe, twice: p.readAs(h)}
		at[h.pid] = len(unread)
		unread = append(unread, claim{holding: h})
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
	for i, c := range unread {
		pids[i] = c.pid
		lost = append(lost, read[i].lost...)
	}
	e.keep(ctx, pids, read, now, math.MaxInt64)
	for _, h := range lost {
		e.lose(h)
	}
	return nil
}

// claim is a process that a walk came upon, with what it is said to hold.
type claim struct {
	holding
	rest []holding // beside the first one, where the walk tells no start of the process
}

// lose takes a socket from a process that turned out not to have it: its number
// was another's, or it has closed the socket meanwhile.
func (e *engine) lose(h holding) {
	for _, s := range e.spaces {
		for _, k := range s.known {
			if uint64(k.row.Inode) != h.inode {
				continue
			}
			rest := slices.DeleteFunc(slices.Clone(k.holders), func(o holder) bool { return o.pid == h.pid })
			if len(rest) == 0 {
				rest = []holder{{how: Raced}}
			}
			k.holders, e.changed = rest, true
		}
	}
}

// readAs returns the program that was read when a walk told of a process what h
// tells again.
func (p *known) readAs(h holding) fileID {
	if p == nil || p.owner.Start != h.start || p.ran != h.exe {
		return fileID{}
	}
	return p.exe
}

// same reports whether a process that was read before is the one of h, and
// still runs the same program. A way that tells neither is followed by a look.
//
// Some file systems show another device number to stat(2) than the kernel has
// (btrfs, overlayfs), so that what a walk tells may never be what is read. It is
// believed to be the same once both were seen twice: a process that runs one
// program for the walk and another one when it is read is read again.
func (e *engine) same(p *known, h holding) bool {
	if p.owner.How == Raced {
		return false
	}
	if h.start != 0 {
		return h.start == p.owner.Start && h.exe == p.ran && (p.exe == h.exe || p.exe == p.twice)
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
func (e *engine) readAll(ctx context.Context, list []claim) ([]processFacts, error) {
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

// keep remembers what was read of processes. Programs of more than most bytes
// are hashed in turn, unless their digest is known.
func (e *engine) keep(ctx context.Context, pids []int32, read []processFacts, now time.Time, most int64) {
	programs := e.programs(ctx, pids, read, most)
	ancestors := map[int][]Ancestor{}
	for i, p := range read {
		p.lost = nil // it is told already
		o := &p.owner
		if o.Concealed = e.concealed(pids[i]); o.Concealed == Yes && !e.cloned() {
			p = processFacts{owner: Owner{How: Denied, PID: int(pids[i]), Concealed: Yes}}
			o = &p.owner
		}
		if o.UID.Known {
			o.User = e.userName(o.UID.ID)
		}
		e.nameGroups(o.Groups)
		e.inContainer(o)
		if e.userManager(p) {
			o.How = SocketUnit
		}
		if o.Start != 0 {
			o.Started = e.boot.Add(ticks(o.Start))
		}
		f := programs[programOf(p)]
		o.WorldWritable, o.SHA256, o.Unhashed, o.Package = f.writable, f.sum, f.unhashed, f.pkg
		delete(e.pending, pids[i])
		if f.unhashed == UnhashedPending {
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

// concealed reports whether something is mounted over the directory of a
// process in /proc.
func (e *engine) concealed(pid int32) Answer {
	if e.root != procRoot {
		return Unknown
	}
	return answer(e.covered[pid])
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
// have read each within readAgain, and first those whose program was hashed
// meanwhile.
func (e *engine) readInTurn(ctx context.Context, now time.Time) {
	elapsed := now.Sub(e.turned)
	e.turned = now
	n := int(float64(len(e.processes))*float64(elapsed)/float64(readAgain)) + 1
	e.again = e.again[:0]
	if e.hashed(); e.hashing == nil {
		for pid := range e.pending {
			e.again = append(e.again, pid)
		}
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
			e.read = append(e.read, e.reader.read(claim{holding: holding{pid: pid, start: k.owner.Start}}))
		}
	}
	e.keep(ctx, pids, e.read, now, hashAtOnce)
	e.hashBeside()
}

// ownersOf returns the owners of a socket. The slices are shared between
// sockets and snapshots, and never changed.
func (e *engine) ownersOf(s *space, k *entry) []Owner {
	if len(k.holders) == 1 && k.holders[0].how == Process {
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
		case h.how == Ring && p.owner.How != Raced:
			o := e.inside(s, p)
			o.How = Ring
			owners = append(owners, o)
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
		if o.How != Process && o.How != Ring {
			continue
		}
		o.Inherits = answer(slices.ContainsFunc(owners, func(other Owner) bool {
			return other.How == SocketUnit || slices.ContainsFunc(o.Parents, func(a Ancestor) bool { return a.PID == other.PID })
		}))
	}
}
