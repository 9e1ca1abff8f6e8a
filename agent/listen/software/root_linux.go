package software

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// openRegular opens a regular file of dir. The first open only names the file
// (O_PATH of open(2)), so that nothing happens to a device or a pipe; the
// second one goes through /proc/self/fd to that same file, whatever the name
// means by then.
func openRegular(dir *os.Root, name string) (*os.File, error) {
	p, err := dir.OpenFile(name, unix.O_PATH, 0)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	fi, err := p.Stat()
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, notRegular(name, fi.Mode())
	}
	fd, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", p.Fd()), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}
