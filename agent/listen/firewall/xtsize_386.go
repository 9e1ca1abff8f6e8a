package firewall

// xt6EntrySize is the size of a struct ip6t_entry: on i386 its counters of 8
// bytes are aligned to 4.
const xt6EntrySize = 164
