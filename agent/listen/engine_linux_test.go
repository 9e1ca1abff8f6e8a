package listen

import (
	"net"
	"testing"
	"time"
)

// openTest opens an engine whose beat does not come during a test.
func openTest(t testing.TB, o Options) *engine {
	t.Helper()
	o.Beat = time.Hour
	e, err := openEngine(o, procRoot)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func snapshotOf(t testing.TB, e *engine) Snapshot {
	t.Helper()
	s, err := e.list(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestSteadyState enumerates again and again while nothing changes: the same
// generation, next to no allocations.
func TestSteadyState(t *testing.T) {
	for range 50 {
		listenTCP(t, "tcp4", "127.0.0.1:0")
	}
	e := openTest(t, Options{})
	first := snapshotOf(t, e)
	if first.Generation == 0 || len(first.Sockets) < 50 {
		t.Fatalf("generation %d with %d sockets", first.Generation, len(first.Sockets))
	}
	allocations := testing.AllocsPerRun(20, func() { snapshotOf(t, e) })
	t.Logf("%v allocations an enumeration", allocations)
	if allocations > 200 {
		t.Errorf("%v allocations an enumeration with nothing new, want under 200", allocations)
	}
	l, at := listenTCP(t, "tcp4", "127.0.0.1:0")
	second := snapshotOf(t, e)
	if second.Generation == first.Generation {
		t.Error("a new listener, and the same generation")
	}
	find(t, second, 1, at)
	l.Close()
	if third := snapshotOf(t, e); third.Generation == second.Generation || len(third.Sockets) != len(second.Sockets)-1 {
		t.Errorf("a listener went: generation %d after %d, %d sockets after %d",
			third.Generation, second.Generation, len(third.Sockets), len(second.Sockets))
	}
}

func BenchmarkSteady(b *testing.B) {
	for range 1000 {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		defer l.Close()
	}
	e := openTest(b, Options{})
	snapshotOf(b, e)
	b.ReportAllocs()
	for b.Loop() {
		snapshotOf(b, e)
	}
}
