package listen

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/portaudit/portaudit/agent/listen/trace"
	"github.com/portaudit/portaudit/registry"
)

// TestProgramInMemory starts a listener from a file that never had a name.
func TestProgramInMemory(t *testing.T) {
	fd, err := unix.MemfdCreate("listener", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	program := os.NewFile(uintptr(fd), "memfd")
	defer program.Close()
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	if _, err := io.Copy(program, self); err != nil {
		t.Fatal(err)
	}
	_, printed := child(t, fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd), "tcp 127.0.0.1:0")
	at := netip.MustParseAddrPort("127.0.0.1:" + printed[0])
	for _, way := range []Way{Auto, Gopsutil} {
		s, err := listBy(t, way)
		if err != nil {
			t.Fatal(err)
		}
		o := find(t, s, registry.TCP, at).Owners[0]
		if o.Executable != "/memfd:listener" || o.Memory != Yes || o.Deleted != Unknown || o.Replaced != Unknown || o.WorldWritable != Unknown || o.Package != (Package{}) {
			t.Errorf("by %v: the owner is %+v, want one that runs from memory, with nothing of a file", way, o)
		}
		if way == Auto && o.SHA256 == [32]byte{} {
			t.Errorf("by %v: it is not hashed", way)
		}
	}
}

// listBy enumerates once by a way.
func listBy(t *testing.T, way Way) (Snapshot, error) {
	t.Helper()
	l, err := Open(Options{Way: way, Once: true})
	if err != nil {
		return Snapshot{}, err
	}
	s, err := l.List(t.Context())
	return s, errors.Join(err, l.Close())
}

// TestOpenerInMemory: what the kernel told of a program that has ended is told
// as of one that runs.
func TestOpenerInMemory(t *testing.T) {
	tests := []struct {
		reason, path    string
		unnamed         bool
		deleted, memory Answer
	}{
		{"a file", "/usr/bin/x", false, No, No},
		{"a deleted file", "/usr/bin/x", true, Yes, No},
		{"memfd_create(2)", "/memfd:x", true, Unknown, Yes},
		{"without a name", "/memfd:", true, Unknown, Yes},
		{"a file that is called so and is there", "/memfd:x", false, No, No},
		{"a deleted file in a directory that is called so", "/memfd/x", true, Yes, No},
	}
	e := &engine{users: map[uint32]string{0: "root"}}
	for _, tt := range tests {
		o := e.openerOf(&trace.Record{PID: 7, Executable: 1, Path: tt.path, Deleted: tt.unnamed})
		if o.Executable != tt.path || o.Deleted != tt.deleted || o.Memory != tt.memory {
			t.Errorf("%s: %q, deleted %v, memory %v", tt.reason, o.Executable, o.Deleted, o.Memory)
		}
	}
}
