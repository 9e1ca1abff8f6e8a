package firewall

import (
	"net/netip"
	"slices"

	"github.com/portaudit/portaudit/registry"
)

// Ports is a range of ports, both ends included.
type Ports struct{ First, Last registry.Port }

// Addresses is a range of addresses of one family, both ends included; the zero
// value is no range.
type Addresses struct{ First, Last netip.Addr }

// Publication is a port of the host whose traffic goes to somebody else.
type Publication struct {
	Transport registry.Transport // 0: any
	Addresses Addresses          // to which others connect; zero: those of the host
	Ports     Ports              // to which others connect; 0 to 65535: any
	// Interface on which it must arrive, "" any; one that ends in * stands for
	// all that begin so.
	Interface string

	To      netip.Addr // invalid: the host itself (REDIRECT), or Note tells
	ToPorts Ports      // zero: the same

	// Local says that only connections of the host itself are handed on.
	Local   bool
	On      Dependence // what it depends on beside the above
	Note    string     // what the fields do not say; "" for nothing
	Because string     // the rule, or the program
}

// translation is what a rule of destination NAT writes into a packet.
type translation struct {
	address netip.Addr // invalid: that of the host
	ports   Ports      // zero: not changed
	note    string     // what is not simple about it
}

// Bounds of a search for publications: a rule may be reached in many ways.
const (
	maxPublications = 1 << 14
	maxSteps        = 1 << 18
)

// Published returns what the rules of destination NAT hand on: of the
// prerouting hook, which connections of others pass, and of the output hook,
// where the same is not there. A rule is listed for each way on which it can be
// reached. Earlier rules that exempt some packets are not subtracted, and
// whether a packet then passes the forward hook is not evaluated. It is not
// complete where there were more than 16,384, or more than 262,144 steps.
func (r Ruleset) Published() (list []Publication, complete bool) {
	s := search{rules: &r, seen: make(map[Publication]bool)}
	for _, h := range []hook{prerouting, output} {
		for _, f := range []family{familyIPv4, familyIPv6} {
			s.packet = anyPacket(f, h, &r)
			s.local = h == output
			for _, c := range r.bases(h, f) {
				s.chain(c, way{}, 0)
			}
		}
	}
	return s.found, s.steps <= maxSteps && len(s.found) < maxPublications
}

// anyPacket is any new packet of a family at a hook: of another host, or for the
// output hook of this one.
func anyPacket(f family, h hook, r *Ruleset) packet {
	to := netip.IPv6Unspecified()
	if f == familyIPv4 {
		to = netip.IPv4Unspecified()
	}
	p, _ := newPacket(Query{Transport: registry.TCP, Address: to}, r)
	p.fields[fieldPort] = domain{on: Unreadable}
	p.fields[fieldProtocol] = domain{on: Content}
	p.fields[fieldFlags] = domain{on: Content}
	p.fields[fieldDestinationType] = domain{on: DestinationAddress}
	if h == output {
		p.fields[fieldSource] = domain{on: SourceAddress}
		p.fields[fieldDestination] = domain{on: DestinationAddress}
		p.fields[fieldSourceType] = domain{on: SourceAddress}
		p.fields[fieldInterface] = domain{values: set{interval{}}} // none
	}
	return p
}

// search walks all ways to the rules of destination NAT.
type search struct {
	rules  *Ruleset
	packet packet
	local  bool
	steps  int
	found  []Publication
	seen   map[Publication]bool // with Local unset
}

// way is what the conditions so far leave of a packet; a nil set: anything.
type way struct {
	protocol, destination, port, device set
	on                                  Dependence
	// excepted says that of the destination only what it is not was asked for.
	excepted bool
}

// of returns the set of a field, nil for a field that is not followed.
func (w *way) of(f field) *set {
	switch f {
	case fieldProtocol:
		return &w.protocol
	case fieldDestination:
		return &w.destination
	case fieldPort:
		return &w.port
	case fieldInterface:
		return &w.device
	}
	return nil
}

// narrow adds the condition that a field is in s; not ok where nothing is left.
func (w *way) narrow(f field, s set) bool {
	to := w.of(f)
	if *to != nil {
		s = s.intersect(*to)
	}
	*to = s
	return len(s) > 0
}

func (s *search) chain(chain int, w way, depth int) {
	c := &s.rules.chains[chain]
	for i := range c.rules {
		if s.steps++; s.steps > maxSteps || len(s.found) >= maxPublications {
			return
		}
		r := &c.rules[i]
		ways := []way{w}
		for k := range r.matches {
			ways = s.match(&r.matches[k], ways)
		}
		for _, v := range ways {
			s.act(r, c.key, place{chain, i}, v, depth)
		}
		if len(r.matches) == 0 && r.action.terminal() {
			return
		}
	}
}

