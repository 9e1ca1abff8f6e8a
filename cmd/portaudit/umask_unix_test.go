//go:build unix

package main

import "golang.org/x/sys/unix"

// keepToOneself lets none but this user write what tests make, whatever the umask:
// a daemon takes no policy that its group can change.
func keepToOneself() { unix.Umask(0o022) }
