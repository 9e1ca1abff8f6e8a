package walk

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func walkAll(t testing.TB, w *Walker) []Row {
	t.Helper()
	var rows []Row
	if err := w.Walk(t.Context(), func(r *Row) { rows = append(rows, *r) }); err != nil {
		t.Fatal(err)
	}
	return rows
}

func inodeOf(fd int) uint64 {
	var s unix.Stat_t
	if err := unix.Fstat(fd, &s); err != nil {
		return 0
	}
	return s.Ino
}

// socket opens a socket of this process and returns its inode.
func socket(t testing.TB, family, kind, protocol int, at unix.Sockaddr, listen bool) uint64 {
	t.Helper()
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		t.Skipf("this host has no such socket: %v", err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if at != nil {
		if err := unix.Bind(fd, at); err != nil {
			t.Fatal(err)
		}
	}
	if listen {
		if err := unix.Listen(fd, 1); err != nil {
			t.Fatal(err)
		}
	}
	return inodeOf(fd)
}

func TestKindsOfSockets(t *testing.T) {
	v4 := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	v6 := &unix.SockaddrInet6{Addr: [16]byte{15: 1}}
	tests := []struct {
		reason                 string
		family, kind, protocol int
		at                     unix.Sockaddr
		listen, want           bool
	}{
		{"TCP that listens", unix.AF_INET, unix.SOCK_STREAM, 0, v4, true, true},
		{"TCP over IPv6 that listens", unix.AF_INET6, unix.SOCK_STREAM, 0, v6, true, true},
		{"Multipath TCP that listens", unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP, v4, true, true},
		{"TCP that is bound: one step from listening", unix.AF_INET, unix.SOCK_STREAM, 0, v4, false, true},
		{"TCP that is nothing yet", unix.AF_INET, unix.SOCK_STREAM, 0, nil, false, false},
		{"UDP that is bound", unix.AF_INET, unix.SOCK_DGRAM, 0, v4, false, true},
		{"UDP-Lite that is bound", unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_UDPLITE, v4, false, true},
		{"UDP that is not bound", unix.AF_INET, unix.SOCK_DGRAM, 0, nil, false, false},
		{"raw", unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP, nil, false, true},
		{"packet", unix.AF_PACKET, unix.SOCK_DGRAM, 0, nil, false, true},
		{"Unix: no port", unix.AF_UNIX, unix.SOCK_DGRAM, 0, nil, false, false},
		{"vsock that listens", unix.AF_VSOCK, unix.SOCK_STREAM, 0, &unix.SockaddrVM{CID: unix.VMADDR_CID_ANY, Port: 70001}, true, true},
	}
	walkers := openKinds(t)
	var own unix.Stat_t
	if err := unix.Stat("/proc/self/exe", &own); err != nil {
		t.Fatal(err)
	}
	var space unix.Stat_t
	if err := unix.Stat("/proc/self/ns/net", &space); err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			inode := socket(t, tt.family, tt.kind, tt.protocol, tt.at, tt.listen)
			for _, w := range walkers {
				rows := walkAll(t, w)
				i := slices.IndexFunc(rows, func(r Row) bool { return r.Inode == inode })
				if (i >= 0) != tt.want {
					t.Errorf("%s: found %v, want %v", w.Kind(), i >= 0, tt.want)
				}
				if i < 0 {
					continue
				}
				r := rows[i]
				if int(r.PID) != os.Getpid() || r.Executable != own.Ino || r.Device != own.Dev || uint64(r.Namespace) != space.Ino ||
					int(r.Family) != tt.family || int(r.Type) != tt.kind || r.Start == 0 {
					t.Errorf("%s: row is %+v, want process %d, executable %d on %#x, namespace %d", w.Kind(), r, os.Getpid(), own.Ino, own.Dev, space.Ino)
				}
			}
		})
	}
}

