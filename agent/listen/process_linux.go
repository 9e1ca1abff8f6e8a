package listen

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// processFacts is what was read of one process.
type processFacts struct {
	owner Owner
	exe   fileID
	root  fileID
	users uint64    // inode of its user namespace, 0 if unknown
	mode  uint32    // of the executable
	lost  []holding // what it does not hold after all
	err   error     // of a file that could be read and was of no known form
}

// processReader reads processes; it is for one goroutine.
type processReader struct {
	proc   int // descriptor of /proc
	buffer []byte
	link   []byte
	path   [64]byte
}

func newProcessReader(proc int) *processReader {
	// A command line has no bound; its first 64 KiB tell it well enough.
	return &processReader{proc: proc, buffer: make([]byte, 64<<10), link: make([]byte, unix.PathMax)}
}

// startingTime is how long the kernel takes from giving a process its new
// program to giving it its arguments (load_elf_binary in fs/binfmt_elf.c); who
// reads in between finds none.
const startingTime = 500 * time.Microsecond

// read reads what is known of the process that c names. The directory in /proc
// stays bound to the process that it was opened for: when that ends, and its
// number goes to another one, files in it can no longer be read
// (fs/proc/base.c, get_proc_task). So all that is read is of one process, and
// it is the right one if it has the descriptor or the start time of c. Where
// there is no start time each descriptor must be looked at: the number may have
// gone to a process that has some of the same sockets, a sibling.
func (r *processReader) read(c claim) processFacts {
	raced := processFacts{owner: Owner{How: Raced, PID: int(c.pid)}}
	dir, err := openAt(r.proc, append(appendNumber(r.path[:0], int(c.pid)), 0), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return raced
	}
	defer unix.Close(dir)
	p := r.readSteady(dir, c.holding)
	if p.owner.How != Raced {
		for _, h := range c.rest {
			if !r.holdsNow(dir, h) {
				p.lost = append(p.lost, h)
			}
		}
	}
	return p
}

// readSteady reads the process whose directory is open, as it is while it runs
// one program.
func (r *processReader) readSteady(dir int, h holding) processFacts {
	raced := processFacts{owner: Owner{How: Raced, PID: int(h.pid)}}
	for try := range 4 { // it may run another program meanwhile (execve(2))
		if try > 0 {
			time.Sleep(startingTime)
		}
		before, _ := fileAt(dir, "exe") // what may not be looked at is the same, nothing, later
		p := r.readOnce(dir, h)
		if p.owner.How == Raced || before == p.exe && (len(p.owner.Arguments) > 0 || p.owner.Executable == "") {
			return p
		}
		raced.err = p.err
		if before == p.exe {
			raced = p // a program without arguments, or one that is just being started
		}
	}
	return raced
}

// readOnce is readSteady, of a process that may run another program meanwhile.
func (r *processReader) readOnce(dir int, h holding) processFacts {
	raced := processFacts{owner: Owner{How: Raced, PID: int(h.pid)}}
	// The arguments first: execve(2) gives the process its new file, then its name,
	// then its arguments (begin_new_exec in fs/exec.c), so that behind arguments the
	// name is of the same program.
	var arguments []string
	if b, err := r.file(dir, "cmdline\x00"); err == nil {
		arguments = parseCommandLine(b)
	}
	b, err := r.file(dir, "stat\x00")
	if err != nil {
		return raced
	}
	s, err := parseStat(b)
	if err != nil {
		return processFacts{owner: raced.owner, err: err}
	}
	if h.start != 0 && s.start != h.start || h.start == 0 && !r.holdsNow(dir, h) {
		return raced
	}
	p := processFacts{owner: Owner{How: Process, PID: int(h.pid), Parent: s.parent, Command: s.command, Arguments: arguments, Start: s.start}}
	r.readStatus(dir, &p)
	r.readRest(dir, &p)
	if err := r.readExecutable(dir, &p); errors.Is(err, unix.ESRCH) || errors.Is(err, fs.ErrNotExist) && !s.kernelThread {
		return raced // it ended while it was read: a process that lives has an executable
	}
	p.owner.How = howOf(p.owner)
	return p
}

// file reads a file of the process whose directory is open. name ends with a NUL.
func (r *processReader) file(dir int, name string) ([]byte, error) {
	n, err := readFileAt(dir, append(r.path[:0], name...), r.buffer)
	return r.buffer[:n], err
}

