package firewall

import (
	"bytes"
	"fmt"
	"strings"
)

// The layout of a legacy table: include/uapi/linux/netfilter/x_tables.h,
// netfilter_ipv4/ip_tables.h and netfilter_ipv6/ip6_tables.h.
const (
	hookCount     = 5 // NF_INET_NUMHOOKS
	infoSize      = 32 + 4 + 4*hookCount + 4*hookCount + 4 + 4
	extensionSize = 32 // struct xt_entry_match and xt_entry_target
	verdictSize   = extensionSize + 4

	maxTable = 64 << 20 // a million rules
)

// xtLayout is what differs between the entries of IPv4 and those of IPv6.
type xtLayout struct {
	family     family
	addresses  int // bytes of an address
	devices    int // where the names of the interfaces begin
	protocol   int
	flags      int
	inverted   int
	targetAt   int
	nextAt     int
	entrySize  int
	checkProto uint8 // flag that says that there is a protocol; 0: wherever it is not 0
}

var (
	layoutIPv4 = xtLayout{
		family: familyIPv4, addresses: 4, devices: 16, protocol: 80, flags: 82, inverted: 83,
		targetAt: 88, nextAt: 90, entrySize: 112,
	}
	layoutIPv6 = xtLayout{
		family: familyIPv6, addresses: 16, devices: 64, protocol: 128, flags: 131, inverted: 132,
		targetAt: 140, nextAt: 142, entrySize: xt6EntrySize, checkProto: 1, // IP6T_F_PROTO
	}
)

// info is what the kernel tells of a table before its entries: a struct
// ipt_getinfo or ip6t_getinfo.
type info struct {
	hooks      uint32 // a bit for each
	entryAt    [hookCount]uint32
	policyAt   [hookCount]uint32
	size       uint32
	entryCount uint32
}

func parseInfo(b []byte) (info, error) {
	var i info
	if len(b) < infoSize {
		return i, malformed(b, "information on a table of %d bytes instead of %d", len(b), infoSize)
	}
	i.hooks = native.Uint32(b[32:])
	for h := range hookCount {
		i.entryAt[h] = native.Uint32(b[36+4*h:])
		i.policyAt[h] = native.Uint32(b[36+4*hookCount+4*h:])
	}
	i.entryCount, i.size = native.Uint32(b[76:]), native.Uint32(b[80:])
	if i.size > maxTable {
		return i, malformed(b, "a table of %d bytes", i.size)
	}
	return i, nil
}

// xtEntry is one entry: a rule, a policy, or the head of a chain.
type xtEntry struct {
	at     int
	raw    []byte
	target extension
}

// Names and priorities of the legacy tables and their chains: enum
// nf_ip_hook_priorities in include/uapi/linux/netfilter_ipv4.h.
var (
	xtPriorities = map[string]int32{"raw": -300, "mangle": -150, "nat": -100, "filter": 0, "security": 50}
	xtHooks      = [hookCount]hook{prerouting, input, otherHook, output, otherHook}
	xtHookNames  = [hookCount]string{"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"}
)

// parseTable reads a table, as the two options of getsockopt tell it, into
// chains. A built-in chain begins
// where a hook enters, another with an entry whose target is named ERROR; jumps
// are offsets.
func parseTable(l xtLayout, table string, raw, b []byte) ([]chain, error) {
	i, err := parseInfo(raw)
	if err != nil {
		return nil, err
	}
	entries, err := splitEntries(l, b)
	if err != nil {
		return nil, err
	}
	starts := make(map[int]*base) // built-in chains by the offset of their first rule
	names := make(map[int]string) // chains by the offset of their first rule
	policies := make(map[int]bool)
	for h := range hookCount {
		if i.hooks&(1<<h) == 0 {
			continue
		}
		at := int(i.entryAt[h])
		starts[at] = &base{hook: xtHooks[h], nat: table == "nat", priority: xtPriorities[table], policy: opaque}
		names[at] = xtHookNames[h]
		policies[int(i.policyAt[h])] = true
	}
	for k := range entries {
		if e := &entries[k]; e.target.name == "ERROR" && k+1 < len(entries) {
			names[entries[k+1].at] = cString(e.target.data)
		}
	}
	var chains []chain
	for k := range entries {
		e := &entries[k]
		if n, ok := names[e.at]; ok {
			chains = append(chains, chain{key: chainKey{iptables, l.family, table, n}, base: starts[e.at]})
		}
		if len(chains) == 0 || e.target.name == "ERROR" {
			continue
		}
		c := &chains[len(chains)-1]
		r := l.rule(e, names)
		if policies[e.at] && c.base != nil && len(r.matches) == 0 {
			c.base.policy = r.action
			continue
		}
		r.number = uint64(len(c.rules) + 1)
		c.rules = append(c.rules, r)
	}
	return chains, nil
}

// splitEntries cuts a table into its entries.
func splitEntries(l xtLayout, b []byte) ([]xtEntry, error) {
	var entries []xtEntry
	for at := 0; at < len(b); {
		e := b[at:]
		if len(e) < l.entrySize {
			return nil, malformed(e, "%d bytes instead of an entry of %d", len(e), l.entrySize)
		}
		target, next := int(native.Uint16(e[l.targetAt:])), int(native.Uint16(e[l.nextAt:]))
		if target < l.entrySize || next < target+extensionSize || next > len(e) {
			return nil, malformed(e, "an entry of %d bytes with its target at %d, in %d", next, target, len(e))
		}
		x, _, err := parseExtension(e[target:next])
		if err != nil {
			return nil, err
		}
		entries = append(entries, xtEntry{at: at, raw: e[:next], target: x})
		at += next
	}
	return entries, nil
}

