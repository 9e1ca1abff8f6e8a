package listen

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// soakTime is the variable that sets how long the soak test runs.
const soakTime = "PORTAUDIT_TEST_SOAK"

// TestSoak enumerates while thousands of processes a second are started, open
// a socket, hand it on and end. They write down what they do, and no owner that
// a snapshot names may be another than the one that was written down. A small
// pid_max makes numbers come again within a second.
func TestSoak(t *testing.T) {
	needRoot(t)
	for _, way := range []Way{BPF, Proc} {
		t.Run(way.String(), func(t *testing.T) {
			// pid_max is a pid namespace's own since Linux 6.14; before, it is left alone.
			const script = `ip link set lo up; exec "$0" -test.run='^TestSoakInside$' -test.v -test.timeout=20m`
			cmd := exec.Command("unshare", "--net", "--pid", "--fork", "--mount-proc", "sh", "-c", script, "/proc/self/exe")
			if self, err := os.Executable(); err == nil {
				cmd.Args[len(cmd.Args)-1] = self
			}
			cmd.Env = append(os.Environ(), "PORTAUDIT_SOAK_INSIDE="+way.String())
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), "--- PASS: TestSoakInside") && !strings.Contains(string(out), "--- SKIP: TestSoakInside") {
				t.Fatalf("%v:\n%s", err, out)
			}
			for line := range strings.Lines(string(out)) {
				if strings.Contains(line, ".go:") {
					t.Log(strings.TrimSpace(line))
				}
			}
		})
	}
}

// TestSoakInside is TestSoak's other half, in namespaces of its own.
func TestSoakInside(t *testing.T) {
	inside := os.Getenv("PORTAUDIT_SOAK_INSIDE")
	if inside == "" {
		t.Skip("TestSoak runs this in namespaces of its own")
	}
	way, err := ParseWay(inside)
	if err != nil {
		t.Fatal(err)
	}
	length, err := time.ParseDuration(cmp.Or(os.Getenv(soakTime), "3s"))
	if err != nil {
		t.Fatal(err)
	}
	reuse := smallPIDs(t)
	e, err := openEngine(Options{Way: way, Beat: 500 * time.Millisecond}, procRoot)
	if err != nil {
		t.Skipf("no %s here: %v", way, err)
	}
	defer e.close()
	truth := churn(t, length)
	lasting := lastingListeners(t) // they end first: the churn waits for every child
	soak(t, e, truth, lasting, length)
	truth.mu.Lock()
	defer truth.mu.Unlock()
	t.Logf("%s: %d processes in %s (%.0f a second), pids reused: %v; %d snapshots, %d owners compared, 0 wrong; %d raced, of those that lived for %v %d of %d",
		way, truth.started, length, float64(truth.started)/length.Seconds(), reuse, truth.snapshots, truth.compared, truth.raced,
		longLife, truth.longRaced, truth.long)
	if truth.compared == 0 || truth.long == 0 {
		t.Error("no owner was compared")
	}
	// Who lives so much longer than an enumeration takes is gone before it was
	// read only if it was about to end: a part of the snapshots that is as small
	// as the enumeration is short.
	if truth.longRaced*4 > truth.long {
		t.Errorf("%d of %d owners that lived for %v were not read in time", truth.longRaced, truth.long, longLife)
	}
}

// longLife is how long some of the churning processes live, much longer than
// an enumeration takes.
const longLife = 200 * time.Millisecond

// lastingListeners opens listeners that are there until the churn is over, each held by this process and a child of it, and returns their
// inodes with the owners that every snapshot must name.
func lastingListeners(t *testing.T) map[uint64][]int {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	lasting := map[uint64][]int{}
	for range 10 {
		l, _ := listenTCP(t, "tcp4", "127.0.0.1:0")
		file, err := l.File()
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		var s unix.Stat_t
		if err := unix.Fstat(int(file.Fd()), &s); err != nil {
			t.Fatal(err)
		}
		heir, _ := child(t, self, "hold", file)
		owners := []int{os.Getpid(), heir.Pid}
		slices.Sort(owners)
		lasting[s.Ino] = owners
	}
	return lasting
}

