package main

import "io/fs"

// ownedBy: Windows has no user ids. No directory is opened up there.
func ownedBy(fs.FileInfo, int) bool { return false }
