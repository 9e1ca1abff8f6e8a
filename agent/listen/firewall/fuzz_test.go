package firewall

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/portaudit/portaudit/registry"
)

// FuzzCapture feeds the parsers of nftables and of legacy iptables. Whatever a
// kernel answered, parsing ends, and so do the questions, with an answer.
func FuzzCapture(f *testing.F) {
	for _, b := range captures(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := readCapture(b)
		if err != nil {
			return
		}
		for _, address := range []string{"192.0.2.1", "::"} {
			got := r.Input(Query{Transport: registry.TCP, Address: netip.MustParseAddr(address), Port: 443})
			if got.Because == "" || (got.On == 0) != (got.Outcome != Partly && got.Outcome != Unknown) {
				t.Errorf("%+v", got)
			}
		}
		list, _ := r.Published()
		for _, p := range list {
			if p.Ports.First > p.Ports.Last || p.Because == "" {
				t.Errorf("%+v", p)
			}
		}
	})
}

// FuzzExtension feeds the matches and targets of x_tables.
func FuzzExtension(f *testing.F) {
	for _, name := range []string{"tcp", "udp", "multiport", "conntrack", "state", "addrtype", "iprange", "mark", "rpfilter", "pkttype", "DNAT", "REDIRECT", "CT"} {
		for revision := range uint32(4) {
			f.Add(name, revision, []byte(strings.Repeat("\x01\x02\x00\x00", 41)))
		}
	}
	f.Fuzz(func(t *testing.T, name string, revision uint32, data []byte) {
		x := extension{name, revision, data}
		for _, family := range []family{familyIPv4, familyIPv6} {
			p := anyPacket(family, prerouting, &Ruleset{})
			for _, m := range extensionMatch(family, x) {
				if truth, on := m.holds(&p); truth == maybe && on == 0 {
					t.Errorf("%s of revision %d depends on nothing", name, revision)
				}
			}
			var r rule
			extensionTarget(&r, family, x)
		}
	})
}

// FuzzTableNames feeds the list of tables.
func FuzzTableNames(f *testing.F) {
	f.Add([]byte("nat\nfilter\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		names, err := parseTableNames(b)
		for _, n := range names {
			if _, ok := xtPriorities[n]; !ok && err == nil {
				t.Errorf("%q is no table", n)
			}
		}
	})
}

// FuzzGeneration feeds the answer that tells the generation of the rules.
func FuzzGeneration(f *testing.F) {
	answer := []byte{0, 0, 0, 7}
	answer = append(native.AppendUint16(native.AppendUint16(answer, 8), generationID), 0, 0, 1, 2)
	f.Add(answer)
	f.Fuzz(func(t *testing.T, b []byte) {
		g, err := parseGeneration(b)
		if string(b) == string(answer) && (g != 0x102 || err != nil) {
			t.Errorf("generation %d, %v; want 258", g, err)
		}
		if err != nil && g != 0 {
			t.Errorf("generation %d with %v", g, err)
		}
	})
}
