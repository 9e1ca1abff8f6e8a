package firewall

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/portaudit/portaudit/registry"
)

// nftInput is a table with one base chain of the input hook.
func nftInput(policy, rules string) string {
	return "table inet filter {\n chain input {\n type filter hook input priority 0; policy " + policy + ";\n" + rules + "\n}\n}"
}

// truths are rules, and what they do to a connection to port 8000 of the host.
// dials says what becomes of one from peerIPv4, then of one from otherIPv4.
var truths = []struct {
	reason string
	rules  string
	want   Outcome
	on     Dependence
	dials  [2]Outcome
}{
	{"no rules at all", "", Accepted, 0, [2]Outcome{Accepted, Accepted}},
	{"policy drop and the port accepted", nftInput("drop", "tcp dport 8000 accept"), Accepted, 0, [2]Outcome{Accepted, Accepted}},
	{"policy drop and another port accepted", nftInput("drop", "tcp dport 8001 accept"), Dropped, 0, [2]Outcome{Dropped, Dropped}},
	{"policy drop and the port of another transport", nftInput("drop", "udp dport 8000 accept"), Dropped, 0, [2]Outcome{Dropped, Dropped}},
	{"established connections only", nftInput("drop", "ct state established,related accept"), Dropped, 0, [2]Outcome{Dropped, Dropped}},
	{"states by a map, and new ones", "table inet filter { chain new { tcp dport 8000 accept; }; }\n" +
		nftInput("drop", "ct state vmap { established : accept, related : accept, invalid : drop, new : jump new }"), Accepted, 0, [2]Outcome{Accepted, Accepted}},
	{"invalid packets only are dropped", nftInput("accept", "ct state invalid drop"), Accepted, 0, [2]Outcome{Accepted, Accepted}},
	{"new connections are dropped", nftInput("accept", "ct state new drop"), Dropped, 0, [2]Outcome{Dropped, Dropped}},
	{"loopback only, by index", nftInput("drop", "iif lo accept"), Dropped, 0, [2]Outcome{Dropped, Dropped}},
	{"loopback only, by name", nftInput("drop", `iifname "lo" accept`), Dropped, 0, [2]Outcome{Dropped, Dropped}},
	{"loopback only, by type", nftInput("drop", "meta iiftype loopback accept"), Dropped, 0, [2]Outcome{Dropped, Dropped}},
	{"all but loopback", nftInput("drop", `iifname != "lo" accept`), Accepted, 0, [2]Outcome{Accepted, Accepted}},
	{"the interface, by name", nftInput("drop", `iifname "eth0" accept`), Accepted, 0, [2]Outcome{Accepted, Accepted}},
	{"the interface, by index", nftInput("drop", `iif eth0 accept`), Accepted, 0, [2]Outcome{Accepted, Accepted}},
	{"interfaces by the start of their name", nftInput("drop", `iifname "et*" accept`), Accepted, 0, [2]Outcome{Accepted, Accepted}},
	{"interfaces by a set", nftInput("drop", `iifname { "eth0", "eth1" } accept`), Accepted, 0, [2]Outcome{Accepted, Accepted}},
	{"another interface", nftInput("drop", `iifname "wg0" accept`), Dropped, 0, [2]Outcome{Dropped, Dropped}},
	{"reset", nftInput("accept", "tcp dport 8000 reject with tcp reset"), Rejected, 0, [2]Outcome{Rejected, Rejected}},
	{"reject by ICMP", nftInput("accept", "tcp dport 8000 reject"), Rejected, 0, [2]Outcome{Rejected, Rejected}},
	{"a set of ports and ranges with it", nftInput("drop", "tcp dport { 22, 7990-8010, 9000 } accept"), Accepted, 0, [2]Outcome{Accepted, Accepted}},
	{"a set of ports and ranges without it", nftInput("drop", "tcp dport { 22, 7990-7999, 8001-9000 } accept"), Dropped, 0, [2]Outcome{Dropped, Dropped}},
	{"all ports but a set", nftInput("drop", "tcp dport != { 22, 8000 } accept"), Dropped, 0, [2]Outcome{Dropped, Dropped}},
	{"a range that begins with it", nftInput("drop", "tcp dport 8000-9000 accept"), Accepted, 0, [2]Outcome{Accepted, Accepted}},
	{"a range that ends before it", nftInput("drop", "tcp dport 1-7999 accept"), Dropped, 0, [2]Outcome{Dropped, Dropped}},
	{"not this port", nftInput("accept", "tcp dport != 22 drop"), Dropped, 0, [2]Outcome{Dropped, Dropped}},
	{"a comparison", nftInput("accept", "tcp dport > 7999 drop"), Dropped, 0, [2]Outcome{Dropped, Dropped}},
	{"a named set", "table inet filter { set open { type inet_service; flags interval; elements = { 22, 7000-65535 }; }; }\n" +
		nftInput("drop", "tcp dport @open accept"), Accepted, 0, [2]Outcome{Accepted, Accepted}},
	{"a set made of an expression", "table inet filter { set open { typeof tcp dport; elements = { 8000 }; }; }\n" +
		nftInput("drop", "tcp dport @open accept"), Accepted, 0, [2]Outcome{Accepted, Accepted}},
	{"a map of verdicts that drops it", nftInput("accept", "tcp dport vmap { 22 : accept, 8000 : drop }"), Dropped, 0, [2]Outcome{Dropped, Dropped}},
	{"a map of verdicts with a rest", nftInput("accept", "tcp dport vmap { 22 : accept, 80-90 : accept, * : drop }"), Dropped, 0, [2]Outcome{Dropped, Dropped}},
	{"a map of verdicts with a rest that is not for it", nftInput("drop", "tcp dport vmap { 8000-8001 : accept, * : drop }"), Accepted, 0, [2]Outcome{Accepted, Accepted}},
	{"protocol and port together", nftInput("drop", "meta l4proto . th dport { udp . 8000, tcp . 8001, tcp . 8000 } accept"), Accepted, 0, [2]Outcome{Accepted, Accepted}},
	{"address and port together", nftInput("drop", "ip daddr . tcp dport { 192.0.2.1 . 8000 } accept"), Accepted, 0, [2]Outcome{Accepted, Accepted}},
	{"another address and port together", nftInput("drop", "ip daddr . tcp dport { 192.0.2.9 . 8000, 192.0.2.1 . 8001 } accept"), Dropped, 0, [2]Outcome{Dropped, Dropped}},
	{"a map of addresses and ports to chains", "table inet filter { chain ok { accept; }; }\n" +
		nftInput("drop", "ip daddr . meta l4proto . th dport vmap { 192.0.2.1 . tcp . 8000 : goto ok }"), Accepted, 0, [2]Outcome{Accepted, Accepted}},
	{"its address", nftInput("drop", "ip daddr 192.0.2.1 accept"), Accepted, 0, [2]Outcome{Accepted, Accepted}},
	{"a network that does not end at a byte", nftInput("drop", "ip daddr 192.0.0.0/21 accept"), Accepted, 0, [2]Outcome{Accepted, Accepted}},
	{"any address of the host", nftInput("drop", "fib daddr type local accept"), Accepted, 0, [2]Outcome{Accepted, Accepted}},
	{"no way back to the sender", nftInput("accept", "fib saddr . iif oif missing drop"), Accepted, 0, [2]Outcome{Accepted, Accepted}},
	{"no interface of a way back", nftInput("accept", "fib saddr . iif oif 0 drop"), Accepted, 0, [2]Outcome{Accepted, Accepted}},
	{"the other family", nftInput("accept", "meta nfproto ipv6 drop"), Accepted, 0, [2]Outcome{Accepted, Accepted}},
	{"its family", nftInput("accept", "meta nfproto ipv4 drop"), Dropped, 0, [2]Outcome{Dropped, Dropped}},
	{"a table of the other family", "table ip6 f { chain input { type filter hook input priority 0; policy drop; }; }", Accepted, 0, [2]Outcome{Accepted, Accepted}},
	{"flags of a packet that opens a connection", nftInput("accept", "tcp flags & (fin|syn|rst|ack) == syn drop"), Dropped, 0, [2]Outcome{Dropped, Dropped}},
	{"flags of other packets", nftInput("accept", "tcp flags & (fin|syn|rst|ack) != syn drop"), Accepted, 0, [2]Outcome{Accepted, Accepted}},
	{"a chain that accepts it", "table inet filter { chain own { tcp dport 8000 accept; }; }\n" + nftInput("drop", "jump own"), Accepted, 0, [2]Outcome{Accepted, Accepted}},
	{"a chain that returns before", "table inet filter { chain own { tcp dport 7000-8000 return; accept; }; }\n" + nftInput("drop", "jump own"), Dropped, 0, [2]Outcome{Dropped, Dropped}},
	{"a chain that it does not come back from", "table inet filter { chain own { tcp dport 22 accept; }; }\n" + nftInput("drop", "goto own; tcp dport 8000 accept"), Dropped, 0, [2]Outcome{Dropped, Dropped}},
	{"a chain that it comes back from", "table inet filter { chain own { tcp dport 22 accept; }; }\n" + nftInput("drop", "jump own; tcp dport 8000 accept"), Accepted, 0, [2]Outcome{Accepted, Accepted}},
	{"a later base chain drops it", nftInput("drop", "tcp dport 8000 accept") + "\ntable ip late { chain input { type filter hook input priority 10; tcp dport 8000 drop; }; }", Dropped, 0, [2]Outcome{Dropped, Dropped}},
	{"an earlier base chain drops it", nftInput("drop", "tcp dport 8000 accept") + "\ntable ip early { chain pre { type filter hook prerouting priority -300; tcp dport 8000 drop; }; }", Dropped, 0, [2]Outcome{Dropped, Dropped}},
	{"a dormant table drops it", "table ip late { flags dormant; chain input { type filter hook input priority 10; policy drop; }; }", Accepted, 0, [2]Outcome{Accepted, Accepted}},
	{"a device drops it", "table netdev early { chain in { type filter hook ingress device eth0 priority 0; tcp dport 8000 drop; }; }", Dropped, 0, [2]Outcome{Dropped, Dropped}},
	{"a mark that no rule sets", nftInput("accept", "meta mark 5 drop"), Accepted, 0, [2]Outcome{Accepted, Accepted}},
	{"a mark that a rule sets", nftInput("accept", "meta mark & 0x4 == 0x4 drop") +
		"\ntable ip early { chain pre { type filter hook prerouting priority -150; ip saddr 192.0.2.3 meta mark set 4; }; }", Partly, Mark, [2]Outcome{Accepted, Dropped}},
	{"one source", nftInput("drop", "ip saddr 192.0.2.2 tcp dport 8000 accept"), Partly, SourceAddress, [2]Outcome{Accepted, Dropped}},
	{"a source and the port at once", nftInput("drop", "ip saddr . tcp dport { 192.0.2.2 . 8000, 192.0.2.3 . 22 } accept"), Partly, SourceAddress, [2]Outcome{Accepted, Dropped}},
	{"intervals of sources and ports at once", nftInput("drop", "ip saddr . tcp dport { 192.0.2.0-192.0.2.2 . 7000-9000 } accept"), Partly, SourceAddress, [2]Outcome{Accepted, Dropped}},
	{"no source of another host", nftInput("accept", "ip saddr 127.0.0.0/8 drop"), Accepted, 0, [2]Outcome{Accepted, Accepted}},
	{"a source that is one of the host's", nftInput("accept", "fib saddr type local drop"), Accepted, 0, [2]Outcome{Accepted, Accepted}},
	{"a set of sources that is empty", "table inet filter { set bad { type ipv4_addr; }; }\n" + nftInput("accept", "ip saddr @bad drop"), Accepted, 0, [2]Outcome{Accepted, Accepted}},
	{"a set of sources that rules fill", "table inet filter { set bad { type ipv4_addr; flags dynamic,timeout; timeout 1h; elements = { 192.0.2.3 }; }; }\n" +
		nftInput("accept", "ip saddr @bad drop"), Partly, SourceAddress | SetContent, [2]Outcome{Accepted, Dropped}},
	{"a rate", nftInput("drop", "tcp dport 8000 limit rate 1/day burst 1 packets accept"), Partly, Rate, [2]Outcome{Accepted, Dropped}},
	{"a rate of another port", nftInput("accept", "tcp dport 8001 limit rate 1/day drop"), Accepted, 0, [2]Outcome{Accepted, Accepted}},
	{"a rate of log lines", nftInput("accept", "limit rate 1/day log"), Accepted, 0, [2]Outcome{Accepted, Accepted}},
	{"a rate for each source", "table inet filter { set seen { type ipv4_addr; flags dynamic; size 100; }; }\n" +
		nftInput("accept", "ip saddr 192.0.2.3 add @seen { ip saddr ct count over 0 } drop"), Partly, SourceAddress | Rate, [2]Outcome{Accepted, Dropped}},
	{"taken elsewhere by NAT", "table ip nat { chain pre { type nat hook prerouting priority -100; tcp dport 8000 dnat to 203.0.113.9:80; }; }", Diverted, 0, [2]Outcome{Dropped, Dropped}},
	{"source NAT of input", "table ip nat { chain in { type nat hook input priority 100; tcp dport 8000 snat to 192.0.2.77; }; }", Accepted, 0, [2]Outcome{Accepted, Accepted}},
	{"a field of the packet that does not matter is written", nftInput("drop", "ip dscp set cs1 accept"), Accepted, 0, [2]Outcome{Accepted, Accepted}},
	{"as firewalld does it", firewalld, Accepted, 0, [2]Outcome{Accepted, Accepted}},
	{"as firewalld does it, for another port", strings.ReplaceAll(firewalld, "8000", "8001"), Rejected, 0, [2]Outcome{Rejected, Rejected}},
	{"chance", nftInput("accept", "numgen inc mod 2 1 drop"), Partly, Rate, [2]Outcome{Accepted, Dropped}},
	{"untracked packets", nftInput("drop", "ct state untracked accept") +
		"\ntable ip early { chain pre { type filter hook prerouting priority -300; ip saddr 192.0.2.2 notrack; }; }", Partly, Tracking, [2]Outcome{Accepted, Dropped}},
}

