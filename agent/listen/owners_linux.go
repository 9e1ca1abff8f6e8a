package listen

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// attribute returns the sockets with their owners.
//
// The tables and the descriptors are read one after the other, so a socket may
// be born or die in between: those that stay without an owner are looked for a
// second time, and what is no longer in the tables then was raced.
func (p *procfs) attribute(ctx context.Context, sockets []Socket) ([]Socket, error) {
	holders, denied, err := p.holders(ctx, sockets)
	if err != nil {
		return nil, err
	}
	gone := map[uint64]bool{}
	if lost := withoutHolder(sockets, holders); len(lost) > 0 {
		again, _, err := p.holders(ctx, lost)
		if err != nil {
			return nil, err
		}
		for inode, pids := range again {
			holders[inode] = pids
		}
		gone = p.gone(withoutHolder(lost, again))
	}
	if denied > 0 {
		p.gap(Gap{
			Source: "/proc/PID/fd", Hides: HidesOwners, Count: denied,
			Reason: refusal("descriptors"),
			Fix:    remedy("CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH"),
		})
	}
	owners := map[int]Owner{}
	attributed := make([]Socket, 0, len(sockets))
	for _, s := range sockets {
		for _, inode := range s.inodes {
			for _, h := range holders[inode] {
				o, known := owners[h.pid]
				if !known {
					o = p.owner(h.pid)
					owners[h.pid] = o
				}
				s.Owners = append(s.Owners, p.verified(o, h, inode))
			}
			if len(holders[inode]) == 0 {
				s.Owners = append(s.Owners, Owner{How: p.nobody(gone[inode])})
			}
		}
		attributed = append(attributed, s)
	}
	return attributed, nil
}

// holder is a descriptor of a process.
type holder struct {
	pid  int
	name string // of the descriptor: its number
}

// verified returns o if it still is the process that holds the socket. The
// process whose descriptor was seen may have ended since, and its number may
// have gone to the one that o was read from: o holds the socket if it has the
// descriptor now and is, after that look, still the process that was read.
func (p *procfs) verified(o Owner, h holder, inode uint64) Owner {
	target, err := os.Readlink(p.path(h.pid, "fd/"+h.name))
	now, ok := parseSocketLink([]byte(target))
	if err != nil || !ok || now != inode {
		return Owner{How: Raced, PID: h.pid}
	}
	if s, err := p.stat(h.pid); err != nil || s.start != o.Start {
		return Owner{How: Raced, PID: h.pid}
	}
	return o
}

// nobody says why no process was found that holds a socket.
func (p *procfs) nobody(gone bool) How {
	switch {
	case gone:
		return Raced
	case p.coverage.Hidden(HidesOwners):
		return Denied
	case !p.initialPIDNamespace():
		return OtherPIDSpace
	default:
		return Kernel
	}
}

// initialPIDNamespace reports whether every process of the host is visible
// from here. The initial pid namespace has a fixed inode: PROC_PID_INIT_INO in
// include/linux/proc_ns.h, 0xEFFFFFFC.
func (p *procfs) initialPIDNamespace() bool {
	link, err := os.Readlink(p.path(0, "ns/pid"))
	return err == nil && link == "pid:[4026531836]"
}

// withoutHolder returns the sockets of which some inode has no holder.
func withoutHolder(sockets []Socket, holders map[uint64][]holder) []Socket {
	var lost []Socket
	for _, s := range sockets {
		if slices.ContainsFunc(s.inodes, func(i uint64) bool { return len(holders[i]) == 0 }) {
			lost = append(lost, s)
		}
	}
	return lost
}

// gone reads the tables once more and returns the inodes of the sockets that
// are no longer in them.
func (p *procfs) gone(sockets []Socket) map[uint64]bool {
	gone := map[uint64]bool{}
	for _, s := range sockets {
		for _, inode := range s.inodes {
			gone[inode] = true
		}
	}
	if len(gone) == 0 {
		return gone
	}
	for link, pid := range p.spaces {
		found, _ := p.tables(link, pid)
		for _, s := range found {
			for _, inode := range s.inodes {
				delete(gone, inode)
			}
		}
	}
	return gone
}

