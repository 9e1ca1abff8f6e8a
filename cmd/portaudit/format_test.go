package main

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// TestReplaceKeeps holds that a file that is formatted keeps its mode and, as root,
// its owner, and that a link to it stays one.
func TestReplaceKeeps(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "policy.yaml"), filepath.Join(dir, "link.yaml")
	if err := os.WriteFile(path, []byte("rules: []\n\n\nversion: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS == "windows" {
		t.Skip("Windows has neither modes nor, for every user, links")
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	uid, gid := os.Geteuid(), os.Getegid()
	if uid == 0 {
		uid, gid = 65534, 65533
		if err := os.Chown(path, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("policy.yaml", link); err != nil {
		t.Fatal(err)
	}
	printed(t, "policy", "format", "-w", link)
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if u, g, _ := ownerOf(info); info.Mode() != 0o640 || u != uid || g != gid {
		t.Errorf("mode %v, owner %d and %d, want 0640, %d and %d", info.Mode(), u, g, uid, gid)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is %v, %v", info, err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "rules: []\n\nversion: 1\n" {
		t.Errorf("%q, %v", b, err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
