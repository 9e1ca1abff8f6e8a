package listen

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/portaudit/portaudit/agent/listen/firewall"
	"github.com/portaudit/portaudit/agent/listen/sockdiag"
)

// space is a network namespace that was found.
type space struct {
	id   uint64 // inode
	path string // of a file that leads to it, "" for this process's own and where there is none
	own  bool   // it is this process's
	pid  int32  // a process in it, 0 for this process's own or if there is none
	// conn answers for the namespace from any thread; nil where it could not be
	// entered. An open one keeps the namespace alive: see engine.discover.
	conn      *sockdiag.Conn
	rules     Namespace
	users     uint64 // inode of the user namespace that owns it, 0 if unknown
	links     []net.Interface
	addresses []netip.Addr // of the links but the loopback device

	filter     firewall.Ruleset
	filterErr  error     // why it could not be read
	generation uint64    // of filter, 0 if it is to be read again
	filtered   time.Time // when filter was read

	known   map[uint64]*entry // sockets by cookie
	entered bool              // whether that was tried
	gap     *Gap              // why not everything of it could be read, nil if it was
}

// Inodes of the initial namespaces: include/uapi/linux/nsfs.h, once
// include/linux/proc_ns.h.
const (
	initialUserNamespace = 0xEFFFFFFD
	initialPIDNamespace  = 0xEFFFFFFC
)

// nsGetUserNamespace is NS_GET_USERNS (ioctl_ns(2)).
const nsGetUserNamespace = 0xb701

// enter opens a connection to the kernel inside the namespace and reads what
// only a thread inside can: its rules for ports and its devices.
func (s *space) enter(root string) error {
	read := func() error {
		if root != procRoot {
			return s.readInside(root) // another procfs than this kernel's tells of other sockets
		}
		conn, err := sockdiag.Open()
		if err != nil {
			return err
		}
		if s.conn != nil {
			err = s.conn.Close()
		}
		s.conn = conn
		return errors.Join(err, s.readInside(root))
	}
	return s.inside(read)
}

// refresh reads again what may have changed since the namespace was entered.
func (s *space) refresh(root string) error {
	return s.inside(func() error { return s.readInside(root) })
}

// inside calls do in a thread that is in the namespace. Once it was entered the
// way leads through its connection, which cannot come to mean another one.
func (s *space) inside(do func() error) error {
	if s.own {
		return do()
	}
	return inNetworkNamespace(s.open, s.id, do)
}

// open opens the namespace.
func (s *space) open() (*os.File, error) {
	if s.conn != nil {
		return s.conn.Namespace()
	}
	return os.Open(s.path)
}

// readInside reads the rules and devices that hold for the calling thread.
func (s *space) readInside(root string) error {
	rules := Namespace{Label: s.rules.Label, Container: s.rules.Container, Complete: s.rules.Complete}
	err := readRules(root, &rules)
	s.rules = rules
	if root != procRoot {
		s.filterErr = errOtherHost
		return err
	}
	return errors.Join(err, s.readLinks(), s.readFilter())
}

var errOtherHost = errors.New("the sockets are not those of this kernel")

// readLinks reads the devices of the calling thread's namespace.
func (s *space) readLinks() error {
	links, err := net.Interfaces()
	if err != nil {
		return err
	}
	s.links, s.addresses = links, nil
	for _, l := range links {
		if l.Flags&net.FlagLoopback != 0 {
			continue
		}
		addresses, err := l.Addrs()
		if err != nil {
			return err
		}
		for _, a := range addresses {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				s.addresses = append(s.addresses, p.Addr())
			}
		}
	}
	return nil
}

// readFilter reads the packet filter of the calling thread's namespace, if it
// may have changed since it was last read; what its generation does not tell is
// seen after readAgain. That it may not be read is no gap of
// the snapshot: each exposure says so.
func (s *space) readFilter() error {
	generation, err := firewall.ReadGeneration()
	if err == nil && generation == s.generation && generation != 0 && time.Since(s.filtered) < readAgain {
		return nil
	}
	s.generation, s.filtered = generation, time.Now()
	if err == nil {
		s.filter, err = firewall.Read()
	}
	if err != nil {
		s.filter, s.generation = firewall.Ruleset{}, 0
	}
	s.filterErr = err
	return nil
}

// devices are the names of the links but the loopback device.
func (s *space) devices() []string {
	var names []string
	for _, l := range s.links {
		if l.Flags&net.FlagLoopback == 0 && l.Flags&net.FlagUp != 0 {
			names = append(names, l.Name)
		}
	}
	return names
}

// owner returns the inode of the user namespace that owns the network
// namespace at the path, 0 if that cannot be told.
func userNamespaceOf(path string) uint64 {
	f, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer f.Close()
	fd, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), nsGetUserNamespace, 0)
	if errno != 0 {
		return 0 // EPERM: an ancestor of this process's own
	}
	defer unix.Close(int(fd))
	var s unix.Stat_t
	if err := unix.Fstat(int(fd), &s); err != nil {
		return 0
	}
	return s.Ino
}

// device returns the name of a network device of the namespace.
func (s *space) device(index uint32) string {
	for _, l := range s.links {
		if l.Index == int(index) {
			return l.Name
		}
	}
	return fmt.Sprintf("#%d", index)
}

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

// inNetworkNamespace calls do in a thread that has entered the network
// namespace that open opens, whose inode is id. The goroutine ends before the call
// returns; it never unlocks its thread, so that the runtime ends the thread
// with it and no other goroutine can run in the wrong namespace.
//
// The first thread of a process cannot be ended so, and it is the one whose
// namespaces /proc/PID shows as the process's: it only waits for another.
func inNetworkNamespace(open func() (*os.File, error), id uint64, do func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			err := inNetworkNamespace(open, id, do)
			runtime.UnlockOSThread()
			done <- err
			return
		}
		done <- enter(open, id, do)
	}()
	return <-done
}

// enter moves the calling thread to a network namespace for good.
func enter(open func() (*os.File, error), id uint64, do func() error) error {
	f, err := open()
	if err != nil {
		return err
	}
	defer f.Close()
	var there unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &there); err != nil {
		return fmt.Errorf("look at a network namespace: %w", err)
	}
	if there.Ino != id {
		return fmt.Errorf("%s leads to another namespace now: %w", f.Name(), fs.ErrNotExist)
	}
	if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter a network namespace: %w", err)
	}
	return do()
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
