package firewall

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/portaudit/portaudit/registry"
)

// TestInput asks about what real kernels answered: the rules are beside the
// captures in testdata.
func TestInput(t *testing.T) {
	v4, v6 := "192.0.2.1", "2001:db8::1"
	tests := []struct {
		reason, capture string
		transport       registry.Transport
		address         string
		port            registry.Port
		device          string
		want            Outcome
		on              Dependence
		because         string // is part of the reason
	}{
		// Every port depends on the sources that rules block.
		{"an open port, but for blocked sources", "server", registry.TCP, v4, 443, "", Partly, SourceAddress | SetContent, "handle"},
		{"no source of IPv6 is blocked", "server", registry.TCP, v6, 443, "", Accepted, 0, "chain input of nftables table inet filter"},
		{"the end of a range", "server", registry.TCP, v6, 8010, "", Accepted, 0, ""},
		{"after the end of a range", "server", registry.TCP, v6, 8011, "", Dropped, 0, "policy of chain input"},
		{"no set holds it for UDP", "server", registry.UDP, v6, 443, "", Dropped, 0, "policy"},
		{"UDP in a map", "server", registry.UDP, v6, 53, "", Accepted, 0, ""},
		{"TCP in the map goes to a limit", "server", registry.TCP, v6, 53, "", Partly, Rate, "a rate"},
		{"reject", "server", registry.TCP, v6, 113, "", Rejected, 0, "rejected"},
		{"one network of sources", "server", registry.TCP, v6, 5432, "", Partly, SourceAddress, "the source address"},
		{"sockets are not understood", "server", registry.UDP, v6, 5000, "", Unknown, Unreadable, "not understood"},
		{"loopback", "server", registry.TCP, v6, 1, "lo", Accepted, 0, ""},
		{"one address of several", "server", registry.TCP, "0.0.0.0", 9100, "", Partly, SourceAddress | DestinationAddress | SetContent, ""},
		{"the zone is the interface", "server", registry.TCP, "fe80::1%lo", 1, "", Accepted, 0, ""},
		{"IPv4 in IPv6 is IPv4", "nat", registry.TCP, "::ffff:192.0.2.1", 81, "", Diverted, 0, "chain pre"},
		{"an address of its own is not the one that is translated", "nat", registry.TCP, "192.0.2.99", 443, "", Accepted, 0, "no rule"},
		{"whatever the endpoint, it goes elsewhere", "nat", registry.TCP, v4, 443, "", Diverted, 0, ""},
		{"translated for one source", "nat", registry.TCP, v4, 6000, "", Partly, SourceAddress, "diverted by"},
		{"translated on one interface", "nat", registry.TCP, v4, 5000, "", Partly, Interface, ""},
		{"it is this interface", "nat", registry.TCP, v4, 5000, "eth0", Diverted, 0, ""},
		{"it is another interface", "nat", registry.TCP, v4, 5000, "eth1", Accepted, 0, ""},
		{"a published port", "docker", registry.TCP, v4, 8080, "eth0", Diverted, 0, "rule 2 of chain DOCKER of iptables table ip nat"},
		{"accepted by a range", "docker", registry.TCP, v4, 85, "", Accepted, 0, "rule 1 of chain INPUT of iptables table ip filter"},
		{"policy", "docker", registry.TCP, v4, 91, "", Dropped, 0, "policy of chain INPUT of iptables table ip filter"},
		{"IPv6 has rules of its own", "docker", registry.TCP, v6, 85, "", Partly, SourceAddress, "table ip6 filter"},
		{"so IPv6 says for SSH", "docker", registry.TCP, v6, 22, "", Accepted, 0, "table ip6 filter"},
		{"a node port", "portmap", registry.TCP, v4, 30080, "", Diverted, 0, "KUBE-SEP"},
		{"no node port", "portmap", registry.TCP, v4, 30081, "", Accepted, 0, ""},
		{"raw sockets have no port", "server", registry.Raw, v4, 1, "", Unknown, Unreadable, "addresses and ports"},
	}
	all := captures(t)
	for _, tt := range tests {
		t.Run(tt.capture+": "+tt.reason, func(t *testing.T) {
			r, err := readCapture(all[tt.capture+".capture"])
			if err != nil {
				t.Fatal(err)
			}
			got := r.Input(Query{tt.transport, netip.MustParseAddr(tt.address), tt.port, tt.device})
			if got.Outcome != tt.want || got.On != tt.on || !strings.Contains(got.Because, tt.because) {
				t.Errorf("%s (%s) %q, want %s (%s) %q", got.Outcome, got.On, got.Because, tt.want, tt.on, tt.because)
			}
		})
	}
}

