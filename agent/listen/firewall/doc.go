// Package firewall says what the packet filter of a Linux network namespace
// does to the traffic of a listener: whether its rules let a new connection
// from another host through (Ruleset.Input), and which ports they hand on to
// somebody else (Ruleset.Published, ParseProxy). It owns the rules of nftables
// and of iptables in both its forms, from the kernel's answer to the verdict.
// It refuses to know which sockets there are, who owns them, and whether a rule
// is a good one.
//
// Rules are read from the kernel itself, never through the nft or iptables
// commands, which need not be installed: nftables by netlink
// (include/uapi/linux/netfilter/nf_tables.h), legacy iptables by getsockopt
// (include/uapi/linux/netfilter_ipv4/ip_tables.h). Read translates both into
// one model of chains, rules and conditions. What it does not understand stays
// in the model as unknown, so an answer that hangs on it is Unknown and never
// wrong by silence. github.com/google/nftables was not used for that reason: it
// leaves out expressions that it does not know (expr.go, exprsFromBytes), and
// the rest of such a rule reads as if it applied to everything.
//
// Evaluation is three-valued. A query leaves things open, such as the source
// address, and a condition on one of them makes both ways possible; where both
// end alike, the answer is certain all the same.
//
// Not evaluated: programs of XDP, tc and cgroups, ebtables, the filter of a
// bridge, routing (and its reverse-path check), what lies before the host, and
// whether a packet that is handed on passes the forward hook.
package firewall
