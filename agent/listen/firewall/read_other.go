//go:build !linux

package firewall

import (
	"errors"
	"fmt"
	"runtime"
)

// Read returns an error that matches errors.ErrUnsupported: only Linux has
// these packet filters.
func Read() (Ruleset, error) {
	return Ruleset{}, fmt.Errorf("read the packet filter on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}

// ReadGeneration returns an error that matches errors.ErrUnsupported.
func ReadGeneration() (uint64, error) {
	return 0, fmt.Errorf("read the packet filter on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}
