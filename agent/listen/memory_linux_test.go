package listen

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"testing"

	"golang.org/x/sys/unix"

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
	s, err := List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	o := find(t, s, registry.TCP, netip.MustParseAddrPort("127.0.0.1:"+printed[0])).Owners[0]
	if o.Executable != "/memfd:listener" || o.Memory != Yes || o.WorldWritable != Unknown || o.Package != (Package{}) || o.SHA256 == [32]byte{} {
		t.Errorf("the owner is %+v, want one that runs from memory, hashed", o)
	}
}
