package walk

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"
)

// Walker is a program that is loaded and ready. It is not safe for concurrent
// use.
type Walker struct {
	kind   Kind
	socket int // of this process: by it the program learns what a socket's file is
	objs   loaded
	rows   []byte // the array of rows, mapped
	state  []byte // struct state, mapped
}

// loaded is what the kernel holds for a Walker. The references are kept: a link
// that the garbage collector takes detaches.
type loaded struct {
	collection *ebpf.Collection
	link       *link.Iter
}

// startRows is how many rows there is room for at first: 1 MiB. A walk that
// finds more makes room for them and starts again.
const startRows = 16 << 10

// maxRows bounds the room: 1 GiB, more than any host has listeners.
const maxRows = 16 << 20

// Open loads the faster program that this kernel takes, or the one of the kind
// that is asked for if that is not 0. Its error wraps ErrUnavailable and, if
// the right to do so is missing, fs.ErrPermission.
func Open(kind Kind) (*Walker, error) {
	kinds := []Kind{Tasks, Files}
	if kind != 0 {
		kinds = []Kind{kind}
	}
	var errs []error
	for _, kind := range kinds {
		w, err := open(kind, startRows)
		if err == nil {
			return w, nil
		}
		errs = append(errs, fmt.Errorf("%s iterator: %w", kind, err))
		if errors.Is(err, os.ErrPermission) {
			break // the other would fail alike
		}
	}
	return nil, fmt.Errorf("%w: %w", ErrUnavailable, errors.Join(errs...))
}

func open(kind Kind, capacity uint32) (*Walker, error) {
	w := &Walker{kind: kind, socket: -1}
	if err := w.load(capacity); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

// load loads the program with room for so many rows.
func (w *Walker) load(capacity uint32) (err error) {
	// Kernels before 5.11 count maps against RLIMIT_MEMLOCK. Where the limit
	// may not be raised, loading says so.
	_ = rlimit.RemoveMemlock()
	w.socket, err = unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	spec, err := loadPrograms()
	if err != nil {
		return fmt.Errorf("read the program: %w", err)
	}
	names := map[Kind]string{Tasks: "walk_tasks", Files: "walk_files"}
	for name := range spec.Programs {
		if name != names[w.kind] {
			delete(spec.Programs, name)
		}
	}
	spec.Maps["rows"].MaxEntries = capacity
	if err := errors.Join(
		spec.Variables["own_socket"].Set(uint32(w.socket)), spec.Variables["capacity"].Set(capacity),
	); err != nil {
		return fmt.Errorf("set up the program: %w", err)
	}
	if w.objs.collection, err = ebpf.NewCollection(spec); err != nil {
		return fmt.Errorf("load: %w", err)
	}
	if w.objs.link, err = link.AttachIter(link.IterOptions{Program: w.objs.collection.Programs[names[w.kind]]}); err != nil {
		return fmt.Errorf("attach: %w", err)
	}
	if w.state, err = mapped(w.objs.collection.Maps["walked"], stateSize); err != nil {
		return err
	}
	w.rows, err = mapped(w.objs.collection.Maps["rows"], int(capacity)*rowSize)
	return err
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
	stateSize  = 16
	stateCount = 8
)

// Kind returns how the kernel is made to walk.
func (w *Walker) Kind() Kind { return w.kind }

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
		n, err := w.run(ctx)
		if err != nil {
			return err
		}
		room := uint32(len(w.rows) / rowSize)
		if n <= room {
			var r Row
			for i := range int(n) {
				decode(w.rows[i*rowSize:], &r)
				visit(&r)
			}
			return nil
		}
		if n > maxRows {
			return fmt.Errorf("walk the descriptors: %d listening sockets are more than %d", n, maxRows)
		}
		if err := w.grow(n); err != nil {
			return err
		}
	}
}

// grow makes room for n rows, and for as many again that may come meanwhile.
func (w *Walker) grow(n uint32) error {
	larger, err := open(w.kind, min(2*n, maxRows))
	if err != nil {
		return err
	}
	err = w.Close()
	*w = *larger
	return err
}

// run lets the program walk once and returns how many rows it found.
func (w *Walker) run(ctx context.Context) (uint32, error) {
	binary.NativeEndian.PutUint32(w.state[stateCount:], 0)
	r, err := w.objs.link.Open()
	if err != nil {
		return 0, fmt.Errorf("open the iterator: %w", err)
	}
	defer r.Close()
	var b [16]byte // the program writes nothing here
	for {
		n, err := r.Read(b[:])
		switch {
		case ctx.Err() != nil:
			return 0, ctx.Err()
		case errors.Is(err, unix.EAGAIN):
			// So many tasks that the kernel wants to be asked again: not the end
			// (bpf_seq_read in kernel/bpf/bpf_iter.c).
		case n == 0: // the end, which io.Reader says with io.EOF
			return binary.NativeEndian.Uint32(w.state[stateCount:]), nil
		case err != nil:
			return 0, fmt.Errorf("read the iterator: %w", err)
		}
	}
}

// Close unloads the program.
func (w *Walker) Close() error {
	var errs []error
	if w.rows != nil {
		errs = append(errs, unix.Munmap(w.rows))
	}
	if w.state != nil {
		errs = append(errs, unix.Munmap(w.state))
	}
	if w.objs.link != nil {
		errs = append(errs, w.objs.link.Close())
	}
	if w.objs.collection != nil {
		w.objs.collection.Close()
	}
	if w.socket >= 0 {
		errs = append(errs, unix.Close(w.socket))
	}
	w.rows, w.state, w.objs, w.socket = nil, nil, loaded{}, -1
	return errors.Join(errs...)
}
