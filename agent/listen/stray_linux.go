package listen

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/portaudit/portaudit/agent/listen/walk"
	"github.com/portaudit/portaudit/registry"
)

// stray is what was found out about a socket that no descriptor leads to. Such
// a socket is the kernel's own, or a program keeps it open in another way: as a
// registered file of an io_uring (io_uring_register(2)), in a message that
// nobody has received yet (SCM_RIGHTS in unix(7)), by a mapping, or by a call
// on it that has not returned while another thread closed the descriptor.
type stray struct {
	how   How       // Kernel, Unheld; NotResolved while it is not known
	rings []holding // the io_urings that hold it
	asked time.Time
}

// maxRingFile bounds what is read of one io_uring: some 100,000 files.
const maxRingFile = 4 << 20

// askStrays finds out about the sockets that stay without a descriptor. The
// answer holds for readAgain: on a host with none that is unexplained it costs
// nothing.
func (e *engine) askStrays(ctx context.Context) error {
	if e.options.Once && e.nobody() == Denied {
		return nil // somebody waits, and more than that some process may hold them is seldom learned
	}
	now := time.Now()
	lost := map[*space][]*entry{}
	inodes := map[uint64]bool{}
	for _, s := range e.spaces {
		for _, k := range s.known {
			inode := uint64(k.row.Inode)
			if e.inodes[inode] && len(e.holdings(k)) == 0 && e.lasting(k, now) && now.Sub(k.stray.asked) >= readAgain {
				lost[s] = append(lost[s], k)
				inodes[inode] = true
			}
		}
	}
	if len(lost) == 0 {
		return nil
	}
	exact := e.askTables(ctx, lost, inodes)
	if len(inodes) > 0 {
		if err := e.askRings(ctx, lost, inodes); err != nil {
			return err
		}
	}
	for _, list := range lost {
		for _, k := range list {
			k.stray.asked = now
			if k.stray.how == NotResolved && (exact[k] || k.row.UID != 0) {
				k.stray.how = Unheld
			}
		}
	}
	e.addRings()
	e.index()
	return ctx.Err()
}

// lasting reports whether a socket has been without a holder for longer than a
// process takes to end.
func (e *engine) lasting(k *entry, now time.Time) bool {
	return e.options.Once || !k.orphan.IsZero() && now.Sub(k.orphan) >= 5*endingTime
}

// askTables asks the kernel which of the sockets are its own, takes those off
// inodes, and returns of which it would have told. Where it cannot be asked, the
// answer is empty: then a socket of root's that nobody holds passes for one.
func (e *engine) askTables(ctx context.Context, lost map[*space][]*entry, inodes map[uint64]bool) map[*entry]bool {
	told := map[*entry]bool{}
	if e.options.Way == Proc || e.root != procRoot {
		return told
	}
	tables, err := walk.OpenTables()
	if err != nil {
		return told
	}
	defer tables.Close()
	for s, list := range lost {
		var kept []uint64
		err := s.inside(func() (err error) {
			kept, err = tables.Kept(ctx)
			return err
		})
		if err != nil {
			continue // the namespace has vanished
		}
		own := map[uint64]bool{}
		for _, inode := range kept {
			own[inode] = true
		}
		for _, k := range list {
			k.stray = stray{}
			if k.transport != registry.TCP && k.transport != registry.UDP {
				continue // there is no such iterator
			}
			told[k] = true
			if inode := uint64(k.row.Inode); own[inode] {
				k.stray.how = Kernel
				delete(inodes, inode)
			}
		}
	}
	return told
}

// askRings looks for the sockets among the files of every io_uring.
func (e *engine) askRings(ctx context.Context, lost map[*space][]*entry, inodes map[uint64]bool) error {
	f := newProcFinder(e.proc)
	for i := range f.workers {
		f.workers[i].rings = true
	}
	pids, err := listNumbers(e.proc, []byte(".\x00"), nil)
	if err != nil {
		return err
	}
	rings, _, err := f.find(ctx, pids, inodes, nil)
	if err != nil {
		return err
	}
	found := map[uint64][]holding{}
	for _, r := range rings {
		if !r.ring {
			continue
		}
		for _, inode := range e.reader.ringFiles(r) {
			if inodes[inode] {
				found[inode] = append(found[inode], holding{inode: inode, pid: r.pid, fd: r.fd, ring: true})
			}
		}
	}
	for _, list := range lost {
		for _, k := range list {
			k.stray.rings = found[uint64(k.row.Inode)]
		}
	}
	return nil
}

// addRings adds the io_urings that hold strays to what was found, as far as they
// hold them still.
func (e *engine) addRings() {
	for _, s := range e.spaces {
		for _, k := range s.known {
			if len(k.stray.rings) == 0 {
				continue
			}
			kept := slices.DeleteFunc(slices.Clone(k.stray.rings), func(r holding) bool { return !e.reader.ringHolds(r) })
			if k.stray.rings = kept; len(kept) == 0 {
				k.stray = stray{}
			}
			e.found = append(e.found, kept...)
		}
	}
}

// ringHolds reports whether the io_uring still has the socket.
func (r *processReader) ringHolds(h holding) bool {
	return slices.Contains(r.ringFiles(h), h.inode)
}

// ringFiles returns the sockets among the registered files of an io_uring. The
// kernel leaves them out while the ring is busy (io_uring/fdinfo.c), so it is
// asked several times.
func (r *processReader) ringFiles(h holding) []uint64 {
	path := append(appendNumber(append(appendNumber(r.path[:0], int(h.pid)), "/fdinfo/"...), int(h.fd)), 0)
	for range 5 {
		b, err := readAllAt(r.proc, path, maxRingFile)
		if err != nil {
			return nil
		}
		if inodes, told := parseRingFiles(b); told {
			return inodes
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}

// readAllAt reads a file of /proc whose path ends with a NUL, up to a size.
func readAllAt(dir int, path []byte, size int) ([]byte, error) {
	fd, err := openAt(dir, path, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	all := make([]byte, 0, 4<<10)
	for len(all) < size {
		all = append(all, make([]byte, 4<<10)...)
		n, err := unix.Read(fd, all[len(all)-4<<10:])
		all = all[:len(all)-4<<10+max(n, 0)]
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return nil, err
		case n == 0:
			return all, nil
		}
	}
	return nil, io.ErrShortBuffer
}
