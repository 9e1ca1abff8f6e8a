package alert

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// journalSocket is a socket to journald.
type journalSocket struct{ conn *net.UnixConn }

func dialJournal(path string) (journalConn, error) {
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return nil, err
	}
	return journalSocket{conn}, nil
}

// send sends an entry as a datagram or, if it is larger than one may be, in a sealed
// memory file.
func (s journalSocket) send(ctx context.Context, entry []byte) error {
	deadline, _ := ctx.Deadline() // the zero time is none
	if err := s.conn.SetWriteDeadline(deadline); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = s.conn.SetWriteDeadline(time.Now()) })() // it fails where nothing waits any more
	_, err := s.conn.Write(entry)
	if !errors.Is(err, syscall.EMSGSIZE) && !errors.Is(err, syscall.ENOBUFS) {
		return err
	}
	file, err := sealed(entry)
	if err != nil {
		return err
	}
	defer file.Close()
	raw, err := s.conn.SyscallConn()
	if err != nil {
		return err
	}
	// WriteMsgUnix adds a byte to the rights, and journald wants none.
	var failed error
	if err := raw.Write(func(fd uintptr) bool {
		failed = unix.Sendmsg(int(fd), nil, unix.UnixRights(int(file.Fd())), nil, 0)
		return !errors.Is(failed, unix.EAGAIN)
	}); err != nil {
		return err
	}
	return failed
}

// sealed returns a memory file with a content that nobody can change any more,
// without which journald would not map it.
func sealed(content []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("portaudit", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	file := os.NewFile(uintptr(fd), "portaudit")
	if _, err := file.Write(content); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		return nil, errors.Join(fmt.Errorf("seal a memory file: %w", err), file.Close())
	}
	return file, nil
}

func (s journalSocket) close() error { return s.conn.Close() }
