package alert

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// boundRetransmission lets a TCP connection fail when nothing that was sent is
// confirmed for half a minute (tcp(7), TCP_USER_TIMEOUT): the default is a quarter
// of an hour, for which what was written would look delivered.
func boundRetransmission(network, _ string, c syscall.RawConn) error {
	if network != "tcp4" && network != "tcp6" {
		return nil
	}
	var err error
	failed := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(sendTimeout.Milliseconds()))
	})
	return errors.Join(failed, err)
}
