package sockdiag

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Conn is a socket to the kernel. It belongs to the network namespace of the
// thread that opened it, and answers for that one from any thread. It is not
// safe for concurrent use.
type Conn struct {
	fd      int
	seq     uint32
	request [maxRequest]byte
	buffer  []byte // of answers
}

// bufferSize is what the kernel fills at the most at once: it allocates 32 KiB
// for an answer where the reader offers that much (netlink_dump in
// net/netlink/af_netlink.c), and never splits a message over two.
const bufferSize = 64 << 10

// attempts is how often a dump that came incomplete is made. Each is over in
// milliseconds, so another change in each of them is most unlikely.
const attempts = 4

// Open opens a socket to the kernel in the network namespace of the calling thread.
func Open() (*Conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, fmt.Errorf("open a socket for socket diagnostics: %w", err)
	}
	// The kernel answers at once; a time-out is the safeguard against a hang.
	err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("set a time-out: %w", err), unix.Close(fd))
	}
	return &Conn{fd: fd, buffer: make([]byte, bufferSize)}, nil
}

// Close closes the socket.
func (c *Conn) Close() error { return os.NewSyscallError("close", unix.Close(c.fd)) }

// Namespace opens the network namespace that the socket belongs to. It needs
// CAP_NET_ADMIN there.
func (c *Conn) Namespace() (*os.File, error) { return NamespaceOf(c.fd) }

// NamespaceOf opens the network namespace of a socket, given its descriptor
// (SIOCGSKNS in include/uapi/linux/sockios.h, Linux 4.9). It needs CAP_NET_ADMIN
// there.
func NamespaceOf(socket int) (*os.File, error) {
	fd, err := unix.IoctlRetInt(socket, unix.SIOCGSKNS)
	if err != nil {
		return nil, os.NewSyscallError("ioctl SIOCGSKNS", err)
	}
	return os.NewFile(uintptr(fd), "network namespace"), nil
}

// Dump appends the sockets that q asks for to rows, which it returns. It
// allocates nothing where rows has room. An answer that came incomplete is
// asked for again; ErrIncomplete comes with the rows of the last attempt. The
// other errors are ErrAbsent, a *MessageError, and those of the system.
func (c *Conn) Dump(q Query, rows []Row) ([]Row, error) {
	start := len(rows)
	var err error
	for range attempts {
		var interrupted bool
		rows, interrupted, err = c.once(q, rows[:start])
		switch {
		case err == nil && !interrupted:
			return rows, nil
		case err == nil:
			err = errInterrupted
		case errors.Is(err, unix.EBUSY):
			// A dump that was not read to its end is still under way
			// (__netlink_dump_start in net/netlink/af_netlink.c).
			c.drain()
		case !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.EAGAIN) &&
			!errors.Is(err, errOverrun) && !errors.Is(err, errCut):
			return rows[:start], err
		}
	}
	return rows, fmt.Errorf("%w after %d attempts: %w", ErrIncomplete, attempts, err)
}

var (
	errInterrupted = errors.New("the tables changed during each of them")
	errCut         = errors.New("an answer was longer than the buffer")
)

// once makes one dump.
func (c *Conn) once(q Query, rows []Row) (_ []Row, interrupted bool, err error) {
	c.seq++
	request, err := appendRequest(c.request[:0], q, c.seq)
	if err != nil {
		return rows, false, err
	}
	if _, err := unix.Write(c.fd, request); err != nil {
		return rows, false, os.NewSyscallError("write", err)
	}
	for {
		n, err := c.receive()
		if err != nil {
			return rows, interrupted, err
		}
		var a answer
		rows, a, err = parse(c.buffer[:n], q, c.seq, rows)
		interrupted = interrupted || a.interrupted
		if err != nil || a.done {
			return rows, interrupted, err
		}
	}
}

// drain reads what lies in the socket, which lets the kernel go on with a dump
// that is under way, until nothing comes any more.
func (c *Conn) drain() {
	for range maxDrained {
		if _, _, errno := unix.Syscall6(unix.SYS_RECVFROM, uintptr(c.fd), uintptr(unsafe.Pointer(unsafe.SliceData(c.buffer))),
			uintptr(len(c.buffer)), unix.MSG_DONTWAIT, 0, 0); errno != 0 && errno != unix.EINTR && errno != unix.ENOBUFS {
			return
		}
	}
}

// maxDrained bounds what is drained: 2 GB of answers.
const maxDrained = 1 << 16

// receive reads one datagram. unix.Recvfrom would allocate the sender's address
// for each; MSG_TRUNC makes the kernel tell the true length (recv(2)).
func (c *Conn) receive() (int, error) {
	for {
		n, _, errno := unix.Syscall6(unix.SYS_RECVFROM, uintptr(c.fd),
			uintptr(unsafe.Pointer(unsafe.SliceData(c.buffer))), uintptr(len(c.buffer)), unix.MSG_TRUNC, 0, 0)
		switch {
		case errno == unix.EINTR:
			continue
		case errno != 0:
			return 0, os.NewSyscallError("recvfrom", errno)
		case int(n) > len(c.buffer):
			return 0, errCut
		}
		return int(n), nil
	}
}
