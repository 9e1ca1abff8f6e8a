package walk

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func needRoot(t testing.TB) {
	t.Helper()
	if os.Getenv("PORTAUDIT_TEST_ROOT") == "" || os.Geteuid() != 0 {
		t.Skip("needs root and PORTAUDIT_TEST_ROOT=1")
	}
}

// openKinds opens a walker of each kind that this kernel has, and one of several
// threads.
func openKinds(t testing.TB) []*Walker {
	t.Helper()
	needRoot(t)
	var walkers []*Walker
	for _, how := range []struct {
		kind    Kind
		threads int
	}{{Tasks, 1}, {Tasks, 3}, {Files, 1}} {
		w, err := Open(how.kind, how.threads)
		var unavailable *UnavailableError
		if errors.As(err, &unavailable) && unavailable.Lack != "" {
			t.Logf("no %s iterator here: %v", how.kind, err)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := w.Close(); err != nil {
				t.Error(err)
			}
		})
		walkers = append(walkers, w)
	}
	if len(walkers) == 0 {
		t.Skip("this kernel has no BPF iterator")
	}
	return walkers
}

func TestOpenFirst(t *testing.T) {
	old := errors.New("too old")
	for _, tt := range []struct {
		reason   string
		tasks    error
		files    error
		want     Kind // 0 for an error
		tried    int
		fallback error
	}{
		{"the faster", nil, nil, Tasks, 1, nil},
		{"no bpf_loop: the slower, and why", old, nil, Files, 2, old},
		{"neither", old, old, 0, 2, nil},
		{"no right: the second would fail alike", unix.EPERM, nil, 0, 1, nil},
	} {
		tried := 0
		w, err := openFirst([]Kind{Tasks, Files}, func(k Kind) (*Walker, error) {
			tried++
			return &Walker{kind: k, socket: -1}, map[Kind]error{Tasks: tt.tasks, Files: tt.files}[k]
		})
		if tried != tt.tried {
			t.Errorf("%s: tried %d", tt.reason, tried)
		}
		if tt.want == 0 {
			var unavailable *UnavailableError
			if !errors.As(err, &unavailable) || !errors.Is(err, tt.tasks) {
				t.Errorf("%s: %v", tt.reason, err)
			}
			continue
		}
		if err != nil || w.Kind() != tt.want || !errors.Is(w.Fallback(), tt.fallback) {
			t.Errorf("%s: %v, %v", tt.reason, w, err)
		}
	}
}

// TestGrow starts with room for four rows.
func TestGrow(t *testing.T) {
	walkers := openKinds(t)
	w, err := open(walkers[0].Kind(), 2, 4)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for range 200 {
		socket(t, unix.AF_INET, unix.SOCK_STREAM, 0, &unix.SockaddrInet4{}, true)
	}
	n := 0
	for _, r := range walkAll(t, w) {
		if int(r.PID) == os.Getpid() {
			n++
		}
	}
	if n < 200 {
		t.Errorf("%d rows of this process, want 200 and more", n)
	}
}

// TestWithoutRights opens as nobody, in a child.
func TestWithoutRights(t *testing.T) {
	openKinds(t) // a kernel without is told of first
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestUnprivilegedOpen$", "-test.v")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestUnprivilegedOpen") {
		t.Errorf("%v:\n%s", err, out)
	}
}

func TestUnprivilegedOpen(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may; TestWithoutRights runs this as nobody")
	}
	w, err := Open(0, 1)
	if err == nil {
		w.Close()
		t.Skip("this user may load BPF programs")
	}
	if !errors.Is(err, ErrUnavailable) || !errors.Is(err, os.ErrPermission) {
		t.Errorf("error is %v, want ErrUnavailable and a missing right", err)
	}
}

func BenchmarkOpen(b *testing.B) {
	needRoot(b)
	b.ReportAllocs()
	for b.Loop() {
		w, err := Open(0, 1)
		if err != nil {
			b.Skip(err)
		}
		if err := w.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
