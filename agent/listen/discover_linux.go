package listen

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/portaudit/portaudit/agent/listen/sockdiag"
)

// discover finds every network namespace of the host: those of its processes
// and those that are mounted. One that no process lives in and that is mounted
// nowhere is closed, for an open connection would keep it alive; if a
// descriptor leads to one of its sockets, the next walk finds it again.
func (e *engine) discover() error {
	pids, err := listNumbers(e.proc, []byte(".\x00"), e.pids[:0])
	if err != nil {
		return fmt.Errorf("list processes: %w", err)
	}
	e.pids = pids
	e.blind = 0
	found := map[uint64]bool{e.self: true}
	clear(e.placed)
	for _, pid := range pids {
		if id := e.place(pid); id != 0 {
			found[id] = true
		}
	}
	mounts, mounted := e.mounts(), map[uint64]namespaceMount{}
	for _, m := range parseNamespaceMounts(mounts) {
		found[m.id], mounted[m.id] = true, m
		if e.spaces[m.id] == nil {
			e.add(&space{id: m.id, path: m.path, rules: Namespace{Label: m.label()}})
		}
	}
	for id, s := range e.spaces {
		m, is := mounted[id]
		e.name(s, m, is)
	}
	if e.root == procRoot {
		e.covered = parseProcessMounts(mounts, procRoot)
	}
	for id, s := range e.spaces {
		if !found[id] && !e.held[id] {
			e.drop(id, s)
		}
	}
	return nil
}

// name labels a namespace by its mount, if it has one: the name of one that was
// unmounted may be another's by now.
func (e *engine) name(s *space, m namespaceMount, mounted bool) {
	label := e.label(s.id)
	switch {
	case s.own:
		return
	case mounted:
		s.path, label = m.path, m.label()
	case s.rules.Label != label && s.pid != 0:
		s.path = e.directory(s.pid) + "/ns/net"
	case s.rules.Label != label:
		s.path = ""
	}
	e.changed = e.changed || s.rules.Label != label
	s.rules.Label = label
}

// place notes which network namespace a process is in, and adds one that is
// new. It returns 0 where that cannot be seen.
func (e *engine) place(pid int32) uint64 {
	var path [32]byte
	var link [64]byte
	target := readLinkAt(e.proc, append(appendNumber(path[:0], int(pid)), "/ns/net\x00"...), link[:])
	id, ok := parseNamespaceLink(target)
	if !ok {
		if e.refuses(pid) {
			e.blind++
		}
		return 0
	}
	e.placed[pid] = id
	s := e.spaces[id]
	if s == nil {
		s = &space{id: id, rules: Namespace{Label: "net:[" + strconv.FormatUint(id, 10) + "]"}}
		e.add(s)
	}
	if s.pid == 0 && id != e.self {
		s.pid = pid
		if !s.own && s.path == "" {
			s.path = e.directory(pid) + "/ns/net"
		}
		if b, err := os.ReadFile(e.directory(pid) + "/cgroup"); err == nil {
			s.rules.Container = parseCgroup(b).container
		}
	}
	return id
}

// refuses reports whether a process is there that does not show its namespace.
func (e *engine) refuses(pid int32) bool {
	var path [32]byte
	fd, err := openAt(e.proc, append(appendNumber(path[:0], int(pid)), "/ns/net\x00"...), unix.O_RDONLY)
	if err == nil {
		return unix.Close(fd) != nil
	}
	return errors.Is(err, fs.ErrPermission) && !kernelThread(e.proc, pid)
}

// add enters a new namespace.
func (e *engine) add(s *space) {
	s.known = map[uint64]*entry{}
	e.spaces[s.id] = s
	e.changed = true
}

func (e *engine) drop(id uint64, s *space) {
	if s.conn != nil {
		// Nothing was written to it: there is nothing that a failure could lose.
		_ = s.conn.Close()
	}
	delete(e.spaces, id)
	e.changed = true
}

// openSpaces enters the namespaces that were not yet entered; a beat reads the
// rules of the others again. One whose processes have ended before it was
// entered is forgotten.
func (e *engine) openSpaces(beat bool) {
	for _, s := range e.spaces {
		before := s.rules
		var err error
		switch {
		case !s.entered:
			s.entered = true
			e.findPath(s)
			path := s.path
			if path == "" {
				path = e.root + "/self/ns/net"
			}
			s.users = userNamespaceOf(path)
			if err = s.enter(e.root); err != nil && e.ended(s) {
				maps.DeleteFunc(e.placed, func(_ int32, id uint64) bool { return id == s.id })
				e.drop(s.id, s)
				continue
			}
		case beat && s.conn == nil && e.root == procRoot:
			e.findPath(s)
			err = s.enter(e.root) // the rights of this process may have changed
		case beat:
			err = s.refresh(e.root)
		default:
			continue
		}
		s.gap = nil
		if err != nil {
			s.gap = &Gap{
				Source: "network namespace " + s.rules.Label, Reason: err.Error(), Hides: HidesFacts,
				Fix: remedy("CAP_SYS_ADMIN"),
			}
		}
		e.changed = e.changed || !equalRules(before, s.rules)
	}
}

// findPath finds another process of the namespace if the one by which it was
// found has ended. It reports whether a path leads there.
func (e *engine) findPath(s *space) bool {
	if s.path == "" {
		return s.own
	}
	if target, err := os.Stat(s.path); err == nil && target.Sys().(*syscall.Stat_t).Ino == s.id {
		return true
	}
	for _, pid := range e.pids {
		path := e.directory(pid) + "/ns/net"
		if target, err := os.Readlink(path); err == nil {
			if id, ok := parseNamespaceLink([]byte(target)); ok && id == s.id {
				s.path, s.pid = path, pid
				return true
			}
		}
	}
	return false
}

// ended reports whether a namespace that was found by a process has none any
// more. Where a mount leads to it, it is there as long as that.
func (e *engine) ended(s *space) bool {
	return s.pid != 0 && strings.HasPrefix(s.path, e.directory(s.pid)+"/") && !e.findPath(s)
}

// adopt enters a namespace that only a descriptor leads to: no process lives in
// it and it is mounted nowhere. A copy of the descriptor is taken from the
// process that has it (pidfd_getfd(2)), and closed again at once.
func (e *engine) adopt(id uint64, h holding) error {
	process, err := unix.PidfdOpen(int(h.pid), 0)
	if err != nil {
		return os.NewSyscallError("pidfd_open", err)
	}
	defer unix.Close(process)
	socket, err := unix.PidfdGetfd(process, int(h.fd), 0)
	if err != nil {
		return os.NewSyscallError("pidfd_getfd", err)
	}
	defer unix.Close(socket)
	f, err := sockdiag.NamespaceOf(socket)
	if err != nil {
		return err
	}
	defer f.Close()
	s := &space{
		id: id, rules: Namespace{Label: "net:[" + strconv.FormatUint(id, 10) + "]"},
		path: "/proc/self/fd/" + strconv.Itoa(int(f.Fd())),
	}
	e.add(s)
	e.openSpaces(false)
	s.path = ""
	return nil
}

// mounts returns what is mounted where, nothing where that cannot be read.
func (e *engine) mounts() []byte {
	b, err := os.ReadFile(e.root + "/self/mountinfo")
	if err != nil {
		return nil
	}
	return b
}
