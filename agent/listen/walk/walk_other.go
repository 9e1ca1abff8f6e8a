//go:build !linux

package walk

import (
	"context"
	"fmt"
	"runtime"
)

// Walker is a program that is loaded; only Linux has them.
type Walker struct{}

// Open returns an error that wraps ErrUnavailable: only Linux has BPF iterators.
func Open(Kind) (*Walker, error) { return nil, fmt.Errorf("%w on %s", ErrUnavailable, runtime.GOOS) }

// Kind returns 0.
func (*Walker) Kind() Kind { return 0 }

// Walk returns ErrUnavailable.
func (*Walker) Walk(context.Context, func(*Row)) error { return ErrUnavailable }

// Close does nothing.
func (*Walker) Close() error { return nil }
