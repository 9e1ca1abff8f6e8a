package listen

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"github.com/portaudit/portaudit/registry"
)

func openWatcher(t *testing.T) *Watcher {
	t.Helper()
	needRoot(t)
	w, err := Watch(WatchOptions{})
	if err != nil {
		needTypes(t)
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// nextAt returns the next change of the port by the process: others have the
// same port in other namespaces.
func nextAt(t *testing.T, w *Watcher, pid int, port registry.Port) Change {
	t.Helper()
	for {
		c, err := w.Next()
		if err != nil {
			t.Fatal(err)
		}
		if c.Port == port && int(c.record.PID) == pid {
			return c
		}
	}
}

// TestAdmit: what is told of a listener at the moment at which it opens is what
// the next snapshot tells.
func TestAdmit(t *testing.T) {
	w := openWatcher(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	e := openTest(t, Options{})
	settled(t, e)
	first := true
	for _, address := range []string{"127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0"} {
		process, printed := child(t, self, "tcp "+address)
		var port registry.Port
		if _, err := fmt.Sscan(printed[0], &port); err != nil {
			t.Fatal(err)
		}
		c := nextAt(t, w, process.Pid, port)
		got, ok := e.admit(c)
		if !ok || !c.Opened || c.Transport != registry.TCP {
			t.Fatalf("%s: %+v, %v", address, c, ok)
		}
		want := socketOn(t, snapshotOf(t, e), port)
		if first { // test programs are large: their digest takes longer than anybody should wait for
			first = false
			if o := got.Owners[0]; o.Unhashed != UnhashedPending {
				t.Errorf("%s: a large program was read at once: %+v", address, o)
			}
			// It is hashed beside the audits, which tell of it then.
			for deadline := time.Now().Add(10 * time.Second); want.Owners[0].SHA256 == [32]byte{} && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
				want = socketOn(t, snapshotOf(t, e), port)
			}
			if want.Owners[0].SHA256 == [32]byte{} {
				t.Errorf("%s: the program was never hashed: %+v", address, want.Owners[0])
			}
			got.Owners = want.Owners
		}
		ignored := cmpopts.IgnoreFields(Socket{}, "Backlog", "Multipath", "inodes") // the state changes before they are known
		if diff := cmp.Diff(want, got, ignored, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("%s: the snapshot tells (-), the change told (+):\n%s", address, diff)
		}
		_ = process.Kill()
		if c := nextAt(t, w, process.Pid, port); c.Opened {
			t.Errorf("%s: %+v, want it closed", address, c)
		}
	}
}

// TestAdmitOfTheDead tells of a listener whose process has ended what the kernel
// told in time.
func TestAdmitOfTheDead(t *testing.T) {
	w := openWatcher(t)
	e := openTest(t, Options{})
	settled(t, e)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childMode+"=tcp 127.0.0.1:0")
	out, err := cmd.Output() // its standard input is empty: it ends at once
	if err != nil {
		t.Fatal(err)
	}
	var port registry.Port
	if _, err := fmt.Sscan(string(out), &port); err != nil {
		t.Fatal(err)
	}
	opened := nextAt(t, w, cmd.Process.Pid, port)
	closed := nextAt(t, w, cmd.Process.Pid, port)
	if !opened.Opened || closed.Opened || opened.Socket != closed.Socket || opened.Socket == 0 || !closed.Time.After(opened.Time) {
		t.Errorf("%+v, then %+v: want one socket that opened and closed", opened, closed)
	}
	s, ok := e.admit(opened)
	if !ok || len(s.Owners) != 1 {
		t.Fatalf("%+v, %v", s, ok)
	}
	o := s.Owners[0]
	if o.How != Process || o.PID != cmd.Process.Pid || o.Executable != self || o.User != "root" || o.Parent != os.Getpid() || o.Started.IsZero() || o.BindCapability != Yes {
		t.Errorf("the owner is %+v, want process %d, %s", o, cmd.Process.Pid, self)
	}
}

// TestWatchWithoutRights takes the rights away: the error names them, and the way
// out.
func TestWatchWithoutRights(t *testing.T) {
	needRoot(t)
	refused := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine, and its lack of rights
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&header, &none[0]); err != nil {
			refused <- err
			return
		}
		w, err := Watch(WatchOptions{})
		if err == nil {
			err = w.Close()
		}
		refused <- err
	}()
	err := <-refused
	if err == nil || !strings.Contains(err.Error(), "this process lacks CAP_BPF and CAP_PERFMON (") {
		t.Errorf("the error is %v, want one that names the rights", err)
	}
}
