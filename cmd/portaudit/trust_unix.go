//go:build unix

package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks is how many links are followed, as many as Linux does
// (path_resolution(7)).
const maxLinks = 40

// descent goes from the root directory to a file, one name after the other, and
// judges each directory by the descriptor in which it opens the next.
type descent struct {
	path  string // where it goes
	as    role   // what is there
	euid  uint32
	dirs  []directory // that are open, from the root directory down
	names []string    // that are still to be gone
	floor int         // how many of dirs a link in the place of the file must not leave, 0 before that
	links int

	outward error // what to say of the last link if it leaves the floor
	arrived bool  // what is last among dirs is what was asked for
}

// directory is one that is open, or at last the file.
type directory struct {
	fd   int
	path string
	held holding
}

// openTrusted opens a file, or a directory that is to be listed. It refuses, as
// untrusted, what others can change, itself or on the way to it. What is neither
// is refused before it is opened: no pipe is waited for, and no device touched.
func openTrusted(path string, as role) (*os.File, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	d := &descent{path: path, as: as, euid: uint32(os.Geteuid()), names: parts(path)}
	defer func() { d.leave(0) }()
	if err := d.enter(unix.AT_FDCWD, "/", "/", onTheWay); err != nil {
		return nil, err
	}
	for len(d.names) > 0 {
		if err := d.step(); err != nil {
			return nil, err
		}
	}
	last := len(d.dirs) - 1
	opened := d.dirs[last]
	if !d.arrived { // the root directory, or one on the way
		return nil, d.failed(unix.EISDIR)
	}
	d.dirs = d.dirs[:last]
	if err := unix.SetNonblock(opened.fd, false); err != nil {
		return nil, d.failed(err)
	}
	return os.NewFile(uintptr(opened.fd), path), nil
}

// parts returns the names of a path.
func parts(path string) []string {
	return slices.DeleteFunc(strings.Split(path, "/"), func(name string) bool { return name == "" || name == "." })
}

func (d *descent) failed(err error) error { return &fs.PathError{Op: "open", Path: d.path, Err: err} }

// step goes one name further.
func (d *descent) step() error {
	if len(d.names) == 1 && d.floor == 0 {
		d.floor = len(d.dirs)
	}
	name := d.names[0]
	d.names = d.names[1:]
	here := d.dirs[len(d.dirs)-1]
	if name == ".." { // of a link: the directory before is still open
		if len(d.dirs) == d.floor {
			return d.outward
		}
		d.leave(max(1, len(d.dirs)-1))
		return nil
	}
	path := filepath.Join(here.path, name)
	var st unix.Stat_t
	if err := unix.Fstatat(here.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return d.failed(err)
	}
	as := onTheWay
	if len(d.names) == 0 {
		as = d.as
	}
	switch kind := st.Mode & unix.S_IFMT; {
	case kind == unix.S_IFLNK:
		return d.follow(name, path, heldBy(&st))
	case as == text && kind == unix.S_IFDIR:
		return d.failed(unix.EISDIR)
	case as == text && kind != unix.S_IFREG:
		return untrusted{path, "is no file, but a device, pipe or socket", "name a file"}
	}
	return d.enter(here.fd, name, path, as)
}

// enter opens what has a name in a directory, and goes there if it can be trusted.
func (d *descent) enter(dir int, name, path string, as role) error {
	flags := unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_NONBLOCK
	switch as {
	case onTheWay:
		flags |= unix.O_DIRECTORY | lookOnly
	case folder:
		flags |= unix.O_DIRECTORY
	}
	fd, err := unix.Openat(dir, name, flags, 0)
	if err != nil {
		return d.failed(err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		_ = unix.Close(fd) // nothing was written to it
		return d.failed(err)
	}
	d.dirs = append(d.dirs, directory{fd, path, heldBy(&st)})
	d.arrived = as != onTheWay
	return heldBy(&st).distrust(path, as, d.euid)
}

// follow puts what a link leads to in its place.
func (d *descent) follow(name, path string, link holding) error {
	here := d.dirs[len(d.dirs)-1]
	if err := distrustLink(path, link, here.held, d.euid); err != nil {
		return err
	}
	if d.links++; d.links > maxLinks {
		return d.failed(unix.ELOOP)
	}
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(here.fd, name, buf)
	if err != nil {
		return d.failed(err)
	}
	target := string(buf[:n])
	absolute := strings.HasPrefix(target, "/")
	d.outward = leadsOut(path, target)
	switch {
	case absolute && d.floor > 0:
		return d.outward
	case absolute:
		d.leave(1)
	}
	d.names = append(parts(target), d.names...)
	return nil
}

// leave goes back up, until so many directories are open.
func (d *descent) leave(open int) {
	for len(d.dirs) > open {
		last := len(d.dirs) - 1
		_ = unix.Close(d.dirs[last].fd) // nothing was written to it
		d.dirs = d.dirs[:last]
	}
}

// heldBy translates what the system tells of a file.
func heldBy(st *unix.Stat_t) holding {
	mode := fs.FileMode(st.Mode & 0o777)
	if st.Mode&unix.S_ISVTX != 0 {
		mode |= fs.ModeSticky
	}
	return holding{st.Uid, mode}
}

// stampOf tells one state of a file from another, without reading it: the system
// sets the time of a change whatever changes, and nobody can set it back.
func stampOf(path string) stamp {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return stamp{}
	}
	return stamp{here: true, file: st.Ino, size: st.Size, changed: st.Ctim.Nano()}
}
