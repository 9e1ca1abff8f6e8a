package listen

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/portaudit/portaudit/agent/listen/firewall"
	"github.com/portaudit/portaudit/registry"
)

func TestExpose(t *testing.T) {
	at := func(address string) Socket {
		return Socket{Transport: registry.TCP, Address: netip.MustParseAddr(address), Port: 80}
	}
	host := surroundings{host: true, devices: []string{"eth0"}}
	unread := host
	unread.filterErr = errors.New("operation not permitted")
	alone := surroundings{}
	container := surroundings{devices: []string{"eth0"}, addresses: []netip.Addr{netip.MustParseAddr("172.17.0.2")}}
	published := container
	published.published = []firewall.Publication{{
		Transport: registry.TCP, Ports: firewall.Ports{First: 8080, Last: 8080},
		To: netip.MustParseAddr("172.17.0.2"), ToPorts: firewall.Ports{First: 80, Last: 80}, Because: "rule 3",
	}}
	blindInside := published
	blindInside.filterErr = errors.New("operation not permitted")
	elsewhere := published
	elsewhere.addresses = []netip.Addr{netip.MustParseAddr("172.17.0.3")}
	dual := at("::")
	dual.DualStack = Yes
	onDevice := at("0.0.0.0")
	onDevice.Interface = "eth1"
	tests := []struct {
		reason string
		socket Socket
		around surroundings
		want   Reach
		says   string
	}{
		{"loopback of the host", at("127.0.0.1"), host, ReachHost, "only this host"},
		{"loopback, mapped", at("::ffff:127.0.0.1"), host, ReachHost, "only this host"},
		{"loopback of a container is not the host's", at("127.0.0.1"), container, ReachNamespace, "its own network namespace"},
		{"the wildcard address, no rules", at("0.0.0.0"), host, ReachNetwork, "of IPv4; the packet filter lets"},
		{"dual-stack", dual, host, ReachNetwork, "IPv6 and IPv4"},
		{"one address", at("192.0.2.1"), host, ReachNetwork, "one address"},
		{"link-local", at("fe80::1"), host, ReachRestricted, "same link"},
		{"bound to a device", onDevice, host, ReachRestricted, "through eth1"},
		{"rules that could not be read are said to be so", at("0.0.0.0"), unread, ReachNetwork, "not evaluated: operation not permitted"},
		{"a namespace without devices", at("0.0.0.0"), alone, ReachNone, "No device"},
		{"a container that publishes nothing", at("0.0.0.0"), container, ReachNamespace, "eth0"},
		{"a container whose port is published", at("0.0.0.0"), published, ReachPublished, "port 8080 (rule 3)"},
		{"published, into a namespace whose rules could not be read", at("0.0.0.0"), blindInside, ReachPublished, "the packet filter of its namespace was not evaluated: operation not permitted"},
		{"what filters on the way is said not to be evaluated", at("0.0.0.0"), published, ReachPublished, "what the host filters on the way is not evaluated; the packet filter of its namespace lets"},
		{"published for another container", at("0.0.0.0"), elsewhere, ReachNamespace, "eth0"},
		{"another port than the published one", Socket{Transport: registry.TCP, Address: netip.IPv4Unspecified(), Port: 81}, published, ReachNamespace, "eth0"},
		{"another transport", Socket{Transport: registry.UDP, Address: netip.IPv4Unspecified(), Port: 80}, published, ReachNamespace, "eth0"},
		{"a packet socket", Socket{Transport: registry.Packet, Number: 0x800, Interface: "eth0"}, host, ReachNetwork, "through eth0"},
		{"a raw socket", Socket{Transport: registry.Raw, Number: 1, Address: netip.IPv4Unspecified()}, host, ReachNetwork, "not evaluated"},
		{"a vsock", Socket{Transport: registry.VSOCK, Number: 1}, host, ReachRestricted, "virtual machine"},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			got := expose(tt.socket, tt.around)
			if got.Reach != tt.want || !strings.Contains(got.Sentence, tt.says) || !strings.HasSuffix(got.Sentence, ".") {
				t.Errorf("got %s: %q, want %s and %q", got.Reach, got.Sentence, tt.want, tt.says)
			}
		})
	}
}
