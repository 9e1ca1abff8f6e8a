package listen

import (
	"bytes"
	"path"
	"strconv"
	"strings"
)

// namespaceMount is a network namespace that is mounted at a path.
type namespaceMount struct {
	id   uint64 // inode
	path string
}

// parseNamespaceMounts returns the network namespaces in /proc/PID/mountinfo
// (proc_pid_mountinfo(5)): lines of "id parent device root mountpoint options
// fields - type source options" with the type nsfs and a root "net:[INODE]".
func parseNamespaceMounts(b []byte) []namespaceMount {
	var mounts []namespaceMount
	for line := range bytes.Lines(b) {
		if !bytes.Contains(line, []byte(" - nsfs ")) {
			continue
		}
		f := bytes.Fields(line)
		if len(f) < 5 || !bytes.HasPrefix(f[3], []byte("net:")) {
			continue
		}
		if id, ok := parseNamespaceLink(f[3]); ok {
			mounts = append(mounts, namespaceMount{id, unescapeMount(f[4])})
		}
	}
	return mounts
}

// parseProcessMounts returns the processes over whose directory in the procfs at
// root, or a part of it, something is mounted, by /proc/PID/mountinfo.
func parseProcessMounts(b []byte, root string) map[int32]bool {
	var pids map[int32]bool
	for line := range bytes.Lines(b) {
		f := bytes.Fields(line)
		if len(f) < 5 {
			continue
		}
		rest, ok := bytes.CutPrefix(f[4], []byte(root+"/"))
		if !ok {
			continue
		}
		digits, _, _ := bytes.Cut(rest, []byte("/"))
		if pid, err := strconv.ParseInt(string(digits), 10, 32); err == nil && pid > 0 {
			if pids == nil {
				pids = map[int32]bool{}
			}
			pids[int32(pid)] = true
		}
	}
	return pids
}

// unifiedHierarchy returns where the root of the unified control group hierarchy
// is mounted, by /proc/PID/mountinfo; "" if it is nowhere, or only a part of it
// is.
func unifiedHierarchy(b []byte) string {
	for line := range bytes.Lines(b) {
		before, after, ok := bytes.Cut(line, []byte(" - "))
		f := bytes.Fields(before)
		if ok && bytes.HasPrefix(after, []byte("cgroup2 ")) && len(f) >= 5 && string(f[3]) == "/" {
			return unescapeMount(f[4])
		}
	}
	return ""
}

// unescapeMount undoes the octal escapes of space, tab, newline and backslash
// (mangle_path in fs/seq_file.c).
func unescapeMount(b []byte) string {
	var s strings.Builder
	for i := 0; i < len(b); i++ {
		if b[i] == '\\' && i+3 < len(b) {
			if c, err := strconv.ParseUint(string(b[i+1:i+4]), 8, 8); err == nil {
				s.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		s.WriteByte(b[i])
	}
	return s.String()
}

// label names the namespace as ip-netns(8) does, or as the kernel does.
func (m namespaceMount) label() string {
	if dir, name := path.Split(m.path); dir == "/run/netns/" || dir == "/var/run/netns/" {
		return "netns:" + name
	}
	return "net:[" + strconv.FormatUint(m.id, 10) + "]"
}
