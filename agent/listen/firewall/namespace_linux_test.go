package firewall

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// lab is two network namespaces with a cable between them: one of a host with
// rules, in which the calling thread is, and one of its peer. Neither is that
// of the machine that runs the test.
type lab struct {
	t          *testing.T
	host, peer int
}

// Addresses of the lab: RFC 5737 and RFC 3849.
var (
	hostIPv4  = netip.MustParseAddr("192.0.2.1")
	peerIPv4  = netip.MustParseAddr("192.0.2.2")
	otherIPv4 = netip.MustParseAddr("192.0.2.3") // of the peer, too
	hostIPv6  = netip.MustParseAddr("2001:db8::1")
	peerIPv6  = netip.MustParseAddr("2001:db8::2")
)

func needRoot(t testing.TB) {
	t.Helper()
	if os.Getenv("PORTAUDIT_TEST_ROOT") == "" || os.Geteuid() != 0 {
		t.Skip("needs root and PORTAUDIT_TEST_ROOT=1: it loads rules into network namespaces of its own")
	}
}

// newNamespace moves the calling thread into a new network namespace. The
// thread is never unlocked, so it dies with the test's goroutine.
func newNamespace(t testing.TB) int {
	t.Helper()
	needRoot(t)
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("this host allows no network namespaces: %v", err)
	}
	fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{t: t, peer: newNamespace(t), host: newNamespace(t)}
	l.run("", "ip", "link", "set", "lo", "up")
	l.run("", "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0",
		"netns", namespacePath(l.peer))
	l.address("eth0", hostIPv4.String()+"/24", hostIPv6.String()+"/64")
	l.asPeer(func() {
		l.address("eth0", peerIPv4.String()+"/24", otherIPv4.String()+"/24", peerIPv6.String()+"/64")
	})
	return l
}

// namespacePath is where a command finds a namespace that is open here.
func namespacePath(fd int) string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd) }

func (l *lab) address(device string, list ...string) {
	l.t.Helper()
	for _, a := range list {
		args := []string{"address", "add", a, "dev", device}
		if strings.Contains(a, ":") {
			args = append(args, "nodad")
		}
		l.run("", "ip", args...)
	}
	l.run("", "ip", "link", "set", device, "up")
}

// asPeer runs f in the namespace of the peer.
func (l *lab) asPeer(f func()) {
	l.t.Helper()
	if err := unix.Setns(l.peer, unix.CLONE_NEWNET); err != nil {
		l.t.Fatal(err)
	}
	defer func() {
		if err := unix.Setns(l.host, unix.CLONE_NEWNET); err != nil {
			l.t.Fatal(err)
		}
	}()
	f()
}

// run runs a command in the namespace of the calling thread.
func (l *lab) run(stdin, command string, args ...string) {
	l.t.Helper()
	run(l.t, stdin, command, args...)
}

func run(t testing.TB, stdin, command string, args ...string) {
	t.Helper()
	if _, err := exec.LookPath(command); err != nil {
		t.Skipf("this host lacks a command: %v", err)
	}
	cmd := exec.Command(command, args...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		if absent := "Could not process rule: No such file or directory"; strings.Contains(string(out), absent) {
			t.Skipf("this kernel or this nft lacks a feature: %s", out)
		}
		t.Fatalf("%s %s: %v\n%s", command, strings.Join(args, " "), err, out)
	}
}

// load loads the rules of a test: lines for nft, or commands that begin with
// the name of an iptables.
func (l *lab) load(rules string) {
	l.t.Helper()
	load(l.t, rules)
}

func load(t testing.TB, rules string) {
	t.Helper()
	if !strings.HasPrefix(strings.TrimSpace(rules), "ip") {
		run(t, rules+"\n", "nft", "-f", "-")
		return
	}
	for line := range strings.Lines(rules) {
		if f := strings.Fields(line); len(f) > 0 {
			for i := range f {
				f[i] = strings.ReplaceAll(f[i], "_", " ") // for a space within a word
			}
			run(t, "", f[0], f[1:]...)
		}
	}
}

// listen holds a listener open in the host's namespace for the test.
func (l *lab) listen(at netip.AddrPort) {
	l.t.Helper()
	listener, err := net.Listen("tcp", at.String())
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { listener.Close() })
}

// ready waits until connections succeed: the cable is up a moment after it was
// switched on, and TCP tries again by itself.
func (l *lab) ready(to netip.AddrPort) {
	l.t.Helper()
	for _, from := range []netip.Addr{peerIPv4, otherIPv4} {
		if got := l.dial(from, to, longPatience); got != Accepted {
			l.t.Fatalf("without rules, a connection is %s", got)
		}
	}
}

// How long a connection may take before it counts as dropped. Both ends are on
// this machine, so one that is accepted takes less than a millisecond.
const (
	patience     = 300 * time.Millisecond
	longPatience = 20 * time.Second // until the cable is up
)

// dial opens a connection as the peer, and says what became of it.
func (l *lab) dial(from netip.Addr, to netip.AddrPort, patience time.Duration) Outcome {
	l.t.Helper()
	var err error
	l.asPeer(func() {
		d := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: from.AsSlice()}}
		var c net.Conn
		if c, err = d.DialContext(l.t.Context(), "tcp", to.String()); err == nil {
			c.Close()
		}
	})
	var timeout net.Error
	switch {
	case err == nil:
		return Accepted
	case errors.As(err, &timeout) && timeout.Timeout():
		return Dropped
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.EACCES),
		errors.Is(err, syscall.ENETUNREACH):
		return Rejected
	}
	l.t.Fatalf("dial %s: %v", to, err)
	return Unknown
}
