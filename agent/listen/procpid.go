package listen

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/portaudit/portaudit/registry"
)

// procStat is what /proc/PID/stat says of a process.
type procStat struct {
	command      string
	parent       int
	start        uint64 // clock ticks since boot
	kernelThread bool
}

const flagKernelThread = 0x00200000 // PF_KTHREAD, include/linux/sched.h

// parseStat reads /proc/PID/stat (proc_pid_stat(5)). The command stands in
// parentheses and may itself hold spaces, parentheses and newlines, so the
// fields are counted from the last closing parenthesis.
func parseStat(b []byte) (procStat, error) {
	open, last := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 0 || last < open {
		return procStat{}, fmt.Errorf("no command in parentheses: %q", clip(b))
	}
	s := procStat{command: string(b[open+1 : last])}
	f := bytes.Fields(b[last+1:]) // f[0] is field 3, the state
	if len(f) < 20 {
		return procStat{}, fmt.Errorf("%d fields after the command instead of 20 or more: %q", len(f), clip(b))
	}
	var err error
	if s.parent, err = strconv.Atoi(string(f[1])); err != nil {
		return procStat{}, fmt.Errorf("parent %q is no number", f[1])
	}
	flags, err := strconv.ParseUint(string(f[6]), 10, 64)
	if err != nil {
		return procStat{}, fmt.Errorf("flags %q are no number", f[6])
	}
	s.kernelThread = flags&flagKernelThread != 0
	if s.start, err = strconv.ParseUint(string(f[19]), 10, 64); err != nil {
		return procStat{}, fmt.Errorf("start time %q is no number", f[19])
	}
	return s, nil
}

func clip(b []byte) []byte { return b[:min(len(b), 80)] }

// procStatus is what /proc/PID/status says of a process.
type procStatus struct {
	uid            UID
	bindCapability Answer
}

const capNetBindService = 10 // include/uapi/linux/capability.h

// parseStatus reads the effective uid and the effective capabilities from
// /proc/PID/status (proc_pid_status(5)). A line that is absent leaves its fact
// unknown.
func parseStatus(b []byte) (procStatus, error) {
	var s procStatus
	for line := range bytes.Lines(b) {
		key, value, _ := bytes.Cut(line, []byte{':'})
		f := bytes.Fields(value)
		switch string(key) {
		case "Uid": // real, effective, saved, file system
			if len(f) != 4 {
				return s, fmt.Errorf("%d uids instead of 4: %q", len(f), clip(line))
			}
			id, err := strconv.ParseUint(string(f[1]), 10, 32)
			if err != nil {
				return s, fmt.Errorf("uid %q is no number", f[1])
			}
			s.uid = UID{ID: uint32(id), Known: true}
		case "CapEff":
			if len(f) != 1 {
				return s, fmt.Errorf("no capability set: %q", clip(line))
			}
			set, err := strconv.ParseUint(string(f[0]), 16, 64)
			if err != nil {
				return s, fmt.Errorf("capability set %q is no hexadecimal number", f[0])
			}
			s.bindCapability = answer(set&(1<<capNetBindService) != 0)
		}
	}
	return s, nil
}

// containerID matches the 64 hexadecimal digits by which Docker, Podman,
// containerd and CRI-O name a container's control group.
var containerID = regexp.MustCompile(`[0-9a-f]{64}`)

// parseCgroup reads the systemd unit and the container id from
// /proc/PID/cgroup (cgroups(7)): lines of hierarchy:controllers:path, of which
// "0::path" is version 2 and "N:name=systemd:path" systemd's own of version 1.
func parseCgroup(b []byte) (unit, container string) {
	for line := range strings.Lines(string(b)) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(f) != 3 || f[0] != "0" && f[1] != "name=systemd" {
			continue
		}
		if u := unitOf(f[2]); u != "" {
			unit = u
		}
		if id := containerID.FindString(f[2]); id != "" {
			container = id
		}
	}
	return unit, container
}

// unitOf returns the innermost service, socket or scope of a control group's
// path. systemd escapes a name that could be taken for a kernel file with a
// leading "_" (cg_escape); no such name ends in these suffixes.
func unitOf(path string) string {
	parts := strings.Split(path, "/")
	for i := len(parts) - 1; i >= 0; i-- {
		for _, suffix := range [...]string{".service", ".socket", ".scope"} {
			if strings.HasSuffix(parts[i], suffix) {
				return parts[i]
			}
		}
	}
	return ""
}

// parseSocketLink reads the inode from the target of a descriptor's link,
// "socket:[12345]" (proc_pid_fd(5)); ok is false for any other descriptor.
func parseSocketLink(target []byte) (inode uint64, ok bool) {
	digits, ok := bytes.CutPrefix(target, []byte("socket:["))
	if !ok {
		return 0, false
	}
	digits, ok = bytes.CutSuffix(digits, []byte("]"))
	if !ok {
		return 0, false
	}
	inode, err := strconv.ParseUint(string(digits), 10, 64)
	return inode, err == nil
}

var errPortRange = errors.New("no port range")

// parsePortRange reads "32768\t60999\n", the form of
// /proc/sys/net/ipv4/ip_local_port_range.
func parsePortRange(b []byte) (PortRange, error) {
	f := bytes.Fields(b)
	if len(f) != 2 {
		return PortRange{}, fmt.Errorf("%w: %q", errPortRange, clip(b))
	}
	return portRange(string(f[0]), string(f[1]))
}

// parsePortList reads "8080,9148-9152\n", the form of
// /proc/sys/net/ipv4/ip_local_reserved_ports; an empty list is none.
func parsePortList(b []byte) ([]PortRange, error) {
	text := strings.TrimSpace(string(b))
	if text == "" {
		return nil, nil
	}
	var list []PortRange
	for part := range strings.SplitSeq(text, ",") {
		first, last, ok := strings.Cut(part, "-")
		if !ok {
			last = first
		}
		r, err := portRange(first, last)
		if err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, nil
}

func portRange(first, last string) (PortRange, error) {
	a, errA := strconv.ParseUint(first, 10, 16)
	b, errB := strconv.ParseUint(last, 10, 16)
	if errA != nil || errB != nil || a > b {
		return PortRange{}, fmt.Errorf("%w: %q to %q", errPortRange, first, last)
	}
	return PortRange{registry.Port(a), registry.Port(b)}, nil
}