// TestRow compares all of a row with what the kernel says elsewhere.
func TestRow(t *testing.T) {
	walkers := openKinds(t)
	fd, err := listenOn(0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	at, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	want := Row{
		PID: int32(os.Getpid()), UID: uint32(os.Geteuid()), Capabilities: observe(0, nil).effective,
		PIDSpace: uint32(statOf(t, "/proc/self/ns/pid").Ino), UserSpace: uint32(statOf(t, "/proc/self/ns/user").Ino),
		Executable: statOf(t, "/proc/self/exe").Ino, Device: statOf(t, "/proc/self/exe").Dev,
		FD: uint32(fd), Inode: inodeOf(fd), Namespace: uint32(statOf(t, "/proc/self/ns/net").Ino),
		Family: unix.AF_INET, Type: unix.SOCK_STREAM, Protocol: unix.IPPROTO_TCP, State: 10,
		Port: uint16(at.(*unix.SockaddrInet4).Port),
	}
	if want.Cookie, err = unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE); err != nil {
		t.Fatal(err)
	}
	want.SpaceCookie, _ = unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE) // 0 before Linux 5.14
	for _, w := range walkers {
		rows := walkAll(t, w)
		i := slices.IndexFunc(rows, func(r Row) bool { return r.Inode == want.Inode })
		if i < 0 {
			t.Errorf("%s: not found", w.Kind())
			continue
		}
		got := rows[i]
		if got.Start == 0 || want.PIDSpace == 0xeffffffc && got.InitialPID != got.PID { // PROC_PID_INIT_INO in include/linux/proc_ns.h
			t.Errorf("%s: began at %d, first of all namespaces calls it %d", w.Kind(), got.Start, got.InitialPID)
		}
		want.Start, want.InitialPID = got.Start, got.InitialPID
		if got != want {
			t.Errorf("%s: got\n%+v, want\n%+v", w.Kind(), got, want)
		}
	}
}

func statOf(t testing.TB, path string) (s unix.Stat_t) {
	t.Helper()
	if err := unix.Stat(path, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConnectionsAreLeftOut(t *testing.T) {
	walkers := openKinds(t)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	file, err := c.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, w := range walkers {
		if slices.ContainsFunc(walkAll(t, w), func(r Row) bool { return r.Inode == inodeOf(int(file.Fd())) }) {
			t.Errorf("%s: a connection is among the rows", w.Kind())
		}
	}
}

// TestHolders finds processes by the sockets that they hold in unusual ways.
func TestHolders(t *testing.T) {
	walkers := openKinds(t)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	listener := inodeOf(int(file.Fd()))
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "ours"), os.NewFile(uintptr(pair[1]), "theirs")
	defer ours.Close()
	defer theirs.Close()
	if err := unix.Sendmsg(int(ours.Fd()), []byte{0}, unix.UnixRights(int(file.Fd())), nil, 0); err != nil {
		t.Fatal(err)
	}
	other, err := listenOn(0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(other)
	at, err := unix.Getsockname(other)
	if err != nil {
		t.Fatal(err)
	}
	heir, _ := child(t, "hold", nil, file)
	receiver, _ := child(t, "receive", nil, theirs)
	sharer, shared := child(t, fmt.Sprint("share ", at.(*unix.SockaddrInet4).Port), nil)
	thread, inThread := child(t, "thread", nil)
	leaderless, _ := child(t, "leaderless", nil)
	elsewhere, _ := child(t, "listen", &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWPID})
	some, _ := child(t, "many 70", nil)
	many, _ := child(t, "many 2000", nil)
	high, _ := child(t, "high", nil)
	type holder struct {
		reason string
		pid    int
		inode  uint64 // 0 for any listener
	}
	tests := []holder{
		{"the process that opened it", os.Getpid(), listener},
		{"a child that inherited it", heir, listener},
		{"a process that got it over a Unix socket", receiver, listener},
		{"one of two that share a port", os.Getpid(), inodeOf(other)},
		{"the other of the two", sharer, number(t, shared[0])},
		{"a thread with descriptors of its own", thread, number(t, inThread[0])},
		{"a process whose first thread has ended", leaderless, 0},
		{"a process in namespaces of its own", elsewhere, 0},
		{"a process with more descriptors than a word has bits", some, 0},
		{"a process with thousands of descriptors", many, 0},
		{"a descriptor with a high number", high, 0},
	}
	var before []Row
	for _, w := range walkers {
		rows := slices.DeleteFunc(walkAll(t, w), func(r Row) bool {
			return !slices.ContainsFunc(tests, func(h holder) bool { return h.pid == int(r.PID) })
		})
		for _, tt := range tests {
			i := slices.IndexFunc(rows, func(r Row) bool {
				return int(r.PID) == tt.pid && (r.Inode == tt.inode || tt.inode == 0 && r.State == 10)
			})
			if i < 0 {
				t.Errorf("%s: %s is missing (process %d, socket %d)", w.Kind(), tt.reason, tt.pid, tt.inode)
			} else if rows[i].Executable != statOf(t, "/proc/self/exe").Ino {
				t.Errorf("%s: %s runs the file %d", w.Kind(), tt.reason, rows[i].Executable)
			}
		}
		slices.SortFunc(rows, func(a, b Row) int {
			return cmp.Or(cmp.Compare(a.PID, b.PID), cmp.Compare(a.FD, b.FD), cmp.Compare(a.Inode, b.Inode))
		})
		rows = slices.Compact(rows) // each thread of the leaderless may show its table
		if before != nil && !slices.Equal(rows, before) {
			t.Errorf("%s: got\n%+v\nand before\n%+v", w.Kind(), rows, before)
		}
		before = rows
	}
}

// TestWithinNamespace walks in a process that is the first of its pid namespace.
func TestWithinNamespace(t *testing.T) {
	openKinds(t)
	child(t, "walk", &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID})
}

