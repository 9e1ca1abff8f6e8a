package sockdiag

import (
	"context"
	"errors"
	"math"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func open(t testing.TB) *Conn {
	t.Helper()
	c, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// dump returns the rows of a query, and skips the test where the kernel lacks it.
func dump(t testing.TB, q Query) []Row {
	t.Helper()
	rows, err := open(t).Dump(q, nil)
	if errors.Is(err, ErrAbsent) {
		t.Skipf("this kernel cannot answer %+v: %v", q, err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func inodeOf(t testing.TB, c syscall.Conn) uint32 {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var s unix.Stat_t
	if e := raw.Control(func(fd uintptr) { err = unix.Fstat(int(fd), &s) }); e != nil || err != nil {
		t.Fatal(e, err)
	}
	return uint32(s.Ino)
}

func find(t testing.TB, rows []Row, inode uint32) Row {
	t.Helper()
	for _, r := range rows {
		if r.Inode == inode {
			return r
		}
	}
	t.Fatalf("inode %d is not among %d rows", inode, len(rows))
	return Row{}
}

func listen(t testing.TB, network, address string, control func(fd int) error) *net.TCPListener {
	t.Helper()
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		return errors.Join(c.Control(func(fd uintptr) {
			if control != nil {
				err = control(int(fd))
			}
		}), err)
	}}
	config.SetMultipathTCP(false)
	l, err := config.Listen(context.Background(), network, address)
	if err != nil {
		t.Skipf("this host has no %s %s: %v", network, address, err)
	}
	t.Cleanup(func() { l.Close() })
	return l.(*net.TCPListener)
}

func TestTCP(t *testing.T) {
	dual := func(fd int) error { return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0) }
	only := func(fd int) error { return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1) }
	bound := func(fd int) error { return unix.BindToDevice(fd, "lo") }
	tests := []struct {
		reason, network, address string
		control                  func(int) error
		family                   uint8
		want                     Row
	}{
		{"IPv4", "tcp4", "127.0.0.1:0", nil, Inet, Row{}},
		{"IPv6 on one address", "tcp6", "[::1]:0", only, Inet6, Row{V6Only: On}},
		{"IPv6 that takes IPv4 too", "tcp6", "[::]:0", dual, Inet6, Row{V6Only: Off}},
		{"bound to a device", "tcp4", "127.0.0.1:0", bound, Inet, Row{Interface: 1}},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			l := listen(t, tt.network, tt.address, tt.control)
			r := find(t, dump(t, Query{Family: tt.family, Protocol: TCP, States: Listen}), inodeOf(t, l))
			at := l.Addr().(*net.TCPAddr).AddrPort()
			if got := netip.AddrPortFrom(r.Address(), r.LocalPort); got != at {
				t.Errorf("address is %s, want %s", got, at)
			}
			if r.Interface != tt.want.Interface || r.V6Only != tt.want.V6Only {
				t.Errorf("device %d, v6only %d, want %d, %d", r.Interface, r.V6Only, tt.want.Interface, tt.want.V6Only)
			}
			if r.UID != uint32(os.Getuid()) || r.Cookie == 0 || r.State != 10 || r.Limit == 0 {
				t.Errorf("uid %d, cookie %d, state %d, backlog %d", r.UID, r.Cookie, r.State, r.Limit)
			}
		})
	}
}

// TestCookie holds the cookie of a row against the one that the socket itself
// tells (SO_COOKIE, socket(7)).
func TestCookie(t *testing.T) {
	l := listen(t, "tcp4", "127.0.0.1:0", nil)
	r := find(t, dump(t, Query{Family: Inet, Protocol: TCP, States: Listen}), inodeOf(t, l))
	raw, err := l.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var cookie uint64
	if e := raw.Control(func(fd uintptr) {
		cookie, err = unix.GetsockoptUint64(int(fd), unix.SOL_SOCKET, unix.SO_COOKIE)
	}); e != nil || err != nil {
		t.Skipf("this kernel tells no cookie: %v", errors.Join(e, err))
	}
	if r.Cookie != cookie {
		t.Errorf("cookie is %d, the socket says %d", r.Cookie, cookie)
	}
}

