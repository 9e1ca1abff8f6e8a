package firewall

import (
	"slices"
)

// The messages of nftables: include/uapi/linux/netfilter/nf_tables.h. Each
// begins with a struct nfgenmsg, whose first byte is the family.
const (
	messageHeader = 4

	tableName, tableFlags = 1, 2 // NFTA_TABLE_*
	tableDormant          = 1    // NFT_TABLE_F_DORMANT: its chains do not run

	chainTable, chainName, chainHook, chainPolicy, chainType = 1, 3, 4, 5, 7 // NFTA_CHAIN_*
	hookNumber, hookPriority, hookDevice, hookDevices        = 1, 2, 3, 4    // NFTA_HOOK_*

	ruleTable, ruleChain, ruleHandle, ruleExpressions = 1, 2, 3, 4 // NFTA_RULE_*

	setTable, setName, setFlags, setKeyLength, setExpression, setExpressions = 1, 2, 3, 5, 17, 18 // NFTA_SET_*
	setInterval, setMap, setTimeout, setEval, setConcat                      = 0x4, 0x8, 0x10, 0x20, 0x80

	listTable, listSet, listElements = 1, 2, 3 // NFTA_SET_ELEM_LIST_*

	elementKey, elementData, elementFlags, elementKeyEnd = 1, 2, 3, 10 // NFTA_SET_ELEM_*
	elementExpression, elementExpressions                = 7, 11
	elementIntervalEnd, elementCatchall                  = 1, 2

	dataValue, dataVerdict    = 1, 2 // NFTA_DATA_*
	verdictCode, verdictChain = 1, 2 // NFTA_VERDICT_*

	generationID = 1 // NFTA_GEN_ID
)

// maxElements bounds what is kept of a set. It holds all ports; a larger set is
// one of addresses, and counts as not understood.
const maxElements = 1 << 16

// nftKey names a table, a chain or a set; name is "" for a table.
type nftKey struct {
	family      family
	table, name string
}

// nftDump is the answers of the kernel, parsed but not yet understood.
type nftDump struct {
	dormant map[nftKey]bool
	chains  []chain
	places  map[nftKey]int // of chains
	rules   []nftRule
	sets    map[nftKey]*nftSet
}

type nftRule struct {
	chain       nftKey
	handle      uint64
	expressions []expression
}

// expression is one step of a rule: a name and its attributes.
type expression struct {
	name string
	data []byte
}

type nftSet struct {
	flags     uint32
	keyLength int
	elements  []element
	// limits says that elements carry expressions, which may be limits; partial
	// that there are more elements than are kept.
	limits, partial bool
}

// element is a key of a set, or one end of an interval (elementIntervalEnd), or
// the catch-all of a map, which has none.
type element struct {
	key, keyEnd []byte
	flags       uint32
	data        data
}

// data is what a map holds, or what a rule loads: bytes or a verdict.
type data struct {
	bytes     []byte
	isVerdict bool
	action    action
	target    string
}

func newDump() *nftDump {
	return &nftDump{
		dormant: make(map[nftKey]bool), places: make(map[nftKey]int),
		sets: make(map[nftKey]*nftSet),
	}
}

// payload splits a message into its family and its attributes.
func payload(m []byte) (family, attributes, error) {
	if len(m) < messageHeader {
		return 0, attributes{}, malformed(m, "a message of %d bytes", len(m))
	}
	a := parseAttributes(m[messageHeader:])
	return family(m[0]), a, a.err
}

// The kinds of messages that a dump consists of: enum nf_tables_msg_types.
const (
	messageTable    = 0
	messageChain    = 3
	messageRule     = 6
	messageSet      = 9
	messageElements = 12
)

// add parses one message of the kernel. Sets come before their elements; other
// kinds of messages are left out.
func (d *nftDump) add(kind uint8, m []byte) error {
	switch kind {
	case messageTable:
		return d.addTable(m)
	case messageChain:
		return d.addChain(m)
	case messageRule:
		return d.addRule(m)
	case messageSet:
		return d.addSet(m)
	case messageElements:
		return d.addElements(m)
	}
	return nil
}

func (d *nftDump) addTable(m []byte) error {
	f, a, err := payload(m)
	if err != nil {
		return err
	}
	if a.number(tableFlags)&tableDormant != 0 {
		d.dormant[nftKey{family: f, table: a.text(tableName)}] = true
	}
	return a.err
}

func (d *nftDump) addChain(m []byte) error {
	f, a, err := payload(m)
	if err != nil {
		return err
	}
	key := nftKey{f, a.text(chainTable), a.text(chainName)}
	c := chain{key: chainKey{nftables, f, key.table, key.name}}
	if a.value[chainHook] != nil {
		h := parseAttributes(a.value[chainHook])
		c.base = &base{
			hook: hookOf(f, h.number(hookNumber)), nat: a.text(chainType) == "nat",
			priority: int32(h.number(hookPriority)), policy: drop,
		}
		if a.value[chainPolicy] == nil || a.number(chainPolicy) == verdictAccept {
			c.base.policy = accept
		}
		if h.value[hookDevice] != nil {
			c.base.devices = []string{h.text(hookDevice)}
		}
		err := visitAttributes(h.value[hookDevices], func(_ uint16, v []byte) error {
			c.base.devices = append(c.base.devices, cString(v))
			return nil
		})
		if h.err != nil || err != nil {
			return malformed(m, "a base chain with a malformed hook")
		}
	}
	d.places[key] = len(d.chains)
	d.chains = append(d.chains, c)
	return a.err
}

