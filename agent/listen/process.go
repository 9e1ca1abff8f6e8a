package listen

import (
	"bytes"
	"errors"
	"fmt"
	"os/user"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// userHz is the unit of the times in /proc/PID/stat, 1/100 s on every
// architecture that Go supports (USER_HZ, include/asm-generic/param.h; only
// alpha and ia64 differed).
const userHz = 100

func ticks(n uint64) time.Duration {
	return time.Duration(n) * (time.Second / userHz)
}

// parseBootTime reads the line "btime SECONDS" of /proc/stat (proc_stat(5)).
func parseBootTime(b []byte) (time.Time, error) {
	for line := range bytes.Lines(b) {
		if rest, ok := bytes.CutPrefix(line, []byte("btime ")); ok {
			n, err := strconv.ParseInt(string(bytes.TrimSpace(rest)), 10, 64)
			if err != nil {
				return time.Time{}, fmt.Errorf("boot time %q is no number", clip(rest))
			}
			return time.Unix(n, 0).UTC(), nil
		}
	}
	return time.Time{}, errors.New("no line with the boot time (btime)")
}

// parseCommandLine splits /proc/PID/cmdline at its NUL bytes (proc_pid_cmdline(5)).
func parseCommandLine(b []byte) []string {
	b = bytes.TrimRight(b, "\x00")
	if len(b) == 0 {
		return nil
	}
	return strings.Split(string(b), "\x00")
}

// lookUpUser returns the name of the account with this numeric id, the number
// itself where the account database has none.
func lookUpUser(id string) string {
	u, err := user.LookupId(id)
	if err != nil {
		return id
	}
	return u.Username
}

// lookUpGroup is lookUpUser, of a group.
func lookUpGroup(id string) string {
	g, err := user.LookupGroupId(id)
	if err != nil {
		return id
	}
	return g.Name
}

// deletedSuffix is what the kernel appends to the path of a file that no
// directory names any more (fs/d_path.c).
const deletedSuffix = " (deleted)"

// unnamed notes that no directory names the file that the owner runs. It was
// deleted, unless it is one of memfd_create(2), to which the kernel gives the
// name "/memfd:" and what the program asked for: that one never had another.
func (o *Owner) unnamed() {
	o.Deleted, o.Memory = Yes, No
	if strings.HasPrefix(o.Executable, "/memfd:") {
		o.Deleted, o.Memory = Unknown, Yes
	}
}

// howOf tells a process that serves from one that holds the socket for
// somebody else: the service manager, or a proxy into a container.
func howOf(o Owner) How {
	proxies := []string{"docker-proxy", "rootlessport", "rootlesskit"}
	switch {
	case o.PID == 1 && o.Command == "systemd":
		return SocketUnit
	case slices.Contains(proxies, path.Base(o.Executable)):
		return ContainerProxy
	default:
		return Process
	}
}

// parseLastProcess reads the last field of /proc/loadavg (proc_loadavg(5)): the
// number that was last given to a process or thread.
func parseLastProcess(b []byte) []byte {
	b = bytes.TrimSpace(b)
	return b[bytes.LastIndexByte(b, ' ')+1:]
}

// parseBootOffset reads the line "boottime SECONDS NANOSECONDS" of
// /proc/PID/timens_offsets (time_namespaces(7)); none is no offset.
func parseBootOffset(b []byte) (time.Duration, error) {
	for line := range bytes.Lines(b) {
		f := bytes.Fields(line)
		if len(f) != 3 || string(f[0]) != "boottime" {
			continue
		}
		seconds, err := strconv.ParseInt(string(f[1]), 10, 33)
		nanoseconds, err2 := strconv.ParseInt(string(f[2]), 10, 32)
		if err != nil || err2 != nil {
			return 0, fmt.Errorf("no offset: %q", clip(line))
		}
		return time.Duration(seconds)*time.Second + time.Duration(nanoseconds), nil
	}
	return 0, nil
}
