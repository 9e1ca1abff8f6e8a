package listen

import (
	"os"
	"strings"
)

// BootID returns the id of this boot, "" if it is unknown (random(4), /proc/sys/kernel/random/boot_id).
func BootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
