package software

import (
	"fmt"
	"os"
	"slices"

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

// readSmall reads a regular file of an open directory, by a name without a
// slash, in place of b, in half of the calls that os takes: a host has some
// thousand such files. Of a link, a file larger than most, or anything out of
// the ordinary it returns errNotSmall. A directory that is trusted holds no
// device that somebody else has put there.
func readSmall(dir *os.File, name string, trusted bool, most int64, b []byte) ([]byte, error) {
	flags := unix.O_PATH
	if trusted {
		flags = unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY
	}
	fd, err := unix.Openat(int(dir.Fd()), name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, errNotSmall
	}
	defer func() { unix.Close(fd) }()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size > most {
		return nil, errNotSmall
	}
	if !trusted { // see openRegular
		file, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, errNotSmall
		}
		unix.Close(fd)
		fd = file
	}
	b = slices.Grow(b[:0], int(st.Size))[:st.Size]
	for done := 0; done < len(b); {
		n, err := unix.Read(fd, b[done:])
		if err != nil || n <= 0 {
			return nil, errNotSmall
		}
		done += n
	}
	return b, nil
}
