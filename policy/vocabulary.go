package policy

// Hows returns the ways in which an owner may be resolved: the values of
// Owner.How and of the condition owner.
func Hows() []string {
	return []string{"process", "socket unit", "kernel", "container proxy", "other pid namespace", "denied", "raced", "io_uring", "unheld"}
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
