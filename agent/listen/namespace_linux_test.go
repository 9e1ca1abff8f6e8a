package listen

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

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

// TestTableOfAnotherNamespace reads a table through a process that is in another
// namespace than the one that is asked for: its number may have been another's,
// and a process may move.
func TestTableOfAnotherNamespace(t *testing.T) {
	_, at := listenTCP(t, "tcp4", "127.0.0.1:0")
	e := openTest(t, Options{Way: Proc})
	i := slices.IndexFunc(e.queries, func(q query) bool { return q.table == "tcp" })
	here := &space{id: e.self, pid: int32(os.Getpid()), known: map[uint64]*entry{}}
	_, rows, err := e.tableOfProcess(here, e.queries[i])
	if err != nil || !slices.ContainsFunc(rows, func(r tableRow) bool { return uint16(r.port) == at.Port() }) {
		t.Errorf("no port %d among the %d of this process's namespace: %v", at.Port(), len(rows), err)
	}
	for reason, s := range map[string]*space{
		"a process of another namespace": {id: 1, pid: int32(os.Getpid())},
		"no process":                     {id: e.self, pid: 1 << 30},
	} {
		s.known, s.path = map[uint64]*entry{}, e.directory(s.pid)+"/ns/gone"
		if _, rows, err := e.tableOfProcess(s, e.queries[i]); !errors.Is(err, errLeft) {
			t.Errorf("%s: %d rows, %v", reason, len(rows), err)
		}
	}
	other := &space{id: 1, pid: int32(os.Getpid()), path: "/proc/self/ns/gone", known: map[uint64]*entry{}}
	if e.readTables(other); len(other.known) > 0 || other.rules.Complete || len(e.gaps) == 0 {
		t.Errorf("%d sockets in a namespace that was not read; complete: %v; gaps: %+v", len(other.known), other.rules.Complete, e.gaps)
	}
}

// TestEndedNamespace forgets a namespace whose process ended before it could be
// entered, and keeps one that is there and may not be entered.
func TestEndedNamespace(t *testing.T) {
	e := openTest(t, Options{Way: Proc})
	ended := &space{id: 1, pid: 1 << 30, path: e.directory(1<<30) + "/ns/net"}
	mounted := &space{id: 2, path: filepath.Join(t.TempDir(), "blue")}
	e.add(ended)
	e.add(mounted)
	e.placed[ended.pid] = ended.id
	e.openSpaces(false)
	if e.spaces[ended.id] != nil || e.placed[ended.pid] != 0 {
		t.Error("the namespace whose process has ended is kept")
	}
	if s := e.spaces[mounted.id]; s == nil || s.gap == nil {
		t.Errorf("a mount that leads nowhere is no gap: %+v", s)
	}
}

// TestNameOfUnmountedNamespace takes the name from a namespace in which a process
// lives, and gives it to another one.
func TestNameOfUnmountedNamespace(t *testing.T) {
	needRoot(t)
	name := "portaudit-test-" + strconv.Itoa(os.Getpid())
	if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
		t.Skipf("needs ip netns: %v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "delete", name).Run() })
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	listenThere := func() int {
		t.Helper()
		cmd := exec.Command("ip", "netns", "exec", name, self)
		cmd.Env = append(os.Environ(), childMode+"=tcp 0.0.0.0:81")
		process, _ := start(t, cmd)
		return process.Pid
	}
	e := openTest(t, Options{})
	where := func(pid int) string {
		t.Helper()
		e.beat = time.Time{}
		for _, k := range snapshotOf(t, e).Sockets {
			if slices.Contains(ownerPIDs(k), pid) {
				return k.Namespace
			}
		}
		return ""
	}
	first := listenThere()
	if got := where(first); got != "netns:"+name {
		t.Errorf("the listener is in %q, want netns:%s", got, name)
	}
	kernels, err := os.Readlink("/proc/" + strconv.Itoa(first) + "/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	for _, action := range []string{"delete", "add"} {
		if out, err := exec.Command("ip", "netns", action, name).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	second := listenThere()
	if got := where(second); got != "netns:"+name {
		t.Errorf("the second listener is in %q, want netns:%s", got, name)
	}
	if got := where(first); got != kernels {
		t.Errorf("unmounted, the first listener is in %q, want %s", got, kernels)
	}
}
