package firewall

import (
	"encoding/binary"
	"slices"
)

// littleEndian says whether this machine keeps the least significant byte
// first: registers hold fields of the kernel so, until a byteorder expression.
var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// The keys of meta: enum nft_meta_keys.
const (
	metaLength        = 0
	metaProtocol      = 1
	metaPriority      = 2
	metaMark          = 3
	metaInterface     = 4
	metaInterfaceName = 6
	metaInterfaceType = 8
	metaFamily        = 15
	metaL4Protocol    = 16
	metaPacketType    = 19
	metaInputGroup    = 21
	metaRandom        = 24
	metaTime          = 30
	metaDay           = 31
	metaHour          = 32
	metaDevice        = 33 // NFT_META_SDIF
	metaDeviceName    = 34
)

// meta loads what the kernel knows of a packet, or sets its mark.
func (t *translator) meta(a *attributes, b *branch) {
	key := a.number(loadKey)
	if a.value[metaFrom] != nil {
		b.rule.marks = b.rule.marks || key == metaMark
		return
	}
	to, r := a.number(loadTo), &b.registers
	switch key {
	case metaProtocol:
		r.load(to, fieldEtherType, 2, false)
	case metaMark:
		r.load(to, fieldMark, 4, littleEndian)
	case metaInterface:
		r.load(to, fieldIndex, 4, littleEndian)
	case metaInterfaceName:
		r.load(to, fieldInterface, 16, false)
	case metaInterfaceType:
		r.load(to, fieldInterfaceType, 2, littleEndian)
	case metaFamily:
		r.load(to, fieldFamily, 1, false)
	case metaL4Protocol:
		r.load(to, fieldProtocol, 1, false)
	case metaPacketType:
		r.load(to, fieldPacketType, 1, false)
	case metaRandom:
		r.load(to, fieldRate, 4, littleEndian)
	case metaTime:
		r.load(to, fieldTime, 8, littleEndian)
	case metaDay:
		r.load(to, fieldTime, 1, false)
	case metaHour:
		r.load(to, fieldTime, 4, littleEndian)
	case metaInputGroup, metaDevice:
		r.load(to, fieldDevice, 4, littleEndian)
	case metaDeviceName:
		r.load(to, fieldDevice, 16, false)
	case metaLength, metaPriority:
		r.load(to, fieldContent, 4, littleEndian)
	default:
		r.load(to, fieldUnknown, 16, false)
	}
}

// The keys of ct: enum nft_ct_keys.
const (
	trackingState     = 0
	trackingDirection = 1
	trackingStatus    = 2
	trackingMark      = 3
	trackingProtocol  = 10
	trackingSource    = 8
	trackingTo        = 9
	trackingFromPort  = 11
	trackingPort      = 12
	trackingSourceIP  = 19
	trackingToIP      = 20
	trackingSourceIP6 = 21
	trackingToIP6     = 22
)

// tracking loads what connection tracking knows. Of the original direction of a
// connection that is not translated, addresses and ports are those of its packet.
func (b *branch) tracking(a *attributes) {
	key := a.number(loadKey)
	if a.value[trackingFrom] != nil {
		b.rule.marks = b.rule.marks || key == trackingMark
		return
	}
	to, r := a.number(loadTo), &b.registers
	switch key {
	case trackingState:
		r.load(to, fieldState, 4, littleEndian)
		return
	case trackingStatus:
		r.load(to, fieldStatus, 4, littleEndian)
		return
	case trackingMark:
		r.load(to, fieldConnectionMark, 4, littleEndian)
		return
	case trackingDirection:
		r.load(to, fieldDirection, 1, false)
		return
	}
	if direction := a.value[loadDirection]; len(direction) != 1 || direction[0] != 0 {
		r.load(to, fieldUnknown, 16, false)
		return
	}
	switch key {
	case trackingSource, trackingSourceIP, trackingSourceIP6:
		r.load(to, fieldSource, b.family.addressLength(), false)
	case trackingTo, trackingToIP, trackingToIP6:
		r.load(to, fieldDestination, b.family.addressLength(), false)
	case trackingFromPort:
		r.load(to, fieldSourcePort, 2, false)
	case trackingPort:
		r.load(to, fieldPort, 2, false)
	case trackingProtocol:
		r.load(to, fieldProtocol, 1, false)
	default:
		r.load(to, fieldUnknown, 16, false)
	}
}

func (f family) addressLength() int {
	if f == familyIPv6 {
		return 16
	}
	return 4
}

// The results and flags of fib: enum nft_fib_result and nft_fib_flags.
const (
	fibInterface, fibInterfaceName, fibType         = 1, 2, 3
	fibSource, fibDestination, fibInput, fibPresent = 1, 2, 8, 32
)

