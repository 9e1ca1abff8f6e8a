package audit

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

// Holder reports whether a Log writes to the directory dir, in this process or
// in another one, and the id of that process, 0 if it does not say. It creates
// nothing: a directory without a log is held by nobody.
func Holder(dir string) (pid int, held bool, err error) {
	path := filepath.Join(dir, lockName)
	lock := flock.New(path, flock.SetFlag(os.O_RDONLY|linkless))
	free, err := lock.TryRLock()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, false, nil
	case err != nil:
		return 0, false, err
	case free:
		return 0, false, lock.Unlock()
	}
	return signer(path), true, nil
}

// glance bounds how long Holder may have the lock: no system call tells who
// holds one on every system, so it takes a shared one for a moment, which must
// not keep a Log from being opened.
const glance = 100 * time.Millisecond
