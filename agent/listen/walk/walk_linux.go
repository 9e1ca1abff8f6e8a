package walk

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"
)

// Walker is a program that is loaded and ready. It is not safe for concurrent
// use.
type Walker struct {
	kind     Kind
	fallback error
	socket   int // of this process: by it the program learns what a socket's file is
	objs     loaded
	state    []byte // struct state of each lane, mapped
	capacity int    // rows in each lane
	lanes    int    // threads that walk at the same time, each a part of the processes
}

// loaded is what the kernel holds for a Walker. The references are kept: a link
// that the garbage collector takes detaches.
type loaded struct {
	maps    *ebpf.Collection
	program *ebpf.Program
	link    *link.Iter
}

// startRows is how many rows there is room for at first, in all lanes: 1.5 MiB.
// A walk that finds more makes room for them and starts again.
const startRows = 16 << 10

// maxRows bounds the room: 1.5 GiB, more than any host has listeners.
const maxRows = 16 << 20

// maxLanes is that of walk.bpf.c.
const maxLanes = 8

// Open loads the faster program that this kernel takes, or the one of the kind
// that is asked for if that is not 0. Where the kind allows it so many threads
// walk at the same time, each a part of the processes: that takes no less work,
// but less time. Its error is an *UnavailableError, which wraps
// fs.ErrPermission if the right to do so is missing.
func Open(kind Kind, threads int) (*Walker, error) {
	kinds := []Kind{Tasks, Files}
	if kind != 0 {
		kinds = []Kind{kind}
	}
	return openFirst(kinds, func(kind Kind) (*Walker, error) { return open(kind, threads, uint32(startRows/max(1, threads))) })
}

// openFirst opens the first of the kinds that opens.
func openFirst(kinds []Kind, open func(Kind) (*Walker, error)) (*Walker, error) {
	var errs []error
	for _, kind := range kinds {
		w, err := open(kind)
		if err == nil {
			w.fallback = errors.Join(errs...)
			return w, nil
		}
		errs = append(errs, fmt.Errorf("%s iterator: %w", kind, err))
		if errors.Is(err, os.ErrPermission) {
			break // the other would fail alike
		}
	}
	err := errors.Join(errs...)
	return nil, &UnavailableError{Lack: observe(kinds[len(kinds)-1], err).lack(), Err: err}
}

