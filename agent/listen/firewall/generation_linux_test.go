package firewall

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestGeneration changes rules and asks whether the generation tells.
func TestGeneration(t *testing.T) {
	newNamespace(t)
	generation := func() uint64 {
		t.Helper()
		g, err := ReadGeneration()
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	last := generation()
	if g := generation(); g != last {
		t.Errorf("nothing changed, but the generation did: %d, then %d", last, g)
	}
	for _, rules := range []string{
		nftInput("drop", "tcp dport 22 accept"),
		"add rule inet filter input tcp dport 23 accept",
		"iptables-legacy -w -A INPUT -p tcp --dport 24 -j ACCEPT",
		"ip6tables-legacy -w -A INPUT -p tcp --dport 24 -j ACCEPT",
		"iptables-legacy -w -A INPUT -p tcp --dport 25 -j ACCEPT",
		"iptables-nft -w -A INPUT -p tcp --dport 26 -j ACCEPT",
		"flush ruleset",
	} {
		load(t, rules)
		g := generation()
		if g == last {
			t.Errorf("unchanged after %q", rules)
		}
		last = g
	}
}

// TestNoTrace: reading makes no tables, which would slow down every packet.
func TestNoTrace(t *testing.T) {
	newNamespace(t)
	if _, err := Read(); err != nil {
		t.Fatal(err)
	}
	for _, k := range iptablesKinds() {
		b, err := os.ReadFile(k.names)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if len(b) > 0 {
			t.Errorf("reading made the tables %q", b)
		}
	}
}

// TestWithoutRights drops CAP_NET_ADMIN in a thread of its own.
func TestWithoutRights(t *testing.T) {
	if c, err := openNftables(); c == nil && err == nil {
		t.Skip("this kernel has no packet filter to read")
	} else if err == nil {
		c.Close()
	}
	if os.Geteuid() == 0 {
		runtime.LockOSThread() // never unlocked: the thread dies with the test
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&header, &none[0]); err != nil {
			t.Skipf("this host does not let the test drop its rights: %v", err)
		}
	}
	if _, err := Read(); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("error is %v, want one of missing rights", err)
	}
	if _, err := ReadGeneration(); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("error is %v, want one of missing rights", err)
	}
}

// BenchmarkReadGeneration is what a steady daemon pays at each audit.
func BenchmarkReadGeneration(b *testing.B) {
	if _, err := ReadGeneration(); err != nil {
		b.Skipf("needs CAP_NET_ADMIN: %v", err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ReadGeneration(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRead reads 10,000 rules, and a set of as many addresses.
func BenchmarkRead(b *testing.B) {
	newNamespace(b)
	var rules, addresses strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&rules, "tcp dport %d accept\n", i+1)
		fmt.Fprintf(&addresses, "10.0.%d.%d,", i/256, i%256)
	}
	load(b, "table inet filter { set bad { type ipv4_addr; elements = { "+addresses.String()+" }; }; }\n"+
		nftInput("drop", "ip saddr @bad drop\n"+rules.String()))
	b.ReportAllocs()
	for b.Loop() {
		r, err := Read()
		if err != nil || r.Rules() != 10_001 {
			b.Fatalf("%d rules, %v", r.Rules(), err)
		}
	}
}
