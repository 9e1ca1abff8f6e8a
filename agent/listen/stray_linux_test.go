package listen

import (
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
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/portaudit/portaudit/registry"
)

// rawListener opens a TCP listener that the runtime of Go knows nothing of,
// created by a user, and returns its descriptor and inode.
func rawListener(t *testing.T, creator int) (fd int, inode uint64) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// Of this thread alone: the wrapper of x/sys would not be, and what it
	// returns is the uid before, which no error can be told from (setfsuid(2)).
	before, _, _ := unix.RawSyscall(unix.SYS_SETFSUID, uintptr(creator), 0, 0)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	_, _, _ = unix.RawSyscall(unix.SYS_SETFSUID, before, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 1); err != nil {
		t.Fatal(err)
	}
	var s unix.Stat_t
	if err := unix.Fstat(fd, &s); err != nil {
		t.Fatal(err)
	}
	return fd, s.Ino
}

// register moves a descriptor into a new io_uring, as its only registered file.
func register(t *testing.T, fd int) {
	t.Helper()
	defer unix.Close(fd)
	const registerFiles = 2 // IORING_REGISTER_FILES in include/uapi/linux/io_uring.h
	var params [120]byte    // struct io_uring_params
	ring, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&params)), 0)
	if errno != 0 {
		t.Skipf("this host has no io_uring: %v", errno)
	}
	t.Cleanup(func() { unix.Close(int(ring)) })
	files := [1]int32{int32(fd)}
	if _, _, errno := unix.Syscall6(unix.SYS_IO_URING_REGISTER, ring, registerFiles, uintptr(unsafe.Pointer(&files)), 1, 0, 0); errno != 0 {
		t.Fatal(errno)
	}
	told, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", ring))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(told), "socket:[") {
		t.Skip("this kernel does not tell which sockets an io_uring holds (6.12 gives their names, which are empty)")
	}
}

// send moves a descriptor into a message that nobody receives.
func send(t *testing.T, fd int) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(pair[0]); unix.Close(pair[1]) })
	if err := unix.Sendmsg(pair[0], []byte{0}, unix.UnixRights(fd), nil, 0); err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
}

// strayOf enumerates until the socket has been without a descriptor for long
// enough, and returns what is known of it and its owners.
func strayOf(t *testing.T, e *engine, inode uint64) (stray, []Owner) {
	t.Helper()
	for range 20 {
		e.beat = time.Time{}
		s := snapshotOf(t, e)
		i := slices.IndexFunc(s.Sockets, func(k Socket) bool { return slices.Contains(k.inodes, inode) })
		if i < 0 {
			t.Fatalf("socket %d is not in the snapshot", inode)
		}
		for _, space := range e.spaces {
			for _, k := range space.known {
				if uint64(k.row.Inode) == inode && !k.stray.asked.IsZero() {
					return k.stray, s.Sockets[i].Owners
				}
			}
		}
		time.Sleep(endingTime)
	}
	t.Fatalf("nothing was found out about socket %d", inode)
	return stray{}, nil
}

// TestStray takes the descriptor of listeners away in each way that keeps them
// open.
func TestStray(t *testing.T) {
	needRoot(t)
	const root, nobody = 0, 65534
	tests := []struct {
		reason  string
		creator int
		keep    func(*testing.T, int)
		how     How // of the stray, by BPF
		proc    How // and by /proc, which knows the creator alone
		ring    bool
	}{
		{"root, in an io_uring", root, register, Unheld, NotResolved, true},
		{"a user, in an io_uring", nobody, register, Unheld, Unheld, true},
		{"root, in a message under way", root, send, Unheld, NotResolved, false},
		{"a user, in a message under way", nobody, send, Unheld, Unheld, false},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			fd, inode := rawListener(t, tt.creator)
			tt.keep(t, fd)
			for way, want := range map[Way]How{BPF: tt.how, Proc: tt.proc} {
				got, owners := strayOf(t, openTest(t, Options{Way: way}), inode)
				if tt.ring {
					if len(owners) != 1 || owners[0].How != Ring || owners[0].PID != os.Getpid() || owners[0].Executable == "" {
						t.Errorf("%s: the owners are %+v, want this process by an io_uring", way, owners)
					}
					continue
				}
				if got.how != want {
					t.Errorf("%s: it is %q, want %q", way, got.how, want)
				}
			}
		})
	}
}

