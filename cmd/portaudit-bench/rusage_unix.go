//go:build unix

package main

import (
	"runtime"
	"syscall"
)

// peakMemory returns the largest resident set in bytes. Linux tells kilobytes,
// macOS bytes (getrusage(2)).
func peakMemory(u *syscall.Rusage) int64 {
	if runtime.GOOS == "darwin" {
		return int64(u.Maxrss)
	}
	return int64(u.Maxrss) << 10
}
