package listen

import (
	"errors"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/portaudit/portaudit/agent/listen/iphelper"
	"github.com/portaudit/portaudit/registry"
)

// TestWatchTables opens a listener and closes it: both are told of within some
// seconds, with the process that did it.
func TestWatchTables(t *testing.T) {
	w, err := Watch(WatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Log(w.Text())
	if !strings.HasPrefix(w.Text(), "TCP and UDP, by looking at their tables every second") {
		t.Errorf("it says %q", w.Text())
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := registry.Port(l.Addr().(*net.TCPAddr).Port)
	began := time.Now()
	opened := nextOf(t, w, port)
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("it was told of after %v", took)
	}
	if !opened.Opened || opened.Transport != registry.TCP {
		t.Errorf("told %+v, want that it opened", opened)
	}
	lister, err := Open(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer lister.Close()
	if _, err := lister.List(t.Context()); err != nil {
		t.Fatal(err)
	}
	s, ok := lister.Admit(opened)
	if !ok || s.Port != port || len(s.Owners) != 1 || s.Owners[0].PID != os.Getpid() || s.Owners[0].How != Process {
		t.Errorf("admitted %+v, %v; want port %d of process %d", s, ok, port, os.Getpid())
	}
	l.Close()
	if closed := nextOf(t, w, port); closed.Opened || closed.Socket != opened.Socket {
		t.Errorf("told %+v, want that it closed", closed)
	}
	waiting := make(chan error)
	go func() { _, err := w.Next(); waiting <- err }()
	time.Sleep(100 * time.Millisecond)
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if err := <-waiting; !errors.Is(err, os.ErrClosed) {
		t.Errorf("who waits gets %v, want %v", err, os.ErrClosed)
	}
	if _, err := w.Next(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("who asks later gets %v, want %v", err, os.ErrClosed)
	}
}

func nextOf(t *testing.T, w *Watcher, port registry.Port) Change {
	t.Helper()
	for {
		c, err := w.Next()
		if err != nil {
			t.Fatal(err)
		}
		if c.Port == port {
			return c
		}
	}
}

// TestWatchIgnores: what is ignored is not told of.
func TestWatchIgnores(t *testing.T) {
	w := tableWatcher{ignored: 7}
	w.keep([]rowChange{{number: 1, row: iphelper.Row{PID: 7}}, {number: 2, row: iphelper.Row{PID: 8}}})
	if len(w.waiting) != 1 || w.waiting[0].number != 2 {
		t.Errorf("kept %+v", w.waiting)
	}
}

// TestAdmitOfTheEnded: of a process that has ended there is what the event told.
func TestAdmitOfTheEnded(t *testing.T) {
	l := &windowsLister{processes: map[uint32]Owner{}, accounts: map[string]string{}}
	pid := uint32(0x7ffffff0) // no multiple of 4 is near, and none is so large
	c := Change{Opened: true, record: rowChange{program: `\device\harddiskvolume2\a b\listener.exe`, row: iphelper.Row{
		Table: iphelper.TCP4, PID: pid, Created: time.Now(),
	}}}
	s, ok := l.admit(c)
	if !ok || !slices.EqualFunc(s.Owners, []Owner{{How: Process, PID: int(pid), Executable: c.record.program, Command: "listener.exe"}}, Owner.equal) {
		t.Errorf("admitted %+v, %v", s.Owners, ok)
	}
}

// BenchmarkLookAtTables is what a second costs while nothing changes.
func BenchmarkLookAtTables(b *testing.B) {
	w := &tableWatcher{}
	if err := w.look(time.Now()); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := w.look(time.Now()); err != nil {
			b.Fatal(err)
		}
		w.waiting = w.waiting[:0]
	}
	b.ReportMetric(float64(len(w.rows)), "rows")
}
