package firewall

import (
	"net/netip"
	"testing"

	"github.com/portaudit/portaudit/registry"
)

// TestExtension holds matches that a kernel or a tool of the tests may lack,
// and old revisions of others.
func TestExtension(t *testing.T) {
	words := func(n ...uint16) []byte {
		var b []byte
		for _, n := range n {
			b = native.AppendUint16(b, n)
		}
		return b
	}
	set := func(dimensions, flags byte) []byte { return []byte{1, 0, dimensions, flags, 0, 0, 0, 0} }
	tests := []struct {
		reason string
		match  extension
		want   truth
		on     Dependence
	}{
		{"a set of sources", extension{"set", 4, set(1, 2)}, maybe, SourceAddress | SetContent},
		{"a set of no sources", extension{"set", 4, set(1, 2|1)}, maybe, SourceAddress | SetContent},
		{"a set of sources and source ports", extension{"set", 4, set(2, 6)}, maybe, SourceAddress | SetContent},
		{"a set of destinations", extension{"set", 4, set(1, 0)}, maybe, Unreadable},
		{"a set of sources and destination ports", extension{"set", 4, set(2, 2)}, maybe, Unreadable},
		{"a set of another form", extension{"set", 0, set(1, 2)}, maybe, Unreadable},
		{"multiport of old", extension{"multiport", 0, append([]byte{1, 1}, words(80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)...)}, yes, 0},
		{"multiport of the future", extension{"multiport", 9, make([]byte, 48)}, maybe, Unreadable},
		{"addrtype of old", extension{"addrtype", 0, append(words(0, 1<<routeLocal), make([]byte, 8)...)}, yes, 0},
		{"addrtype of old, inverted", extension{"addrtype", 0, append(words(0, 1<<routeLocal), 0, 0, 0, 0, 1, 0, 0, 0)}, no, 0},
		{"a way back that is missing", extension{"rpfilter", 0, []byte{8}}, no, 0},
		{"packets for this host", extension{"pkttype", 0, make([]byte, 8)}, yes, 0},
		{"too short", extension{"tcp", 0, make([]byte, 5)}, maybe, Unreadable},
		{"unheard of", extension{"future", 0, nil}, maybe, Unreadable},
		{"a comment", extension{"comment", 0, make([]byte, 256)}, yes, 0},
		{"a hardware address", extension{"mac", 0, make([]byte, 16)}, maybe, SourceAddress},
		{"a time", extension{"time", 1, make([]byte, 32)}, maybe, Time},
	}
	q := Query{Transport: registry.TCP, Address: netip.MustParseAddr("192.0.2.1"), Port: 80}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			p, _ := newPacket(q, &Ruleset{})
			w := walk{packet: &p}
			got, on := w.matches(&rule{matches: extensionMatch(familyIPv4, tt.match)})
			if got != tt.want || on != tt.on {
				t.Errorf("%d on %s, want %d on %s", got, on, tt.want, tt.on)
			}
		})
	}
}
