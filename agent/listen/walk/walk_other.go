//go:build !linux

package walk

import (
	"context"
	"errors"
	"runtime"
)

// Walker is a program that is loaded; only Linux has them.
type Walker struct{}

// Open returns an *UnavailableError: only Linux has BPF iterators.
func Open(Kind, int) (*Walker, error) {
	return nil, &UnavailableError{Lack: "only Linux has them", Err: errors.New("this is " + runtime.GOOS)}
}

// Permitted returns an *UnavailableError, as Open.
func Permitted() error {
	_, err := Open(0, 1)
	return err
}

// Kind returns 0.
func (*Walker) Kind() Kind { return 0 }

// Fallback returns nil.
func (*Walker) Fallback() error { return nil }

// Walk returns ErrUnavailable.
func (*Walker) Walk(context.Context, func(*Row)) error { return ErrUnavailable }

// Close does nothing.
func (*Walker) Close() error { return nil }
