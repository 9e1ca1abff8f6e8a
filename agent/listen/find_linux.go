package listen

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// holding is one descriptor that leads to a wanted socket.
type holding struct {
	inode uint64
	pid   int32  // 0: the process is in a pid namespace that cannot be seen from here
	fd    int32  // number of the descriptor
	start uint64 // of the process, in clock ticks since boot; 0 where the way does not tell
	exe   fileID // of its executable; zero where the way does not tell
	space uint64 // inode of the socket's network namespace; 0 where the way does not tell
	ring  bool   // fd is an io_uring, and the socket one of its registered files
}

// fileID tells one file from another.
type fileID struct{ device, inode uint64 }

// finder finds the processes that hold sockets.
type finder interface {
	// find appends a holding for each process of pids and each wanted socket,
	// by inode, that it holds. It also returns how many processes would not
	// let themselves be looked at. A finder that sees every process of the
	// host does not need pids.
	find(ctx context.Context, pids []int32, wanted map[uint64]bool, found []holding) ([]holding, int, error)
	// everywhere says that find sees the processes of every pid namespace.
	everywhere() bool
	close() error
}

// procFinder reads the links of every descriptor, on every core.
type procFinder struct {
	proc    int // descriptor of /proc
	workers []procWorker
}

func newProcFinder(proc int) *procFinder {
	f := &procFinder{proc: proc, workers: make([]procWorker, runtime.GOMAXPROCS(0))}
	for i := range f.workers {
		f.workers[i].buffer = make([]byte, 16<<10)
	}
	return f
}

func (*procFinder) everywhere() bool { return false }
func (*procFinder) close() error     { return nil }

// find lets the workers take one process after the other. All of them have
// ended when it returns.
func (f *procFinder) find(ctx context.Context, pids []int32, wanted map[uint64]bool, found []holding) ([]holding, int, error) {
	if len(wanted) == 0 {
		return found, 0, ctx.Err()
	}
	var next atomic.Int64
	var all sync.WaitGroup
	for i := range f.workers {
		w := &f.workers[i]
		w.found, w.denied = w.found[:0], 0
		all.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(pids) {
					return
				}
				w.process(f.proc, pids[i], wanted)
			}
		})
	}
	all.Wait()
	denied := 0
	for _, w := range f.workers {
		found = append(found, w.found...)
		denied += w.denied
	}
	return found, denied, ctx.Err()
}

// procWorker is what one goroutine reads with.
type procWorker struct {
	buffer []byte // of directory entries
	link   [64]byte
	path   [32]byte
	found  []holding
	denied int
	rings  bool // io_urings are wanted too, as holdings without an inode
}

// process adds what pid holds.
func (w *procWorker) process(proc int, pid int32, wanted map[uint64]bool) {
	path := append(appendNumber(w.path[:0], int(pid)), "/fd"...)
	dir, err := openAt(proc, append(path, 0), unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		if errors.Is(err, fs.ErrPermission) && !kernelThread(proc, pid) {
			w.denied++
		}
		return // else it ended
	}
	defer unix.Close(dir)
	mine, refused := len(w.found), false
	defer func() {
		if refused {
			w.denied++
		}
	}()
	for {
		n, err := unix.Getdents(dir, w.buffer)
		if err != nil || n <= 0 {
			return
		}
		whole := numbers(w.buffer[:n], func(fd int, name []byte) {
			target, err := readLinkErr(dir, name, w.link[:])
			refused = refused || errors.Is(err, fs.ErrPermission) // the directory may be open to whom its links are not
			inode, ok := parseSocketLink(target)
			if w.rings && string(target) == ringLink {
				w.found = append(w.found, holding{pid: pid, fd: int32(fd), ring: true})
			}
			if !ok || !wanted[inode] || holds(w.found[mine:], inode) {
				return
			}
			w.found = append(w.found, holding{inode: inode, pid: pid, fd: int32(fd)})
		})
		if !whole {
			return // a file system that is no procfs
		}
	}
}

