package listen

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/portaudit/portaudit/agent/listen/firewall"
	"github.com/portaudit/portaudit/registry"
)

func TestUnserved(t *testing.T) {
	ip := netip.MustParseAddr
	one := func(p registry.Port) firewall.Ports { return firewall.Ports{First: p, Last: p} }
	web := firewall.Publication{Transport: registry.TCP, Ports: one(8080), To: ip("172.17.0.2"), ToPorts: one(80), Because: "rule 3"}
	with := func(change func(*firewall.Publication)) []firewall.Publication {
		p := web
		change(&p)
		return []firewall.Publication{p}
	}
	to := func(first, last string) firewall.Addresses {
		return firewall.Addresses{First: ip(first), Last: ip(last)}
	}
	n := network{
		host:   []netip.Addr{ip("192.0.2.1"), ip("2001:db8::1")},
		inside: map[string][]netip.Addr{"box": {ip("172.17.0.2"), ip("fd00::2")}},
	}
	at := func(namespace, address string, port registry.Port, how How) Socket {
		return Socket{Transport: registry.TCP, Namespace: namespace, Address: ip(address), Port: port, Owners: []Owner{{How: how}}}
	}
	dual := at(HostNamespace, "::", 8080, Process)
	dual.DualStack = Yes
	six := at(HostNamespace, "::", 8080, Process)
	six.DualStack = No
	udp := at(HostNamespace, "0.0.0.0", 8080, Process)
	udp.Transport = registry.UDP
	ports := firewall.Ports{First: 8000, Last: 8100}
	tests := []struct {
		reason    string
		published []firewall.Publication
		sockets   []Socket
		want      []string // transport ports > target
	}{
		{"nothing is handed on", nil, []Socket{dual}, nil},
		{"nobody listens", []firewall.Publication{web}, nil, []string{"tcp 8080-8080 > 172.17.0.2:80 rule 3"}},
		{"Docker's proxy", []firewall.Publication{web}, []Socket{at(HostNamespace, "0.0.0.0", 8080, ContainerProxy)}, nil},
		{"a socket of both families", []firewall.Publication{web}, []Socket{dual}, nil},
		{"a socket of IPv6 alone", []firewall.Publication{web}, []Socket{six}, []string{"tcp 8080-8080 > 172.17.0.2:80 rule 3"}},
		{"another transport", []firewall.Publication{web}, []Socket{udp}, []string{"tcp 8080-8080 > 172.17.0.2:80 rule 3"}},
		{"another port", []firewall.Publication{web}, []Socket{at(HostNamespace, "0.0.0.0", 80, Process)}, []string{"tcp 8080-8080 > 172.17.0.2:80 rule 3"}},
		{"loopback, which others do not reach", []firewall.Publication{web}, []Socket{at(HostNamespace, "127.0.0.1", 8080, Process)}, []string{"tcp 8080-8080 > 172.17.0.2:80 rule 3"}},
		{"the container's socket is seen", []firewall.Publication{web}, []Socket{at("box", "0.0.0.0", 80, Process)}, nil},
		{"of the container another one is", []firewall.Publication{web}, []Socket{at("box", "0.0.0.0", 8080, Process)}, []string{"tcp 8080-8080 > 172.17.0.2:80 rule 3"}},
		{"another container's socket", []firewall.Publication{web}, []Socket{at("other", "0.0.0.0", 80, Process)}, []string{"tcp 8080-8080 > 172.17.0.2:80 rule 3"}},
		{"for the host's own connections alone", with(func(p *firewall.Publication) { p.Local = true }), nil, nil},
		{"through the loopback device", with(func(p *firewall.Publication) { p.Interface = "lo" }), nil, nil},
		{"redirected to the host", with(func(p *firewall.Publication) { p.To = netip.Addr{} }), nil, nil},
		{"to an address of the host", with(func(p *firewall.Publication) { p.To = ip("192.0.2.1") }), nil, nil},
		{"to loopback", with(func(p *firewall.Publication) { p.To = ip("127.0.0.1") }), nil, nil},
		{"at an address of the host", with(func(p *firewall.Publication) { p.Addresses = to("192.0.2.0", "192.0.2.15") }), nil, []string{"tcp 8080-8080 > 172.17.0.2:80 rule 3"}},
		{"at loopback, which others do not reach", with(func(p *firewall.Publication) { p.Addresses = to("127.0.0.1", "127.0.0.1") }), nil, nil},
		{"at an address of Kubernetes", with(func(p *firewall.Publication) { p.Addresses = to("10.96.0.1", "10.96.0.1") }), nil, nil},
		{"at one address, where a socket listens", with(func(p *firewall.Publication) { p.Addresses = to("192.0.2.1", "192.0.2.1") }),
			[]Socket{at(HostNamespace, "192.0.2.1", 8080, Process)}, nil},
		{"a range, in which something else listens", with(func(p *firewall.Publication) { p.Ports, p.ToPorts = ports, firewall.Ports{} }),
			[]Socket{at(HostNamespace, "0.0.0.0", 8022, Process)}, []string{"tcp 8000-8100 > 172.17.0.2:0 rule 3"}},
		{"a range with a proxy", with(func(p *firewall.Publication) { p.Ports, p.ToPorts = ports, firewall.Ports{} }),
			[]Socket{at(HostNamespace, "0.0.0.0", 8022, ContainerProxy)}, nil},
		{"a range of a container that listens on one port of it", with(func(p *firewall.Publication) { p.Ports, p.ToPorts = ports, firewall.Ports{} }),
			[]Socket{at("box", "0.0.0.0", 8050, Process)}, nil},
		{"every port, with more than there are sockets", with(func(p *firewall.Publication) {
			p.Transport, p.Ports, p.ToPorts = 0, firewall.Ports{Last: 65535}, firewall.Ports{}
		}), []Socket{at(HostNamespace, "0.0.0.0", 22, Process), {Transport: registry.Packet, Namespace: HostNamespace}}, []string{"0-65535 > 172.17.0.2:0 rule 3"}},
		{"some connections", with(func(p *firewall.Publication) { p.On = firewall.SourceAddress }), nil,
			[]string{"tcp 8080-8080 > 172.17.0.2:80 rule 3, for some connections: it depends on the source address"}},
		{"two targets, of which one is seen", append(with(func(p *firewall.Publication) { p.To = ip("10.0.0.9") }), web), []Socket{at("box", "0.0.0.0", 80, Process)}, nil},
		{"two targets that nobody sees: one port", append(with(func(p *firewall.Publication) { p.To, p.Because = ip("10.0.0.9"), "rule 2" }), web), nil,
			[]string{"tcp 8080-8080 > 10.0.0.9:80 rule 2"}},
		{"both families, of which one is seen", append(with(func(p *firewall.Publication) { p.To = ip("fd00::3") }), web), []Socket{at("box", "0.0.0.0", 80, Process)},
			[]string{"tcp 8080-8080 > fd00::3:80 rule 3"}},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			n := n
			n.published = tt.published
			var got []string
			for _, p := range unserved(n, tt.sockets) {
				text := fmt.Sprintf("%d-%d > %s:%d %s", p.Ports.First, p.Ports.Last, p.To, p.ToPorts.First, p.Because)
				if p.Transport != 0 {
					text = p.Transport.String() + " " + text
				}
				got = append(got, text)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

// TestUnservedIsBounded: however many there are, and whatever order their rules
// have, the same are told of.
func TestUnservedIsBounded(t *testing.T) {
	var n network
	for i := range 2 * maxPublished {
		port := registry.Port(1000 + i)
		n.published = append(n.published, firewall.Publication{Transport: registry.TCP, Ports: firewall.Ports{First: port, Last: port}, To: netip.MustParseAddr("10.0.0.1")})
	}
	first := unserved(n, nil)
	slices.Reverse(n.published)
	if again := unserved(n, nil); len(first) != maxPublished || !slices.Equal(first, again) {
		t.Errorf("%d, then %d, not the same", len(first), len(again))
	}
}