func TestQueue(t *testing.T) {
	l := listen(t, "tcp4", "127.0.0.1:0", nil)
	for range 2 {
		c, err := net.Dial("tcp4", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	rows := dump(t, Query{Family: Inet, Protocol: TCP, States: Listen})
	if r := find(t, rows, inodeOf(t, l)); r.Queue != 2 {
		t.Errorf("%d connections wait, want 2", r.Queue)
	}
	for _, r := range rows {
		if r.State != 10 {
			t.Errorf("asked for listeners, got one in state %d: %+v", r.State, r)
		}
	}
}

func TestUDP(t *testing.T) {
	server, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	client, err := net.Dial("udp4", server.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	rows := dump(t, Query{Family: Inet, Protocol: UDP, States: Closed})
	r := find(t, rows, inodeOf(t, server))
	if int(r.LocalPort) != server.LocalAddr().(*net.UDPAddr).Port {
		t.Errorf("port is %d", r.LocalPort)
	}
	connected := inodeOf(t, client.(*net.UDPConn))
	for _, r := range rows {
		if r.Inode == connected {
			t.Error("the connected client is among the sockets that are not connected")
		}
	}
}

// socketInode opens a socket that net has no call for.
func socketInode(t *testing.T, family, kind, protocol int, address unix.Sockaddr) uint32 {
	t.Helper()
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		t.Skipf("this process may not open such a socket here: %v", err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if address != nil {
		if err := unix.Bind(fd, address); err != nil {
			t.Fatal(err)
		}
	}
	if kind == unix.SOCK_STREAM {
		if err := unix.Listen(fd, 1); err != nil {
			t.Skipf("this kernel lets no such socket listen: %v", err)
		}
	}
	var s unix.Stat_t
	if err := unix.Fstat(fd, &s); err != nil {
		t.Fatal(err)
	}
	return uint32(s.Ino)
}

func TestOtherSockets(t *testing.T) {
	loopback := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	tests := []struct {
		reason                 string
		family, kind, protocol int
		address                unix.Sockaddr
		query                  Query
		check                  func(Row) bool
	}{
		{"UDP-Lite", unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_UDPLITE, loopback,
			Query{Family: Inet, Protocol: UDPLite, States: Closed}, func(r Row) bool { return r.LocalPort != 0 }},
		{"Multipath TCP", unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP, loopback,
			Query{Family: Inet, Protocol: MPTCP, States: Listen}, func(r Row) bool { return r.LocalPort != 0 }},
		{"Multipath TCP among plain TCP", unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP, loopback,
			Query{Family: Inet, Protocol: TCP, States: Listen}, func(r Row) bool { return r.LocalPort != 0 }},
		{"SCTP", unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_SCTP, loopback,
			Query{Family: Inet, Protocol: SCTP, States: Listen}, func(r Row) bool { return r.LocalPort != 0 }},
		{"raw", unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP, nil,
			Query{Family: Inet, Protocol: Raw, States: Closed}, func(r Row) bool { return r.LocalPort == unix.IPPROTO_ICMP }},
		{"packet", unix.AF_PACKET, unix.SOCK_DGRAM, 0x0608, &unix.SockaddrLinklayer{Protocol: 0x0608, Ifindex: 1},
			Query{Family: Packet}, func(r Row) bool {
				return r.Number == 0x0806 && r.Interface == 1 && r.Type == unix.SOCK_DGRAM && r.UID == uint32(os.Getuid())
			}},
		{"vsock", unix.AF_VSOCK, unix.SOCK_STREAM, 0, &unix.SockaddrVM{CID: unix.VMADDR_CID_ANY, Port: 70000},
			Query{Family: VSOCK, States: Listen}, func(r Row) bool { return r.Number == 70000 }},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			inode := socketInode(t, tt.family, tt.kind, tt.protocol, tt.address)
			if r := find(t, dump(t, tt.query), inode); !tt.check(r) || r.Cookie == 0 {
				t.Errorf("got %+v", r)
			}
		})
	}
}

func TestAbsent(t *testing.T) {
	for _, q := range []Query{{Family: 99}, {Family: Inet, Protocol: 250, States: Listen}} {
		if _, err := open(t).Dump(q, nil); !errors.Is(err, ErrAbsent) {
			t.Errorf("%+v: error is %v, want ErrAbsent", q, err)
		}
	}
}

// TestSmallBuffer cuts every answer short: the dump must be repeated, and then
// say that it is incomplete rather than return a part as the whole.
func TestSmallBuffer(t *testing.T) {
	for range 1000 { // more than one answer holds: the kernel has to go on with a dump that was left
		listen(t, "tcp4", "127.0.0.1:0", nil)
	}
	l := listen(t, "tcp4", "127.0.0.1:0", nil)
	c := open(t)
	c.buffer = make([]byte, headerSize+inetRowSize-1)
	if _, err := c.Dump(Query{Family: Inet, Protocol: TCP, States: Listen}, nil); !errors.Is(err, ErrIncomplete) || !errors.Is(err, errCut) {
		t.Fatalf("error is %v, want ErrIncomplete", err)
	}
	// The rest of the cut dumps still lies in the socket; it is not taken for the answer.
	c.buffer = make([]byte, bufferSize)
	rows, err := c.Dump(Query{Family: Inet, Protocol: TCP, States: Listen}, nil)
	if err != nil {
		t.Fatal(err)
	}
	find(t, rows, inodeOf(t, l))
}

func TestDumpAllocatesNothing(t *testing.T) {
	listen(t, "tcp4", "127.0.0.1:0", nil)
	c := open(t)
	q := Query{Family: Inet, Protocol: TCP, States: Listen}
	rows, err := c.Dump(q, make([]Row, 0, 4096))
	if err != nil {
		t.Fatal(err)
	}
	least := math.Inf(1) // the kernel may interrupt one, which is then repeated
	for range 20 {
		least = min(least, testing.AllocsPerRun(1, func() {
			if rows, err = c.Dump(q, rows[:0]); err != nil {
				t.Fatal(err)
			}
		}))
	}
	if least != 0 {
		t.Errorf("%v allocations a dump", least)
	}
}

func BenchmarkDump(b *testing.B) {
	for range 1000 {
		listen(b, "tcp4", "127.0.0.1:0", nil)
	}
	c := open(b)
	q := Query{Family: Inet, Protocol: TCP, States: Listen}
	var rows []Row
	var err error
	b.ReportAllocs()
	for b.Loop() {
		if rows, err = c.Dump(q, rows[:0]); err != nil {
			b.Fatal(err)
		}
	}
	if len(rows) < 1000 {
		b.Fatalf("%d rows", len(rows))
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(rows)), "ns/socket")
}

func TestMessageErrorNamesTheInput(t *testing.T) {
	_, _, err := parse([]byte{1, 2, 3}, Query{Family: Inet}, 1, nil)
	var m *MessageError
	if !errors.As(err, &m) || !strings.Contains(err.Error(), "01 02 03") {
		t.Errorf("error is %v", err)
	}
}