// TestChurn walks while processes that listen begin and end: those that stay
// are in each walk, and nobody else holds their sockets.
func TestChurn(t *testing.T) {
	walkers := openKinds(t)
	pid, said := child(t, "several 20", nil)
	held := map[uint64]bool{}
	for _, line := range said[:20] {
		held[number(t, line)] = true
	}
	var stop atomic.Bool
	var ended atomic.Int64
	var churn sync.WaitGroup
	churn.Go(func() {
		for !stop.Load() {
			cmd := exec.Command("/proc/self/exe")
			cmd.Env = append(os.Environ(), childMode+"=brief", quickExit)
			if err := cmd.Run(); err != nil {
				t.Error(err)
				return
			}
			ended.Add(1)
		}
	})
	defer churn.Wait()
	defer stop.Store(true)
	for walks := 0; walks < 20 || ended.Load() < 50 && !t.Failed(); walks++ {
		for _, w := range walkers {
			found := map[uint64]bool{}
			for _, r := range walkAll(t, w) {
				switch {
				case int(r.PID) == pid && r.State == 10:
					found[r.Inode] = true
				case held[r.Inode]:
					t.Errorf("%s: socket %d is said to be held by %d, not %d", w.Kind(), r.Inode, r.PID, pid)
				}
			}
			if !maps.Equal(found, held) {
				t.Errorf("%s: process %d is said to hold %v, not %v", w.Kind(), pid, found, held)
			}
		}
	}
}

func number(t *testing.T, s string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestKindsAgree compares the rows of both iterators while nothing of this
// process changes.
func TestKindsAgree(t *testing.T) {
	walkers := openKinds(t)
	if len(walkers) < 2 {
		t.Skip("this kernel has but one iterator")
	}
	for range 500 {
		socket(t, unix.AF_INET, unix.SOCK_STREAM, 0, &unix.SockaddrInet4{}, true)
	}
	sets := make([][]Row, len(walkers))
	for i, w := range walkers {
		for _, r := range walkAll(t, w) {
			if int(r.PID) == os.Getpid() {
				r.Cookie = 0 // other tests ask for them meanwhile
				sets[i] = append(sets[i], r)
			}
		}
		slices.SortFunc(sets[i], func(a, b Row) int { return cmp.Compare(a.FD, b.FD) })
	}
	for i, set := range sets {
		if len(set) < 500 || !slices.Equal(set, sets[0]) {
			t.Errorf("%d rows by %s, %d by %s, or not the same", len(set), walkers[i].Kind(), len(sets[0]), walkers[0].Kind())
		}
	}
}

func TestWalkAllocates(t *testing.T) {
	for _, w := range openKinds(t) {
		n := testing.AllocsPerRun(20, func() {
			if err := w.Walk(context.Background(), func(*Row) {}); err != nil {
				t.Fatal(err)
			}
		})
		if n > float64(10*w.lanes) {
			t.Errorf("%s: %v allocations a walk", w.Kind(), n)
		}
	}
}

// BenchmarkWalk walks 200 processes with 200 descriptors each.
func BenchmarkWalk(b *testing.B) {
	walkers := openKinds(b)
	for range 200 {
		child(b, "many 200", nil)
	}
	for _, w := range walkers {
		b.Run(w.Kind().String(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := w.Walk(b.Context(), func(*Row) {}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
