package firewall

import (
	"net/netip"

	"github.com/portaudit/portaudit/registry"
)

// Query is a packet that would open a connection (or a flow) to a listener,
// from another host. It is one that is new to connection tracking, that came by
// the way that leads back to its sender, and that no program marked before the
// packet filter saw it.
type Query struct {
	Transport registry.Transport
	// Address is where the listener is bound. An unspecified one stands for any
	// address of the host of its family; who is bound to both families asks for
	// each.
	Address netip.Addr
	Port    registry.Port
	// Interface is the name of the device on which it arrives, "" any but the
	// loopback device.
	Interface string
}

// protocols are the numbers of IP of the transports that have ports.
var protocols = map[registry.Transport]uint8{
	registry.TCP: 6, registry.UDP: 17, registry.DCCP: 33, registry.SCTP: 132, registry.UDPLite: 136,
}

// domain is what a field of a packet may be.
type domain struct {
	values set        // nil: anything
	on     Dependence // what makes it one or the other
}

// in says whether the field, under the mask, is in s: for all, some or none of
// what it may be.
func (d *domain) in(s set, mask *value, width int) truth {
	if d.values == nil {
		return s.relation(prefix(nil))
	}
	result, first := no, true
	for _, i := range d.values {
		t := maybe
		switch {
		case mask == nil:
			t = s.relation(i)
		case string(i.first[:width]) == string(i.last[:width]):
			v := i.first.and(*mask)
			t = s.relation(interval{v, v})
		}
		if !first && t != result {
			return maybe
		}
		result, first = t, false
	}
	return result
}

// packet is a query in the terms of the conditions.
type packet struct {
	family family
	fields [fieldCount]domain
}

// dependence is what the fields depend on together; Unreadable where they do
// not say.
func (p *packet) dependence(fields []field) Dependence {
	var on Dependence
	for _, f := range fields {
		on |= p.fields[f].on
	}
	if on == 0 {
		on = Unreadable
	}
	return on
}

// The values of the kernel that a new packet from another host has.
const (
	stateNew         = 1 << 3 // NF_CT_STATE_BIT(IP_CT_NEW), include/uapi/linux/netfilter/nf_conntrack_common.h
	stateUntracked   = 1 << 6 // NF_CT_STATE_UNTRACKED_BIT
	statusSourceDone = 1 << 7 // IPS_SRC_NAT_DONE: the NAT hook passed, whether it changed anything or not
	statusDone       = 1 << 8 // IPS_DST_NAT_DONE
	tcpSYN           = 0x02
	tcpECN           = 0xc0 // ECE and CWR, which an ECN-setup SYN has (RFC 3168 section 6.1.1)
	typeLoopback     = 772  // ARPHRD_LOOPBACK
	loopbackIndex    = 1    // LOOPBACK_IFINDEX, include/net/flow.h
	routeUnicast     = 1    // RTN_UNICAST, include/uapi/linux/rtnetlink.h
	routeLocal       = 2    // RTN_LOCAL
	routeMulticast   = 5    // RTN_MULTICAST
	packetHost       = 0    // PACKET_HOST, include/uapi/linux/if_packet.h
	packetMulticast  = 2    // PACKET_MULTICAST
)

