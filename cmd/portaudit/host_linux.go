package main

import (
	"os"
	"strings"
)

// bootID returns the id of this boot (random(4), /proc/sys/kernel/random/boot_id).
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
