package listen

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// childMode makes the test binary a process that the tests look at: the name of
// a mode and its argument.
const childMode = "PORTAUDIT_TEST_CHILD"

// childModes are what such a process does before it is ready. What they open
// stays open until the parent goes: nothing of it is closed or collected.
var childModes = map[string]func(argument string) error{
	"hold": func(string) error { return nil }, // descriptor 3
	"reuseport": func(port string) error { // listens beside others
		l, err := listenReusePort("127.0.0.1:" + port)
		kept = append(kept, l)
		return err
	},
	"tcp": func(address string) error {
		l, err := net.Listen("tcp", address)
		if err == nil {
			kept = append(kept, l)
			fmt.Println(l.Addr().(*net.TCPAddr).Port)
		}
		return err
	},
	"busy":    func(string) error { return openMany() },
	"leave":   func(string) error { return listenAway() },
	"reach":   func(string) error { return printReach(os.Getenv("REACH_ADDRESS")) },
	"receive": func(string) error { return receiveDescriptor() },
	"flip":    flip,
}

// kept is what a child has opened.
var kept []any

func TestMain(m *testing.M) {
	mode, argument, _ := strings.Cut(os.Getenv(childMode), " ")
	switch mode {
	case "":
		os.Exit(m.Run())
	case "list":
		printSnapshot()
		return
	}
	if err := childModes[mode](argument); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("ready")
	_, _ = bufio.NewReader(os.Stdin).ReadByte() // until the parent goes
}

// openMany opens 20 TCP listeners and 10 UDP sockets beside what it was given.
func openMany() error {
	for range 20 {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return err
		}
		kept = append(kept, l)
	}
	for range 10 {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return err
		}
		kept = append(kept, c)
	}
	return nil
}

// listenAway listens in a network namespace that it then leaves, and prints
// which one.
func listenAway() error {
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	away, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	fmt.Println(away)
	return errors.Join(unix.Bind(fd, &unix.SockaddrInet4{}), unix.Listen(fd, 1), unix.Setns(int(home.Fd()), unix.CLONE_NEWNET))
}

// printReach prints how its own listener can be reached, with the rules and
// without.
func printReach(address string) error {
	l, err := net.Listen("tcp4", address)
	if err != nil {
		return err
	}
	kept = append(kept, l)
	sockets, err := Open(Options{Beat: time.Nanosecond})
	if err != nil {
		return err
	}
	for range 2 {
		s, err := sockets.List(context.Background())
		if err != nil {
			return err
		}
		for _, k := range s.Sockets {
			if netip.AddrPortFrom(k.Address, uint16(k.Port)) == l.Addr().(*net.TCPAddr).AddrPort() {
				fmt.Println(k.Exposure.Reach)
			}
		}
		if out, err := exec.Command("nft", "flush", "ruleset").CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
	}
	return nil
}

// receiveDescriptor receives a descriptor over descriptor 3, a Unix socket.
func receiveDescriptor() error {
	rights := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(3, make([]byte, 1), rights, 0)
	if err == nil && n == 0 {
		err = errors.New("the message brings no descriptor")
	}
	return err
}

// flip runs the program at the other one of two paths, after a moment, which
// does the same: descriptor 3, a listener, stays.
func flip(paths string) error {
	here, there, _ := strings.Cut(paths, " ")
	time.Sleep(time.Millisecond)
	if err := os.Setenv(childMode, "flip "+there+" "+here); err != nil {
		return err
	}
	return syscall.Exec(there, []string{there}, os.Environ())
}

// printSnapshot prints what this process sees, for a parent with other rights.
func printSnapshot() {
	s, err := List(context.Background())
	if err != nil {
		fmt.Println(err)
	}
	for _, k := range s.Sockets {
		for _, o := range k.Owners {
			fmt.Println("socket", netip.AddrPortFrom(k.Address, uint16(k.Port)), o.How)
		}
	}
	for _, g := range s.Coverage.Gaps {
		fmt.Println("gap", g.Hides, g.Fix)
	}
}

func listenReusePort(address string) (net.Listener, error) {
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		return errFirst(c.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		}), &err)
	}}
	return config.Listen(context.Background(), "tcp", address)
}

func errFirst(err error, second *error) error {
	if err != nil {
		return err
	}
	return *second
}

// child starts the test binary as a listener, waits until it is ready, and
// returns its process and what it printed before.
func child(t *testing.T, exe, mode string, files ...*os.File) (*os.Process, []string) {
	t.Helper()
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), childMode+"="+mode)
	cmd.ExtraFiles = files
	return start(t, cmd)
}

// start starts a command that runs the test binary as a listener.
func start(t *testing.T, cmd *exec.Cmd) (*os.Process, []string) {
	t.Helper()
	cmd.Stderr = os.Stderr
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
	var lines []string
	for scan := bufio.NewScanner(out); scan.Scan(); {
		if scan.Text() == "ready" {
			return cmd.Process, lines
		}
		lines = append(lines, scan.Text())
	}
	t.Fatalf("%v ended: %q", cmd, lines)
	return nil, nil
}

func listenTCP(t *testing.T, network, address string) (*net.TCPListener, netip.AddrPort) {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Skipf("this host has no %s %s: %v", network, address, err)
	}
	t.Cleanup(func() { l.Close() })
	return l.(*net.TCPListener), l.Addr().(*net.TCPAddr).AddrPort()
}
