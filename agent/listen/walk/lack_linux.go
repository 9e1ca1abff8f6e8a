package walk

import (
	"fmt"
	"io/fs"
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
	o.effective = effective()
	return o
}

// Permitted returns nil if this process has the capabilities that a walk needs,
// else an *UnavailableError that says which it lacks.
func Permitted() error {
	if lack := (observed{effective: effective()}).missing(); lack != "" {
		return &UnavailableError{Lack: lack, Err: fs.ErrPermission}
	}
	return nil
}

// effective returns the effective capabilities of this thread (capget(2)).
func effective() uint64 {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&header, &data[0]) != nil {
		return 0
	}
	return uint64(data[1].Effective)<<32 | uint64(data[0].Effective)
}
