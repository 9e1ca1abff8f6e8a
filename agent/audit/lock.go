package audit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/gofrs/flock"
)

// ErrLocked is what Open fails with, for errors.Is, if another Log writes to
// the directory, be it in this process or in another one.
var ErrLocked = errors.New("the audit log is in use")

// pidOffset is where in the lock file the process id starts. LockFileEx keeps
// everyone else from the byte that is locked, the first, even from reading it:
// https://learn.microsoft.com/en-us/windows/win32/api/fileapi/nf-fileapi-lockfileex
func pidOffset() int64 {
	if runtime.GOOS == "windows" {
		return 1
	}
	return 0
}

// acquire takes the lock of the log in dir. The lock file is never removed:
// that would let a second process lock a new one beside it.
func acquire(dir string) (*flock.Flock, error) {
	path := filepath.Join(dir, lockName)
	lock := flock.New(path, flock.SetFlag(os.O_CREATE|os.O_RDONLY|linkless))
	ctx, cancel := context.WithTimeout(context.Background(), glance)
	defer cancel()
	ok, err := lock.TryLockContext(ctx, glance/10)
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("%w: %s holds %s; stop it or choose another directory", ErrLocked, holder(path), path)
	}
	if err := sign(path); err != nil {
		return nil, errors.Join(err, lock.Unlock())
	}
	return lock, nil
}

// sign writes the id of this process into the lock file that it holds. It is
// padded, so that it covers the one before without a moment of an empty file.
func sign(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|linkless, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(fmt.Appendf(nil, "%-10d\n", os.Getpid()), pidOffset())
	return errors.Join(err, f.Close())
}

// holder names the process that holds the lock file, as far as it says so.
func holder(path string) string {
	if pid := signer(path); pid != 0 {
		return "process " + strconv.Itoa(pid)
	}
	return "an unknown process"
}

// signer returns the id of the process that signed the lock file last, 0 if
// there is none in it.
func signer(path string) int {
	f, err := openRegular(path)
	if err != nil {
		return 0
	}
	defer f.Close()
	buf := make([]byte, 10)
	n, _ := f.ReadAt(buf, pidOffset()) // a short one is judged by what it holds
	pid, err := strconv.Atoi(strings.TrimSpace(string(buf[:n])))
	if err != nil || pid < 1 {
		return 0
	}
	return pid
}
