//go:build !386

package firewall

// xt6EntrySize is the size of a struct ip6t_entry.
const xt6EntrySize = 168
