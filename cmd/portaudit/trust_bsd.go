//go:build unix && !linux

package main

// lookOnly: but for Linux a directory has to be readable to be judged.
const lookOnly = 0
