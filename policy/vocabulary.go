package policy

// Hows returns the ways in which an owner may be resolved: the values of
// Owner.How and of the condition owner.
func Hows() []string {
	return []string{"process", "socket unit", "kernel", "container proxy", "other pid namespace", "denied", "raced", "io_uring", "unheld"}
}

// namesNobody reports whether an owner that is known in this way cannot be named:
// what the condition owner calls unknown.
func namesNobody(how string) bool {
	switch how {
	case "", "other pid namespace", "denied", "raced", "unheld":
		return true
	}
	return false
}

// Changes returns how a listener may have changed: the values of Listener.Changed
// and of the condition changed.
func Changes() []string { return []string{"scope-widened", "owner-changed"} }

// CapabilityNames returns the names of the capabilities, by number, without their
// CAP_ (include/uapi/linux/capability.h).
func CapabilityNames() []string {
	return []string{
		"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID",
		"SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW",
		"IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT",
		"SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD",
		"LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG",
		"WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE",
	}
}

// Authorities returns the reasons why a process may hold a privileged port:
// the values of Listener.Authority and of the condition authority.
func Authorities() []string {
	return []string{"root", "creator-root", "capability", "sysctl", "user namespace", "inherited", "unexplained"}
}

// Reaches returns from where a listener may be reached in effect, from the
// narrowest: the values of Listener.Reach and of the condition reach.
func Reaches() []string {
	return []string{"none", "host", "blocked", "namespace", "restricted", "published", "network"}
}