// TestTruth holds the answer against what becomes of a real connection from
// another network namespace.
func TestTruth(t *testing.T) {
	needRoot(t)
	for _, tt := range slices.Concat(truths, iptablesTruths()) {
		t.Run(tt.reason, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			at := netip.AddrPortFrom(hostIPv4, 8000)
			l.listen(at)
			l.ready(at)
			l.load(tt.rules)
			r, err := Read()
			if err != nil {
				t.Fatal(err)
			}
			got := r.Input(Query{Transport: registry.TCP, Address: at.Addr(), Port: 8000, Interface: "eth0"})
			if got.Outcome != tt.want || got.On != tt.on {
				t.Errorf("%s (%s) %q, want %s (%s)", got.Outcome, got.On, got.Because, tt.want, tt.on)
			}
			dials := [2]Outcome{l.dial(peerIPv4, at, patience), l.dial(otherIPv4, at, patience)}
			if dials != tt.dials {
				t.Errorf("connections are %v, want %v", dials, tt.dials)
			}
			t.Log(got.Because)
		})
	}
}

// firewalld is what firewalld 2 makes of a zone with one port (shortened).
const firewalld = `
table inet firewalld {
	chain filter_IN_public_allow { tcp dport 22 accept; tcp dport 8000 accept; }
	chain filter_IN_public_deny { }
	chain filter_IN_public {
		jump filter_IN_public_deny
		jump filter_IN_public_allow
		meta l4proto { icmp, ipv6-icmp } accept
	}
	chain filter_INPUT_ZONES {
		iifname "eth0" goto filter_IN_public
		goto filter_IN_public
	}
	chain filter_INPUT {
		type filter hook input priority filter + 10; policy accept;
		ct state { established, related } accept
		ct status dnat accept
		iifname "lo" accept
		ct state invalid drop
		jump filter_INPUT_ZONES
		reject with icmpx admin-prohibited
	}
	chain filter_PREROUTING {
		type filter hook prerouting priority filter + 10; policy accept;
		icmpv6 type { nd-router-advert, nd-neighbor-solicit } accept
		meta nfproto ipv6 fib saddr . mark . iif oif missing drop
	}
	chain nat_PREROUTING { type nat hook prerouting priority dstnat + 10; policy accept; }
}`
