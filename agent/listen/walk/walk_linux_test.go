package walk

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// childMode makes the test binary a process that holds sockets.
const childMode = "PORTAUDIT_TEST_WALK"

func TestMain(m *testing.M) {
	mode, argument, _ := strings.Cut(os.Getenv(childMode), " ")
	if mode == "" {
		os.Exit(m.Run())
	}
	n, _ := strconv.Atoi(argument) // 0 where the mode takes none
	if err := beChild(mode, n); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// beChild prints what it has, then "ready", and waits for its parent to go.
func beChild(mode string, n int) error {
	switch mode {
	case "hold": // what it was started with
	case "listen":
		_, err := listenOn(0)
		if err != nil {
			return err
		}
	case "share": // port n, with others
		fd, err := listenOn(n)
		if err != nil {
			return err
		}
		fmt.Println(inodeOf(fd))
	case "receive": // a descriptor over the Unix socket 3
		if err := receive(3); err != nil {
			return err
		}
	case "thread": // listens in a thread whose descriptors are its own
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_FILES); err != nil {
			return err
		}
		fd, err := listenOn(0)
		if err != nil {
			return err
		}
		fmt.Println(inodeOf(fd))
		fmt.Println("ready")
		_, err = unix.Read(0, make([]byte, 1)) // in this very thread
		return err
	case "leaderless": // listens, and its first thread ends
		if _, err := listenOn(0); err != nil {
			return err
		}
		if err := endFirstThread(); err != nil {
			return err
		}
	case "many": // n files, then a listener
		for range n {
			if _, err := unix.Open("/dev/null", unix.O_RDONLY, 0); err != nil {
				return err
			}
		}
		if _, err := listenOn(0); err != nil {
			return err
		}
	case "high": // a listener at the highest number that is allowed, up to a million
		fd, err := listenOn(0)
		if err != nil {
			return err
		}
		var limit unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			return err
		}
		limit.Cur = min(limit.Max, 1<<20)
		if err := errors.Join(
			unix.Setrlimit(unix.RLIMIT_NOFILE, &limit), unix.Dup3(fd, int(limit.Cur)-1, 0), unix.Close(fd),
		); err != nil {
			return err
		}
	case "walk":
		if err := findSelf(); err != nil {
			return err
		}
	}
	fmt.Println("ready")
	_, err := bufio.NewReader(os.Stdin).ReadByte()
	return err
}

// listenOn listens on a port, with others if they do so too.
func listenOn(port int) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return -1, err
	}
	return fd, errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1),
		unix.Bind(fd, &unix.SockaddrInet4{Port: port}),
		unix.Listen(fd, 1),
	)
}

// receive takes a descriptor that comes over a Unix socket.
func receive(from int) error {
	b := make([]byte, 64)
	_, n, _, _, err := unix.Recvmsg(from, make([]byte, 1), b, 0)
	if err != nil {
		return err
	}
	messages, err := unix.ParseSocketControlMessage(b[:n])
	if err != nil {
		return err
	}
	_, err = unix.ParseUnixRights(&messages[0])
	return err
}

// endFirstThread ends the thread that leads this process, which becomes a
// zombie while the others live.
func endFirstThread() error {
	ended := make(chan bool)
	for range 100 {
		go func() {
			runtime.LockOSThread()
			if unix.Gettid() == unix.Getpid() {
				close(ended)
				_, _, _ = unix.Syscall(unix.SYS_EXIT, 0, 0, 0) // of this thread; does not return
			}
			select {} // keep this thread, so that the next goroutine gets another
		}()
	}
	<-ended
	for {
		b, err := os.ReadFile("/proc/self/stat")
		if err != nil {
			return err
		}
		if _, after, _ := strings.Cut(string(b), ") "); strings.HasPrefix(after, "Z") {
			return nil
		}
		runtime.Gosched()
	}
}

// findSelf walks from within a pid namespace and finds this process by the
// number that it has there.
func findSelf() error {
	fd, err := listenOn(0)
	if err != nil {
		return err
	}
	for _, kind := range []Kind{Tasks, Files} {
		w, err := Open(kind)
		if err != nil {
			return err
		}
		var found Row
		foreign := 0
		err = w.Walk(context.Background(), func(r *Row) {
			if r.Inode == inodeOf(fd) {
				found = *r
			}
			if r.PID == 0 || r.PID != int32(os.Getpid()) {
				foreign++
			}
		})
		if err := errors.Join(err, w.Close()); err != nil {
			return err
		}
		if found.PID != int32(os.Getpid()) || found.PID == found.InitialPID || foreign > 0 {
			return fmt.Errorf("%s: process %d is %+v, and %d others", kind, os.Getpid(), found, foreign)
		}
	}
	return nil
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Getenv("PORTAUDIT_TEST_ROOT") == "" || os.Geteuid() != 0 {
		t.Skip("needs root and PORTAUDIT_TEST_ROOT=1")
	}
}

