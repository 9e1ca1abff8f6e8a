package listen

import (
	"os"
	"os/exec"
	"slices"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestFirstThreadStays enters another network namespace so often that the
// runtime picks the first thread of the process too, by whose namespace other
// programs judge the whole process.
func TestFirstThreadStays(t *testing.T) {
	needRoot(t)
	cmd := exec.Command("sleep", "60")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	path := "/proc/" + strconv.Itoa(cmd.Process.Pid) + "/ns/net"
	var there unix.Stat_t
	if err := unix.Stat(path, &there); err != nil {
		t.Fatal(err)
	}
	before, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	for range 200 {
		inside := ""
		if err := inNetworkNamespace(func() (*os.File, error) { return os.Open(path) }, there.Ino, func() (err error) {
			inside, err = os.Readlink("/proc/thread-self/ns/net")
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if inside == before {
			t.Fatal("the namespace was not entered")
		}
	}
	if after, err := os.Readlink("/proc/self/ns/net"); err != nil || after != before {
		t.Errorf("the process is in %s now, %v, and was in %s", after, err, before)
	}
}

// TestEmptyNamespace finds a listener in a network namespace that no process
// lives in: its process went back to its own.
func TestEmptyNamespace(t *testing.T) {
	needRoot(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	process, printed := child(t, self, "leave")
	e, err := openEngine(Options{Way: BPF}, procRoot)
	if err != nil {
		t.Skipf("only a walk in the kernel comes upon it: %v", err)
	}
	defer e.close()
	var s Snapshot
	for range 2 { // the first enters it, the second knows it
		s = snapshotOf(t, e)
	}
	i := slices.IndexFunc(s.Sockets, func(k Socket) bool { return k.Namespace == printed[0] })
	if i < 0 {
		t.Fatalf("no listener in %s among %d sockets; gaps: %+v", printed[0], len(s.Sockets), s.Coverage.Gaps)
	}
	if pids := ownerPIDs(s.Sockets[i]); !slices.Equal(pids, []int{process.Pid}) || s.Sockets[i].Exposure.Reach != ReachNone {
		t.Errorf("owners are %v, want %d; exposure %+v", pids, process.Pid, s.Sockets[i].Exposure)
	}
}
