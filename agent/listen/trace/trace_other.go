//go:build !linux

package trace

import (
	"errors"
	"fmt"
	"runtime"
	"time"
)

// Tracer is programs that are loaded and attached; only Linux has them.
type Tracer struct{}

// Options say what is traced.
type Options struct {
	Cgroup  string
	Ignored int
}

// Open returns an error that matches errors.ErrUnsupported: only Linux has BPF.
func Open(Options) (*Tracer, error) {
	return nil, fmt.Errorf("trace listeners: %w: this is %s, and only Linux has BPF", errors.ErrUnsupported, runtime.GOOS)
}

// UDP returns errors.ErrUnsupported.
func (*Tracer) UDP() error { return errors.ErrUnsupported }

// Read returns errors.ErrUnsupported.
func (*Tracer) Read(*Record) error { return errors.ErrUnsupported }

// Flush does nothing.
func (*Tracer) Flush() error { return nil }

// SetDeadline does nothing.
func (*Tracer) SetDeadline(time.Time) {}

// Lost returns 0.
func (*Tracer) Lost() uint64 { return 0 }

// Told returns 0.
func (*Tracer) Told() uint64 { return 0 }

// Close does nothing.
func (*Tracer) Close() error { return nil }
