package firewall

import "slices"

// Ruleset is the packet filter of one network namespace as far as it decides on
// what reaches a local socket, and on what is handed on. The zero value has no
// rules. It does not change after it was read and is safe for concurrent use.
type Ruleset struct {
	chains []chain
	index  map[chainKey]int
	// A rule somewhere marks packets or connections, or takes packets out of
	// connection tracking: a packet that meets a condition on these may be one.
	marks, untracks bool
	devices         map[uint32]string // names of interfaces by their index
}

func newRuleset(chains []chain, devices map[uint32]string) Ruleset {
	r := Ruleset{chains: chains, index: make(map[chainKey]int, len(chains)), devices: devices}
	for i, c := range chains {
		r.index[c.key] = i
		for _, rule := range c.rules {
			r.marks = r.marks || rule.marks
			r.untracks = r.untracks || rule.untracks
		}
	}
	return r
}

// Rules returns the number of rules that were read.
func (r Ruleset) Rules() int {
	n := 0
	for _, c := range r.chains {
		n += len(c.rules)
	}
	return n
}

// bases returns the base chains of a hook that see packets of a family, in the
// order in which the kernel asks them: by priority
// (nf_hook_entries_grow in net/netfilter/core.c).
func (r Ruleset) bases(h hook, f family) []int {
	var found []int
	for i, c := range r.chains {
		if c.base != nil && c.base.hook == h && c.key.family.sees(f) {
			found = append(found, i)
		}
	}
	slices.SortStableFunc(found, func(a, b int) int {
		return int(r.chains[a].base.priority) - int(r.chains[b].base.priority)
	})
	return found
}

// chain is a list of rules. One that is no base chain runs only where a rule
// jumps to it.
type chain struct {
	key   chainKey
	base  *base
	rules []rule
}

// chainKey names a chain within a network namespace.
type chainKey struct {
	origin origin
	family family
	table  string
	name   string
}

// origin is who holds a table.
type origin uint8

const (
	nftables origin = iota
	iptables        // the legacy tables of x_tables
)

func (o origin) String() string {
	if o == iptables {
		return "iptables"
	}
	return "nftables"
}

// family is what packets a table sees, numbered as the kernel does
// (enum nfproto in include/uapi/linux/netfilter.h).
type family uint8

const (
	familyInet   family = 1 // IPv4 and IPv6
	familyIPv4   family = 2
	familyNetdev family = 5 // whatever arrives at a device
	familyIPv6   family = 10
)

func (f family) sees(g family) bool {
	return f == g || f == familyInet || f == familyNetdev
}

func (f family) String() string {
	switch f {
	case familyInet:
		return "inet"
	case familyIPv4:
		return "ip"
	case familyNetdev:
		return "netdev"
	case familyIPv6:
		return "ip6"
	}
	return "unknown"
}

// base is what makes a chain a base chain: the kernel calls it.
type base struct {
	hook     hook
	nat      bool // of type nat
	priority int32
	policy   action
	devices  []string // of the ingress hook: where, nil elsewhere
}

// hook is a place in the kernel at which base chains run. The others do not
// matter here.
type hook uint8

const (
	otherHook hook = iota
	ingress
	prerouting
	input
	output
)

// rule is conditions and what is done where all of them hold.
type rule struct {
	number          uint64 // of nftables the handle, of iptables the place in the chain
	matches         []match
	action          action
	target          string // of jump and leap: the chain
	to              translation
	marks, untracks bool
}

// action is what a rule, or the policy of a base chain, does with a packet.
type action uint8

const (
	proceed action = iota // with the next rule
	accept                // leave this base chain
	drop
	reject
	back      // return to the chain that jumped here
	jump      // to target, and on from here after it
	leap      // goto: to target, and not back here
	translate // destination NAT
	opaque    // something that is not understood: it may do anything
)