// hookOf translates the number of a hook, which depends on the family.
func hookOf(f family, n uint32) hook {
	switch {
	case f == familyNetdev && n == 0, f == familyInet && n == 5:
		return ingress
	case f == familyNetdev, f != familyIPv4 && f != familyIPv6 && f != familyInet:
		return otherHook
	case n == 0:
		return prerouting
	case n == 1:
		return input
	case n == 3:
		return output
	}
	return otherHook
}

func (d *nftDump) addRule(m []byte) error {
	f, a, err := payload(m)
	if err != nil {
		return err
	}
	r := nftRule{chain: nftKey{f, a.text(ruleTable), a.text(ruleChain)}}
	if b := a.value[ruleHandle]; len(b) == 8 {
		r.handle = network.Uint64(b)
	}
	err = a.list(ruleExpressions, func(b []byte) error {
		e := parseAttributes(b)
		r.expressions = append(r.expressions, expression{name: e.text(1), data: e.value[2]})
		return e.err
	})
	d.rules = append(d.rules, r)
	return err
}

func (d *nftDump) addSet(m []byte) error {
	f, a, err := payload(m)
	if err != nil {
		return err
	}
	d.sets[nftKey{f, a.text(setTable), a.text(setName)}] = &nftSet{
		flags:     a.number(setFlags),
		keyLength: int(a.number(setKeyLength)),
		limits:    limited(a.value[setExpression]) || anyLimited(&a, setExpressions),
	}
	return a.err
}

// dynamic says that the elements change without a new generation: rules add
// them, or they expire.
func (s *nftSet) dynamic() bool { return s.flags&(setEval|setTimeout) != 0 }

// addElements adds the elements of a set, of which one message need not hold all.
func (d *nftDump) addElements(m []byte) error {
	f, a, err := payload(m)
	if err != nil {
		return err
	}
	s := d.sets[nftKey{f, a.text(listTable), a.text(listSet)}]
	if s == nil {
		return malformed(m, "elements of a set that is not there")
	}
	return a.list(listElements, func(b []byte) error {
		e, limits, err := parseElement(b)
		if err != nil {
			return err
		}
		s.limits = s.limits || limits
		if s.partial = s.partial || len(s.elements) >= maxElements; !s.partial {
			s.elements = append(s.elements, e)
		}
		return nil
	})
}

func parseElement(b []byte) (e element, limits bool, err error) {
	a := parseAttributes(b)
	e.flags = a.number(elementFlags)
	if a.err != nil {
		return e, false, a.err
	}
	var key, end data
	for _, part := range [...]struct {
		kind int
		to   *data
	}{{elementKey, &key}, {elementKeyEnd, &end}, {elementData, &e.data}} {
		if b := a.value[part.kind]; b != nil {
			if *part.to, err = parseData(b); err != nil {
				return e, false, err
			}
		}
	}
	e.key, e.keyEnd = key.bytes, end.bytes
	return e, limited(a.value[elementExpression]) || anyLimited(&a, elementExpressions), nil
}

// limited says whether an expression may decide: all but those that only count.
func limited(b []byte) bool {
	if b == nil {
		return false
	}
	e := parseAttributes(b)
	name := e.text(1)
	return name != "counter" && name != "last"
}

func anyLimited(a *attributes, kind int) bool {
	found := false
	err := a.list(kind, func(b []byte) error {
		found = found || limited(b)
		return nil
	})
	return found || err != nil
}

// The verdicts: enum nft_verdicts, include/uapi/linux/netfilter.h. The upper
// bits of the last ones hold an errno or the number of a queue.
const (
	verdictAccept   = 1
	verdictDrop     = 0
	verdictContinue = -1
	verdictBreak    = -2
	verdictJump     = -3
	verdictGoto     = -4
	verdictReturn   = -5
)

func parseData(b []byte) (data, error) {
	a := parseAttributes(b)
	if a.err != nil || a.value[dataVerdict] == nil {
		// Never nil: an empty key is one, too.
		return data{bytes: append([]byte{}, a.value[dataValue]...)}, a.err
	}
	v := parseAttributes(a.value[dataVerdict])
	d := data{isVerdict: true, target: v.text(verdictChain)}
	code := int32(v.number(verdictCode))
	switch {
	case code == verdictContinue, code == verdictBreak:
		d.action = proceed
	case code == verdictJump:
		d.action = jump
	case code == verdictGoto:
		d.action = leap
	case code == verdictReturn:
		d.action = back
	case code&0xff == verdictAccept:
		d.action = accept
	case code&0xff == verdictDrop:
		d.action = drop
	default:
		d.action = opaque // NF_QUEUE, NF_STOLEN
	}
	return d, v.err
}

// ruleChains puts the rules, translated, into their chains.
func (d *nftDump) ruleChains() []chain {
	chains := slices.Clone(d.chains)
	for i := range chains {
		k := chains[i].key
		if d.dormant[nftKey{family: k.family, table: k.table}] {
			chains[i].base = nil
		}
	}
	for _, r := range d.rules {
		if i, ok := d.places[r.chain]; ok {
			chains[i].rules = append(chains[i].rules, d.translate(r)...)
		}
	}
	return chains
}

// parseGeneration reads the answer to NFT_MSG_GETGEN.
func parseGeneration(m []byte) (uint32, error) {
	_, a, err := payload(m)
	if err != nil {
		return 0, err
	}
	id := a.number(generationID)
	return id, a.err
}

// cString reads a string up to its end or the first zero.
func cString(b []byte) string {
	if i := slices.Index(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}
