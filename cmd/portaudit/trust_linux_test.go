package main

import (
	"encoding/binary"
	"errors"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestReadTrustedOfOthers holds whose files root and others trust. It gives files
// to other users, and works as them.
func TestReadTrustedOfOthers(t *testing.T) {
	if os.Getenv("PORTAUDIT_TEST_ROOT") == "" || os.Geteuid() != 0 {
		t.Skip("needs root and PORTAUDIT_TEST_ROOT=1, to give files to other users")
	}
	const nobody, daemon = 65534, 1
	program := buildStatic(t)
	set(t, filepath.Dir(program), 0o755)
	set(t, filepath.Dir(filepath.Dir(program)), 0o755)
	tests := []struct {
		reason string
		as     uint32
		change func(dir string) error
		path   string
		err    string
	}{
		{"root's, of root", 0, func(string) error { return nil }, "a/p", ""},
		{"root's, of nobody", nobody, func(string) error { return nil }, "a/p", ""},
		{"nobody's, of root", 0, func(dir string) error { return os.Chown(dir+"/a/p", nobody, 0) }, "a/p", "/a/p belongs to user 65534, who is not root: chown root "},
		{"nobody's, of nobody", nobody, func(dir string) error { return os.Chown(dir+"/a/p", nobody, 0) }, "a/p", ""},
		{"another's, of nobody", nobody, func(dir string) error { return os.Chown(dir+"/a/p", daemon, 0) }, "a/p", "/a/p belongs to user 1, who is neither root nor user 65534, who runs this: chown root "},
		{"in nobody's directory, of root", 0, func(dir string) error { return os.Chown(dir+"/a", nobody, 0) }, "a/p", "/a belongs to user 65534"},
		{"in nobody's directory, of nobody", nobody, func(dir string) error { return os.Chown(dir+"/a", nobody, 0) }, "a/p", ""},
		{"nobody's link, of root", 0, func(dir string) error { return os.Lchown(dir+"/a/l", nobody, 0) }, "a/l", "/a/l is a link of user 65534, who can lead it elsewhere"},
		{"nobody's link, of nobody", nobody, func(dir string) error { return os.Lchown(dir+"/a/l", nobody, 0) }, "a/l", ""},
		{"behind a directory that may be passed and not read", nobody, func(dir string) error { return os.Chmod(dir+"/a", 0o711) }, "a/p", ""},
		{"behind one that may not be passed", nobody, func(dir string) error { return os.Chmod(dir+"/a", 0o700) }, "a/p", "permission denied"},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			dir := tree(t, "a/", "a/p", "a/l -> p")
			set(t, filepath.Dir(dir), 0o755) // t.TempDir's own
			if err := os.WriteFile(dir+"/a/p", []byte("version: 1\nrules: 7\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := tt.change(dir); err != nil {
				t.Fatal(err)
			}
			for _, own := range []string{"log", "state"} {
				if err := os.Mkdir(filepath.Join(dir, own), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.Chown(filepath.Join(dir, own), int(tt.as), 0); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.CommandContext(t.Context(), program, "run", "--policy", filepath.Join(dir, tt.path), "--log-dir", dir+"/log", "--state-dir", dir+"/state")
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: tt.as, Gid: tt.as}}
			cmd.Dir = "/"
			out, err := cmd.CombinedOutput()
			if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != exitUsage {
				t.Fatalf("%v:\n%s", err, out)
			}
			want := tt.err
			if want == "" {
				want = ":2:8: " // it was read, and has a mistake
			}
			if !strings.Contains(string(out), want) {
				t.Errorf("it says %q, want %q", out, want)
			}
		})
	}
}

// listOf is an access control list as the kernel takes it
// (include/uapi/linux/posix_acl_xattr.h): the owner and user 1 have rights, and
// the mask is those of user 1.
func listOf(others uint16) []byte {
	const version, owner, named, group, mask, other = 2, 0x01, 0x02, 0x04, 0x10, 0x20
	b := binary.LittleEndian.AppendUint32(nil, version)
	for _, e := range []struct {
		tag, rights uint16
		id          uint32
	}{{owner, 6, math.MaxUint32}, {named, others, 1}, {group, 4, math.MaxUint32}, {mask, others, math.MaxUint32}, {other, 4, math.MaxUint32}} {
		b = binary.LittleEndian.AppendUint16(b, e.tag)
		b = binary.LittleEndian.AppendUint16(b, e.rights)
		b = binary.LittleEndian.AppendUint32(b, e.id)
	}
	return b
}

// TestReadTrustedByList: an access control list that lets another user write shows
// in the bits of the group (acl(5)).
func TestReadTrustedByList(t *testing.T) {
	path := tree(t, "p") + "/p"
	tests := []struct {
		reason string
		others uint16
		err    string
	}{
		{"another user may read", 4, ""},
		{"another user may write", 6, "by others whom an access control list names: chmod g-w "},
	}
	for _, tt := range tests {
		err := unix.Setxattr(path, "system.posix_acl_access", listOf(tt.others), 0)
		if errors.Is(err, unix.EOPNOTSUPP) {
			t.Skipf("the file system of %s has no access control lists", path)
		}
		if err != nil {
			t.Fatal(err)
		}
		_, err = readTrusted(path)
		checkError(t, err, tt.err)
	}
	set(t, path, 0o644) // as the message says
	_, err := readTrusted(path)
	checkError(t, err, "")
}
