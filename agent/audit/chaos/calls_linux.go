package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// isolatedVariable says to this program that it is in a mount namespace of its own.
const isolatedVariable = "PORTAUDIT_CHAOS_ISOLATED"

// isolate starts this program anew in a mount namespace of its own, unless it is
// in one. The kernel unmounts what is in it when the last of its processes ends.
func isolate() error {
	if os.Getenv(isolatedVariable) != "" {
		return os.Unsetenv(isolatedVariable)
	}
	runtime.LockOSThread() // the namespace is one thread's, until that one executes
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	return unix.Exec("/proc/self/exe", os.Args, append(os.Environ(), isolatedVariable+"=1"))
}

// unshare starts cmd in namespaces of its own, and lets it end with this process.
func unshare(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL,
	}
}

// settleIn makes the namespaces of this process fit to be used.
func settleIn() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	lo, err := unix.NewIfreq("lo")
	if err == nil {
		lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
		err = unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
	}
	return errors.Join(err, unix.Close(fd))
}

// tie lets cmd end with this process, and makes it the leader of a group that
// kill ends as one.
func tie(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// kill ends cmd and its children with SIGKILL.
func kill(cmd *exec.Cmd) error {
	if err := unix.Kill(-cmd.Process.Pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		return err
	}
	return nil
}

// newLedger makes a ledger, and the file by which another process maps it.
func newLedger() (*ledger, *os.File, error) {
	fd, err := unix.MemfdCreate("ledger", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, nil, err
	}
	f := os.NewFile(uintptr(fd), "ledger")
	if err := f.Truncate(int64(ledgerSize)); err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	l, err := mapLedger(fd)
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return l, f, nil
}

// mapLedger maps the ledger that fd is.
func mapLedger(fd int) (*ledger, error) {
	p, err := unix.MmapPtr(fd, 0, nil, uintptr(ledgerSize), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map the ledger: %w", err)
	}
	return (*ledger)(p), nil
}

// unmap gives the memory of l free.
func (l *ledger) unmap() error { return unix.MunmapPtr(unsafe.Pointer(l), uintptr(ledgerSize)) }

// fsShutdown is FS_IOC_SHUTDOWN of include/uapi/linux/fs.h and XFS_IOC_GOINGDOWN
// of xfs_fs.h, _IOR('X', 125, __u32).
const fsShutdown = 0x8004587d

// shutdown ends the file system that has dir as a power cut would: nothing of it
// reaches the disk any more. With flush its journal is written before.
func shutdown(dir *os.File, flush bool) error {
	how := uint32(2) // EXT4_GOING_FLAGS_NOLOGFLUSH, XFS_FSOP_GOING_FLAGS_NOLOGFLUSH
	if flush {
		how = 1 // …_LOGFLUSH
	}
	return unix.IoctlSetPointerInt(int(dir.Fd()), fsShutdown, int(how))
}

// limitFiles lets writes beyond this size of a file fail with EFBIG, and a write
// across it be short. 0 is no limit.
func limitFiles(size uint64) error {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &r); err != nil {
		return err
	}
	if r.Cur = size; size == 0 {
		r.Cur = r.Max
	}
	return unix.Setrlimit(unix.RLIMIT_FSIZE, &r)
}

// syncFiles brings to disk what is open in the file system of dir.
func syncFiles(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(unix.Syncfs(int(f.Fd())), f.Close())
}
