package listen

import (
	"fmt"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/portaudit/portaudit/registry"
)

// concealments are ways to lay something over the directory of a process in
// /proc. The kernel takes it off again when the process ends.
var concealments = []struct {
	reason string
	mount  func(over string) error
}{
	{"an empty directory", func(over string) error { return unix.Mount("none", over, "tmpfs", 0, "") }},
	{"the directory of another process", func(over string) error {
		return unix.Mount(fmt.Sprintf("/proc/%d", os.Getpid()), over, "", unix.MS_BIND, "")
	}},
}

// conceal starts a listener and hides its process.
func conceal(t *testing.T, mount func(string) error) (pid int, port registry.Port) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	process, printed := child(t, self, "tcp 127.0.0.1:0")
	if _, err := fmt.Sscan(printed[0], &port); err != nil {
		t.Fatal(err)
	}
	over := fmt.Sprintf("/proc/%d", process.Pid)
	if err := mount(over); err != nil {
		t.Skipf("this host lets nothing be mounted there: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(over, unix.MNT_DETACH) }) // if it is still there
	return process.Pid, port
}

func socketOn(t *testing.T, s Snapshot, port registry.Port) Socket {
	t.Helper()
	i := slices.IndexFunc(s.Sockets, func(k Socket) bool { return k.Transport == registry.TCP && k.Port == port })
	if i < 0 {
		t.Fatalf("port %d is not in the snapshot", port)
	}
	return s.Sockets[i]
}

// TestConcealedProcess finds the owner behind a mount, and says that there is one.
func TestConcealedProcess(t *testing.T) {
	needRoot(t)
	for _, c := range concealments {
		for _, way := range []Way{BPF, Proc} {
			t.Run(c.reason+" "+way.String(), func(t *testing.T) {
				pid, port := conceal(t, c.mount)
				e := openTest(t, Options{Way: way, Once: true})
				if !e.cloned() {
					t.Skip("this kernel clones no mounts")
				}
				owners := socketOn(t, snapshotOf(t, e), port).Owners
				self, _ := os.Executable()
				if len(owners) != 1 || owners[0].PID != pid || owners[0].How != Process || owners[0].Executable != self || owners[0].Concealed != Yes {
					t.Errorf("the owners are %+v, want the process %d, concealed", owners, pid)
				}
			})
		}
	}
}

// TestConcealedFromView is the same without the right to clone the mount.
func TestConcealedFromView(t *testing.T) {
	needRoot(t)
	for _, c := range concealments {
		for _, way := range []Way{BPF, Proc} {
			t.Run(c.reason+" "+way.String(), func(t *testing.T) {
				pid, port := conceal(t, c.mount)
				e := openTest(t, Options{Way: way, Once: true})
				plain, err := unix.Open(procRoot, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
				if err != nil {
					t.Fatal(err)
				}
				unix.Close(e.proc)
				e.proc, e.base, e.reader = plain, procRoot, newProcessReader(plain)
				if f, ok := e.finder.(*procFinder); ok {
					f.proc = plain
				}
				s := snapshotOf(t, e)
				owners := socketOn(t, s, port).Owners
				if len(owners) != 1 || owners[0].How != Denied || way == BPF && (owners[0].PID != pid || owners[0].Concealed != Yes) {
					t.Errorf("the owners are %+v, want denied", owners)
				}
				if !slices.ContainsFunc(s.Coverage.Gaps, func(g Gap) bool { return g.Source == "/proc/PID" && g.Count == 1 }) {
					t.Errorf("no gap tells of it: %+v", s.Coverage.Gaps)
				}
			})
		}
	}
}

// TestConcealedFromCrossCheck compares what the kernel knows with what /proc shows.
func TestConcealedFromCrossCheck(t *testing.T) {
	needRoot(t)
	for _, c := range concealments {
		t.Run(c.reason, func(t *testing.T) {
			_, port := conceal(t, c.mount)
			e := openTest(t, Options{Way: BPF})
			snapshotOf(t, e)
			r, err := e.crossCheck(t.Context(), CrossOptions{})
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(r.Discrepancies, func(d Discrepancy) bool { return d.Port == port })
			if i < 0 || !slices.Equal(r.Discrepancies[i].Missing, []string{"/proc/PID/fd"}) {
				t.Errorf("discrepancies are %+v, want port %d missing from /proc/PID/fd", r.Discrepancies, port)
			}
		})
	}
}
