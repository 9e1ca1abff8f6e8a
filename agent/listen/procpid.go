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
	uid                  UID
	effective, permitted uint64  // capability sets
	bindCapability       Answer  // Unknown: the sets are too
	groups               []Group // the effective one first, without names; nil: unknown
}

// maxGroups bounds the groups of a process: a list that is cut would say of some
// that they are not there. Linux allows 65,536; accounts have some ten.
const maxGroups = 256

const capNetBindService = 10 // include/uapi/linux/capability.h

// parseStatus reads the effective uid, the groups and the capabilities from
// /proc/PID/status (proc_pid_status(5)). A line that is absent leaves its fact
// unknown.
func parseStatus(b []byte) (procStatus, error) {
	var s procStatus
	var effective, rest []byte // groups
	for line := range bytes.Lines(b) {
		key, value, _ := bytes.Cut(line, []byte{':'})
		switch string(key) {
		case "Uid": // real, effective, saved, file system
			f := bytes.Fields(value)
			if len(f) != 4 {
				return s, fmt.Errorf("%d uids instead of 4: %q", len(f), clip(line))
			}
			id, err := strconv.ParseUint(string(f[1]), 10, 32)
			if err != nil {
				return s, fmt.Errorf("uid %q is no number", f[1])
			}
			s.uid = UID{ID: uint32(id), Known: true}
		case "Gid": // as Uid
			f := bytes.Fields(value)
			if len(f) != 4 {
				return s, fmt.Errorf("%d gids instead of 4: %q", len(f), clip(line))
			}
			effective = f[1]
		case "Groups":
			if rest = value; !bytes.HasSuffix(line, []byte("\n")) {
				return s, nil // so many that what was read ends here
			}
		case "CapEff", "CapPrm":
			hex := string(bytes.TrimSpace(value))
			set, err := strconv.ParseUint(hex, 16, 64)
			if err != nil {
				return s, fmt.Errorf("capability set %q is no hexadecimal number", hex)
			}
			if string(key) == "CapPrm" {
				s.permitted = set
				continue
			}
			s.effective, s.bindCapability = set, answer(set&(1<<capNetBindService) != 0)
		}
	}
	var err error
	s.groups, err = parseGroups(effective, rest)
	return s, err
}

// parseGroups reads the effective group of a process and its supplementary ones;
// nil where one of the two is not told, or there are too many.
func parseGroups(effective, rest []byte) ([]Group, error) {
	if effective == nil || rest == nil {
		return nil, nil
	}
	fields := append([][]byte{effective}, bytes.Fields(rest)...)
	if len(fields) > maxGroups {
		return nil, nil
	}
	groups := make([]Group, 0, len(fields))
	for i, f := range fields {
		id, err := strconv.ParseUint(string(f), 10, 32)
		if err != nil {
			return nil, fmt.Errorf("gid %q is no number", clip(f))
		}
		if i > 0 && uint32(id) == groups[0].ID {
			continue // the account's own is among the others, as a rule
		}
		groups = append(groups, Group{ID: uint32(id)})
	}
	return groups, nil
}

// control is where a process stands in the tree of control groups.
type control struct {
	path      string
	unit      string // of systemd
	container string
}

// parseCgroup reads /proc/PID/cgroup (cgroups(7)): lines of
// hierarchy:controllers:path, of which "0::path" is version 2 and
// "N:name=systemd:path" systemd's own of version 1.
func parseCgroup(b []byte) control {
	var c control
	for line := range bytes.Lines(b) {
		f := bytes.SplitN(bytes.TrimSuffix(line, []byte("\n")), []byte(":"), 3)
		if len(f) != 3 || string(f[0]) != "0" && string(f[1]) != "name=systemd" {
			continue
		}
		group := string(f[2])
		if len(group) > len(c.path) {
			c.path = group
		}
		if u := unitOf(group); u != "" {
			c.unit = u
		}
		if id := containerOf(group); id != "" {
			c.container = id
		}
	}
	return c
}

// containerID matches the 64 hexadecimal digits by which Docker, Podman,
// containerd and CRI-O name a container's control group.
var containerID = regexp.MustCompile(`[0-9a-f]{64}`)

