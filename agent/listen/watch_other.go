//go:build !linux && !windows

package listen

import (
	"errors"
	"fmt"
	"runtime"
)

// told is what the system tells of a change, beside what all do: nothing.
type told struct{}

func watch(WatchOptions) (*Watcher, error) {
	return nil, fmt.Errorf("%w on %s: nothing tells of listeners between audits", errors.ErrUnsupported, runtime.GOOS)
}
