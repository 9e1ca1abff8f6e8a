package software

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// unpack returns a file of testdata.
func unpack(t testing.TB, name string) []byte {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name+".gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// system makes a root directory of files.
func system(t testing.TB, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		write(t, filepath.Join(root, name), content)
	}
	return root
}

func write(t testing.TB, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// link makes a symbolic link, or skips where that is not possible or not the
// same thing.
func link(t testing.TB, target, name string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("links of Windows are other than those of the systems whose databases are read")
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, name); err != nil {
		t.Skipf("no symbolic links here: %v", err)
	}
}

var (
	tiny  = Package{RPM, "tiny", "2:1.4-3", "x86_64"}
	small = Package{RPM, "small", "0.1-1", "noarch"}
)

// checkOwners asks for all paths of want at once; the zero package stands for
// none.
func checkOwners(t *testing.T, root string, want map[string]Package) {
	t.Helper()
	var names []string
	for name := range want {
		names = append(names, name)
	}
	got, err := Open(root).Owners(names)
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range want {
		if got[name] != p {
			t.Errorf("%s: got %+v, want %+v", name, got[name], p)
		}
	}
}

func reader(b []byte) *bytes.Reader { return bytes.NewReader(b) }
