package walk

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// Tables tells which sockets the kernel keeps for itself. It is not safe for
// concurrent use.
type Tables struct {
	socket   int // of this process: by it the programs learn what a program's socket is
	maps     *ebpf.Collection
	programs []*ebpf.Program
	links    []*link.Iter // of TCP, then of UDP
}

// maxKept bounds what a look at a table returns: 1 MiB, more sockets than any
// kernel keeps.
const maxKept = 1 << 20

// OpenTables loads the programs (Linux 5.9). Its error is an *UnavailableError,
// as that of Open.
func OpenTables() (*Tables, error) {
	t := &Tables{socket: -1}
	if err := t.load(); err != nil {
		return nil, &UnavailableError{Lack: observe(Files, err).lack(), Err: errors.Join(err, t.Close())}
	}
	return t, nil
}

func (t *Tables) load() error {
	RemoveLimit()
	spec, err := t.prepare()
	if err != nil {
		return err
	}
	if t.maps, err = ebpf.NewCollection(&ebpf.CollectionSpec{Maps: spec.Maps, Variables: spec.Variables, ByteOrder: spec.ByteOrder}); err != nil {
		return fmt.Errorf("make the maps: %w", err)
	}
	for _, name := range []string{tablesProgKernelTcp, tablesProgKernelUdp} {
		program := spec.Programs[name]
		for name, m := range t.maps.Maps {
			if err := program.Instructions.AssociateMap(name, m); err != nil && !errors.Is(err, asm.ErrUnreferencedSymbol) {
				return fmt.Errorf("map %s: %w", name, err)
			}
		}
		loaded, err := newProgram(program, spec.Types)
		if err != nil {
			return fmt.Errorf("load %s: %w", name, err)
		}
		t.programs = append(t.programs, loaded)
		l, err := link.AttachIter(link.IterOptions{Program: loaded})
		if err != nil {
			return fmt.Errorf("attach %s: %w", name, err)
		}
		t.links = append(t.links, l)
	}
	return nil
}

// prepare reads the programs and sets their constants.
func (t *Tables) prepare() (*ebpf.CollectionSpec, error) {
	var inode uint64
	var err error
	if t.socket, inode, err = ownSocket(); err != nil {
		return nil, err
	}
	spec, err := loadTables()
	if err != nil {
		return nil, fmt.Errorf("read the programs: %w", err)
	}
	return spec, errors.Join(
		spec.Variables[tablesVarOwnSocket].Set(uint32(t.socket)),
		spec.Variables[tablesVarOwnInode].Set(inode),
	)
}

// Kept returns the inodes of the TCP sockets in LISTEN and of the UDP sockets
// that the kernel keeps for itself in the network namespace of the calling
// thread: those that it made, and those that a program handed over to it.
func (t *Tables) Kept(ctx context.Context) ([]uint64, error) {
	var kept []uint64
	for i, l := range t.links {
		b, err := readTable(ctx, l, i == 0)
		if err != nil {
			return nil, err
		}
		kept = append(kept, parseInodes(b)...)
	}
	slices.Sort(kept)
	return slices.Compact(kept), nil
}

// readTable reads what a program wrote. That of TCP ends with EAGAIN.
func readTable(ctx context.Context, l *link.Iter, tcp bool) ([]byte, error) {
	r, err := l.Open()
	if err != nil {
		return nil, fmt.Errorf("open the iterator: %w", err)
	}
	defer r.Close()
	var all []byte
	b := make([]byte, 4<<10)
	for {
		n, err := r.Read(b)
		all = append(all, b[:max(n, 0)]...)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(err, unix.EAGAIN) && !tcp:
			// So many sockets that the kernel wants to be asked again.
		case errors.Is(err, unix.EAGAIN), errors.Is(err, io.EOF), err == nil && n == 0:
			return all, nil
		case err != nil:
			return nil, fmt.Errorf("read the iterator: %w", err)
		case len(all) > maxKept:
			return nil, fmt.Errorf("read the iterator: more than %d bytes", maxKept)
		}
	}
}

// parseInodes reads the numbers that the programs wrote. What is cut off at the
// end is none.
func parseInodes(b []byte) []uint64 {
	list := make([]uint64, 0, len(b)/8)
	for ; len(b) >= 8; b = b[8:] {
		list = append(list, binary.NativeEndian.Uint64(b))
	}
	return list
}

// Close unloads the programs.
func (t *Tables) Close() error {
	var errs []error
	for _, l := range t.links {
		errs = append(errs, l.Close())
	}
	for _, p := range t.programs {
		errs = append(errs, p.Close())
	}
	if t.maps != nil {
		t.maps.Close()
	}
	if t.socket >= 0 {
		errs = append(errs, unix.Close(t.socket))
	}
	*t = Tables{socket: -1}
	return errors.Join(errs...)
}

// ownSocket opens a Unix socket, of which programs know what to find in the
// kernel, and returns its inode too.
func ownSocket() (int, uint64, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, 0, os.NewSyscallError("socket", err)
	}
	var s unix.Stat_t
	if err := unix.Fstat(fd, &s); err != nil {
		return -1, 0, errors.Join(os.NewSyscallError("fstat", err), unix.Close(fd))
	}
	return fd, s.Ino, nil
}