func open(kind Kind, threads int, capacity uint32) (*Walker, error) {
	w := &Walker{kind: kind, socket: -1, capacity: int(capacity), lanes: 1}
	if kind == Tasks {
		w.lanes = max(1, min(threads, maxLanes))
	}
	if err := w.load(); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

// RemoveLimit lets this process load programs from now on, whatever rights it
// keeps: kernels before 5.11 count them against RLIMIT_MEMLOCK. Where the limit
// may not be raised, loading says so.
func RemoveLimit() { _ = rlimit.RemoveMemlock() }

// load loads the program.
func (w *Walker) load() error {
	RemoveLimit()
	spec, err := w.prepare()
	if err != nil {
		return err
	}
	if w.objs.maps, err = ebpf.NewCollection(&ebpf.CollectionSpec{Maps: spec.Maps, Variables: spec.Variables, ByteOrder: spec.ByteOrder}); err != nil {
		return fmt.Errorf("make the maps: %w", err)
	}
	names := map[Kind]string{Tasks: programsProgWalkTasks, Files: programsProgWalkFiles}
	program := spec.Programs[names[w.kind]]
	for name, m := range w.objs.maps.Maps {
		if err := program.Instructions.AssociateMap(name, m); err != nil && !errors.Is(err, asm.ErrUnreferencedSymbol) {
			return fmt.Errorf("map %s: %w", name, err)
		}
	}
	if w.objs.program, err = newProgram(program, spec.Types); err != nil {
		return fmt.Errorf("load: %w", err)
	}
	if w.objs.link, err = link.AttachIter(link.IterOptions{Program: w.objs.program}); err != nil {
		return fmt.Errorf("attach: %w", err)
	}
	if w.state, err = mapped(w.objs.maps.Maps[programsMapWalked], w.lanes*stateSize); err != nil {
		return err
	}
	return w.learn()
}

// prepare reads the programs and sets their constants.
func (w *Walker) prepare() (*ebpf.CollectionSpec, error) {
	var inode uint64
	var err error
	if w.socket, inode, err = ownSocket(); err != nil {
		return nil, err
	}
	spec, err := loadPrograms()
	if err != nil {
		return nil, fmt.Errorf("read the program: %w", err)
	}
	spec.Maps[programsMapRows].MaxEntries = uint32(w.lanes * w.capacity)
	spec.Maps[programsMapWalked].MaxEntries = uint32(w.lanes)
	return spec, errors.Join(
		spec.Variables[programsVarOwnSocket].Set(uint32(w.socket)),
		spec.Variables[programsVarOwnInode].Set(inode),
		spec.Variables[programsVarCapacity].Set(uint32(w.capacity)),
		spec.Variables[programsVarLanes].Set(uint32(w.lanes)),
	)
}

// errFields says that the program does not find in the kernel what it looks for.
var errFields = errors.New("the program does not recognise a socket of this process")

// learn lets the program learn what the file of a socket is, which proves that
// it reads the right fields of this kernel.
func (w *Walker) learn() error {
	w.take(0)
	defer w.release(0)
	r, err := w.objs.link.Open()
	if err != nil {
		return fmt.Errorf("open the iterator: %w", err)
	}
	defer r.Close()
	var b [16]byte
	if _, err := r.Read(b[:]); !errors.Is(err, unix.EAGAIN) {
		return fmt.Errorf("%w: %v", errFields, err)
	}
	learned := binary.NativeEndian.Uint64(w.state[stateSocketOps:])
	if learned == 0 {
		return errFields
	}
	for lane := range w.lanes {
		binary.NativeEndian.PutUint64(w.lane(lane)[stateSocketOps:], learned)
	}
	return nil
}

// mapped maps the content of an array; the kernel rounds it up to whole pages.
func mapped(m *ebpf.Map, size int) ([]byte, error) {
	page := os.Getpagesize()
	size = (size + page - 1) / page * page
	b, err := unix.Mmap(m.FD(), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map the rows: %w", err)
	}
	return b, nil
}

// The form of struct state in walk.bpf.c.
const (
	stateSize      = 64
	stateSocketOps = 0
	stateFiles     = 8
	stateCount     = 20
	stateSkipped   = 24
	stateReader    = 28
)

// lane returns the state of a lane.
func (w *Walker) lane(i int) []byte { return w.state[i*stateSize : (i+1)*stateSize] }

// reset forgets the walk before.
func (w *Walker) reset() {
	for i := range w.lanes {
		clear(w.lane(i)[stateFiles:])
	}
}

// take gives a lane to the calling thread, until release: the thread may have
// another one next.
func (w *Walker) take(lane int) {
	runtime.LockOSThread()
	binary.NativeEndian.PutUint32(w.lane(lane)[stateReader:], uint32(unix.Gettid()))
}

func (w *Walker) release(lane int) {
	binary.NativeEndian.PutUint32(w.lane(lane)[stateReader:], 0)
	runtime.UnlockOSThread()
}

// Kind returns how the kernel is made to walk.
func (w *Walker) Kind() Kind { return w.kind }

// Fallback says why a faster kind could not be had, nil if this is the fastest
// or the one that was asked for.
func (w *Walker) Fallback() error { return w.fallback }

// Walk visits every descriptor of every process that can be seen from the pid
// namespace of this process, and calls visit for each that leads to a socket
// that listens or could within a moment: TCP and its like in LISTEN, or bound
// and closed; datagram sockets that are bound and not connected; raw and packet
// sockets; vsocks in LISTEN. The row is only valid during the call. Processes
// that share a socket are visited each; a process that has it twice, twice.
//
// It allocates next to nothing, so it may be called often.
func (w *Walker) Walk(ctx context.Context, visit func(*Row)) error {
	for {
		if err := w.run(ctx); err != nil {
			return err
		}
		n := w.most()
		if n <= w.capacity {
			return w.visit(visit)
		}
		if n > maxRows {
			return fmt.Errorf("walk the descriptors: %d listening sockets are more than %d", n, maxRows)
		}
		if err := w.grow(uint32(n)); err != nil {
			return err
		}
	}
}

// count returns how many rows a lane found.
func (w *Walker) count(lane int) int {
	return int(binary.NativeEndian.Uint32(w.lane(lane)[stateCount:]))
}

// most returns how many rows the lane found that found most.
func (w *Walker) most() int {
	n := 0
	for lane := range w.lanes {
		n = max(n, w.count(lane))
	}
	return n
}

// visit calls do for each row, those of each lane together. The rows are mapped
// only meanwhile: megabytes, which a daemon has no use for between its walks.
func (w *Walker) visit(do func(*Row)) error {
	rows, err := mapped(w.objs.maps.Maps[programsMapRows], w.lanes*w.capacity*rowSize)
	if err != nil {
		return err
	}
	var r Row
	for lane := range w.lanes {
		from := lane * w.capacity * rowSize
		for i := range w.count(lane) {
			decode(rows[from+i*rowSize:], &r)
			do(&r)
		}
	}
	return unix.Munmap(rows)
}

// grow makes room for n rows in each lane, and for as many again that may come
// meanwhile.
func (w *Walker) grow(n uint32) error {
	larger, err := open(w.kind, w.lanes, min(2*n, maxRows))
	if err != nil {
		return err
	}
	larger.fallback = w.fallback
	err = w.Close()
	*w = *larger
	return err
}

// run lets the program walk once, all lanes at the same time. All goroutines
// have ended when it returns.
func (w *Walker) run(ctx context.Context) error {
	w.reset()
	if w.lanes == 1 {
		return w.read(ctx, 0) // no goroutine: it may be called often
	}
	errs := make([]error, w.lanes)
	var all sync.WaitGroup
	for lane := range w.lanes {
		all.Go(func() { errs[lane] = w.read(ctx, lane) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// read lets the kernel walk one lane.
func (w *Walker) read(ctx context.Context, lane int) error {
	w.take(lane)
	defer w.release(lane)
	r, err := w.objs.link.Open()
	if err != nil {
		return fmt.Errorf("open the iterator: %w", err)
	}
	defer r.Close()
	var b [16]byte // the program writes nothing here
	for {
		n, err := r.Read(b[:])
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, unix.EAGAIN):
			// So many tasks that the kernel wants to be asked again: not the end
			// (bpf_seq_read in kernel/bpf/bpf_iter.c).
		case n == 0: // the end, which io.Reader says with io.EOF
			if n := binary.NativeEndian.Uint32(w.lane(lane)[stateSkipped:]); n > 0 {
				return fmt.Errorf("walk the descriptors: %d tables are too large", n)
			}
			return nil
		case err != nil:
			return fmt.Errorf("read the iterator: %w", err)
		}
	}
}

// Close unloads the program.
func (w *Walker) Close() error {
	var errs []error
	if w.state != nil {
		errs = append(errs, unix.Munmap(w.state))
	}
	if w.objs.link != nil {
		errs = append(errs, w.objs.link.Close())
	}
	if w.objs.program != nil {
		errs = append(errs, w.objs.program.Close())
	}
	if w.objs.maps != nil {
		w.objs.maps.Close()
	}
	if w.socket >= 0 {
		errs = append(errs, unix.Close(w.socket))
	}
	w.state, w.objs, w.socket = nil, loaded{}, -1
	return errors.Join(errs...)
}
