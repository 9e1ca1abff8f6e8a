package firewall

// extension is a match or a target of x_tables: its name, revision and data, a
// structure of the kernel (include/uapi/linux/netfilter/xt_*.h). Legacy rules
// have them, and rules of iptables-nft where nftables has no words of its own.
type extension struct {
	name     string
	revision uint32
	data     []byte
}

// extensionMatch returns the conditions that a match means.
func extensionMatch(f family, x extension) []match {
	switch x.name {
	case "comment":
		return nil
	case "tcp":
		return matchTCP(x)
	case "udp", "udplite":
		return matchPorts(x, 10, 8)
	case "multiport":
		return matchMultiport(x)
	case "conntrack":
		return matchConntrack(f, x)
	case "state":
		if len(x.data) >= 4 {
			return []match{bits(fieldState, uint64(native.Uint32(x.data)))}
		}
	case "addrtype":
		return matchAddressType(x)
	case "iprange":
		return matchAddressRange(f, x)
	case "mark", "connmark":
		return matchMark(x)
	case "rpfilter":
		return matchReversePath(x)
	case "pkttype":
		return matchPacketType(x)
	case "limit", "hashlimit", "connlimit", "quota", "statistic", "connbytes", "rateest", "nfacct":
		return []match{some(fieldRate)}
	case "recent":
		return []match{some(fieldSource, fieldSet)}
	case "mac":
		return []match{some(fieldSource)}
	case "set":
		return matchSet(x)
	case "time":
		return []match{some(fieldTime)}
	case "devgroup", "physdev":
		return []match{some(fieldDevice)}
	case "length", "ttl", "hl", "tos", "dscp", "ecn", "tcpmss", "string", "u32", "osf":
		return []match{some(fieldContent)}
	}
	return unreadable()
}

// unreadable is the condition that stands for what is not understood.
func unreadable() []match { return []match{some(fieldUnknown)} }

// matchTCP reads a struct xt_tcp.
func matchTCP(x extension) []match {
	const size, invertAt = 12, 11
	list := matchPorts(x, size, invertAt)
	if len(x.data) < size {
		return list
	}
	option, mask, flags, invert := x.data[8], x.data[9], x.data[10], x.data[invertAt]
	if option != 0 {
		list = append(list, some(fieldContent))
	}
	if mask != 0 {
		m := masked(fieldFlags, number(1, uint64(mask)), number(1, uint64(flags)))
		m.not = invert&0x04 != 0 // XT_TCP_INV_FLAGS
		list = append(list, m)
	}
	return list
}

// matchPorts reads the ports that a struct xt_tcp or xt_udp begins with: two
// ranges in the byte order of this machine, and flags that invert them.
func matchPorts(x extension, size, invertAt int) []match {
	if len(x.data) < size || x.revision != 0 {
		return unreadable()
	}
	var list []match
	for i, f := range []field{fieldSourcePort, fieldPort} {
		first, last := native.Uint16(x.data[i*4:]), native.Uint16(x.data[i*4+2:])
		if first == 0 && last == 0xffff {
			continue
		}
		m := one(f, numbers(2, uint64(first), uint64(last)))
		m.not = x.data[invertAt]&(1<<i) != 0 // XT_TCP_INV_SRCPT, XT_TCP_INV_DSTPT
		list = append(list, m)
	}
	return list
}

