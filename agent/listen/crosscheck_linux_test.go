package listen

import (
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/portaudit/portaudit/agent/listen/walk"
	"github.com/portaudit/portaudit/registry"
)

func TestCrossCheckAgrees(t *testing.T) {
	listenTCP(t, "tcp4", "127.0.0.1:0")
	e := openTest(t, Options{})
	r, err := e.crossCheck(t.Context(), CrossOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Discrepancies) > 0 || len(r.Views) < 2 {
		t.Errorf("views %v disagree on %+v", r.Views, r.Discrepancies)
	}
}

// TestCrossCheckHasEveryView: what was chosen for speed leaves no view out.
func TestCrossCheckHasEveryView(t *testing.T) {
	needRoot(t)
	needTypes(t)
	if err := walk.Permitted(); err != nil {
		t.Skip(err)
	}
	for name, check := range map[string]func(context.Context, CrossOptions) (CrossReport, error){
		"a single enumeration": openTest(t, Options{Once: true}).crossCheck,
		"gopsutil":             crossCheckAlone(Options{Way: Gopsutil, Once: true, Beat: time.Hour}),
	} {
		r, err := check(t.Context(), CrossOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if want := []string{"sock_diag", "/proc/net", "descriptors", "/proc/PID/fd"}; !slices.Equal(r.Views, want) {
			t.Errorf("%s compares %q, want %q; gaps %+v", name, r.Views, want, r.Gaps)
		}
	}
}

// hide takes one endpoint out of a view.
func hide(v view, at Endpoint) view {
	see := v.see
	v.see = func(ctx context.Context) (map[Endpoint]bool, []Gap, error) {
		seen, gaps, err := see(ctx)
		delete(seen, at)
		delete(seen, at.anywhere())
		return seen, gaps, err
	}
	return v
}

// TestHiddenPort takes a real listener out of each of the views in turn.
func TestHiddenPort(t *testing.T) {
	_, at := listenTCP(t, "tcp4", "127.0.0.1:0")
	e := openTest(t, Options{})
	snapshotOf(t, e)
	hidden := Endpoint{e.label(e.self), registry.TCP, at.Addr(), registry.Port(at.Port())}
	views := e.views()
	for i, from := range views {
		if !from.covers(hidden) {
			continue // what is missing there may never have been there
		}
		t.Run(strings.ReplaceAll(from.name, "/", " "), func(t *testing.T) {
			doctored := slices.Clone(views)
			doctored[i] = hide(from, hidden)
			r, err := compareViews(t.Context(), doctored)
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Discrepancies) != 1 || r.Discrepancies[0].Endpoint != hidden ||
				!slices.Equal(r.Discrepancies[0].Missing, []string{from.name}) {
				t.Errorf("discrepancies are %+v, want %v missing from %s", r.Discrepancies, hidden, from.name)
			}
		})
	}
}

// TestHiddenFromTheTables takes a real listener out of sock_diag and out of
// /proc at once, as a rootkit does: its descriptor still tells of it.
func TestHiddenFromTheTables(t *testing.T) {
	needRoot(t)
	_, at := listenTCP(t, "tcp4", "127.0.0.1:0")
	e, err := openEngine(Options{Way: BPF}, procRoot)
	if err != nil {
		t.Skipf("without BPF there are only the tables: %v", err)
	}
	defer e.close()
	snapshotOf(t, e)
	hidden := Endpoint{e.label(e.self), registry.TCP, at.Addr(), registry.Port(at.Port())}
	views := e.views()
	for i := range 2 {
		views[i] = hide(views[i], hidden)
	}
	r, err := compareViews(t.Context(), views)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(r.Discrepancies, func(d Discrepancy) bool { return d.Port == hidden.Port })
	if i < 0 || !slices.Equal(r.Discrepancies[i].Shown, []string{"descriptors", "/proc/PID/fd"}) || len(r.Discrepancies[i].Missing) != 2 {
		t.Errorf("discrepancies are %+v, want port %d, which only a descriptor shows", r.Discrepancies, hidden.Port)
	}
}

