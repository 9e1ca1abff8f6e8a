package software

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestRootSpecialFiles: neither a pipe nor a device is opened, whose open
// would wait or do something.
func TestRootSpecialFiles(t *testing.T) {
	tests := []struct {
		reason string
		make   func(name string) error
	}{
		{"a pipe", func(name string) error { return unix.Mkfifo(name, 0o600) }},
		// Device 1:3 is /dev/null; what matters is that it is not opened.
		{"a device", func(name string) error { return unix.Mknod(name, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))) }},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			root := system(t, map[string]string{"lib/apk/db/x": ""})
			if err := tt.make(filepath.Join(root, apkInstalled[0])); err != nil {
				t.Skipf("it cannot be made here: %v", err)
			}
			_, _, err := Open(root).Owner("/x")
			if err == nil || !strings.Contains(err.Error(), "no regular file") {
				t.Errorf("got error %v, want that it is no regular file", err)
			}
		})
	}
}

// TestMain is the test, or a process with a root of its own that ends with its
// standard input.
func TestMain(m *testing.M) {
	root := os.Getenv("PORTAUDIT_TEST_CHROOT")
	if root == "" {
		os.Exit(m.Run())
	}
	if err := unix.Chroot(root); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin) //nolint:errcheck // it only waits
}

// TestProcessRoot asks through /proc/PID/root of a process, where an absolute
// link means its root and not the host's.
func TestProcessRoot(t *testing.T) {
	if os.Getenv("PORTAUDIT_TEST_ROOT") != "1" {
		t.Skip("needs root to change a root directory: set PORTAUDIT_TEST_ROOT=1")
	}
	root := system(t, map[string]string{"data/dpkg/status": dpkgTestStatus, "data/dpkg/info/dash.list": "/usr/bin/dash\n"})
	link(t, "/data/dpkg", filepath.Join(root, "var/lib/dpkg"))
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "PORTAUDIT_TEST_CHROOT="+root)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer in.Close()
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the process says %q, %v", line, err)
	}
	d := Open(fmt.Sprintf("/proc/%d/root", cmd.Process.Pid))
	p, owned, err := d.Owner("/usr/bin/dash")
	if want := (Package{DPKG, "dash", "0.5.12-2", "amd64"}); p != want || !owned || err != nil {
		t.Errorf("got %+v, %v, %v, want %+v", p, owned, err, want)
	}
	if p, owned, err := d.Owner("/usr/bin/env"); owned || err != nil {
		t.Errorf("a file of the host's: got %+v, %v, want none", p, err)
	}
}

// hostFiles returns files of this host, some of packages and some not, at most
// one of n.
func hostFiles(t testing.TB, n int) []string {
	t.Helper()
	files := []string{"/usr/bin/absent-from-every-package", "/etc/hostname"}
	for _, pattern := range []string{"/usr/bin/*", "/usr/sbin/*", "/usr/lib/*/*", "/usr/lib/x86_64-linux-gnu/*.so.*", "/usr/local/bin/*"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(found); i += n {
			if fi, err := os.Lstat(found[i]); err == nil && fi.Mode().IsRegular() {
				files = append(files, found[i])
			}
		}
	}
	return files
}

// TestDPKGOfHost holds the answers for this host against dpkg's own.
func TestDPKGOfHost(t *testing.T) {
	for _, program := range []string{"dpkg", "dpkg-query"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs %s to compare with: %v", program, err)
		}
	}
	files := hostFiles(t, 7)
	got, err := Open("/").Owners(files)
	if err != nil {
		t.Fatal(err)
	}
	want := askDPKG(t, files)
	for _, name := range files {
		p := got[name]
		if g := fmt.Sprint(p.Name, " ", p.Version, " ", p.Architecture); g != want[name] && (p != Package{} || want[name] != "") {
			t.Errorf("%s: got %q, dpkg says %q", name, g, want[name])
		}
	}
	t.Logf("%d files, %d of them of packages", len(files), len(got))

	indexed := Open("/")
	if err := indexed.Index(); err != nil || indexed.index == nil {
		t.Fatalf("there is no index: %v", err)
	}
	for _, name := range append(files, "/usr/bin/absent", "/opt/env") { // one by one: each by its own lists
		if p, _, err := indexed.Owner(name); err != nil || p != got[name] {
			t.Errorf("%s: with an index got %+v, %v; want %+v", name, p, err, got[name])
		}
	}
}

