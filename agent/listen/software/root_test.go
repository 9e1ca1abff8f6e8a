package software

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRootLinks: links below a root are followed as that system would follow
// them, and none leads out of it.
func TestRootLinks(t *testing.T) {
	outside := system(t, map[string]string{"dpkg/status": dpkgTestStatus, "dpkg/info/dash.list": "/usr/bin/dash\n"})
	tests := []struct {
		reason     string
		name, link string // what is a link, and to what
		found      bool
	}{
		{"a relative link", "var/lib/dpkg", "../../data/dpkg", true},
		{"an absolute link begins at the root", "var/lib/dpkg", "/data/dpkg", true},
		{"the root is its own parent", "var/lib/dpkg", "../../../../../data/dpkg", true},
		{"a link above", "var", "/data/var", true},
		{"a link that leads out", "var/lib/dpkg", filepath.Join(outside, "dpkg"), false},
		{"a link to itself", "var/lib/dpkg", "dpkg", false},
		{"links in a circle", "var/lib", "../var/lib", false},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			root := system(t, map[string]string{
				"data/dpkg/status": dpkgTestStatus, "data/dpkg/info/dash.list": "/usr/bin/dash\n",
				"data/var/lib/dpkg/status": dpkgTestStatus, "data/var/lib/dpkg/info/dash.list": "/usr/bin/dash\n",
			})
			link(t, tt.link, filepath.Join(root, tt.name))
			p, owned, err := Open(root).Owner("/usr/bin/dash")
			if owned != tt.found || tt.found && (p.Version != "0.5.12-2" || err != nil) || !tt.found && err == nil {
				t.Errorf("got %+v, %v, %v, want it found: %v", p, owned, err, tt.found)
			}
		})
	}
}

func TestRootFileLink(t *testing.T) {
	root := system(t, map[string]string{"data/status": dpkgTestStatus, dpkgInfo + "/dash.list": "/usr/bin/dash\n"})
	link(t, "/data/status", filepath.Join(root, dpkgStatus))
	checkOwners(t, root, map[string]Package{"/usr/bin/dash": {DPKG, "dash", "0.5.12-2", "amd64"}})
}

func TestRootTooMuch(t *testing.T) {
	root := system(t, map[string]string{apkInstalled[0]: ""})
	if err := os.Truncate(filepath.Join(root, apkInstalled[0]), maxPass+1); err != nil {
		t.Skipf("no sparse file of that size here: %v", err)
	}
	if _, _, err := Open(root).Owner("/x"); !errors.Is(err, errTooMuch) {
		t.Errorf("got error %v, want %v", err, errTooMuch)
	}
}

func TestRootDirectoryForFile(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, apkInstalled[0]), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Open(root).Owner("/x"); err == nil || !strings.Contains(err.Error(), "no regular file") {
		t.Errorf("got error %v, want that it is no regular file", err)
	}
}