// TestRingIsClosed follows a listener into an io_uring and out of it.
func TestRingIsClosed(t *testing.T) {
	needRoot(t)
	e := openTest(t, Options{})
	fd, inode := rawListener(t, 0)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	if err := unix.Sendmsg(pair[0], []byte{0}, unix.UnixRights(fd), nil, 0); err != nil {
		t.Fatal(err)
	}
	told := false
	t.Run("in the ring", func(t *testing.T) { // its end closes the ring
		register(t, fd)
		told = true
		if _, owners := strayOf(t, e, inode); len(owners) != 1 || owners[0].How != Ring {
			t.Errorf("the owners are %+v, want an io_uring", owners)
		}
	})
	if !told {
		t.SkipNow()
	}
	for range 20 { // the kernel frees a ring a moment after it was closed
		if s, _ := strayOf(t, e, inode); len(s.rings) == 0 {
			return
		}
		time.Sleep(endingTime)
	}
	t.Error("the io_uring is closed and still the owner")
}

// TestBlockedAccept closes the descriptor of a listener under a thread that
// waits in accept(2): it goes on listening.
func TestBlockedAccept(t *testing.T) {
	needRoot(t)
	fd, inode := rawListener(t, 0)
	at, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	returned := make(chan struct{})
	go func() {
		defer close(returned)
		if nfd, _, err := unix.Accept(fd); err == nil {
			unix.Close(nfd)
		}
	}()
	for deadline := time.Now().Add(10 * time.Second); !acceptWaits(); {
		if time.Now().After(deadline) {
			t.Fatal("no thread waits for a connection")
		}
	}
	unix.Close(fd)
	got, _ := strayOf(t, openTest(t, Options{Way: BPF}), inode)
	if got.how != Unheld {
		t.Errorf("it is %q, want %q", got.how, Unheld)
	}
	c, err := net.DialTCP("tcp4", nil, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: at.(*unix.SockaddrInet4).Port})
	if err != nil {
		t.Fatalf("it does not listen any more: %v", err)
	}
	c.Close()
	<-returned
}

// acceptWaits reports whether a thread of this process is in accept4(2)
// (proc_pid_syscall(5)).
func acceptWaits() bool {
	tasks, _ := os.ReadDir("/proc/self/task")
	for _, task := range tasks {
		b, _ := os.ReadFile("/proc/self/task/" + task.Name() + "/syscall")
		if number, _, _ := strings.Cut(string(b), " "); number == strconv.Itoa(unix.SYS_ACCEPT4) {
			return true
		}
	}
	return false
}

// TestKernelSocket makes a socket of the kernel's own in another namespace.
func TestKernelSocket(t *testing.T) {
	needRoot(t)
	cmd := exec.Command("sh", "-c", "ip link add vx0 up type vxlan id 7 dstport 4789 2>&1; echo ready; exec cat")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if _, complaint := start(t, cmd); len(complaint) > 0 {
		t.Skipf("this host makes no vxlan device: %q", complaint)
	}
	e := openTest(t, Options{Way: BPF})
	s := snapshotOf(t, e)
	i := slices.IndexFunc(s.Sockets, func(k Socket) bool { return k.Transport == registry.UDP && k.Port == 4789 })
	if i < 0 {
		t.Fatal("the vxlan port is not in the snapshot")
	}
	if _, owners := strayOf(t, e, s.Sockets[i].inodes[0]); len(owners) != 1 || owners[0].How != Kernel {
		t.Errorf("its owners are %+v, want the kernel", owners)
	}
}

func TestStrayHolder(t *testing.T) {
	tests := []struct {
		reason  string
		stray   stray
		nobody  How
		creator uint32
		want    How
	}{
		{"the kernel says that it is its own", stray{how: Kernel}, Kernel, 0, Kernel},
		{"even where some process may not be looked into", stray{how: Kernel}, Denied, 1000, Kernel},
		{"the kernel says that it is not", stray{how: Unheld}, Kernel, 0, Unheld},
		{"it may be of a process that may not be looked into", stray{how: Unheld}, Denied, 0, Denied},
		{"nothing is known but that root opened it", stray{}, Kernel, 0, Kernel},
		{"nothing is known but that a user opened it", stray{}, Kernel, 65534, Unheld},
		{"who may not look knows no more", stray{}, Denied, 65534, Denied},
	}
	for _, tt := range tests {
		if got := tt.stray.holder(tt.nobody, tt.creator); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.reason, got, tt.want)
		}
	}
}