// ownersOf returns the packages that dpkg names for a path, with commas in between.
func ownersOf(name string) string {
	out, _ := exec.Command("dpkg", "-S", name).Output() // fails where there is none
	for line := range strings.Lines(string(out)) {
		if who, _, ok := strings.Cut(line, ": "); ok && !strings.HasPrefix(who, "diversion ") {
			return who
		}
	}
	return ""
}

// askDPKG returns name, version and architecture of each file's package as
// dpkg tells them. It knows nothing of merged directories: it is asked for
// both names of each file.
func askDPKG(t *testing.T, files []string) map[string]string {
	t.Helper()
	args := []string{"-S"}
	for _, name := range files {
		args = append(args, name)
		if rest, ok := strings.CutPrefix(name, "/usr"); ok {
			args = append(args, rest)
		}
	}
	out, _ := exec.Command("dpkg", args...).Output() // fails where no package owns one of the files
	diverted, from := map[string]string{}, ""
	packages := map[string]string{}
	for line := range strings.Lines(string(out)) {
		who, name, ok := strings.Cut(strings.TrimSpace(line), ": ")
		if by, isDiversion := strings.CutPrefix(who, "diversion by "); ok && isDiversion {
			if by, isFrom := strings.CutSuffix(by, " from"); isFrom {
				diverted[name], from = by, name
			} else if slices.Contains(files, name) { // it is asked who owned it by its name before
				for one := range strings.SplitSeq(ownersOf(from), ", ") {
					if one != diverted[from] {
						packages[name] = one
					}
				}
			}
			continue
		}
		if !ok || strings.HasPrefix(who, "local diversion") {
			continue
		}
		for _, one := range strings.Split(who, ", ") {
			if by := diverted[name]; by == "" || by == one {
				packages[name] = one
			}
		}
	}
	versions := map[string]string{}
	out, err := exec.Command("dpkg-query", "-W", "-f", "${binary:Package} ${Package} ${Version} ${Architecture}\n").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		if id, rest, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			versions[id] = rest
		}
	}
	want := map[string]string{}
	for _, name := range files {
		if id, ok := packages[name]; ok {
			want[name] = versions[id]
		} else if id, ok := packages[strings.TrimPrefix(name, "/usr")]; ok {
			want[name] = versions[id]
		}
	}
	return want
}

// BenchmarkOwner asks this host's database: for one program and for fifty,
// with nothing known, and for one that is known. B/op is what one reading
// allocates in all.
func BenchmarkOwner(b *testing.B) {
	if _, err := os.Stat("/" + dpkgStatus); err != nil {
		b.Skipf("no database of dpkg here: %v", err)
	}
	fifty := hostFiles(b, 7)
	fifty = fifty[:min(50, len(fifty))]
	ask := func(b *testing.B, names []string) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Open("/").Owners(names); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("cold", func(b *testing.B) { ask(b, []string{"/usr/bin/env"}) })
	b.Run("cold-absent", func(b *testing.B) { ask(b, []string{"/usr/bin/absent"}) })
	b.Run("cold-50", func(b *testing.B) { ask(b, fifty) })
	b.Run("index", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := Open("/").Index(); err != nil {
				b.Fatal(err)
			}
		}
	})
	for _, name := range []string{"/usr/bin/env", "/usr/bin/absent"} {
		b.Run("indexed-"+path.Base(name), func(b *testing.B) {
			d := Open("/")
			if err := d.Index(); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				clear(d.answers)
				if _, _, err := d.Owner(name); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("known", func(b *testing.B) {
		d := Open("/")
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := d.Owner("/usr/bin/env"); err != nil {
				b.Fatal(err)
			}
		}
	})
}
