//go:build !linux

package sockdiag

import (
	"fmt"
	"runtime"
)

// Conn is a socket to the kernel; only Linux has them.
type Conn struct{}

// Open returns an error: only Linux has sock_diag.
func Open() (*Conn, error) { return nil, fmt.Errorf("%s: %w", runtime.GOOS, ErrAbsent) }

// Dump returns ErrAbsent.
func (*Conn) Dump(_ Query, rows []Row) ([]Row, error) { return rows, ErrAbsent }

// Close does nothing.
func (*Conn) Close() error { return nil }