// openKinds opens a walker of each kind that this kernel has.
func openKinds(t testing.TB) []*Walker {
	t.Helper()
	needRoot(t)
	var walkers []*Walker
	for _, kind := range []Kind{Tasks, Files} {
		w, err := Open(kind)
		var unavailable *UnavailableError
		if errors.As(err, &unavailable) && unavailable.Lack != "" {
			t.Logf("no %s iterator here: %v", kind, err)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := w.Close(); err != nil {
				t.Error(err)
			}
		})
		walkers = append(walkers, w)
	}
	if len(walkers) == 0 {
		t.Skip("this kernel has no BPF iterator")
	}
	return walkers
}

func walkAll(t testing.TB, w *Walker) []Row {
	t.Helper()
	var rows []Row
	if err := w.Walk(t.Context(), func(r *Row) { rows = append(rows, *r) }); err != nil {
		t.Fatal(err)
	}
	return rows
}

func child(t testing.TB, mode string, as *syscall.SysProcAttr, files ...*os.File) (pid int, lines []string) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childMode+"="+mode)
	cmd.ExtraFiles, cmd.Stderr, cmd.SysProcAttr = files, os.Stderr, as
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
	t.Cleanup(func() { in.Close(); _ = cmd.Wait() })
	for scan := bufio.NewScanner(out); scan.Scan(); lines = append(lines, scan.Text()) {
		if scan.Text() == "ready" {
			return cmd.Process.Pid, lines
		}
	}
	t.Fatalf("%s: %q", mode, lines)
	return 0, nil
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
	var sets [2][]Row
	for i, w := range walkers {
		for _, r := range walkAll(t, w) {
			if int(r.PID) == os.Getpid() {
				sets[i] = append(sets[i], r)
			}
		}
		slices.SortFunc(sets[i], func(a, b Row) int { return cmp.Compare(a.FD, b.FD) })
	}
	if len(sets[0]) < 500 || !slices.Equal(sets[0], sets[1]) {
		t.Errorf("%d rows by %s, %d by %s, or not the same", len(sets[0]), walkers[0].Kind(), len(sets[1]), walkers[1].Kind())
	}
}

// TestGrow starts with room for four rows.
func TestGrow(t *testing.T) {
	needRoot(t)
	w, err := open(Tasks, 4)
	if errors.Is(err, ErrUnavailable) || errors.Is(err, unix.EINVAL) {
		t.Skipf("no task iterator here: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for range 200 {
		socket(t, unix.AF_INET, unix.SOCK_STREAM, 0, &unix.SockaddrInet4{}, true)
	}
	n := 0
	for _, r := range walkAll(t, w) {
		if int(r.PID) == os.Getpid() {
			n++
		}
	}
	if n < 200 {
		t.Errorf("%d rows of this process, want 200 and more", n)
	}
}

func TestWalkAllocates(t *testing.T) {
	for _, w := range openKinds(t) {
		n := testing.AllocsPerRun(20, func() {
			if err := w.Walk(context.Background(), func(*Row) {}); err != nil {
				t.Fatal(err)
			}
		})
		if n > 10 {
			t.Errorf("%s: %v allocations a walk", w.Kind(), n)
		}
	}
}

// TestWithoutRights opens as nobody, in a child.
func TestWithoutRights(t *testing.T) {
	needRoot(t)
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestUnprivilegedOpen$", "-test.v")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestUnprivilegedOpen") {
		t.Errorf("%v:\n%s", err, out)
	}
}

func TestUnprivilegedOpen(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may; TestWithoutRights runs this as nobody")
	}
	w, err := Open(0)
	if err == nil {
		w.Close()
		t.Skip("this user may load BPF programs")
	}
	if !errors.Is(err, ErrUnavailable) || !errors.Is(err, os.ErrPermission) {
		t.Errorf("error is %v, want ErrUnavailable and a missing right", err)
	}
}

func BenchmarkOpen(b *testing.B) {
	needRoot(b)
	b.ReportAllocs()
	for b.Loop() {
		w, err := Open(0)
		if err != nil {
			b.Skip(err)
		}
		if err := w.Close(); err != nil {
			b.Fatal(err)
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
