package listen

import (
	"net"
	"testing"
)

// TestPeekSees opens sockets, and peeks: it sees those that a look would tell of,
// until that has looked.
func TestPeekSees(t *testing.T) {
	for _, tt := range []struct {
		reason string
		ask    func(*engine)
	}{
		{"as this kernel answers", func(*engine) {}},
		{"without sock_diag", func(e *engine) {
			for i, s := range e.sources {
				if s == byDiag && e.queries[i].table != "" {
					e.sources[i] = byTable
				}
			}
		}},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			e := openTest(t, Options{})
			settled(t, e)
			tt.ask(e)
			checkPeek(t, e)
		})
	}
}

func checkPeek(t *testing.T, e *engine) {
	t.Helper()
	peek := func() bool {
		t.Helper()
		found, err := e.peek(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	for _, tt := range []struct {
		reason, network, address string
		want                     bool
	}{
		{"TCP", "tcp4", "127.0.0.1:0", true},
		{"TCP over IPv6", "tcp6", "[::1]:0", true},
		{"a server's UDP port", "udp4", "127.0.0.1:5355", true},
		{"a port for automatic binds may be a client's", "udp4", "127.0.0.1:0", false},
	} {
		snapshotOf(t, e)
		if peek() {
			snapshotOf(t, e) // of another test
		}
		var closer interface{ Close() error }
		var err error
		if tt.network[0] == 't' {
			closer, err = net.Listen(tt.network, tt.address)
		} else {
			closer, err = net.ListenPacket(tt.network, tt.address)
		}
		if err != nil {
			t.Errorf("%s: %v", tt.reason, err)
			continue
		}
		if got := peek(); got != tt.want {
			t.Errorf("%s: something new is %v, want %v", tt.reason, got, tt.want)
		}
		snapshotOf(t, e)
		if peek() {
			t.Errorf("%s: it is new still, after a look", tt.reason)
		}
		closer.Close()
		if peek() {
			t.Errorf("%s: that it closed is new", tt.reason)
		}
	}
}

// BenchmarkPeek is what a second costs where the kernel tells of no changes.
func BenchmarkPeek(b *testing.B) {
	e, err := openEngine(Options{}, procRoot)
	if err != nil {
		b.Fatal(err)
	}
	defer e.close()
	if _, err := e.list(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.peek(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
