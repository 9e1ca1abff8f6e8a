package listen

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/portaudit/portaudit/agent/listen/container"
	"github.com/portaudit/portaudit/registry"
)

// TestGroupsOfOwner: a process is in the groups that it says it is in.
func TestGroupsOfOwner(t *testing.T) {
	_, at := listenTCP(t, "tcp4", "127.0.0.1:0")
	s, err := List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want, err := syscall.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	want = slices.Compact(slices.Sorted(slices.Values(append(want, os.Getegid()))))
	groups := find(t, s, registry.TCP, at).Owners[0].Groups
	var got []int
	for _, g := range groups {
		got = append(got, int(g.ID))
		if g.Name == "" {
			t.Errorf("group %d has no name", g.ID)
		}
	}
	if !slices.Equal(slices.Sorted(slices.Values(got)), want) || got[0] != os.Getegid() {
		t.Errorf("groups %+v, want %v, and %d first", groups, want, os.Getegid())
	}
}

// TestImageOfOwner puts a process into a control group that is called as Docker
// calls that of a container, beside files of Docker.
func TestImageOfOwner(t *testing.T) {
	needRoot(t)
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	groups := unifiedHierarchy(b)
	if groups == "" {
		t.Skip("the unified control group hierarchy is not mounted")
	}
	id := fmt.Sprintf("%064x", os.Getpid())
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	dir := filepath.Join(root, "var/lib/docker/containers", id)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.v2.json"), []byte(`{"ID":"`+id+`","Name":"/web","Config":{"Image":"nginx:1.29"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ reason, slice, name, image string }{
		{"Docker", "", "web", "nginx:1.29"},
		{"a user who borrows the id", "user@1000.service", "", ""},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			group := filepath.Join(groups, tt.slice, "docker-"+id+".scope")
			if err := os.MkdirAll(group, 0o755); err != nil {
				t.Skipf("no control group can be made: %v", err)
			}
			t.Cleanup(func() {
				if err := os.Remove(group); err != nil {
					t.Error(err)
				}
				if tt.slice != "" {
					_ = os.Remove(filepath.Dir(group)) // unless it is the system's
				}
			})
			cmd := exec.Command(self)
			cmd.Env = append(os.Environ(), childMode+"=tcp 127.0.0.1:0")
			process, _ := start(t, cmd)
			if err := os.WriteFile(filepath.Join(group, "cgroup.procs"), fmt.Append(nil, process.Pid), 0o600); err != nil {
				t.Fatal(err)
			}
			e, err := openEngine(Options{Way: Proc}, procRoot)
			if err != nil {
				t.Fatal(err)
			}
			defer e.close()
			e.containers = container.Open(root)
			s, err := e.list(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(s.Sockets, func(k Socket) bool { return slices.Contains(ownerPIDs(k), process.Pid) })
			if i < 0 {
				t.Fatal("the listener is not in the snapshot")
			}
			o := s.Sockets[i].Owners[0]
			if o.Container != id || o.ContainerName != tt.name || o.Image != tt.image {
				t.Errorf("container %q, name %q, image %q of %s, want %q, %q", o.Container, o.ContainerName, o.Image, o.Cgroup, tt.name, tt.image)
			}
		})
	}
}