func (s *search) act(r *rule, from chainKey, at place, w way, depth int) {
	switch r.action {
	case translate:
		s.publish(r, at, w)
	case jump, leap:
		from.name = r.target
		if target, ok := s.rules.index[from]; ok && depth < maxDepth {
			s.chain(target, w, depth+1)
		}
	}
}

// match returns what a condition leaves of each way.
func (s *search) match(m *match, ways []way) []way {
	t, on := m.holds(&s.packet)
	if t == yes {
		return ways
	}
	if t == no {
		return nil
	}
	var left []way
	for _, w := range ways {
		switch {
		case m.open || m.mask != nil || len(m.fields) > 1 && m.not:
			w.on |= on
			left = append(left, w)
		case len(m.fields) == 1:
			if w.condition(m.fields[0], m.values, m.not, on, s.rules.devices) {
				left = append(left, w)
			}
		default:
			left = append(left, s.rows(m, w)...)
		}
	}
	return left
}

// rows returns a way for each row of a condition on several fields.
func (s *search) rows(m *match, w way) []way {
	var left []way
	for _, row := range m.rows {
		if s.steps++; s.steps > maxSteps {
			break
		}
		v, ok := w, true
		for i, f := range m.fields {
			ok = ok && v.condition(f, set(row[i:i+1]), false, s.packet.fields[f].on, s.rules.devices)
		}
		if ok {
			left = append(left, v)
		}
	}
	return left
}

// condition narrows a way to a field that is in a set, or not in it.
func (w *way) condition(f field, s set, not bool, on Dependence, devices map[uint32]string) bool {
	if f == fieldIndex && !not && len(s) == 1 {
		if n := devices[network.Uint32(s[0].first[:4])]; n != "" {
			f, s = fieldInterface, set{name(n)}
		}
	}
	switch {
	case f == fieldDestinationType && !not && s.relation(numbers(4, routeLocal, routeLocal)) == yes:
		return true // an address of the host, which is what is asked for
	case w.of(f) == nil, f == fieldInterface && not:
		w.on |= on
		return true
	case f == fieldDestination:
		w.excepted = not && (w.excepted || w.destination == nil)
	}
	if not {
		s = s.complement()
	}
	return w.narrow(f, s)
}

// publish writes down what a rule does to the packets of a way.
func (s *search) publish(r *rule, at place, w way) {
	if a := r.to.address; a.IsValid() && a.Is4() != (s.packet.family == familyIPv4) {
		return
	}
	p := Publication{
		To: r.to.address, ToPorts: r.to.ports, Note: r.to.note, On: w.on, Because: s.rules.describe(at),
	}
	p.Interface = deviceName(w.device)
	if p.Interface == "" && w.device != nil {
		p.On |= Interface
	}
	if w.excepted {
		p.On |= DestinationAddress
		w.destination = nil
	}
	ports := w.port
	if ports == nil {
		ports = everything()
	}
	for _, t := range transports(w.protocol) {
		for _, a := range addressRanges(w.destination, s.packet.family) {
			for _, i := range ports {
				p.Transport, p.Addresses = t, a
				p.Ports = portRange(network.Uint16(i.first[:]), network.Uint16(i.last[:]))
				s.add(p)
			}
		}
	}
}

func (s *search) add(p Publication) {
	if s.seen[p] || len(s.found) >= maxPublications {
		return
	}
	s.seen[p] = true
	// The rule of the output hook for the same is another one.
	same := func(q Publication) bool {
		q.Because, q.On, q.Interface = p.Because, p.On, p.Interface
		return q == p
	}
	if s.local && slices.ContainsFunc(s.found, same) {
		return
	}
	p.Local = s.local
	s.found = append(s.found, p)
}

// transports returns those whose protocol is in a set; 0 for any.
func transports(s set) []registry.Transport {
	if s == nil {
		return []registry.Transport{0}
	}
	var list []registry.Transport
	for t := registry.TCP; t <= registry.UDPLite; t++ {
		if n := uint64(protocols[t]); s.relation(numbers(1, n, n)) == yes {
			list = append(list, t)
		}
	}
	return list
}

// addressRanges returns the ranges of a set; the zero one for any address.
func addressRanges(s set, f family) []Addresses {
	if s == nil {
		return []Addresses{{}}
	}
	n := f.addressLength()
	var list []Addresses
	for _, i := range s {
		first, _ := netip.AddrFromSlice(i.first[:n])
		last, _ := netip.AddrFromSlice(i.last[:n])
		list = append(list, Addresses{first, last})
	}
	return list
}

// deviceName returns the name that a set of interfaces stands for, with a * for
// all that begin so; "" for another set.
func deviceName(s set) string {
	if len(s) != 1 {
		return ""
	}
	begin := cString(s[0].first[:])
	switch s[0] {
	case name(begin), prefix(append([]byte(begin), 0)):
		return begin
	case prefix([]byte(begin)):
		return begin + "*"
	}
	return ""
}
