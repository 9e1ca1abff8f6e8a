package systemd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	privateSocket = "/run/systemd/private"        // of the system's service manager, for root
	systemBus     = "/run/dbus/system_bus_socket" // D-Bus specification, "System message bus"

	// timeout is how long a conversation may take. It is over in milliseconds,
	// unless systemd is busy with a reload.
	timeout = 2 * time.Second
)

// Sockets returns the socket units of this host that listen on the network. It
// asks process 1 itself if it may, as root does, and else over the system bus.
//
// The error matches ErrAbsent where process 1 is no systemd, fs.ErrPermission
// where this user may not ask, and context.DeadlineExceeded where no answer came
// within 2 seconds. Units may come with an error: it is then of addresses that
// could not be read, which are in the units as text alone.
func Sockets(ctx context.Context) ([]Unit, error) { return sockets(ctx, privateSocket, 1, systemBus) }

// sockets asks process pid at path, and over a bus where that is not possible.
func sockets(ctx context.Context, path string, pid int, bus string) ([]Unit, error) {
	units, err := SocketsOf(ctx, path, pid)
	if err == nil || !errors.Is(err, ErrAbsent) && !errors.Is(err, fs.ErrPermission) {
		return units, err
	}
	overBus, busErr := ask(ctx, bus, 0, true)
	if errors.Is(busErr, ErrAbsent) {
		return units, err
	}
	return overBus, busErr
}

// SocketsOf is Sockets of the service manager that is process pid, whose socket
// is at path: /run/user/UID/systemd/private of a user's, and below /proc/PID/root
// of a container's. The error matches ErrAbsent too if another process answers
// there; pid 0 takes any.
//
// The answer is that process's word, so it is good for the sockets that it holds
// itself and for no others.
func SocketsOf(ctx context.Context, path string, pid int) ([]Unit, error) {
	return ask(ctx, path, pid, false)
}

func ask(ctx context.Context, path string, pid int, bus bool) ([]Unit, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := dial(ctx, path, pid)
	if err != nil {
		return nil, fmt.Errorf("ask systemd: %w", err)
	}
	defer conn.Close()
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = conn.SetDeadline(time.Unix(1, 0)) // fails only on a closed connection
		close(interrupted)
	})
	units, err := converse(conn, os.Geteuid(), bus)
	if !stop() {
		<-interrupted // no goroutine outlives this call
		if err != nil {
			err = fmt.Errorf("%w: %w", ctx.Err(), err)
		}
	}
	if err != nil {
		return units, fmt.Errorf("ask systemd at %s: %w", path, err)
	}
	return units, nil
}

// dial connects to a socket, and makes sure that process pid listens there.
func dial(ctx context.Context, path string, pid int) (*net.UnixConn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOTDIR):
		return nil, fmt.Errorf("%w: %w", ErrAbsent, err)
	case err != nil:
		return nil, err
	}
	c := conn.(*net.UnixConn)
	if pid == 0 {
		return c, nil
	}
	answers, err := peer(c)
	if err == nil && answers != pid {
		err = fmt.Errorf("%s is of process %d, not of %d: %w", path, answers, pid, ErrAbsent)
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// peer returns the process that listens at the other end; 0 if it is of a pid
// namespace that this process cannot see (SO_PEERCRED, unix(7)).
func peer(c *net.UnixConn) (int, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var credentials *unix.Ucred
	var failed error
	err = raw.Control(func(fd uintptr) {
		credentials, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err := errors.Join(err, os.NewSyscallError("getsockopt", failed)); err != nil {
		return 0, err
	}
	return int(credentials.Pid), nil
}