// newPacket is the packet of a query; not ok for one without a port.
func newPacket(q Query, r *Ruleset) (p packet, ok bool) {
	protocol, ok := protocols[q.Transport]
	if !ok || !q.Address.IsValid() {
		return p, false
	}
	if zone := q.Address.Zone(); q.Interface == "" {
		q.Interface = zone
	}
	address := q.Address.Unmap().WithZone("")
	p.family = familyIPv6
	etherType := uint64(0x86dd)
	if address.Is4() {
		p.family, etherType = familyIPv4, 0x0800
	}
	p.point(fieldFamily, uint64(p.family))
	p.point(fieldEtherType, etherType)
	p.point(fieldProtocol, uint64(protocol))
	p.point(fieldPort, uint64(q.Port))
	p.point(fieldDirection, 0)
	p.point(fieldSourceType, routeUnicast)
	p.point(fieldReversePath, 1)
	p.fields[fieldSourcePort] = domain{on: SourcePort}
	p.fields[fieldRate] = domain{on: Rate}
	p.fields[fieldTime] = domain{on: Time}
	p.fields[fieldContent] = domain{on: Content}
	p.fields[fieldSet] = domain{on: SetContent}
	p.fields[fieldDevice] = domain{on: Interface}
	p.fields[fieldUnknown] = domain{on: Unreadable}
	p.fields[fieldFlags] = domain{on: Content}
	if q.Transport == registry.TCP {
		p.points(fieldFlags, Content, tcpSYN, tcpSYN|tcpECN)
	}
	p.setAddresses(address)
	p.setInterface(q.Interface, r.devices)
	p.setTracking(r)
	return p, true
}

func (p *packet) point(f field, n uint64) { p.points(f, 0, n) }

func (p *packet) points(f field, on Dependence, n ...uint64) {
	d := domain{on: on}
	for _, n := range n {
		d.values = append(d.values, numbers(f.width(), n, n))
	}
	p.fields[f] = d
}

// setAddresses says from where and to where the packet goes: it comes from
// another host, so neither from a loopback nor from a group address.
func (p *packet) setAddresses(to netip.Addr) {
	others := unicast(to.Is4())
	p.fields[fieldSource] = domain{values: others, on: SourceAddress}
	p.point(fieldDestinationType, routeLocal)
	p.point(fieldPacketType, packetHost)
	switch {
	case to.IsUnspecified():
		p.fields[fieldDestination] = domain{values: others, on: DestinationAddress}
		return
	case to.IsMulticast():
		p.point(fieldDestinationType, routeMulticast)
		p.point(fieldPacketType, packetMulticast)
	}
	p.fields[fieldDestination] = domain{values: set{addresses(to, to)}}
}

// unicast is the set of the addresses that another host may have: RFC 6890.
func unicast(ipv4 bool) set {
	reserved := []string{"::/127", "::ffff:0:0/96", "ff00::/8"}
	if ipv4 {
		reserved = []string{"0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3"}
	}
	var none []interval
	for _, s := range reserved {
		none = append(none, addressPrefix(netip.MustParsePrefix(s)))
	}
	return newSet(none...).complement()
}

// setInterface says where the packet arrives; devices are names by index.
func (p *packet) setInterface(device string, devices map[uint32]string) {
	loopback := newSet(name("lo"))
	kind := newSet(numbers(2, typeLoopback, typeLoopback))
	index := newSet(numbers(4, 0, loopbackIndex))
	p.fields[fieldRouteIndex] = domain{values: index.complement(), on: Interface}
	if device == "lo" {
		p.fields[fieldInterface] = domain{values: loopback}
		p.fields[fieldInterfaceType] = domain{values: kind}
		p.point(fieldIndex, loopbackIndex)
		return
	}
	p.fields[fieldInterface] = domain{values: loopback.complement(), on: Interface}
	p.fields[fieldInterfaceType] = domain{values: kind.complement(), on: Interface}
	p.fields[fieldIndex] = domain{values: index.complement(), on: Interface}
	if device == "" {
		return
	}
	p.fields[fieldInterface] = domain{values: set{name(device)}}
	for i, n := range devices {
		if n == device {
			p.point(fieldIndex, uint64(i))
		}
	}
}

// setTracking says what connection tracking and marks hold, which the rules
// themselves may have changed.
func (p *packet) setTracking(r *Ruleset) {
	p.points(fieldStatus, Content, 0, statusSourceDone, statusDone, statusSourceDone|statusDone)
	p.point(fieldState, stateNew)
	if r.untracks {
		p.points(fieldState, Tracking, stateNew, stateUntracked)
	}
	p.point(fieldMark, 0)
	p.point(fieldConnectionMark, 0)
	if r.marks {
		p.fields[fieldMark] = domain{on: Mark}
		p.fields[fieldConnectionMark] = domain{on: Mark}
	}
}
