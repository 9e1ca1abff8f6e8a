package digest

import (
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// identify looks at the file that path leads to. It is asked for every program
// at every turn, and package unix allocates for each path: a short one, such
// as /proc/PID/exe, is given to statx(2) from the stack instead. Whatever goes
// wrong there (a kernel before 4.11, a sandbox without the call), stat tells.
func identify(path string) (identity, error) {
	var name [64]byte
	if len(path) >= len(name) || strings.IndexByte(path, 0) >= 0 {
		return statIdentity(path)
	}
	copy(name[:], path)
	var s unix.Statx_t
	here := unix.AT_FDCWD
	_, _, errno := unix.Syscall6(unix.SYS_STATX, uintptr(here), uintptr(unsafe.Pointer(&name[0])), 0,
		unix.STATX_BASIC_STATS, uintptr(unsafe.Pointer(&s)), 0)
	if errno != 0 {
		return statIdentity(path)
	}
	return identity{
		device: unix.Mkdev(s.Dev_major, s.Dev_minor), inode: s.Ino, size: int64(s.Size),
		modified: nanoseconds(s.Mtime), changed: nanoseconds(s.Ctime),
	}, nil
}

func nanoseconds(t unix.StatxTimestamp) int64 { return t.Sec*1e9 + int64(t.Nsec) }