// checkLasting holds that a snapshot names both owners of those listeners,
// beside the churning processes, which are copies of this one and hold them too.
func checkLasting(t *testing.T, s Snapshot, lasting map[uint64][]int) {
	t.Helper()
	seen := 0
	for _, socket := range s.Sockets {
		if len(socket.inodes) != 1 || lasting[socket.inodes[0]] == nil {
			continue
		}
		seen++
		for _, pid := range lasting[socket.inodes[0]] {
			if !slices.ContainsFunc(socket.Owners, func(o Owner) bool { return o.PID == pid && o.How == Process }) {
				t.Errorf("the owners of socket %d are %v, want %d among them", socket.inodes[0], ownerPIDs(socket), pid)
			}
		}
	}
	if seen != len(lasting) {
		t.Errorf("%d of %d listeners that last are in the snapshot", seen, len(lasting))
	}
}

// smallPIDs lets process numbers come again soon, if that is this pid
// namespace's own affair.
func smallPIDs(t *testing.T) bool {
	t.Helper()
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	var major, minor int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor); err != nil || major < 6 || major == 6 && minor < 14 {
		return false
	}
	return os.WriteFile("/proc/sys/kernel/pid_max", []byte("500"), 0) == nil
}

// soak enumerates for the time and checks each snapshot a little later, when
// everybody has written down what it did.
func soak(t *testing.T, e *engine, truth *truth, lasting map[uint64][]int, length time.Duration) {
	t.Helper()
	var waiting []Snapshot
	var heap, files int
	end := time.Now().Add(length)
	for n := 0; time.Now().Before(end); n++ {
		s, err := e.list(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		checkLasting(t, s, lasting)
		if waiting = append(waiting, s); len(waiting) > 20 {
			truth.check(t, waiting[0])
			waiting = waiting[1:]
		}
		if t.Failed() {
			return
		}
		// After the first third everything has found its size.
		if heap == 0 && time.Until(end) < length*2/3 {
			heap, files = liveHeap(), openFiles(t)
		}
	}
	if now := liveHeap(); now > heap*3/2+4<<20 {
		t.Errorf("%d bytes in use at the end, %d after the first third", now, heap)
	}
	if now := openFiles(t); now != files {
		t.Errorf("%d open files at the end, %d after the first third", now, files)
	}
}

func liveHeap() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// truth is what the processes wrote down: who held which socket.
type truth struct {
	mu      sync.Mutex
	holders map[uint64][]witness // by inode
	older   map[uint64][]witness // of the half minute before
	turned  time.Time            // when that ended

	started, snapshots, compared, raced int
	long, longRaced                     int // of owners that lived for longLife
}

// witness is what a process wrote down of itself.
type witness struct {
	holding
	long bool // it lives for longLife
}

// note notes what a process wrote down. What is older than a minute nobody asks
// for any more.
func (tr *truth) note(h witness) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if time.Since(tr.turned) > 30*time.Second {
		tr.holders, tr.older, tr.turned = map[uint64][]witness{}, tr.holders, time.Now()
	}
	tr.holders[h.inode] = append(tr.holders[h.inode], h)
	tr.started++
}

// check compares the owners of a snapshot with the truth.
func (tr *truth) check(t *testing.T, s Snapshot) {
	t.Helper()
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.snapshots++
	for _, socket := range s.Sockets {
		if len(socket.inodes) != 1 {
			continue
		}
		holders := slices.Concat(tr.older[socket.inodes[0]], tr.holders[socket.inodes[0]])
		long := len(holders) > 0 && !slices.ContainsFunc(holders, func(h witness) bool { return !h.long })
		for _, o := range socket.Owners {
			if long {
				tr.long++
				if o.How == Raced {
					tr.longRaced++
				}
			}
			switch {
			case len(holders) == 0: // not of a process that writes down
				continue
			case o.How == Raced:
				tr.raced++
				continue
			case o.How != Process:
				t.Errorf("socket %d is said to be held by %q, and was by %+v; %+v", socket.inodes[0], o.How, holders, s.Coverage.Gaps)
				continue
			}
			tr.compared++
			right := false
			for _, h := range holders {
				right = right || int(h.pid) == o.PID && h.start == o.Start
			}
			if !right {
				t.Errorf("socket %d is said to be held by process %d, started at %d; the truth is %+v", socket.inodes[0], o.PID, o.Start, holders)
			}
		}
	}
}

