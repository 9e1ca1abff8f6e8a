//go:build unix && !linux

package main

import "golang.org/x/sys/unix"

// uptimeClock is the only clock that nobody sets on every one of these systems.
const uptimeClock = unix.CLOCK_MONOTONIC
