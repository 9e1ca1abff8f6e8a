package agent

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/portaudit/portaudit/agent/listen"
	"github.com/portaudit/portaudit/policy"
	"github.com/portaudit/portaudit/registry"
)

// childMode makes the test binary a process that listens on a privileged port
// in one of the ways that the authority of a listener tells of.
const childMode = "PORTAUDIT_TEST_AUTHORITY"

// nobody is a user without any right.
const nobody = 65534

func TestMain(m *testing.M) {
	mode := os.Getenv(childMode)
	if mode == "" {
		os.Exit(m.Run())
	}
	if err := authorityChild(mode); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// authorityChild listens, gives up what the mode says, and waits for the
// parent to go.
func authorityChild(mode string) error {
	wait := func() error {
		fmt.Println("ready")
		_, err := bufio.NewReader(os.Stdin).ReadByte()
		return err
	}
	if mode == "hold" { // has its socket from before execve(2), or from its parent
		return wait()
	}
	if mode == "receive" {
		if err := receive(3); err != nil {
			return err
		}
		return wait()
	}
	if endpoints, ok := strings.CutPrefix(mode, "open "); ok {
		if err := openAll(strings.Fields(endpoints)); err != nil {
			return err
		}
		return wait()
	}
	_, port, _ := strings.Cut(mode, " ")
	l, err := net.Listen("tcp4", "127.0.0.1:"+port)
	if err != nil {
		return err
	}
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	switch strings.Fields(mode)[0] {
	case "drop": // the rights of root
		if err := syscall.Setuid(nobody); err != nil {
			return err
		}
	case "exec": // the ambient capability, and with execve(2) all others
		if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
			return err
		}
		if _, err := unix.FcntlInt(file.Fd(), unix.F_SETFD, 0); err != nil {
			return err
		}
		return syscall.Exec("/proc/self/exe", []string{"unexplained"}, []string{childMode + "=hold"})
	case "pass": // the socket, to a child without rights
		child := exec.Command("/proc/self/exe")
		child.Env = []string{childMode + "=hold"}
		child.ExtraFiles = []*os.File{file}
		child.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		child.Stdin = os.Stdin
		if err := child.Start(); err != nil {
			return err
		}
	case "hand": // the socket, to a process without rights, by a message, and close it
		if err := hand(int(file.Fd())); err != nil {
			return err
		}
		if err := errors.Join(file.Close(), l.Close()); err != nil {
			return err
		}
	}
	return wait()
}

// hand starts a process of nobody's and sends it a descriptor.
func hand(fd int) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	taker := exec.Command("/proc/self/exe")
	taker.Env = []string{childMode + "=receive"}
	taker.ExtraFiles = []*os.File{os.NewFile(uintptr(pair[1]), "pair")}
	taker.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	taker.Stdin = os.Stdin
	out, err := taker.StdoutPipe()
	if err != nil {
		return err
	}
	if err := taker.Start(); err != nil {
		return err
	}
	if err := unix.Sendmsg(pair[0], []byte{0}, unix.UnixRights(fd), nil, 0); err != nil {
		return err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if line != "ready\n" {
		return fmt.Errorf("the process that receives says %q, %w", line, err)
	}
	return nil
}

// receive takes a descriptor from a message.
func receive(fd int) error {
	rights := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(fd, make([]byte, 1), rights, 0)
	if err == nil && n == 0 {
		err = errors.New("the message brings no descriptor")
	}
	return err
}

// TestAuthorityOfProcesses proves each reason for which a process may hold a privileged
// port on real processes.
func TestAuthorityOfProcesses(t *testing.T) {
	if os.Getenv("PORTAUDIT_TEST_ROOT") == "" || os.Geteuid() != 0 {
		t.Skip("needs root and PORTAUDIT_TEST_ROOT=1")
	}
	asNobody := &syscall.Credential{Uid: nobody, Gid: nobody}
	own := []syscall.SysProcIDMap{{ContainerID: 0, HostID: nobody, Size: 1}}
	tests := []struct {
		reason, mode string
		as           *syscall.SysProcAttr
		shell        string // run before, in the child's namespaces
		want         string
		handed       bool // to another process
	}{
		{reason: "root that keeps its rights", mode: "keep 81", as: &syscall.SysProcAttr{}, want: "root"},
		{reason: "root that gave its rights up", mode: "drop 82", as: &syscall.SysProcAttr{}, want: "creator-root"},
		{reason: "a user that was handed the socket of root", mode: "hand 88", as: &syscall.SysProcAttr{}, want: "creator-root", handed: true},
		{reason: "a user with the capability", mode: "keep 83", want: "capability",
			as: &syscall.SysProcAttr{Credential: asNobody, AmbientCaps: []uintptr{unix.CAP_NET_BIND_SERVICE}}},
		{reason: "a namespace without privileged ports", mode: "keep 84", want: "sysctl",
			as: &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}, shell: "echo 0 > /proc/sys/net/ipv4/ip_unprivileged_port_start; ip link set lo up; exec setpriv --reuid 65534 --clear-groups "},
		{reason: "root of a user namespace of its own", mode: "keep 85", want: "user namespace",
			as: &syscall.SysProcAttr{
				Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET, Credential: &syscall.Credential{}, UidMappings: own, GidMappings: own,
			}, shell: "ip link set lo up; exec "},
		{reason: "a child that has the socket of its parent", mode: "pass 86", as: &syscall.SysProcAttr{}, want: "inherited"},
		{reason: "a user whose capability is gone", mode: "exec 87", want: "unexplained",
			as: &syscall.SysProcAttr{Credential: asNobody, AmbientCaps: []uintptr{unix.CAP_NET_BIND_SERVICE}}},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			pid := startAuthority(t, tt.mode, tt.shell, tt.as)
			s, err := listen.List(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var port registry.Port
			_, _ = fmt.Sscan(strings.Fields(tt.mode)[1], &port)
			i := slices.IndexFunc(s.Sockets, func(k listen.Socket) bool {
				return k.Port == port && slices.ContainsFunc(k.Owners, func(o listen.Owner) bool { return o.PID == pid }) != tt.handed
			})
			if i < 0 {
				t.Fatalf("process %d on port %d is not in the snapshot", pid, port)
			}
			k := s.Sockets[i]
			if got := authority(k, newClassifier(s, nil, &policy.Policy{}, false).rules[k.Namespace]); got != tt.want {
				t.Errorf("authority is %q, want %q: creator %+v, owners %+v", got, tt.want, k.Creator, k.Owners)
			}
		})
	}
}

// startAuthority starts the test binary in the mode, behind the shell's
// commands, and returns the process once it listens.
func startAuthority(t *testing.T, mode, shell string, as *syscall.SysProcAttr) int {
	t.Helper()
	// The directory of the test binary is root's own: others run it through a
	// descriptor.
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	cmd := exec.Command("/proc/self/fd/3")
	if shell != "" {
		cmd = exec.Command("sh", "-ec", shell+"/proc/self/fd/3")
	}
	cmd.ExtraFiles = []*os.File{self}
	cmd.Env = append(os.Environ(), childMode+"="+mode)
	cmd.Dir, cmd.SysProcAttr, cmd.Stderr = "/", as, os.Stderr
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
	t.Cleanup(func() { in.Close(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "ready\n" {
		t.Fatalf("the child says %q, %v", line, err)
	}
	return cmd.Process.Pid
}
