//go:build !linux

package walk

import "context"

// Tables is programs that are loaded; only Linux has them.
type Tables struct{}

// OpenTables returns an *UnavailableError: only Linux has BPF iterators.
func OpenTables() (*Tables, error) {
	_, err := Open(0, 1)
	return nil, err
}

// Kept returns ErrUnavailable.
func (*Tables) Kept(context.Context) ([]uint64, error) { return nil, ErrUnavailable }

// Close does nothing.
func (*Tables) Close() error { return nil }
