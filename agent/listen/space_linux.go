package listen

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"runtime"
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
