package listen

import (
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// readExecutable reads which file the process runs, whether that file still
// has a name, and whether everybody may write where it lies.
func (p *procfs) readExecutable(o *Owner) {
	link := p.path(o.PID, "exe")
	target, err := os.Readlink(link)
	if err != nil {
		return
	}
	o.Executable = target
	var running unix.Stat_t
	if err := unix.Stat(link, &running); err != nil {
		return
	}
	// The kernel appends " (deleted)" (d_path), but a file may also be called
	// that: what counts is that no directory names the inode any more.
	o.Deleted = answer(running.Nlink == 0)
	if o.Deleted == Yes {
		o.Executable = strings.TrimSuffix(target, " (deleted)")
	}
	// Through root/, so that the path is looked up where the process sees it.
	root := p.path(o.PID, "root")
	var onDisk unix.Stat_t
	if o.Deleted == Yes {
		err := unix.Stat(root+o.Executable, &onDisk)
		o.Replaced = answer(err == nil && onDisk.Ino != running.Ino)
	}
	o.WorldWritable = worldWritable(root, o.Executable, running.Mode)
}

// worldWritable reports whether every user may write to the file or into any
// directory above it. A sticky directory counts: it keeps users from removing
// each other's files and from nothing else.
func worldWritable(root, executable string, mode uint32) Answer {
	if mode&unix.S_IWOTH != 0 {
		return Yes
	}
	if !path.IsAbs(executable) {
		return Unknown
	}
	for dir := path.Dir(executable); ; dir = path.Dir(dir) {
		var s unix.Stat_t
		if err := unix.Stat(root+dir, &s); err != nil {
			if dir == path.Dir(executable) {
				return Unknown // memfd, or a directory that is gone
			}
		} else if s.Mode&unix.S_IWOTH != 0 {
			return Yes
		}
		if dir == "/" {
			return No
		}
	}
}
