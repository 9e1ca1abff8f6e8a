package trace

import (
	"bytes"
	"errors"
	"net"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// heard is a record with the time at which it was read.
type heard struct {
	Record
	at time.Duration // since boot
}

// listenTo collects what a tracer tells of one process's sockets while do runs:
// who walks over descriptors meanwhile may be the one that closes them.
func listenTo(t *testing.T, tr *Tracer, do func() (pid int)) []heard {
	t.Helper()
	all := make(chan []heard)
	tr.SetDeadline(time.Time{})
	go func() { // ends with the flush
		var list []heard
		for {
			var h heard
			err := tr.Read(&h.Record)
			if err != nil {
				if !errors.Is(err, ErrFlushed) {
					t.Error(err)
				}
				all <- list
				return
			}
			h.at = sinceBoot()
			list = append(list, h)
		}
	}()
	pid := do()
	if err := tr.Flush(); err != nil {
		t.Error(err)
	}
	own := map[uint64]bool{}
	return slices.DeleteFunc(<-all, func(h heard) bool {
		if h.Kind == Opened {
			own[h.Socket] = int(h.PID) == pid
		}
		return !own[h.Socket]
	})
}

// shortLived opens sockets in a child and returns what was heard of it and what
// it wrote down.
func shortLived(t *testing.T, tr *Tracer, mode string, uid uint32) ([]heard, []witness) {
	t.Helper()
	var truth []witness
	list := listenTo(t, tr, func() int {
		cmd := startChild(t, mode, uid)
		var out bytes.Buffer
		cmd.Stdout = &out
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		truth = parseWitnesses(out.Bytes())
		return cmd.Process.Pid
	})
	return list, truth
}

// TestShortLived opens a thousand sockets that live for less than a millisecond,
// two hundred a second: each is seen, and who opened it.
func TestShortLived(t *testing.T) {
	if os.Getenv("PORTAUDIT_TEST_TIMING") == "" {
		t.Skip("needs a machine that does nothing else, and PORTAUDIT_TEST_TIMING=1")
	}
	tr := openTracer(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	const nobody, count = 65534, 1000
	for _, kind := range []string{"tcp", "udp"} {
		t.Run(kind, func(t *testing.T) {
			if err := tr.UDP(); kind == "udp" && err != nil {
				t.Skip(err)
			}
			list, truth := shortLived(t, tr, kind+" 1000 200", nobody)
			if len(truth) != count {
				t.Fatalf("%d sockets were opened", len(truth))
			}
			var opened, closed []heard
			for _, h := range list {
				switch h.Kind {
				case Opened:
					opened = append(opened, h)
				case Closed:
					closed = append(closed, h)
				}
			}
			if len(opened) != count || len(closed) != count {
				t.Fatalf("%d were seen to open and %d to close, of %d; %d records lost", len(opened), len(closed), count, tr.Lost())
			}
			for i, h := range opened {
				if h.Local.Port() != truth[i].port || h.UID != nobody || h.Path != self {
					t.Fatalf("socket %d: %+v, want port %d of user %d by %s", i, h.Record, truth[i].port, nobody, self)
				}
			}
			delays := make([]time.Duration, len(opened))
			lives := make([]time.Duration, len(opened))
			for i, h := range opened {
				delays[i], lives[i] = h.at-h.Time, closed[i].Time-h.Time
			}
			slices.Sort(delays)
			slices.Sort(lives)
			t.Logf("%d of %d seen, that lived for %v (median) to %v; from the kernel to the reader %v (median), %v (99 of 100), %v at most",
				len(opened), count, lives[count/2], lives[count-1], delays[count/2], delays[count*99/100], delays[count-1])
			if delays[count/2] > 100*time.Microsecond || delays[count*99/100] > 500*time.Microsecond {
				t.Errorf("want less than 100 µs, and 500 µs for 99 of 100")
			}
		})
	}
}

// TestBurst opens twenty thousand listeners, forty thousand a second: none is
// lost, or as many as are counted.
func TestBurst(t *testing.T) {
	tr := openTracer(t)
	const count = 20000
	lostBefore, toldBefore := tr.Lost(), tr.Told()
	list, truth := shortLived(t, tr, "tcp 20000 40000", 0)
	if len(truth) != count {
		t.Fatalf("%d sockets were opened", len(truth))
	}
	lost, told := int(tr.Lost()-lostBefore), int(tr.Told()-toldBefore)
	took := truth[count-1].at - truth[0].at
	t.Logf("%d opened in %v, %.0f a second: %d records, %d lost", count, took, count/took.Seconds(), len(list), lost)
	if told+lost < 2*count { // others open and close sockets too
		t.Errorf("%d records written and %d lost of %d", told, lost, 2*count)
	}
	// Whose end a record tells of is not known where that of its beginning was lost.
	if len(list) > 2*count || len(list)+2*lost < 2*count {
		t.Errorf("%d records read and %d lost of %d", len(list), lost, 2*count)
	}
}

// TestLost lets records pile up: what there is no room for is counted.
func TestLost(t *testing.T) {
	tr := openTracer(t)
	before := tr.Told() + tr.Lost()
	cmd := startChild(t, "tcp 20000 0", 0)
	if out, err := cmd.Output(); err != nil || len(out) == 0 {
		t.Fatal(err)
	}
	if tr.Lost() == 0 || tr.Told()+tr.Lost()-before < 40000 {
		t.Errorf("%d records told and %d lost, of 40000 that nobody read", tr.Told(), tr.Lost())
	}
	told := tr.Told()
	tr.SetDeadline(time.Now().Add(time.Second))
	var n uint64
	for ; n < told; n++ {
		var r Record
		if err := tr.Read(&r); err != nil {
			t.Fatalf("after %d of %d records: %v", n, told, err)
		}
	}
}

// acceptor accepts connections at an address, and closes them.
func acceptor(t testing.TB) (address string) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() { // ends with the listener
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	return l.Addr().String()
}

func connect(t testing.TB, address string) {
	t.Helper()
	c, err := net.Dial("tcp4", address)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.(*net.TCPConn).SetLinger(0); err != nil { // no TIME-WAIT: ports would run out
		t.Fatal(err)
	}
	c.Close()
}

// TestConnectionsCost makes connections, both of whose ends are here, with and
// without the programs in turn, and asks the kernel how long these ran.
func TestConnectionsCost(t *testing.T) {
	if os.Getenv("PORTAUDIT_TEST_TIMING") == "" {
		t.Skip("needs a machine that does nothing else, and PORTAUDIT_TEST_TIMING=1")
	}
	needRoot(t)
	const turns, count, rate = 8, 20000, 10000
	address := acceptor(t)
	churn := func() time.Duration {
		runtime.GC() // what loading left behind
		var before time.Duration
		for i := range count + count/4 {
			if i == count/4 { // the first ones are dearer
				before = processorTime(t)
			}
			connect(t, address)
		}
		return (processorTime(t) - before) / count
	}
	var without, with []time.Duration
	for range turns {
		without = append(without, churn())
		tr, err := Open(Options{Cgroup: cgroup()})
		if err != nil {
			t.Fatal(err)
		}
		with = append(with, churn())
		if err := tr.Close(); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(without)
	slices.Sort(with)
	more := with[0] - without[0] // undisturbed
	share := float64(more) * rate / float64(time.Second)
	t.Logf("a connection takes %v without the programs and %v with them: %.1f %% of a core more at 10000 seen a second", without[0], with[0], 100*share)
	if share > 0.02 {
		t.Error("want under 2 %")
	}

	tr := openTracer(t)
	stats, err := ebpf.EnableStats(uint32(unix.BPF_STATS_RUN_TIME))
	if err != nil {
		t.Skipf("this kernel does not measure programs: %v", err)
	}
	defer stats.Close()
	before := runtimeOf(t, tr)
	churn()
	t.Logf("of it the programs run for %v", (runtimeOf(t, tr)-before)/count)
}

// runtimeOf returns how long the programs have run.
func runtimeOf(t *testing.T, tr *Tracer) (sum time.Duration) {
	t.Helper()
	for _, p := range tr.programs {
		s, err := p.Stats()
		if err != nil {
			t.Fatal(err)
		}
		sum += s.Runtime
	}
	return sum
}

// processorTime returns what this process has taken.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		t.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// BenchmarkConnections makes connections, which the programs look at and say
// nothing of.
func BenchmarkConnections(b *testing.B) {
	address := acceptor(b)
	churn := func(b *testing.B) {
		for b.Loop() {
			connect(b, address)
		}
	}
	b.Run("unwatched", churn)
	b.Run("watched", func(b *testing.B) {
		openTracer(b)
		churn(b)
	})
	b.Run("TCP watched", func(b *testing.B) {
		needRoot(b)
		tr, err := Open(Options{Cgroup: "/nowhere"})
		if err != nil {
			b.Fatal(err)
		}
		defer tr.Close()
		churn(b)
	})
}
