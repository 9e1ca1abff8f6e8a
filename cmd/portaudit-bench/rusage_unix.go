//go:build unix

package main

import (
	"runtime"
	"syscall"
)

// peakMemory returns the largest resident set in bytes. Linux tells kilobytes,
// macOS bytes (getrusage(2)).
func peakMemory(u *syscall.Rusage) int64 {
	peak := int64(u.Maxrss) //nolint:unconvert // of 32 bits on 386 and arm
	if runtime.GOOS == "darwin" {
		return peak
	}
	return peak << 10
}
