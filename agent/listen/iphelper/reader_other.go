//go:build !windows

package iphelper

import (
	"fmt"
	"runtime"
)

// Reader reads the tables, on Windows alone.
type Reader struct{}

// Append returns an error that matches ErrUnavailable.
func (*Reader) Append(rows []Row, _ Table) ([]Row, error) {
	return rows, fmt.Errorf("%w on %s", ErrUnavailable, runtime.GOOS)
}
