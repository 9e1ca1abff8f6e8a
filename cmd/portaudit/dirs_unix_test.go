//go:build unix

package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestOpenUp(t *testing.T) {
	write := func(t *testing.T, dir, name string, mode fs.FileMode) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil { // past the umask
			t.Fatal(err)
		}
	}
	tests := []struct {
		reason string
		mode   fs.FileMode // of the directory before
		fill   func(t *testing.T, dir string)
		isNew  bool
		want   fs.FileMode
		err    string // "": none
	}{
		{"empty", 0o700, nil, false, 0o755, ""},
		{"state and registry", 0o700, func(t *testing.T, dir string) {
			write(t, dir, "state.json", 0o600)
			write(t, dir, "registry.bin", 0o644)
		}, false, 0o755, ""},
		{"a file that was being written at a crash", 0o700, func(t *testing.T, dir string) {
			write(t, dir, ".state.json.1.tmp", 0o600)
			write(t, dir, "registry.bin.1", 0o644)
		}, false, 0o755, ""},
		{"a private directory in it", 0o700, func(t *testing.T, dir string) {
			if err := os.Mkdir(filepath.Join(dir, "log"), 0o700); err != nil {
				t.Fatal(err)
			}
		}, false, 0o755, ""},
		{"as it is by default: the state beside the registry", 0o700, func(t *testing.T, dir string) {
			for name, mode := range map[string]fs.FileMode{"state": 0o700, "data": 0o755} {
				if err := os.Mkdir(filepath.Join(dir, name), mode); err != nil {
					t.Fatal(err)
				}
			}
		}, false, 0o755, ""},
		{"a file that is called as the directory of the registry", 0o700, func(t *testing.T, dir string) { write(t, dir, "data", 0o644) }, false, 0o700, "data would be shown"},
		{"a file that its mode would show", 0o700, func(t *testing.T, dir string) { write(t, dir, "notes", 0o604) }, false, 0o700, "notes would be shown"},
		{"a file of a group", 0o700, func(t *testing.T, dir string) { write(t, dir, "state.json", 0o640) }, false, 0o700, "state.json would be shown"},
		{"a registry that others may write", 0o700, func(t *testing.T, dir string) { write(t, dir, "registry.bin", 0o646) }, false, 0o700, "registry.bin would be shown"},
		{"a registry that is a directory", 0o700, func(t *testing.T, dir string) {
			if err := os.Mkdir(filepath.Join(dir, "registry.bin"), 0o755); err != nil {
				t.Fatal(err)
			}
		}, false, 0o700, "registry.bin would be shown"},
		{"a link in it", 0o700, func(t *testing.T, dir string) {
			if err := os.Symlink("/etc/passwd", filepath.Join(dir, "registry.bin")); err != nil {
				t.Fatal(err)
			}
		}, false, 0o700, "registry.bin would be shown"},
		{"a directory that somebody gave to a group", 0o750, nil, false, 0o750, ""},
		{"one that was made just now, by a umask", 0o750, nil, true, 0o755, ""},
		{"one that is open", 0o777, func(t *testing.T, dir string) { write(t, dir, "notes", 0o644) }, false, 0o777, ""},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if tt.fill != nil {
				tt.fill(t, dir)
			}
			if err := os.Chmod(dir, tt.mode); err != nil {
				t.Fatal(err)
			}
			checkError(t, openUp(dir, tt.isNew), tt.err)
			checkMode(t, dir, tt.want)
		})
	}
}

// TestOpenUpNoLink: what a link leads to is not this program's, and stays as it is.
func TestOpenUpNoLink(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "target"), filepath.Join(dir, "link")
	if err := os.Mkdir(target, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	for _, isNew := range []bool{false, true} {
		checkError(t, openUp(link, isNew), "is no directory itself")
		checkMode(t, target, 0o700)
	}
	if err := os.Chmod(target, 0o755); err != nil {
		t.Fatal(err)
	}
	checkError(t, openUp(link, false), "") // others can read it: nothing is to be done
	checkError(t, openUp(filepath.Join(dir, "absent"), false), "no such file")
}

// TestMakePrivate: others may look beside the state, and not into it.
func TestMakePrivate(t *testing.T) {
	defer unix.Umask(unix.Umask(0o022))
	root := t.TempDir()
	dir := filepath.Join(root, "portaudit", "state")
	none := func(err error) { t.Errorf("warned: %v", err) }
	for range 2 { // it may be there
		if err := makePrivate(dir, none); err != nil {
			t.Fatal(err)
		}
	}
	checkMode(t, filepath.Dir(dir), 0o755)
	checkMode(t, dir, 0o700)
	if p := defaultPaths(); filepath.Dir(p.stateDir) != filepath.Dir(p.dataDir) || p.stateDir == p.dataDir {
		t.Errorf("state in %s, data in %s", p.stateDir, p.dataDir)
	}
	if err := os.Chmod(filepath.Dir(dir), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := makePrivate(dir, none); err != nil {
		t.Fatal(err)
	}
	checkMode(t, filepath.Dir(dir), 0o700) // elsewhere the mode is somebody's choice
}

func checkMode(t *testing.T, path string, want fs.FileMode) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != want {
		t.Errorf("%s has mode %#o, want %#o", path, got, want)
	}
}
