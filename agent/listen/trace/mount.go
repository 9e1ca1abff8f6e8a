package trace

import (
	"bytes"
	"strconv"
	"strings"
)

// unifiedHierarchy returns where the root of the unified control group hierarchy
// is mounted, by /proc/PID/mountinfo (proc_pid_mountinfo(5)): lines of "id parent
// device root mountpoint options fields - type source options". It returns "" if
// it is nowhere, or only a part of it is.
func unifiedHierarchy(mountinfo []byte) string {
	for line := range bytes.Lines(mountinfo) {
		before, after, ok := bytes.Cut(line, []byte(" - "))
		f := bytes.Fields(before)
		if ok && bytes.HasPrefix(after, []byte("cgroup2 ")) && len(f) >= 5 && string(f[3]) == "/" {
			return unescape(string(f[4]))
		}
	}
	return ""
}

// unescape undoes the octal escapes of space, tab, newline and backslash
// (mangle_path in fs/seq_file.c).
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
