package main

import "golang.org/x/sys/unix"

// lookOnly opens a directory that may be passed and not read, as home directories
// often may.
const lookOnly = unix.O_PATH