// parseExtension reads a struct xt_entry_match or xt_entry_target at the start
// of b, and returns its size.
func parseExtension(b []byte) (extension, int, error) {
	if len(b) < extensionSize {
		return extension{}, 0, malformed(b, "%d bytes instead of a match or target", len(b))
	}
	size := int(native.Uint16(b))
	if size < extensionSize || size > len(b) {
		return extension{}, 0, malformed(b, "a match or target of %d bytes in %d", size, len(b))
	}
	return extension{cString(b[2:31]), uint32(b[31]), b[extensionSize:size]}, size, nil
}

// rule translates an entry. What is malformed in it makes it opaque.
func (l xtLayout) rule(e *xtEntry, names map[int]string) rule {
	var r rule
	r.matches = l.header(e.raw)
	target := int(native.Uint16(e.raw[l.targetAt:]))
	for at := l.entrySize; at < target; {
		x, size, err := parseExtension(e.raw[at:target])
		if err != nil {
			return rule{action: opaque}
		}
		r.matches = append(r.matches, extensionMatch(l.family, x)...)
		at += size
	}
	if e.target.name == "" {
		l.standard(&r, e, names)
		return r
	}
	extensionTarget(&r, l.family, e.target)
	return r
}

// standard reads a struct xt_standard_target: a verdict (negative, minus one),
// or the offset of a chain. Onto the next entry is no jump, but goes on.
func (l xtLayout) standard(r *rule, e *xtEntry, names map[int]string) {
	const (
		verdictReturn = -5 // XT_RETURN: -NF_REPEAT - 1
		gotoIPv4      = 0x02
		gotoIPv6      = 0x04 // IPT_F_GOTO, IP6T_F_GOTO
	)
	if len(e.target.data) < verdictSize-extensionSize {
		r.action = opaque
		return
	}
	switch v := int(int32(native.Uint32(e.target.data))); {
	case v == -1:
		r.action = drop
	case v == -2:
		r.action = accept
	case v == verdictReturn:
		r.action = back
	case v == e.at+len(e.raw):
		r.action = proceed
	case v >= 0 && names[v] != "":
		r.action, r.target = jump, names[v]
		mask := byte(gotoIPv4)
		if l.family == familyIPv6 {
			mask = gotoIPv6
		}
		if e.raw[l.flags]&mask != 0 {
			r.action = leap
		}
	default:
		r.action = opaque
	}
}

// The bits that invert: IPT_INV_* and IP6T_INV_*, which are alike.
const (
	invertInput    = 0x01
	invertSource   = 0x08
	invertTo       = 0x10
	invertFragment = 0x20
	invertProtocol = 0x40
	flagFragment   = 0x01 // IPT_F_FRAG
)

// header reads what an entry says of addresses, interfaces and the protocol: a
// struct ipt_ip or ip6t_ip6.
func (l xtLayout) header(e []byte) []match {
	var list []match
	add := func(bit byte, m match) {
		if bit&e[l.inverted] != 0 {
			m.not = !m.not
		}
		list = append(list, m)
	}
	n := l.addresses
	for i, f := range []field{fieldSource, fieldDestination} {
		address, mask := e[i*n:][:n], e[(2+i)*n:][:n]
		if strings.Trim(string(mask), "\x00") == "" {
			continue
		}
		var v, m value
		copy(v[:], address)
		copy(m[:], mask)
		add([]byte{invertSource, invertTo}[i], masked(f, m, v.and(m)))
	}
	// The name under its mask: a "+" at its end makes the mask shorter.
	var device, mask value
	copy(device[:], e[l.devices:])
	copy(mask[:], e[l.devices+32:])
	if i := bytes.IndexByte(device[:], 0); i >= 0 && mask[i] == 0xff {
		mask = prefix(nil).last // with its end it is a whole name
	}
	if mask != (value{}) {
		add(invertInput, masked(fieldInterface, mask, device.and(mask)))
	}
	protocol := uint64(native.Uint16(e[l.protocol:]))
	if protocol != 0 || l.checkProto&e[l.flags] != 0 {
		add(invertProtocol, one(fieldProtocol, numbers(1, protocol, protocol)))
	}
	if l.family == familyIPv4 && e[l.flags]&flagFragment != 0 {
		// Of fragments only the second and later: they have no ports.
		add(invertFragment, never())
	}
	return list
}

// parseTableNames reads /proc/net/ip_tables_names: the tables that were used in
// this namespace. To ask for another would make it.
func parseTableNames(b []byte) ([]string, error) {
	var names []string
	for line := range strings.Lines(string(b)) {
		n := strings.TrimSuffix(line, "\n")
		if _, ok := xtPriorities[n]; !ok {
			return nil, malformed([]byte(line), "an unknown table %q", n)
		}
		names = append(names, n)
	}
	if len(names) > len(xtPriorities) {
		return nil, fmt.Errorf("packet filter: %d tables", len(names))
	}
	return names, nil
}