// route loads what the routing table says of an address. That there is a route
// back to the sender is part of the question (Query).
func (b *branch) route(a *attributes) {
	to, r := a.number(loadTo), &b.registers
	flags := a.number(fibFlags)
	switch result := a.number(fibResult); {
	case result == fibType && flags&fibSource != 0:
		r.load(to, fieldSourceType, 4, littleEndian)
	case result == fibType && flags&fibDestination != 0:
		r.load(to, fieldDestinationType, 4, littleEndian)
	case result == fibInterface && flags&fibPresent != 0 && flags&fibSource != 0:
		r.load(to, fieldReversePath, 1, false)
	case result == fibInterface && flags&fibSource != 0:
		// Compared with 0, it is the same question as above: no interface has
		// this index (net/ipv4/netfilter/nft_fib_ipv4.c).
		r.load(to, fieldRouteIndex, 4, littleEndian)
	default:
		r.load(to, fieldUnknown, 16, false)
	}
}

// part is where a field lies in a header.
type part struct {
	field  field
	offset int
	length int
}

// The headers: RFC 791, RFC 8200; RFC 768, RFC 9293 and the like, which begin
// with the ports.
var (
	headerIPv4 = []part{{fieldProtocol, 9, 1}, {fieldSource, 12, 4}, {fieldDestination, 16, 4}}
	// The next header is the transport, if the packet has no extension headers.
	headerIPv6      = []part{{fieldProtocol, 6, 1}, {fieldSource, 8, 16}, {fieldDestination, 24, 16}}
	headerTransport = []part{{fieldSourcePort, 0, 2}, {fieldPort, 2, 2}, {fieldFlags, 13, 1}}
)

// payload loads bytes of the packet, which may be several fields, or parts of them.
func (b *branch) payload(a *attributes) {
	var header []part
	switch base := a.number(payloadBase); {
	case base == 1 && b.family == familyIPv4:
		header = headerIPv4
	case base == 1 && b.family == familyIPv6:
		header = headerIPv6
	case base == 2:
		header = headerTransport
	}
	offset, n := int(a.number(payloadOffset)), int(a.number(payloadLength))
	if a.value[payloadFrom] != nil {
		// It writes into the packet. Where that is a field, what is known of
		// the packet is void from here on.
		if header == nil || slices.ContainsFunc(header, func(p part) bool {
			return offset < p.offset+p.length && p.offset < offset+n
		}) {
			b.rule.action = opaque
		}
		return
	}
	r := &b.registers
	r.loads++
	cells := r.padded(a.number(loadTo), n)
	for i := range cells {
		cells[i] = cell{field: fieldContent, load: r.loads, place: uint8(i % 16), and: 0xff}
		if header == nil {
			cells[i].field = fieldUnknown
		}
		for _, p := range header {
			if k := offset + i - p.offset; k >= 0 && k < p.length {
				cells[i].field, cells[i].place = p.field, uint8(k)
			}
		}
	}
}

// byteOrder swaps the bytes of numbers of 2, 4 or 8 bytes between the order of
// this machine and that of the network, either way.
func (b *branch) byteOrder(a *attributes) {
	length, size := int(a.number(orderLength)), int(a.number(orderSize))
	from, to := b.registers.at(a.number(orderFrom), length), b.registers.at(a.number(orderTo), length)
	if from == nil || to == nil || size < 2 || size > 8 || length%size != 0 {
		b.rule.action = opaque
		return
	}
	swapped := make([]cell, length)
	for i := range swapped {
		k := i
		if littleEndian {
			k = i - i%size + size - 1 - i%size
		}
		swapped[i] = from[k]
	}
	copy(to, swapped)
}

// bitwise is (register & mask) ^ xor. Shifts, and two registers in one, are not
// understood.
func (b *branch) bitwise(a *attributes) {
	length := int(a.number(bitwiseLength))
	from, to := b.registers.at(a.number(bitwiseFrom), length), b.registers.at(a.number(bitwiseTo), length)
	mask, err := parseData(a.value[bitwiseMask])
	xor, err2 := parseData(a.value[bitwiseXor])
	if from == nil || to == nil || err != nil || err2 != nil || a.number(bitwiseHow) != 0 ||
		len(mask.bytes) != length || len(xor.bytes) != length {
		b.registers.forget(fieldUnknown)
		return
	}
	for i, c := range from {
		c.and &= mask.bytes[i]
		c.xor = c.xor&mask.bytes[i] ^ xor.bytes[i]
		to[i] = c
	}
}