// matchMultiport reads a struct xt_multiport or xt_multiport_v1.
func matchMultiport(x extension) []match {
	const (
		maxPorts = 15 // XT_MULTI_PORTS
		size     = 2 + 2*maxPorts
		size1    = size + maxPorts + 1
	)
	if len(x.data) < size || x.revision > 1 || x.revision == 1 && len(x.data) < size1 {
		return unreadable()
	}
	n := min(int(x.data[1]), maxPorts)
	var ports []interval
	for i := 0; i < n; i++ {
		first := uint64(native.Uint16(x.data[2+2*i:]))
		last := first
		if x.revision == 1 && x.data[size+i] != 0 && i+1 < n { // a range takes two places
			i++
			last = uint64(native.Uint16(x.data[2+2*i:]))
		}
		ports = append(ports, numbers(2, first, last))
	}
	not := x.revision == 1 && x.data[size1-1] != 0
	switch x.data[0] {
	case 0: // XT_MULTIPORT_SOURCE
		return []match{{fields: []field{fieldSourcePort}, values: newSet(ports...), not: not}}
	case 1: // XT_MULTIPORT_DESTINATION
		return []match{{fields: []field{fieldPort}, values: newSet(ports...), not: not}}
	}
	// XT_MULTIPORT_EITHER: one of the two.
	m := match{fields: []field{fieldSourcePort, fieldPort}, not: not}
	for _, p := range ports {
		m.rows = append(m.rows, []interval{p, prefix(nil)}, []interval{prefix(nil), p})
	}
	return []match{m}
}

// What a struct xt_conntrack_mtinfo compares: XT_CONNTRACK_*.
const (
	trackState    = 1 << 0
	trackOrigSrc  = 1 << 2
	trackOrigDst  = 1 << 3
	trackStatus   = 1 << 6
	trackPort     = 1 << 9 // XT_CONNTRACK_ORIGDST_PORT
	trackSide     = 1 << 12
	trackAlias    = 1 << 13 // the match is called state
	trackReadable = trackState | trackOrigSrc | trackOrigDst | trackStatus | trackSide | trackAlias | trackPort
)

// matchConntrack reads a struct xt_conntrack_mtinfo1, 2 or 3. Original source
// and destination are those of the packet, which is not translated.
func matchConntrack(f family, x extension) []match {
	const flagsAt = 8*16 + 4 + 4 + 2 + 4*2
	d := x.data
	if x.revision < 1 || x.revision > 3 || len(d) < flagsAt+6 || x.revision > 1 && len(d) < flagsAt+8 {
		return unreadable()
	}
	flags, invert := native.Uint16(d[flagsAt:]), native.Uint16(d[flagsAt+2:])
	state, status := uint64(d[flagsAt+4]), uint64(d[flagsAt+5])
	if x.revision > 1 { // masks of 16 bits
		state, status = uint64(native.Uint16(d[flagsAt+4:])), uint64(native.Uint16(d[flagsAt+6:]))
	}
	var list []match
	add := func(flag uint16, m match) {
		if flags&flag != 0 {
			m.not = m.not != (invert&flag != 0)
			list = append(list, m)
		}
	}
	add(trackState, conntrackState(state))
	add(trackStatus, bits(fieldStatus, status))
	add(trackOrigSrc, addressMask(fieldSource, f, d[0:16], d[16:32]))
	add(trackOrigDst, addressMask(fieldDestination, f, d[32:48], d[48:64]))
	if flags&trackPort != 0 {
		first := uint64(network.Uint16(d[flagsAt-6:]))
		last := first
		if x.revision == 3 { // there it is a range, in the byte order of this machine
			if len(d) < flagsAt+16 {
				return unreadable()
			}
			first, last = uint64(native.Uint16(d[flagsAt-6:])), uint64(native.Uint16(d[flagsAt+10:]))
		}
		add(trackPort, one(fieldPort, numbers(2, first, last)))
	}
	// A packet that opens a connection is of its original direction.
	if flags&trackSide != 0 && invert&trackSide != 0 {
		list = append(list, never())
	}
	if flags&^trackReadable != 0 {
		list = append(list, unreadable()...)
	}
	return list
}

// conntrackState is the condition that the state is one of a mask of
// XT_CONNTRACK_STATE_*: the lower bits are those of nftables, UNTRACKED is
// another, and SNAT and DNAT are never true of a packet that came as it is.
func conntrackState(mask uint64) match {
	const untracked = 1 << 8
	low := mask & 0x1f
	if mask&untracked != 0 {
		low |= stateUntracked
	}
	return bits(fieldState, low)
}

