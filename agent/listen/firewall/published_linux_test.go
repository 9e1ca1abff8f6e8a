package firewall

import (
	"net/netip"
	"os"
	"testing"

	"github.com/portaudit/portaudit/registry"
	"golang.org/x/sys/unix"
)

// TestPublishedTruth publishes a port of a container, as docker does it, and
// connects to it from another host: the rules that say so are found, the host's
// own listener of that port is not reached, and the container's is.
func TestPublishedTruth(t *testing.T) {
	const dnat = " -t nat -A PREROUTING -m addrtype --dst-type LOCAL -p tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80"
	tests := []struct{ reason, rules, want string }{
		{"nftables", "table ip nat { chain pre { type nat hook prerouting priority dstnat; fib daddr type local tcp dport 8080 dnat to 172.17.0.2:80; }; }",
			"tcp *:8080-8080 > 172.17.0.2:80-80"},
		{"legacy iptables", "iptables-legacy -w" + dnat, "tcp *:8080-8080 > 172.17.0.2:80-80"},
		{"iptables over nftables", "iptables-nft -w" + dnat, "tcp *:8080-8080 > 172.17.0.2:80-80"},
		{"a redirect", "table inet nat { chain pre { type nat hook prerouting priority dstnat; tcp dport 8080 redirect to :8000; }; }",
			"tcp *:8080-8080 > :8000-8000"},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			l := newLab(t)
			l.container("172.17.0.1", "172.17.0.2")
			l.listen(netip.AddrPortFrom(hostIPv4, 8000))
			l.ready(netip.AddrPortFrom(hostIPv4, 8000))
			at := netip.AddrPortFrom(hostIPv4, 8080)
			if got := l.dial(peerIPv4, at, patience); got != Rejected {
				t.Fatalf("nobody listens, but a connection is %s", got)
			}
			l.load(tt.rules)
			r, err := Read()
			if err != nil {
				t.Fatal(err)
			}
			list, complete := r.Published()
			if len(list) != 1 || !complete || brief(list[0]) != tt.want {
				t.Errorf("published %v, complete %t; want %s", list, complete, tt.want)
			}
			got := r.Input(Query{Transport: registry.TCP, Address: hostIPv4, Port: 8080, Interface: "eth0"})
			if got.Outcome != Diverted {
				t.Errorf("%s %q, want diverted", got.Outcome, got.Because)
			}
			if got := l.dial(peerIPv4, at, patience); got != Accepted {
				t.Errorf("a connection to the published port is %s", got)
			}
		})
	}
}

// container adds a namespace behind the host, in which a service listens on
// port 80, and lets the host forward.
func (l *lab) container(bridge, address string) {
	l.t.Helper()
	inside := newNamespace(l.t)
	l.listen(netip.AddrPortFrom(netip.IPv4Unspecified(), 80))
	if err := unix.Setns(l.host, unix.CLONE_NEWNET); err != nil {
		l.t.Fatal(err)
	}
	l.run("", "ip", "link", "add", "docker0", "type", "veth", "peer", "name", "eth0", "netns", namespacePath(inside))
	l.address("docker0", bridge+"/24")
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644); err != nil {
		l.t.Fatal(err)
	}
	outside := l.peer
	l.peer = inside
	l.asPeer(func() {
		l.address("eth0", address+"/24")
		l.run("", "ip", "route", "add", "default", "via", bridge)
	})
	l.peer = outside
}

// TestTruthIPv6 is the truth for IPv6, which has rules of its own.
func TestTruthIPv6(t *testing.T) {
	tests := []struct {
		reason, rules string
		want          Outcome
	}{
		{"legacy: the policy", "ip6tables-legacy -w -A INPUT -p icmpv6 -j ACCEPT\nip6tables-legacy -w -P INPUT DROP", Dropped},
		{"legacy: the port", "ip6tables-legacy -w -P INPUT DROP\nip6tables-legacy -w -A INPUT -p icmpv6 -j ACCEPT\n" +
			"ip6tables-legacy -w -A INPUT -p tcp -m tcp --dport 7000:8000 -d 2001:db8::/64 -m conntrack --ctstate NEW,ESTABLISHED -j ACCEPT", Accepted},
		{"legacy: a goto", "ip6tables-legacy -w -N own\nip6tables-legacy -w -A INPUT -p tcp -g own\nip6tables-legacy -w -A INPUT -p tcp -j DROP", Accepted},
		{"over nftables: reject", "ip6tables-nft -w -A INPUT -p tcp --dport 8000 -j REJECT --reject-with tcp-reset", Rejected},
		{"rules of IPv4 do not apply", "iptables-legacy -w -P INPUT DROP", Accepted},
		{"a way back", "table inet f { chain pre { type filter hook prerouting priority 0; meta nfproto ipv6 fib saddr . iif oif missing drop; }; }", Accepted},
		{"a way back, by a module", "ip6tables-legacy -w -t raw -A PREROUTING -m rpfilter --invert -j DROP", Accepted},
		{"an address and the port together", "table inet f { chain in { type filter hook input priority 0; ip6 daddr . tcp dport { 2001:db8::1 . 8000 } drop; }; }", Dropped},
		{"next header", "table ip6 f { chain in { type filter hook input priority 0; ip6 nexthdr tcp drop; }; }", Dropped},
	}
	needRoot(t)
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			l := newLab(t)
			at := netip.AddrPortFrom(hostIPv6, 8000)
			l.listen(at)
			if got := l.dial(peerIPv6, at, longPatience); got != Accepted {
				t.Fatalf("without rules, a connection is %s", got)
			}
			l.load(tt.rules)
			r, err := Read()
			if err != nil {
				t.Fatal(err)
			}
			got := r.Input(Query{Transport: registry.TCP, Address: hostIPv6, Port: 8000, Interface: "eth0"})
			if got.Outcome != tt.want {
				t.Errorf("%s (%s) %q, want %s", got.Outcome, got.On, got.Because, tt.want)
			}
			if got := l.dial(peerIPv6, at, patience); got != tt.want {
				t.Errorf("a connection is %s, want %s", got, tt.want)
			}
		})
	}
}