// record is what a churning process writes down before it opens its socket:
// fixed size, no more than a pipe takes at once (pipe(7), PIPE_BUF).
const recordSize = 512

// churn starts processes as fast as it can until the time is over, and reads
// what they write down. It has ended when the test has.
func churn(t *testing.T, length time.Duration) *truth {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	// Children of children that ended are this process's to reap.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	tr := &truth{}
	var all sync.WaitGroup
	all.Go(func() {
		b := make([]byte, recordSize)
		for {
			if _, err := io.ReadFull(r, b); err != nil {
				return
			}
			stat := b[8:]
			s, err := parseStat(stat[:bytes.IndexByte(stat, 0)])
			if err != nil {
				continue
			}
			var pid int32
			_, _ = fmt.Sscan(string(stat[:bytes.IndexByte(stat, ' ')]), &pid)
			inode := binary.NativeEndian.Uint64(b)
			tr.note(witness{holding{inode: inode, pid: pid, start: s.start}, b[recordSize-1] != 0})
		}
	})
	end := time.Now().Add(length)
	fd := int(w.Fd())
	all.Go(func() {
		defer w.Close()
		runtime.LockOSThread() // each child is this thread's, and this thread reaps it
		defer runtime.UnlockOSThread()
		for n := 0; time.Now().Before(end); n++ {
			forkChurner(fd, n)
			for {
				pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
				if err != nil || pid <= 0 {
					break
				}
			}
		}
		for {
			if _, err := unix.Wait4(-1, nil, 0, nil); err != nil {
				return
			}
		}
	})
	t.Cleanup(func() { all.Wait(); r.Close() })
	return tr
}

// What the forked children work with: each has its own copy. They may not use
// the stack for it, see forkChurner.
var (
	churnStat    = []byte("/proc/self/stat\x00")
	churnAddress = unix.RawSockaddrInet4{Family: unix.AF_INET}
	churnRecord  [recordSize]byte
	churnFile    unix.Stat_t
	churnRest    unix.Timespec
)

// forkChurner forks a child that does nothing but raw system calls: it is a
// copy of one thread of a Go program, and the runtime in it is dead, so neither
// stack growth nor preemption may call it, nor the race detector, which the
// wrappers of package unix would. Starting programs instead would be ten times
// slower.
//
//go:norace
//go:nosplit
func forkChurner(pipe, n int) {
	pid, _, _ := syscall.RawSyscall(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0)
	if pid != 0 {
		return
	}
	fd, _, _ := syscall.RawSyscall(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM, 0)
	if n%64 == 0 {
		churnRecord[recordSize-1] = 1
	}
	writeDown(pipe, fd)
	syscall.RawSyscall(unix.SYS_BIND, fd, uintptr(unsafe.Pointer(&churnAddress)), unix.SizeofSockaddrInet4)
	syscall.RawSyscall(unix.SYS_LISTEN, fd, 1, 0)
	if n%8 == 0 { // a second holder, whose end no signal tells: the handler would call the runtime
		if pid, _, _ := syscall.RawSyscall(unix.SYS_CLONE, 0, 0, 0); pid == 0 {
			writeDown(pipe, fd)
		}
	}
	churnRest.Nsec = int64(n%5) * 1e6
	if n%64 == 0 {
		churnRest.Nsec = int64(longLife)
	}
	syscall.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&churnRest)), 0, 0)
	syscall.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
}

//go:norace
//go:nosplit
func writeDown(pipe int, fd uintptr) {
	syscall.RawSyscall(unix.SYS_FSTAT, fd, uintptr(unsafe.Pointer(&churnFile)), 0)
	*(*uint64)(unsafe.Pointer(&churnRecord)) = churnFile.Ino
	stat, _, _ := syscall.RawSyscall6(unix.SYS_OPENAT, 0, uintptr(unsafe.Pointer(unsafe.SliceData(churnStat))), unix.O_RDONLY, 0, 0, 0)
	syscall.RawSyscall(unix.SYS_READ, stat, uintptr(unsafe.Pointer(&churnRecord))+8, recordSize-10)
	syscall.RawSyscall(unix.SYS_CLOSE, stat, 0, 0)
	syscall.RawSyscall(unix.SYS_WRITE, uintptr(pipe), uintptr(unsafe.Pointer(&churnRecord)), recordSize)
}
