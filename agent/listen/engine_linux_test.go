package listen

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/portaudit/portaudit/agent/listen/systemd"
	"github.com/portaudit/portaudit/registry"
)

// openTest opens an engine whose beat does not come during a test.
func openTest(t testing.TB, o Options) *engine {
	t.Helper()
	o.Beat = time.Hour
	e, err := openEngine(o, procRoot)
	if o.Way == BPF && err != nil {
		needTypes(t)
	}
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

// needTypes skips a test on a kernel that does not describe its types, which no
// program of ours loads into.
func needTypes(t testing.TB) {
	t.Helper()
	if _, err := os.Stat("/sys/kernel/btf/vmlinux"); errors.Is(err, fs.ErrNotExist) {
		t.Skip("this kernel has no BTF")
	}
}

func snapshotOf(t testing.TB, e *engine) Snapshot {
	t.Helper()
	s, err := e.list(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// settled enumerates until no socket is waited for: one that the host shows
// without an owner is looked for again for some time.
func settled(t *testing.T, e *engine) Snapshot {
	t.Helper()
	for {
		s, waits := snapshotOf(t, e), e.unsettled
		for _, space := range e.spaces {
			for _, k := range space.known {
				waits = waits || !k.looked
			}
		}
		if !waits {
			return s
		}
	}
}

// TestSteadyState enumerates again and again while nothing changes: the same
// generation, next to no allocations.
func TestSteadyState(t *testing.T) {
	for range 50 {
		listenTCP(t, "tcp4", "127.0.0.1:0")
	}
	e := openTest(t, Options{})
	first := settled(t, e)
	if first.Generation == 0 || len(first.Sockets) < 50 {
		t.Fatalf("generation %d with %d sockets", first.Generation, len(first.Sockets))
	}
	// Each by itself: what else runs on the host opens and closes sockets too, and an
	// enumeration that sees that, or still looks for an owner, is another matter.
	var each []float64
	for tries := 0; len(each) < 21; tries++ {
		if tries == 2000 {
			t.Fatalf("of %d enumerations only %d saw nothing new", tries, len(each))
		}
		var before, after Snapshot
		n := testing.AllocsPerRun(1, func() { before, after = after, snapshotOf(t, e) }) // it calls that twice
		if before.Generation == after.Generation && !e.unsettled {
			each = append(each, n)
		}
	}
	slices.Sort(each)
	allocations := each[len(each)/2]
	t.Logf("%v allocations an enumeration, the most %v", allocations, each[len(each)-1])
	if allocations > 200 {
		t.Errorf("%v allocations an enumeration with nothing new, want under 200", allocations)
	}
	l, at := listenTCP(t, "tcp4", "127.0.0.1:0")
	second := snapshotOf(t, e)
	if second.Generation == first.Generation {
		t.Error("a new listener, and the same generation")
	}
	find(t, second, registry.TCP, at)
	l.Close()
	third := snapshotOf(t, e)
	still := slices.ContainsFunc(third.Sockets, func(s Socket) bool {
		return s.Transport == registry.TCP && s.Address == at.Addr() && s.Port == registry.Port(at.Port())
	})
	if third.Generation == second.Generation || still {
		t.Errorf("a listener went: generation %d after %d, still there: %t", third.Generation, second.Generation, still)
	}
}

// TestBeatWithNothingNew looks at everything again: it is the same snapshot.
func TestBeatWithNothingNew(t *testing.T) {
	listenTCP(t, "tcp4", "127.0.0.1:0")
	e := openTest(t, Options{})
	for range 10 { // others on this host may open a socket meanwhile
		before := settled(t, e)
		e.beat = time.Time{}
		if snapshotOf(t, e).Generation == before.Generation {
			return
		}
	}
	t.Error("each beat makes a new snapshot, and nothing has changed")
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

// TestActivation names the unit of a socket that a service manager holds. The
// manager itself is asked in the tests of package systemd.
func TestActivation(t *testing.T) {
	_, at := listenTCP(t, "tcp4", "127.0.0.1:0")
	_, other := listenTCP(t, "tcp4", "127.0.0.1:0")
	e := openTest(t, Options{Way: Proc})
	snapshotOf(t, e)
	listens, err := systemd.ParseAddress("Stream", at.String(), 0)
	if err != nil {
		t.Fatal(err)
	}
	me := int32(os.Getpid())
	e.processes[me].owner.How = SocketUnit
	e.units[me] = []systemd.Unit{{Name: "demo.socket", Triggers: []string{"demo.service"}, Listen: []systemd.Address{listens}}}
	e.build()
	activated := find(t, e.last, registry.TCP, at).Owners
	if len(activated) != 1 || activated[0].Unit != "demo.socket" || !slices.Equal(activated[0].Services, []string{"demo.service"}) {
		t.Errorf("owners are %+v, want the unit demo.socket for demo.service", activated)
	}
	if o := find(t, e.last, registry.TCP, other).Owners[0]; o.Unit == "demo.socket" {
		t.Error("a socket that is in no unit got the name of one")
	}
}
