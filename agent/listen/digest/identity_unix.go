//go:build unix

package digest

import (
	"os"

	"golang.org/x/sys/unix"
)

// statIdentity looks at the file that path leads to.
func statIdentity(path string) (identity, error) {
	var s unix.Stat_t
	if err := unix.Stat(path, &s); err != nil {
		return identity{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return identityOf(&s), nil
}

func identifyFile(f *os.File) (identity, error) {
	var s unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &s); err != nil {
		return identity{}, &os.PathError{Op: "fstat", Path: f.Name(), Err: err}
	}
	return identityOf(&s), nil
}

func identityOf(s *unix.Stat_t) identity {
	return identity{
		device: widen(s.Dev), inode: s.Ino, size: s.Size,
		modified: s.Mtim.Nano(), changed: s.Ctim.Nano(),
	}
}

// widen: a device number has another type on each system.
func widen[N int32 | uint32 | uint64](n N) uint64 { return uint64(n) }
