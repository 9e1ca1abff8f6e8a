//go:build !linux

package systemd

import (
	"context"
	"fmt"
	"runtime"
)

// Sockets returns ErrAbsent: only Linux has systemd.
func Sockets(context.Context) ([]Unit, error) { return nil, absent() }

// SocketsOf returns ErrAbsent: only Linux has systemd.
func SocketsOf(context.Context, string, int) ([]Unit, error) { return nil, absent() }

func absent() error { return fmt.Errorf("%s: %w", runtime.GOOS, ErrAbsent) }
