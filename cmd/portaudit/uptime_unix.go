//go:build unix

package main

import (
	"time"

	"golang.org/x/sys/unix"
)

// uptime is how long this host is up, the time asleep included where the system
// counts it; 0 if it does not say.
func uptime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(uptimeClock, &t); err != nil {
		return 0
	}
	return time.Duration(t.Nano())
}
