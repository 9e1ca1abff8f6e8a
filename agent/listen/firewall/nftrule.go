package firewall

import (
	"net/netip"
	"slices"
)

// maxVariants bounds the rules that one rule with maps becomes.
const maxVariants = 1 << 14

// translator runs a rule without a packet: it keeps what each register would
// hold, and writes down the conditions. A look-up in a map branches: each of
// its elements makes a variant of the rule, and since only one can apply, the
// variants one after the other mean the same.
type translator struct {
	dump  *nftDump
	chain nftKey
	rules []rule
	steps int
}

// branch is the state of one variant.
type branch struct {
	registers registers
	family    family // of the packets that come so far, familyInet if any
	modulus   uint32 // of the last number by chance or by hash: it is below
	rule      rule
}

// translate returns the rules that mean what r means.
func (d *nftDump) translate(r nftRule) []rule {
	t := translator{dump: d, chain: r.chain}
	b := branch{family: r.chain.family, rule: rule{number: r.handle}}
	switch r.chain.family {
	case familyNetdev:
		b.family = familyInet
	case familyInet, familyIPv4, familyIPv6:
	default:
		return nil // of a bridge, or of ARP: it does not see what a listener gets
	}
	t.run(r.expressions, &b)
	return t.rules
}

func (t *translator) run(list []expression, b *branch) {
	for i := range list {
		if t.steps++; t.steps > maxVariants {
			b.rule.action = opaque
			break
		}
		a := parseAttributes(list[i].data)
		if a.err != nil {
			b.rule.action = opaque
			break
		}
		if list[i].name == "lookup" && a.value[lookupTo] != nil {
			t.lookUp(&a, list[i+1:], b)
			return
		}
		t.step(list[i].name, &a, b)
		if b.rule.action != proceed {
			break
		}
	}
	t.rules = append(t.rules, b.rule)
}

// The attributes of expressions: NFTA_CMP_* and so on.
const (
	immediateTo, immediateData                                                 = 1, 2
	compareFrom, compareHow, compareData                                       = 1, 2, 3
	rangeFrom, rangeHow, rangeFirst, rangeLast                                 = 1, 2, 3, 4
	bitwiseFrom, bitwiseTo, bitwiseLength, bitwiseMask, bitwiseXor, bitwiseHow = 1, 2, 3, 4, 5, 6
	orderFrom, orderTo, orderLength, orderSize                                 = 1, 2, 4, 5
	lookupSet, lookupFrom, lookupTo, lookupFlags                               = 1, 2, 3, 5
	loadTo, loadKey, loadDirection                                             = 1, 2, 3 // meta, ct
	payloadBase, payloadOffset, payloadLength, payloadFrom                     = 2, 3, 4, 5
	fibResult, fibFlags                                                        = 2, 3
	metaFrom, trackingFrom                                                     = 3, 4
	natHow, natAddress, natAddressLast, natPort, natPortLast                   = 1, 3, 4, 5, 6
	redirectPort, redirectPortLast                                             = 1, 2
	rejectHow                                                                  = 1
	objectKind                                                                 = 1
	numberTo, numberModulus, hashModulus                                       = 1, 2, 4
	dynamicExpression, dynamicExpressions                                      = 7, 10
	extensionName, extensionRevision, extensionInfo                            = 1, 2, 3
)

// step runs one expression. Names: net/netfilter/nft_*.c.
func (t *translator) step(name string, a *attributes, b *branch) {
	r := &b.rule
	switch name {
	case "immediate":
		b.immediate(a)
	case "cmp":
		b.compare(a)
	case "range":
		b.inRange(a)
	case "lookup":
		t.isMember(a, b)
	case "bitwise":
		b.bitwise(a)
	case "byteorder":
		b.byteOrder(a)
	case "payload":
		b.payload(a)
	case "meta":
		t.meta(a, b)
	case "ct":
		b.tracking(a)
	case "fib":
		b.route(a)
	case "numgen":
		b.registers.load(a.number(numberTo), fieldRate, 4, littleEndian)
		b.modulus = a.number(numberModulus)
	case "hash":
		b.registers.forget(fieldRate)
		b.modulus = a.number(hashModulus)
	case "exthdr", "osf":
		b.registers.forget(fieldContent)
	case "socket", "rt", "xfrm", "tunnel", "inner":
		// They load something, or end the rule where there is nothing to load.
		b.registers.forget(fieldUnknown)
	case "limit", "quota", "connlimit":
		r.matches = append(r.matches, some(fieldRate))
	case "dynset":
		if limited(a.value[dynamicExpression]) || anyLimited(a, dynamicExpressions) {
			r.matches = append(r.matches, some(fieldRate))
		}
	case "objref":
		b.object(a)
	case "counter", "log", "last", "dup", "flow_offload":
	case "notrack":
		r.untracks = true
	case "reject":
		r.action = reject
	case "nat":
		b.nat(a)
	case "redir":
		r.action, r.to = translate, translation{ports: b.ports(a, redirectPort, redirectPortLast)}
	case "masq":
		r.action = accept // of the source only, and done with this chain
	case "match":
		r.matches = append(r.matches, extensionMatch(b.family, t.extension(a))...)
	case "target":
		extensionTarget(r, b.family, t.extension(a))
	default:
		r.action = opaque
	}
	if a.err != nil {
		r.action = opaque
	}
}

