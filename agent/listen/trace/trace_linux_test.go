package trace

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func needRoot(t testing.TB) {
	t.Helper()
	if os.Getenv("PORTAUDIT_TEST_ROOT") == "" || os.Geteuid() != 0 {
		t.Skip("needs root and PORTAUDIT_TEST_ROOT=1")
	}
}

// cgroup returns the root of the unified hierarchy where systems mount it.
func cgroup() string {
	for _, dir := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		if _, err := os.Stat(dir + "/cgroup.controllers"); err == nil {
			return dir
		}
	}
	return ""
}

func openTracer(t testing.TB) *Tracer {
	t.Helper()
	needRoot(t)
	tr, err := Open(Options{Cgroup: cgroup()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
	})
	return tr
}

// next returns the next record about a port, within a second.
func next(t testing.TB, tr *Tracer, protocol, port uint16) Record {
	t.Helper()
	tr.SetDeadline(time.Now().Add(time.Second))
	for {
		var r Record
		if err := tr.Read(&r); err != nil {
			t.Fatalf("port %d: %v", port, err)
		}
		if r.Protocol == protocol && r.Local.Port() == port {
			return r
		}
	}
}

func TestTCP(t *testing.T) {
	tr := openTracer(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{"127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0"} {
		l, err := net.Listen("tcp", at)
		if err != nil {
			t.Logf("%s: not tried: %v", at, err)
			continue
		}
		want := l.Addr().(*net.TCPAddr).AddrPort()
		r := next(t, tr, unix.IPPROTO_TCP, want.Port())
		if r.Kind != Opened || r.Local != want || r.Protocol != unix.IPPROTO_TCP {
			t.Errorf("%s: %+v, want it opened at %v", at, r, want)
		}
		if int(r.PID) != os.Getpid() || int(r.ParentPID) == 0 || r.Path != self || r.Deleted || r.Cut || r.UID != 0 || r.Namespace == 0 || r.Inode == 0 {
			t.Errorf("%s: %+v, want process %d, %s", at, r, os.Getpid(), self)
		}
		l.Close()
		if end := next(t, tr, unix.IPPROTO_TCP, want.Port()); end.Kind != Closed || end.Local != want || end.Socket != r.Socket || end.Socket == 0 {
			t.Errorf("%s: %+v, want socket %x closed", at, end, r.Socket)
		}
	}
}

func TestUDP(t *testing.T) {
	tr := openTracer(t)
	if err := tr.UDP(); err != nil {
		t.Skip(err)
	}
	for _, at := range []string{"127.0.0.1:0", "[::1]:0"} {
		c, err := net.ListenPacket("udp", at)
		if err != nil {
			t.Logf("%s: not tried: %v", at, err)
			continue
		}
		want := c.LocalAddr().(*net.UDPAddr).AddrPort()
		r := next(t, tr, unix.IPPROTO_UDP, want.Port())
		if r.Kind != Opened || r.Local != want || r.Protocol != unix.IPPROTO_UDP || r.Cookie == 0 || r.Namespace == 0 || int(r.PID) != os.Getpid() {
			t.Errorf("%s: %+v, want it opened at %v", at, r, want)
		}
		// A client is given its port by the first message that it sends.
		client, err := net.Dial("udp", want.String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Write([]byte{0}); err != nil {
			t.Fatal(err)
		}
		clientAt := client.LocalAddr().(*net.UDPAddr).AddrPort()
		client.Close()
		c.Close()
		if end := next(t, tr, unix.IPPROTO_UDP, want.Port()); end.Kind != Closed || end.Socket != r.Socket || end.Socket == 0 {
			t.Errorf("%s: %+v, want socket %x closed", at, end, r.Socket)
		}
		tr.SetDeadline(time.Now().Add(50 * time.Millisecond))
		for {
			var r Record
			if err := tr.Read(&r); err != nil {
				if !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatal(err)
				}
				break
			}
			if r.Local == (netip.AddrPortFrom(clientAt.Addr(), clientAt.Port())) {
				t.Errorf("the client is told of: %+v", r)
			}
		}
	}
}

// openDeaf returns a tracer that is told nothing of what this process opens.
func openDeaf(t *testing.T) *Tracer {
	t.Helper()
	needRoot(t)
	tr, err := Open(Options{Ignored: os.Getpid(), Cgroup: cgroup()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
	})
	return tr
}

// TestIgnored: a process that is not told of opens what it likes.
func TestIgnored(t *testing.T) {
	tr := openDeaf(t)
	list := listenTo(t, tr, func() int {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		c, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		return os.Getpid()
	})
	if len(list) > 0 {
		t.Errorf("it is told of: %+v", list)
	}
	if list, _ := shortLived(t, tr, "tcp 1 0", 0); len(list) != 2 {
		t.Errorf("of another process %+v is told, want two records", list)
	}
}

// TestLastHolder: a socket ends in the hands of a process that is not told of,
// as it does where that was walking over descriptors when its owner closed it.
func TestLastHolder(t *testing.T) {
	tr := openDeaf(t)
	var child int
	list := listenTo(t, tr, func() int {
		cmd := startChild(t, "hold", 0)
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		child = cmd.Process.Pid
		var theirs int
		if _, err := fmt.Fscan(out, &theirs); err != nil {
			t.Fatal(err)
		}
		pidfd, err := unix.PidfdOpen(child, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(pidfd)
		ours, err := unix.PidfdGetfd(pidfd, theirs, 0)
		if err != nil {
			t.Fatal(err)
		}
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
		unix.Close(ours)
		return child
	})
	if len(list) != 2 || list[0].Kind != Opened || list[1].Kind != Closed || int(list[0].PID) != child || int(list[1].PID) != os.Getpid() {
		t.Errorf("%+v is told, want that %d opened and %d closed", list, child, os.Getpid())
	}
}
