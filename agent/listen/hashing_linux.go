package listen

import (
	"context"
	"errors"
	"maps"
	"os"

	"golang.org/x/sys/unix"

	"github.com/portaudit/portaudit/agent/listen/digest"
)

// maxHashing bounds how many programs are hashed beside everything else at a
// time: each is an open file.
const maxHashing = 64

// maxUnhashable bounds the programs that are remembered for not having a digest.
const maxUnhashable = 1000

// hashing is programs that are being hashed on a core of their own. A large one
// takes as long as telling of a hundred listeners.
type hashing struct {
	cancel context.CancelFunc
	done   chan struct{}   // closed when all of it was looked at
	failed map[fileID]bool // those that cannot be hashed; to be read when done is closed
}

// hashBeside begins to hash the programs of the processes that wait for that,
// unless some are being hashed. What it comes to is told when these processes are
// read again.
func (e *engine) hashBeside() {
	if e.hashed(); e.hashing != nil || len(e.pending) == 0 || e.options.Once {
		return
	}
	programs := map[fileID]*os.File{}
	for pid := range e.pending {
		k := e.processes[pid]
		if len(programs) == maxHashing || k == nil || programs[k.exe] != nil {
			continue
		}
		if f, _, err := openProgram(e.directory(pid)+"/exe", k.exe); err == nil {
			programs[k.exe] = f
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	h := &hashing{cancel: cancel, done: make(chan struct{}), failed: map[fileID]bool{}}
	e.hashing = h
	hasher := e.patient
	go func() { // ends with the last of them, or when the engine is closed
		defer close(h.done)
		for exe, f := range programs {
			if _, err := hasher.SumFile(ctx, f); err != nil && !errors.Is(err, digest.ErrBusy) {
				h.failed[exe] = true
			}
			_ = f.Close() // it was only read
		}
	}()
}

// hashed notes that the programs that were being hashed have all been, if so.
func (e *engine) hashed() {
	if e.hashing == nil {
		return
	}
	select {
	case <-e.hashing.done:
		e.stopHashing()
	default:
	}
}

// stopHashing waits for the end of what is being hashed.
func (e *engine) stopHashing() {
	if e.hashing == nil {
		return
	}
	e.hashing.cancel()
	<-e.hashing.done
	if len(e.unhashable) > maxUnhashable {
		clear(e.unhashable) // they are tried again
	}
	maps.Copy(e.unhashable, e.hashing.failed)
	e.hashing = nil
}

var errOtherProgram = errors.New("the process runs another program by now")

// openProgram opens the program of a process, if it is the one that it was, and
// returns its size.
func openProgram(path string, exe fileID) (*os.File, int64, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // nothing waits here, whatever a link leads to
	if err != nil {
		return nil, 0, err
	}
	var s unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &s); err != nil || exe != (fileID{s.Dev, s.Ino}) {
		_ = f.Close()
		return nil, 0, errOtherProgram
	}
	return f, s.Size, nil
}
