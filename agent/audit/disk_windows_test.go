package audit

import "golang.org/x/sys/windows"

// noRoom is what a full disk fails with.
const noRoom = windows.ERROR_DISK_FULL
