//go:build !linux

package alert

import "syscall"

// boundRetransmission leaves to the system for how long it sends again.
func boundRetransmission(string, string, syscall.RawConn) error { return nil }
