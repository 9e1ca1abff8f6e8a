package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMakePrivate: others may look beside the state, and not into it.
func TestMakePrivate(t *testing.T) {
	defer unix.Umask(unix.Umask(0o022))
	root := t.TempDir()
	dir := filepath.Join(root, "portaudit", "state")
	for range 2 { // it may be there
		if err := makePrivate(dir); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]fs.FileMode{filepath.Dir(dir): 0o755, dir: 0o700} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v; want %v", path, info.Mode(), err, want)
		}
	}
	if p := defaultPaths(); filepath.Dir(p.stateDir) != filepath.Dir(p.dataDir) || p.stateDir == p.dataDir {
		t.Errorf("state in %s, data in %s", p.stateDir, p.dataDir)
	}
}
