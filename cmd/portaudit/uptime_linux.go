package main

import "golang.org/x/sys/unix"

// uptimeClock counts the time asleep (clock_gettime(2)).
const uptimeClock = unix.CLOCK_BOOTTIME
