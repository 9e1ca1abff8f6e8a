package main

import (
	"time"

	"golang.org/x/sys/windows"
)

// uptime is how long this host is up, the time asleep included.
func uptime() time.Duration { return windows.DurationSinceBoot() }