// TestCrossCheckBlind asks for nothing in a namespace: what descriptors show
// there is not hidden from the tables.
func TestCrossCheckBlind(t *testing.T) {
	needRoot(t)
	_, at := listenTCP(t, "tcp4", "127.0.0.1:0")
	e, err := openEngine(Options{Way: BPF}, procRoot)
	if err != nil {
		t.Skipf("without BPF there are only the tables: %v", err)
	}
	defer e.close()
	snapshotOf(t, e)
	s := e.spaces[e.self]
	conn := s.conn
	s.conn = nil
	r, err := compareViews(t.Context(), e.views())
	s.conn = conn
	if err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(r.Discrepancies, func(d Discrepancy) bool { return d.Port == registry.Port(at.Port()) }) {
		t.Errorf("discrepancies are %+v, in a namespace that was not asked", r.Discrepancies)
	}
}

// TestDoctoredTable lays a table without the listener over the kernel's, as
// code that hides a port from ss's and netstat's users would.
func TestDoctoredTable(t *testing.T) {
	needRoot(t)
	_, at := listenTCP(t, "tcp4", "127.0.0.1:0")
	e := openTest(t, Options{})
	snapshotOf(t, e)
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "self", "net"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, q := range e.queries {
		if q.table == "" {
			continue
		}
		b, err := os.ReadFile("/proc/self/net/" + q.table)
		if err != nil {
			continue
		}
		var kept []string
		for line := range strings.Lines(string(b)) {
			if q.table != "tcp" || !strings.Contains(line, portHex(at)) {
				kept = append(kept, line)
			}
		}
		if err := os.WriteFile(filepath.Join(root, "self", "net", q.table), []byte(strings.Join(kept, "")), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for id := range e.spaces {
		if id != e.self {
			e.drop(id, e.spaces[id])
		}
	}
	e.root = root
	r, err := compareViews(t.Context(), e.views())
	e.root = procRoot
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(r.Discrepancies, func(d Discrepancy) bool { return d.Port == registry.Port(at.Port()) })
	if i < 0 || !slices.Equal(r.Discrepancies[i].Missing, []string{"/proc/net"}) {
		t.Errorf("discrepancies are %+v, want port %d missing from /proc/net", r.Discrepancies, at.Port())
	}
}

func portHex(at netip.AddrPort) string {
	const digits = "0123456789ABCDEF"
	p := at.Port()
	return ":" + string([]byte{digits[p>>12], digits[p>>8&15], digits[p>>4&15], digits[p&15]}) + " "
}

func TestBoundInactive(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	port := registry.Port(name.(*unix.SockaddrInet4).Port)
	e := openTest(t, Options{})
	r, err := e.crossCheck(t.Context(), CrossOptions{})
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(r.Bound, func(b Bound) bool { return b.Port == port && b.Transport == registry.TCP })
	if i < 0 {
		t.Skipf("this kernel does not tell of bound sockets that do not listen (before Linux 6.8): %+v", r.Bound)
	}
	if owners := r.Bound[i].Owners; len(owners) != 1 || owners[0].PID != os.Getpid() || owners[0].Executable == "" {
		t.Errorf("owners are %+v, want process %d alone", owners, os.Getpid())
	}
}

// TestBindProbe tries every port: what it finds in use is explained by the
// tables, a connection without a listener included; hidden from them, it is not.
func TestBindProbe(t *testing.T) {
	l, at := listenTCP(t, "tcp4", "127.0.0.1:0")
	client, err := net.Dial("tcp4", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	e := openTest(t, Options{})
	snapshotOf(t, e)
	var r CrossReport
	if err := e.probe(t.Context(), &r); err != nil {
		t.Fatal(err)
	}
	if r.Probed < 60000 || len(r.Discrepancies) > 0 {
		t.Errorf("%d ports probed, discrepancies %+v", r.Probed, r.Discrepancies)
	}
	used, _, err := inUse(t.Context(), registry.TCP, []registry.Port{registry.Port(at.Port())})
	if err != nil || len(used) != 1 {
		t.Errorf("the listener's port is not found in use: %v, %v", used, err)
	}
}
