package walk

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// observe looks at what a program needs that could not be loaded. What cannot
// be seen stays unknown.
func observe(kind Kind, err error) observed {
	o := observed{kind: kind, err: err}
	_, statErr := os.Stat(vmlinuxTypes)
	o.types = statErr == nil
	o.lockdown, _ = os.ReadFile("/sys/kernel/security/lockdown")
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		_, _ = fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &o.major, &o.minor)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&header, &data[0]) == nil {
		o.effective = uint64(data[1].Effective)<<32 | uint64(data[0].Effective)
	}
	return o
}