// holds reports whether the inode is among the few that one process holds.
func holds(found []holding, inode uint64) bool {
	// The last ones: a process that holds a socket twice got it by dup(2), and
	// a list of thousands would make this quadratic. Repetitions that are
	// further away are dropped when the owners are made.
	for i := len(found) - 1; i >= 0 && i >= len(found)-8; i-- {
		if found[i].inode == inode {
			return true
		}
	}
	return false
}

// appendNumber appends a number that is not negative, in decimal.
func appendNumber(b []byte, n int) []byte {
	var digits [20]byte
	i := len(digits)
	for {
		i--
		digits[i] = byte('0' + n%10)
		if n /= 10; n == 0 {
			return append(b, digits[i:]...)
		}
	}
}

// openAt opens a path that ends with a NUL. The calls of x/sys/unix take
// strings, which would be an allocation for each of a hundred thousand calls.
func openAt(dir int, path []byte, flags int) (int, error) {
	for {
		fd, _, errno := unix.Syscall6(unix.SYS_OPENAT, uintptr(dir), uintptr(unsafe.Pointer(unsafe.SliceData(path))),
			uintptr(flags|unix.O_CLOEXEC|unix.O_LARGEFILE), 0, 0, 0)
		switch errno {
		case 0:
			return int(fd), nil
		case unix.EINTR:
			continue
		default:
			return -1, errno
		}
	}
}

// readLinkAt returns the target of a link whose name ends with a NUL, cut to
// the size of b; nothing if there is no such link any more.
func readLinkAt(dir int, name, b []byte) []byte {
	target, err := readLinkErr(dir, name, b)
	if err != nil {
		return nil
	}
	return target
}

func readLinkErr(dir int, name, b []byte) ([]byte, error) {
	// RawSyscall: procfs answers from memory within microseconds, and telling
	// the scheduler of each call would cost as much again as a short one.
	n, _, errno := unix.RawSyscall6(unix.SYS_READLINKAT, uintptr(dir), uintptr(unsafe.Pointer(unsafe.SliceData(name))),
		uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), 0, 0)
	if errno != 0 {
		return nil, errno
	}
	return b[:n], nil
}

// kernelThread reports whether pid is a thread of the kernel, which holds no
// descriptors and shows none.
func kernelThread(proc int, pid int32) bool {
	var b [1024]byte
	var path [32]byte
	n, err := readFileAt(proc, append(append(appendNumber(path[:0], int(pid)), "/stat"...), 0), b[:])
	if err != nil {
		return false
	}
	s, err := parseStat(b[:n])
	return err == nil && s.kernelThread
}

// readFileAt reads a file of /proc whose path ends with a NUL into b, as much as
// fits. Where less than that comes it is the whole: those files are made in one
// piece when they are read (single_open of fs/seq_file.c), and command lines
// read until nothing is left (proc_pid_cmdline_read in fs/proc/base.c).
func readFileAt(dir int, path, b []byte) (int, error) {
	fd, err := openAt(dir, path, unix.O_RDONLY)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	n, err := unix.Read(fd, b)
	if err != nil {
		return 0, os.NewSyscallError("read", err)
	}
	return n, nil
}

// listNumbers appends the numeric names of the directory path, which ends with
// a NUL, to list: the processes of /proc, the descriptors of a process.
func listNumbers(dir int, path []byte, list []int32) ([]int32, error) {
	fd, err := openAt(dir, path, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return list, err
	}
	defer unix.Close(fd)
	b := make([]byte, 32<<10)
	for {
		n, err := unix.Getdents(fd, b)
		if err != nil {
			return list, os.NewSyscallError("getdents64", err)
		}
		if n <= 0 {
			return list, nil
		}
		if !numbers(b[:n], func(n int, _ []byte) { list = append(list, int32(n)) }) {
			return list, errors.New("getdents64: entries of an unknown form")
		}
	}
}
