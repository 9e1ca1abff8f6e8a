package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// neededRights are the capabilities that an agent works with once it has begun
// (capabilities(7)).
const neededRights uint64 = 1<<unix.CAP_DAC_READ_SEARCH | // the descriptors and programs of all users
	1<<unix.CAP_SYS_PTRACE | // the links of /proc/PID; io_urings
	1<<unix.CAP_SYS_ADMIN | // to enter a network namespace, and to look under a mount over /proc/PID
	1<<unix.CAP_NET_ADMIN | // the packet filter
	1<<unix.CAP_BPF | 1<<unix.CAP_PERFMON // each walk is an iterator that is made anew

// relinquish gives up, for good, the capabilities that an agent does not need, in
// all threads, and what a program that it starts could gain. Where it is not the
// owner of the directories that it writes in, it needs one more. A build with
// cgo cannot (syscall.AllThreadsSyscall): the error says so.
func relinquish(s settings) error {
	keep := neededRights
	writes := []string{s.logDir, s.stateDir}
	if s.metrics != "" {
		writes = append(writes, filepath.Dir(s.metrics))
	}
	if !ownsAll(writes...) {
		keep |= 1 << unix.CAP_DAC_OVERRIDE
	}
	if s.probe {
		keep |= 1 << unix.CAP_NET_BIND_SERVICE // ports below 1024
	}
	if err := limitRights(keep); err != nil {
		return fmt.Errorf("give up the rights that are not needed: %w", err)
	}
	return nil
}

// ownsAll reports whether this process may write in the directories because they
// belong to its user.
func ownsAll(dirs ...string) bool {
	for _, dir := range dirs {
		info, err := os.Stat(dir)
		if err != nil || !ownedBy(info, os.Geteuid()) || info.Mode()&0o300 != 0o300 {
			return false
		}
	}
	return true
}

// limitRights gives up all capabilities but some: no execve(2) brings them back
// (PR_SET_NO_NEW_PRIVS).
func limitRights(keep uint64) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return fmt.Errorf("capget: %w", err)
	}
	for i := range sets {
		half := uint32(keep >> (32 * i))
		sets[i].Effective &= half
		sets[i].Permitted &= half
		sets[i].Inheritable &= half
	}
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&sets[0])), 0)
	switch errno {
	case 0:
	case syscall.ENOTSUP:
		return errors.New("the program is linked with libc: build it with CGO_ENABLED=0")
	default:
		return fmt.Errorf("capset: %w", errno)
	}
	if _, _, errno := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); errno != 0 {
		return fmt.Errorf("prctl: %w", errno)
	}
	return nil
}