// containerOf returns the id or name of the container that a control group
// belongs to: of the innermost, where one runs in another.
//
//   - Docker, containerd, Podman, CRI-O: ".../docker-ID.scope", ".../docker/ID",
//     ".../cri-containerd-ID.scope", ".../libpod-ID.scope", ".../crio-ID.scope"
//   - LXC: "/lxc.payload.NAME", "/lxc/NAME" (lxc.container.conf(5))
//   - systemd-nspawn: ".../machine-NAME.scope", ".../systemd-nspawn@NAME.service"
//     (systemd-nspawn(1)); the name is escaped as in unit names
func containerOf(group string) string {
	container := ""
	parts := strings.Split(group, "/")
	for i, part := range parts {
		if id := containerID.FindString(part); id != "" {
			container = id
			continue
		}
		if name, ok := strings.CutPrefix(part, "lxc.payload."); ok {
			container = name
		} else if part == "lxc" && i+1 < len(parts) {
			container = parts[i+1]
		} else if name, ok := between(part, "machine-", ".scope"); ok && !strings.HasPrefix(name, "qemu") {
			container = unescapeUnit(name) // those of libvirt's virtual machines begin with "qemu"
		} else if name, ok := between(part, "systemd-nspawn@", ".service"); ok {
			container = unescapeUnit(name)
		}
	}
	return container
}

// delegated reports whether a control group lies below the service manager of a
// user who is not root. There this user makes the groups (systemd, "Control Group
// APIs and Delegation"), and may call one after a container of somebody else.
func delegated(group string) bool {
	for part := range strings.SplitSeq(group, "/") {
		if uid, ok := between(part, "user@", ".service"); ok && uid != "0" {
			return true
		}
	}
	return false
}

func between(s, prefix, suffix string) (string, bool) {
	s, ok := strings.CutPrefix(s, prefix)
	if !ok {
		return "", false
	}
	return strings.CutSuffix(s, suffix)
}

// unescapeUnit undoes the escapes of a part of a unit's name: "\x2d" is "-"
// (systemd.unit(5), "String escaping for inclusion in unit names"). "-" itself
// stands for "/", which no name of a machine holds.
func unescapeUnit(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && s[i+1] == 'x' {
			if c, err := strconv.ParseUint(s[i+2:i+4], 16, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// parseLoginUID reads /proc/PID/loginuid (proc_pid_loginuid(5)); 4294967295
// says that nobody logged in.
func parseLoginUID(b []byte) (UID, error) {
	n, err := strconv.ParseUint(string(bytes.TrimSpace(b)), 10, 32)
	if err != nil {
		return UID{}, fmt.Errorf("login uid %q is no number", clip(b))
	}
	return UID{ID: uint32(n), Known: n != 1<<32-1}, nil
}

// parseNamespaceLink reads the inode from the target of a namespace's link,
// "net:[4026531992]" (namespaces(7)); ok is false for any other text.
func parseNamespaceLink(target []byte) (inode uint64, ok bool) {
	_, digits, ok := bytes.Cut(target, []byte(":["))
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

// unitOf returns the innermost service, socket or scope of a control group's
// path. systemd escapes a name that could be taken for a kernel file with a
// leading "_" (cg_escape); no such name ends in these suffixes.
func unitOf(group string) string {
	parts := strings.Split(group, "/")
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

// ringLink is the target of an io_uring's link in /proc/PID/fd.
const ringLink = "anon_inode:[io_uring]"

// parseRingFiles reads the inodes of the sockets among the registered files of
// an io_uring from its fdinfo, where lines "NUMBER: socket:[INODE]" follow
// "UserFiles: COUNT" (io_uring_show_fdinfo in io_uring/fdinfo.c). told is false
// where the kernel left the files out.
func parseRingFiles(b []byte) (inodes []uint64, told bool) {
	for line := range bytes.Lines(b) {
		name, value, ok := bytes.Cut(line, []byte(":"))
		switch {
		case !ok:
		case string(name) == "UserFiles":
			told = true
		case told && len(name) > 0 && name[0] != ' ' && (name[0] < '0' || name[0] > '9'):
			return inodes, told // the next part
		case told:
			if inode, ok := parseSocketLink(bytes.TrimSpace(value)); ok {
				inodes = append(inodes, inode)
			}
		}
	}
	return inodes, told
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