// holdsNow reports whether the descriptor still leads to the socket.
func (r *processReader) holdsNow(dir int, h holding) bool {
	path := append(appendNumber(append(r.path[:0], "fd/"...), int(h.fd)), 0)
	target := readLinkAt(dir, path, r.link)
	if h.ring {
		return string(target) == ringLink
	}
	inode, ok := parseSocketLink(target)
	return ok && inode == h.inode
}

// stillHolds reports whether a process still has the descriptor of a socket.
// Where that cannot be seen, what was seen before stands.
func (r *processReader) stillHolds(h holder, inode uint64) bool {
	path := append(appendNumber(r.path[:0], int(h.pid)), "/fd/"...)
	path = append(appendNumber(path, int(h.fd)), 0)
	target, err := readLinkErr(r.proc, path, r.link)
	if err != nil {
		return errors.Is(err, fs.ErrPermission)
	}
	now, ok := parseSocketLink(target)
	return ok && now == inode
}

func (r *processReader) readStatus(dir int, p *processFacts) {
	b, err := r.file(dir, "status\x00")
	if err != nil {
		return
	}
	s, err := parseStatus(b)
	if err != nil {
		p.err = err
		return
	}
	p.owner.UID, p.owner.BindCapability = s.uid, s.bindCapability
	p.owner.Effective, p.owner.Permitted, p.owner.Groups = s.effective, s.permitted, s.groups
}

// readRest reads the files that a kernel may lack or a process may hide.
func (r *processReader) readRest(dir int, p *processFacts) {
	if b, err := r.file(dir, "cgroup\x00"); err == nil {
		c := parseCgroup(b)
		p.owner.Cgroup, p.owner.Unit, p.owner.Container = c.path, c.unit, c.container
	}
	if b, err := r.file(dir, "loginuid\x00"); err == nil {
		p.owner.Login, p.err = parseLoginUID(b)
	}
	p.users, _ = parseNamespaceLink(readLinkAt(dir, append(r.path[:0], "ns/user\x00"...), r.link))
}

// readExecutable reads which file the process runs and whether it still has a
// name. An error is that of the link alone.
func (r *processReader) readExecutable(dir int, p *processFacts) error {
	var running, root unix.Stat_t
	n, err := unix.Readlinkat(dir, "exe", r.link)
	if err != nil {
		return err
	}
	target := string(r.link[:n])
	p.owner.Executable = target
	if err := unix.Fstatat(dir, "exe", &running, 0); err != nil {
		return nil // nobody may look at the file: all that is known of it is its name
	}
	if unix.Fstatat(dir, "root", &root, 0) == nil {
		p.root = fileID{root.Dev, root.Ino}
	}
	p.exe, p.mode = fileID{running.Dev, running.Ino}, running.Mode
	o := &p.owner
	o.Deleted, o.Memory = No, No
	// A file may also be called as if it were deleted: what counts is that no
	// directory names the inode any more.
	if running.Nlink == 0 {
		o.Executable = strings.TrimSuffix(target, deletedSuffix)
		o.unnamed()
	}
	if o.Deleted == Yes {
		// Through root/, so that the path is looked up where the process sees it.
		var onDisk unix.Stat_t
		err := unix.Fstatat(dir, "root"+o.Executable, &onDisk, 0)
		o.Replaced = answer(err == nil && (fileID{onDisk.Dev, onDisk.Ino}) != p.exe)
	}
	return nil
}

// equalProcesses reports whether a snapshot tells the same of both.
func equalProcesses(a, b processFacts) bool {
	return a.exe == b.exe && a.users == b.users && a.owner.equal(b.owner)
}

// worldWritable reports whether every user may write to the file or into any
// directory above it, as the process whose root is named sees them. A sticky
// directory counts: it keeps users from removing each other's files and from
// nothing else.
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

// readParent returns the parent, the start and the name of a process.
func (r *processReader) readParent(pid int) (procStat, error) {
	path := append(appendNumber(r.path[:0], pid), "/stat\x00"...)
	n, err := readFileAt(r.proc, path, r.buffer)
	if err != nil {
		return procStat{}, os.NewSyscallError("read", err)
	}
	return parseStat(r.buffer[:n])
}

// executable returns which file a process runs.
func (r *processReader) executable(pid int32) (fileID, error) {
	return fileAt(r.proc, string(append(appendNumber(r.path[:0], int(pid)), "/exe"...)))
}

// fileAt returns which file a path leads to.
func fileAt(dir int, path string) (fileID, error) {
	var s unix.Stat_t
	if err := unix.Fstatat(dir, path, &s, 0); err != nil {
		return fileID{}, err
	}
	return fileID{s.Dev, s.Ino}, nil
}