// extension is what iptables-nft leaves to a module of x_tables.
func (t *translator) extension(a *attributes) extension {
	return extension{a.text(extensionName), a.number(extensionRevision), a.value[extensionInfo]}
}

func (b *branch) immediate(a *attributes) {
	d, err := parseData(a.value[immediateData])
	switch {
	case err != nil:
		b.rule.action = opaque
	case d.isVerdict:
		b.rule.action, b.rule.target = d.action, d.target
	default:
		b.registers.set(a.number(immediateTo), d.bytes)
	}
}

// isMember is a look-up in a set.
func (t *translator) isMember(a *attributes, b *branch) {
	s, key, groups := t.lookupKey(a, b)
	var m match
	list, rest, ok := s.entries()
	switch {
	case key == nil || !ok || rest != nil:
		m = some(append(fieldsOf(groups), fieldUnknown)...)
	case s.limits:
		m = some(append(fieldsOf(groups), fieldRate)...)
	case s.dynamic():
		m = some(append(fieldsOf(groups), fieldSet)...)
	case s.partial:
		m = some(fieldsOf(groups)...)
	default:
		m = member(key, groups, list)
	}
	m.not = a.number(lookupFlags)&1 != 0 // NFT_LOOKUP_F_INV
	b.rule.matches = append(b.rule.matches, m)
}

// lookupKey returns the set of a look-up and what the registers hold of its key.
func (t *translator) lookupKey(a *attributes, b *branch) (*nftSet, []cell, []group) {
	s := t.dump.sets[nftKey{t.chain.family, t.chain.table, a.text(lookupSet)}]
	if s == nil {
		return &nftSet{}, nil, nil
	}
	key := slices.Clone(b.registers.at(a.number(lookupFrom), s.keyLength))
	return s, key, groupCells(key)
}

// fieldsOf returns the fields of a key.
func fieldsOf(groups []group) []field {
	var fields []field
	for _, g := range groups {
		if !g.constant {
			fields = append(fields, g.field)
		}
	}
	return fields
}

// lookUp runs the rest of a rule once for each element of a map.
func (t *translator) lookUp(a *attributes, rest []expression, b *branch) {
	s, key, groups := t.lookupKey(a, b)
	list, other, ok := s.entries()
	if key == nil || !ok || s.limits || s.partial || s.dynamic() || s.flags&setMap == 0 {
		b.rule.action = opaque
		t.rules = append(t.rules, b.rule)
		return
	}
	to := a.number(lookupTo)
	all := len(groups) > 0 && groups[0].field == fieldRate && len(list) == int(b.modulus)
	for i := range list {
		m := member(key, groups, list[i:i+1])
		if all && i == len(list)-1 {
			m = always() // one for each number: if none of the others, then this
		}
		t.variant(b, m, to, list[i].data, rest)
	}
	if other != nil {
		m := member(key, groups, list)
		m.not = true
		t.variant(b, m, to, *other, rest)
	}
}

// variant runs the rest of a rule with what a map says where m holds.
func (t *translator) variant(b *branch, m match, to uint32, d data, rest []expression) {
	v := *b
	v.rule.matches = append(slices.Clip(v.rule.matches), m)
	if d.isVerdict {
		v.rule.action, v.rule.target = d.action, d.target
		t.rules = append(t.rules, v.rule)
		return
	}
	v.registers.set(to, d.bytes)
	t.run(rest, &v)
}

// object is a named object: a limit or a quota decides, others do not.
func (b *branch) object(a *attributes) {
	switch a.number(objectKind) { // NFT_OBJECT_*; 0: out of a map
	case 1, 3, 6, 7, 8, 9: // counter, ct helper, tunnel, ct timeout, secmark, ct expectation
	case 2, 4, 5, 0: // quota, limit, connlimit
		b.rule.matches = append(b.rule.matches, some(fieldRate))
	default:
		b.rule.action = opaque
	}
}

// nat is source or destination NAT (NFT_NAT_SNAT, NFT_NAT_DNAT).
func (b *branch) nat(a *attributes) {
	r := &b.rule
	if a.number(natHow) == 0 {
		r.action = accept
		return
	}
	r.action = translate
	r.to = translation{ports: b.ports(a, natPort, natPortLast)}
	if a.value[natAddress] == nil {
		return
	}
	size := 4
	if a.number(2) == uint32(familyIPv6) { // NFTA_NAT_FAMILY
		size = 16
	}
	first, ok := b.registers.bytes(a.number(natAddress), size)
	if !ok {
		r.to.note = "to an address that is computed"
		return
	}
	r.to.address, _ = netip.AddrFromSlice(first)
	if a.value[natAddressLast] == nil {
		return
	}
	if last, ok := b.registers.bytes(a.number(natAddressLast), size); ok && string(first) != string(last) {
		until, _ := netip.AddrFromSlice(last)
		r.to.note = "to addresses up to " + until.String()
	}
}

// ports reads the ports of a translation; zero where it has none, or computes them.
func (b *branch) ports(a *attributes, first, last int) Ports {
	if a.value[first] == nil {
		return Ports{}
	}
	f, ok := b.registers.bytes(a.number(first), 2)
	if !ok {
		return Ports{}
	}
	if l, ok := b.registers.bytes(a.number(last), 2); a.value[last] != nil && ok {
		return portRange(network.Uint16(f), network.Uint16(l))
	}
	return portRange(network.Uint16(f), network.Uint16(f))
}
