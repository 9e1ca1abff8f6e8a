package main

import "golang.org/x/sys/unix"

// giveWay lets this thread have a tenth of a processor that others want too, and by
// that less of the disk: setpriority(2) is of a thread on Linux, and what
// ioprio_set(2) sets follows it. With less, on a busy host files might be closed
// faster than they are compressed.
func giveWay() error { return unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), 10) }