// addressMask is the condition that an address under a mask is another.
func addressMask(field field, f family, address, mask []byte) match {
	n := f.addressLength()
	var v, m value
	copy(v[:], address[:n])
	copy(m[:], mask[:n])
	return masked(field, m, v)
}

// matchAddressType reads a struct xt_addrtype_info or xt_addrtype_info_v1: masks
// of types, 1 << RTN_*.
func matchAddressType(x extension) []match {
	if len(x.data) < 8 || x.revision > 1 || x.revision == 0 && len(x.data) < 12 {
		return unreadable()
	}
	notSource, notDestination := x.data[4]&1 != 0, x.data[4]&2 != 0
	if x.revision == 0 {
		notSource, notDestination = native.Uint32(x.data[4:]) != 0, native.Uint32(x.data[8:]) != 0
	}
	list := addressTypes(nil, fieldSourceType, native.Uint16(x.data), notSource)
	return addressTypes(list, fieldDestinationType, native.Uint16(x.data[2:]), notDestination)
}

func addressTypes(list []match, f field, mask uint16, not bool) []match {
	if mask == 0 {
		return list
	}
	var types []interval
	for i := range 16 {
		if mask&(1<<i) != 0 {
			types = append(types, numbers(4, uint64(i), uint64(i)))
		}
	}
	m := one(f, types...)
	m.not = not
	return append(list, m)
}

// matchAddressRange reads a struct xt_iprange_mtinfo.
func matchAddressRange(f family, x extension) []match {
	if x.revision != 1 || len(x.data) < 4*16+1 {
		return unreadable()
	}
	n := f.addressLength()
	var list []match
	for i, field := range []field{fieldSource, fieldDestination} {
		flags := x.data[64]
		if flags&(1<<i) == 0 { // IPRANGE_SRC, IPRANGE_DST
			continue
		}
		m := one(field, span(x.data[32*i:][:n], x.data[32*i+16:][:n]))
		m.not = flags&(0x10<<i) != 0 // IPRANGE_SRC_INV, IPRANGE_DST_INV
		list = append(list, m)
	}
	return list
}

// matchMark reads a struct xt_mark_mtinfo1 or xt_connmark_mtinfo1.
func matchMark(x extension) []match {
	if x.revision != 1 || len(x.data) < 9 {
		return unreadable()
	}
	f := fieldMark
	if x.name == "connmark" {
		f = fieldConnectionMark
	}
	v, mask := number(4, uint64(native.Uint32(x.data))), number(4, uint64(native.Uint32(x.data[4:])))
	m := masked(f, mask, v)
	m.not = x.data[8] != 0
	return []match{m}
}

// matchReversePath reads a struct xt_rpfilter_info: it is true of packets that
// came by the way back to their sender, which is part of the question (Query).
func matchReversePath(x extension) []match {
	if x.revision != 0 || len(x.data) < 1 {
		return unreadable()
	}
	m := one(fieldReversePath, numbers(1, 1, 1))
	m.not = x.data[0]&0x08 != 0 // XT_RPFILTER_INVERT
	return []match{m}
}

// matchPacketType reads a struct xt_pkttype_info.
func matchPacketType(x extension) []match {
	if x.revision != 0 || len(x.data) < 8 {
		return unreadable()
	}
	kind := uint64(native.Uint32(x.data) & 0xff)
	m := one(fieldPacketType, numbers(1, kind, kind))
	m.not = native.Uint32(x.data[4:]) != 0
	return []match{m}
}

// matchSet reads the struct xt_set_info that each revision of an ipset match
// begins with. What is in the set is not read; one that is asked about nothing
// but the source, as blocking tools do, depends on that.
func matchSet(x extension) []match {
	const firstSource = 1 << 1 // IPSET_DIM_ONE_SRC; the next dimensions follow
	if x.revision == 0 || len(x.data) < 4 || x.data[2] == 0 || x.data[2] > 6 {
		return unreadable()
	}
	dimensions, flags := x.data[2], x.data[3]
	if all := byte(firstSource<<dimensions - firstSource); flags&all != all {
		return unreadable()
	}
	return []match{some(fieldSource, fieldSet)}
}
