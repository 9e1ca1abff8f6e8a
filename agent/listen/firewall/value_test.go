package firewall

import (
	"math/rand/v2"
	"net/netip"
	"testing"
)

// TestSet holds the algebra of sets against one bit for each of 256 values.
func TestSet(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	random := func() (set, [256]bool) {
		var bits [256]bool
		var list []interval
		for range rng.IntN(6) {
			first := rng.IntN(256)
			last := min(255, first+rng.IntN(80))
			list = append(list, numbers(1, uint64(first), uint64(last)))
			for n := first; n <= last; n++ {
				bits[n] = true
			}
		}
		return newSet(list...), bits
	}
	check := func(operation string, s set, want func(int) bool) {
		t.Helper()
		for n := range 256 {
			wanted := no
			if want(n) {
				wanted = yes
			}
			if got := s.relation(numbers(1, uint64(n), uint64(n))); got != wanted {
				t.Fatalf("%s: %d is %d, want %d; %v", operation, n, got, wanted, s)
			}
		}
		for i := 1; i < len(s); i++ {
			if after, ok := s[i-1].last.next(); !ok || s[i].first.compare(after) <= 0 {
				t.Fatalf("%s: intervals touch: %v", operation, s)
			}
		}
	}
	for range 2000 {
		a, inA := random()
		b, inB := random()
		check("union", newSet(append(append([]interval{}, a...), b...)...), func(n int) bool { return inA[n] || inB[n] })
		check("complement", a.complement(), func(n int) bool { return !inA[n] })
		check("intersection", a.intersect(b), func(n int) bool { return inA[n] && inB[n] })
	}
	check("everything", everything(), func(int) bool { return true })
	check("nothing", everything().complement(), func(int) bool { return false })
}

func TestRelation(t *testing.T) {
	network := func(s string) interval { return addressPrefix(netip.MustParsePrefix(s)) }
	tests := []struct {
		reason string
		set    set
		of     interval
		want   truth
	}{
		{"a part", newSet(network("10.0.0.0/8")), network("10.1.0.0/16"), yes},
		{"the whole", newSet(network("10.1.0.0/16")), network("10.0.0.0/8"), maybe},
		{"two halves are the whole", newSet(network("0.0.0.0/1"), network("128.0.0.0/1")), network("0.0.0.0/0"), yes},
		{"beside it", newSet(network("10.0.0.0/8")), network("11.0.0.0/8"), no},
		{"nothing", nil, network("10.0.0.0/8"), no},
		{"a prefix within a byte", newSet(network("192.0.2.64/26")), network("192.0.2.127/32"), yes},
		{"behind a prefix within a byte", newSet(network("192.0.2.64/26")), network("192.0.2.128/32"), no},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			if got := tt.set.relation(tt.of); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

func TestIsPrefix(t *testing.T) {
	tests := map[value]bool{
		{}: true, {0xff}: true, {0xff, 0xf0}: true, {0xff, 0x0f}: false, {0, 0xff}: false, {0x80}: true,
		{0xff, 0xff, 0, 1}: false, prefix(nil).last: true,
	}
	for v, want := range tests {
		if got := v.isPrefix(); got != want {
			t.Errorf("%x: got %t", v, got)
		}
	}
}