// TestNoRules: the zero value accepts, and says so.
func TestNoRules(t *testing.T) {
	got := Ruleset{}.Input(Query{Transport: registry.TCP, Address: netip.IPv6Unspecified(), Port: 80})
	if want := (Result{Accepted, 0, "accepted: no rule concerns it"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if list, complete := (Ruleset{}).Published(); list != nil || !complete {
		t.Errorf("published %v, complete %t", list, complete)
	}
	if got := (Ruleset{}).Input(Query{Transport: registry.TCP}); got.Outcome != Unknown {
		t.Errorf("without an address: %+v", got)
	}
}

// testChain is a chain of a table for IPv4.
func testChain(name string, b *base, rules ...rule) chain {
	return chain{key: chainKey{nftables, familyIPv4, "t", name}, base: b, rules: rules}
}

// TestEvaluate holds what no kernel would load, or no query would show.
func TestEvaluate(t *testing.T) {
	from := func(s string) match { return one(fieldSource, addressPrefix(netip.MustParsePrefix(s))) }
	in := func() *base { return &base{hook: input, policy: accept} }
	deep := []chain{testChain("0", in(), rule{action: jump, target: "1"})}
	for i := range 40 {
		deep = append(deep, testChain(string(rune('1'+i)), nil, rule{action: jump, target: string(rune('2' + i))}))
	}
	tests := []struct {
		reason string
		chains []chain
		want   Outcome
		on     Dependence
	}{
		{"a loop", []chain{testChain("a", in(), rule{action: jump, target: "b"}), testChain("b", nil, rule{action: jump, target: "b"})}, Unknown, Unreadable},
		{"a loop over the base chain", []chain{testChain("a", in(), rule{action: jump, target: "a"})}, Unknown, Unreadable},
		{"deeper than the kernel allows", deep, Unknown, Unreadable},
		{"a chain that is not there", []chain{testChain("a", in(), rule{action: jump, target: "b"})}, Unknown, Unreadable},
		{"a chain of another table is not there", []chain{testChain("a", in(), rule{action: jump, target: "b"}),
			{key: chainKey{nftables, familyIPv4, "u", "b"}}}, Unknown, Unreadable},
		{"both ways end alike", []chain{testChain("a", in(), rule{matches: []match{from("10.0.0.0/8")}, action: drop}, rule{action: drop})}, Dropped, 0},
		{"dropped or rejected, never accepted", []chain{testChain("a", in(), rule{matches: []match{from("10.0.0.0/8")}, action: reject}, rule{action: drop})}, Dropped, 0},
		{"what is not understood comes too late", []chain{testChain("a", in(), rule{action: drop}, rule{action: opaque})}, Dropped, 0},
		{"what is not understood does not apply", []chain{testChain("a", in(), rule{matches: []match{never()}, action: opaque})}, Accepted, 0},
		{"what is not understood may apply", []chain{testChain("a", in(), rule{matches: []match{some(fieldUnknown)}, action: drop})}, Unknown, Unreadable},
		{"what is not understood ends like the rest", []chain{testChain("a", in(), rule{matches: []match{some(fieldUnknown)}, action: accept})}, Accepted, 0},
		{"a return from the base chain is its policy", []chain{testChain("a", &base{hook: input, policy: drop}, rule{action: back}, rule{action: accept})}, Dropped, 0},
		{"a goto from a called chain goes back to the first", []chain{
			testChain("a", &base{hook: input, policy: drop}, rule{action: jump, target: "b"}, rule{action: accept}),
			testChain("b", nil, rule{action: leap, target: "c"}, rule{action: drop}), testChain("c", nil)}, Accepted, 0},
		{"all sources of other hosts", []chain{testChain("a", in(), rule{matches: []match{from("0.0.0.0/1"), from("0.0.0.0/0")}, action: drop},
			rule{matches: []match{from("128.0.0.0/1")}, action: drop})}, Partly, SourceAddress},
		{"the forward hook does not see it", []chain{testChain("a", &base{hook: otherHook, policy: drop})}, Accepted, 0},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			r := newRuleset(tt.chains, nil)
			got := r.Input(Query{Transport: registry.TCP, Address: netip.MustParseAddr("192.0.2.1"), Port: 80})
			if got.Outcome != tt.want || got.On != tt.on {
				t.Errorf("%s (%s) %q, want %s (%s)", got.Outcome, got.On, got.Because, tt.want, tt.on)
			}
		})
	}
}

// BenchmarkInput asks for one port of a host with 10,000 rules, the last of
// which accepts it.
func BenchmarkInput(b *testing.B) {
	var rules []rule
	for port := range uint64(10_000) {
		rules = append(rules, rule{matches: []match{
			one(fieldProtocol, numbers(1, 6, 6)), one(fieldPort, numbers(2, port, port)),
		}, action: accept})
	}
	r := newRuleset([]chain{testChain("input", &base{hook: input, policy: drop}, rules...)}, nil)
	q := Query{Transport: registry.TCP, Address: netip.MustParseAddr("192.0.2.1"), Port: 9_999}
	b.ReportAllocs()
	for b.Loop() {
		if got := r.Input(q); got.Outcome != Accepted {
			b.Fatal(got)
		}
	}
}
