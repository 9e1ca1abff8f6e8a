package listen

import (
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getenv("PORTAUDIT_TEST_ROOT") == "" || os.Geteuid() != 0 {
		t.Skip("needs root and PORTAUDIT_TEST_ROOT=1")
	}
}

// TestOtherNetworkNamespace starts a listener in a network namespace of its
// own, whose administrator let everybody use every port.
func TestOtherNetworkNamespace(t *testing.T) {
	needRoot(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", `echo 0 > /proc/sys/net/ipv4/ip_unprivileged_port_start && exec "$0"`, self)
	cmd.Env = append(os.Environ(), childMode+"=tcp 0.0.0.0:81")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	process, _ := start(t, cmd)
	link, err := os.Readlink("/proc/" + strconv.Itoa(process.Pid) + "/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	s, err := List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(s.Sockets, func(k Socket) bool { return k.Namespace == link && k.Port == 81 })
	if i < 0 {
		t.Fatalf("the listener in %s is not in the snapshot", link)
	}
	if pids := ownerPIDs(s.Sockets[i]); !slices.Equal(pids, []int{process.Pid}) {
		t.Errorf("owners are %v, want %d", pids, process.Pid)
	}
	i = slices.IndexFunc(s.Namespaces, func(n Namespace) bool { return n.Label == link })
	if i < 0 || s.Namespaces[i].Privileged(81) != No {
		t.Errorf("namespaces are %+v, want %s with an unprivileged start of 0", s.Namespaces, link)
	}
	for _, n := range s.Namespaces {
		if n.Label == HostNamespace && n.Privileged(1) != Yes {
			t.Errorf("the host's rules were read in the other namespace: %+v", n)
		}
	}
}

// TestWithoutRights enumerates as nobody: the socket is there, its owner is
// denied, and the coverage says so and how to mend it.
func TestWithoutRights(t *testing.T) {
	needRoot(t)
	_, at := listenTCP(t, "tcp4", "127.0.0.1:0")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childMode+"=list")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	cmd.Stderr = os.Stderr
	// The test binary lies in a directory of root's: nobody runs it through the
	// descriptor of this process.
	cmd.Path = "/proc/self/exe"
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if want := "socket " + at.String() + " denied\n"; !strings.Contains(string(out), want) {
		t.Errorf("nobody sees:\n%swant a line %q", out, want)
	}
	if want := "gap owners run as root, or with CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH\n"; !strings.Contains(string(out), want) {
		t.Errorf("nobody sees:\n%swant a line %q", out, want)
	}
}