// holders walks every descriptor of every process and returns which processes
// hold the sockets, and how many processes would not let themselves be looked at.
func (p *procfs) holders(ctx context.Context, sockets []Socket) (map[uint64][]holder, int, error) {
	wanted := map[uint64]bool{}
	for _, s := range sockets {
		for _, inode := range s.inodes {
			wanted[inode] = true
		}
	}
	holders := make(map[uint64][]holder, len(wanted))
	if len(wanted) == 0 {
		return holders, 0, nil
	}
	denied := 0
	for _, pid := range p.pids {
		if err := ctx.Err(); err != nil {
			return nil, 0, err
		}
		held, err := p.descriptors(pid, wanted)
		if errors.Is(err, fs.ErrPermission) && !p.kernelThread(pid) {
			denied++
		}
		for inode, name := range held {
			holders[inode] = append(holders[inode], holder{pid, name})
		}
	}
	return holders, denied, nil
}

// descriptors returns which of the wanted sockets pid holds, and the name of
// one descriptor of each.
func (p *procfs) descriptors(pid int, wanted map[uint64]bool) (map[uint64]string, error) {
	dir, err := os.Open(p.path(pid, "fd"))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var held map[uint64]string // nil for most processes: they hold none
	var target [64]byte        // "socket:[" and 20 digits fit; a longer target is no socket
	for _, name := range names {
		n, err := unix.Readlinkat(int(dir.Fd()), name, target[:])
		if err != nil {
			if errors.Is(err, fs.ErrPermission) {
				return held, err
			}
			continue // closed since the directory was read
		}
		inode, ok := parseSocketLink(target[:n])
		if !ok || !wanted[inode] {
			continue
		}
		if held == nil {
			held = map[uint64]string{}
		}
		held[inode] = name
	}
	return held, nil
}

// owner reads what is known of pid. The process may end, and its number go to
// another one, while its files are read: the start time, the same before and
// after, shows that all of them were of one process.
func (p *procfs) owner(pid int) Owner {
	before, err := p.stat(pid)
	if err != nil {
		return Owner{How: Raced, PID: pid}
	}
	o := Owner{
		How: Process, PID: pid, Parent: before.parent, Command: before.command,
		Start: before.start, Started: p.boot.Add(ticks(before.start)),
	}
	p.readStatus(&o)
	p.readExecutable(&o)
	if b, err := os.ReadFile(p.path(pid, "cmdline")); err == nil {
		o.Arguments = parseCommandLine(b)
	}
	if b, err := os.ReadFile(p.path(pid, "cgroup")); err == nil {
		o.Unit, o.Container = parseCgroup(b)
	}
	o.How = howOf(o)
	after, err := p.stat(pid)
	if err != nil || after.start != before.start {
		return Owner{How: Raced, PID: pid}
	}
	return o
}

func (p *procfs) stat(pid int) (procStat, error) {
	b, err := os.ReadFile(p.path(pid, "stat"))
	if err != nil {
		return procStat{}, err
	}
	s, err := parseStat(b)
	if err != nil {
		return procStat{}, fmt.Errorf("%s: %w", p.path(pid, "stat"), err)
	}
	return s, nil
}

func (p *procfs) readStatus(o *Owner) {
	b, err := os.ReadFile(p.path(o.PID, "status"))
	if err != nil {
		return
	}
	s, err := parseStatus(b)
	if err != nil {
		p.gap(Gap{Source: p.path(o.PID, "status"), Reason: err.Error(), Hides: HidesFacts})
		return
	}
	o.UID, o.BindCapability = s.uid, s.bindCapability
	if o.UID.Known {
		o.User = p.userName(o.UID.ID)
	}
}

// userName returns the account's name, the number where it has none.
func (p *procfs) userName(uid uint32) string {
	name, known := p.users[uid]
	if !known {
		name = lookUpUser(strconv.FormatUint(uint64(uid), 10))
		p.users[uid] = name
	}
	return name
}
