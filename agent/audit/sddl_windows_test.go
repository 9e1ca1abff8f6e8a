package audit

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/windows"
)

// Windows reads the descriptors as they are meant.
func TestSDDLIsTaken(t *testing.T) {
	for _, directory := range []bool{false, true} {
		sa, err := private(directory)
		if err != nil {
			t.Fatal(err)
		}
		control, _, err := sa.SecurityDescriptor.Control()
		if err != nil || control&windows.SE_DACL_PROTECTED == 0 {
			t.Errorf("directory %t: control %x, %v, want a protected list", directory, control, err)
		}
		acl, _, err := sa.SecurityDescriptor.DACL()
		if err != nil || acl.AceCount < 2 || acl.AceCount > 3 {
			t.Errorf("directory %t: %+v, %v, want 2 entries, or 3 of a user", directory, acl, err)
		}
	}
}

// The active file is renamed while it is open, here and by a reader.
func TestRenameOpenFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	l := rotated(t, dir, 5)
	defer l.Close()
	r, err := openShared(l.path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for range 50 {
		if _, err := add(l, Event{Event: AgentStarted}); err != nil {
			t.Fatal(err)
		}
	}
	if h := l.Health(); h.Unrotated != nil || l.first == 1 {
		t.Errorf("%+v, want a new segment", h)
	}
	if _, err := os.Stat(filepath.Join(dir, segment{first: 1}.name())); err != nil {
		t.Error(err)
	}
}
