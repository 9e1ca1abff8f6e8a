//go:build unix

package audit

import (
	"errors"
	"os"
	"syscall"
)

// Of what another user may have put in the place of a file: a pipe is not waited for,
// and a link is not followed to be written to.
const (
	waitless = syscall.O_NONBLOCK
	linkless = syscall.O_NOFOLLOW | waitless
)

func openAppend(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_APPEND|linkless, 0)
}

func createAppend(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|os.O_EXCL, 0o600)
}

func truncate(f *os.File, size int64) error { return f.Truncate(size) }

func mkdirPrivate(dir string) error { return os.Mkdir(dir, 0o700) }

// isFull reports whether an error says that there is no room: on the disk, by a
// quota, or by a limit of the size of a file (write(2)).
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}
