//go:build unix

package audit

import "syscall"

// noRoom is what a full disk fails with.
const noRoom = syscall.ENOSPC
