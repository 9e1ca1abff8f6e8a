package walk

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// childMode makes the test binary a process that holds sockets.
const childMode = "PORTAUDIT_TEST_WALK"

// quickExit spares a child that was built with the race detector the second that
// it waits before it ends.
const quickExit = "GORACE=atexit_sleep_ms=0"

func TestMain(m *testing.M) {
	mode, argument, _ := strings.Cut(os.Getenv(childMode), " ")
	if mode == "" {
		os.Exit(m.Run())
	}
	n, _ := strconv.Atoi(argument) // 0 where the mode takes none
	if err := beChild(mode, n); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// beChild prints what it has, then "ready", and waits for its parent to go.
func beChild(mode string, n int) error {
	switch mode {
	case "hold": // what it was started with
	case "listen":
		_, err := listenOn(0)
		if err != nil {
			return err
		}
	case "share": // port n, with others
		fd, err := listenOn(n)
		if err != nil {
			return err
		}
		fmt.Println(inodeOf(fd))
	case "receive": // a descriptor over the Unix socket 3
		if err := receive(3); err != nil {
			return err
		}
	case "thread": // listens in a thread whose descriptors are its own
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_FILES); err != nil {
			return err
		}
		fd, err := listenOn(0)
		if err != nil {
			return err
		}
		fmt.Println(inodeOf(fd))
		fmt.Println("ready")
		_, err = unix.Read(0, make([]byte, 1)) // in this very thread
		return err
	case "leaderless": // listens, and its first thread ends
		if _, err := listenOn(0); err != nil {
			return err
		}
		if err := endFirstThread(); err != nil {
			return err
		}
	case "several": // n listeners
		for range n {
			fd, err := listenOn(0)
			if err != nil {
				return err
			}
			fmt.Println(inodeOf(fd))
		}
	case "brief": // a listener that goes at once
		_, err := listenOn(0)
		return err
	case "many": // n files, then a listener
		for range n {
			if _, err := unix.Open("/dev/null", unix.O_RDONLY, 0); err != nil {
				return err
			}
		}
		if _, err := listenOn(0); err != nil {
			return err
		}
	case "high": // a listener at the highest number that is allowed, up to a million
		fd, err := listenOn(0)
		if err != nil {
			return err
		}
		var limit unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			return err
		}
		limit.Cur = min(limit.Max, 1<<20)
		if err := errors.Join(
			unix.Setrlimit(unix.RLIMIT_NOFILE, &limit), unix.Dup3(fd, int(limit.Cur)-1, 0), unix.Close(fd),
		); err != nil {
			return err
		}
	case "walk":
		if err := findSelf(); err != nil {
			return err
		}
	}
	fmt.Println("ready")
	_, err := bufio.NewReader(os.Stdin).ReadByte()
	return err
}

// listenOn listens on a port, with others if they do so too.
func listenOn(port int) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return -1, err
	}
	return fd, errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1),
		unix.Bind(fd, &unix.SockaddrInet4{Port: port}),
		unix.Listen(fd, 1),
	)
}

// receive takes a descriptor that comes over a Unix socket.
func receive(from int) error {
	b := make([]byte, 64)
	_, n, _, _, err := unix.Recvmsg(from, make([]byte, 1), b, 0)
	if err != nil {
		return err
	}
	messages, err := unix.ParseSocketControlMessage(b[:n])
	if err != nil {
		return err
	}
	_, err = unix.ParseUnixRights(&messages[0])
	return err
}

// endFirstThread ends the thread that leads this process, which becomes a
// zombie while the others live.
func endFirstThread() error {
	ended := make(chan bool)
	for range 100 {
		go func() {
			runtime.LockOSThread()
			if unix.Gettid() == unix.Getpid() {
				close(ended)
				_, _, _ = unix.Syscall(unix.SYS_EXIT, 0, 0, 0) // of this thread; does not return
			}
			select {} // keep this thread, so that the next goroutine gets another
		}()
	}
	<-ended
	for {
		b, err := os.ReadFile("/proc/self/stat")
		if err != nil {
			return err
		}
		if _, after, _ := strings.Cut(string(b), ") "); strings.HasPrefix(after, "Z") {
			return nil
		}
		runtime.Gosched()
	}
}

// findSelf walks from within a pid namespace and finds this process by the
// number that it has there.
func findSelf() error {
	fd, err := listenOn(0)
	if err != nil {
		return err
	}
	tried := 0
	for _, kind := range []Kind{Tasks, Files} {
		w, err := Open(kind, 2)
		if lack := (*UnavailableError)(nil); errors.As(err, &lack) && lack.Lack != "" {
			continue
		}
		if err != nil {
			return err
		}
		tried++
		var found Row
		foreign := 0
		err = w.Walk(context.Background(), func(r *Row) {
			if r.Inode == inodeOf(fd) {
				found = *r
			}
			if r.PID == 0 || r.PID != int32(os.Getpid()) {
				foreign++
			}
		})
		if err := errors.Join(err, w.Close()); err != nil {
			return err
		}
		if found.PID != int32(os.Getpid()) || found.PID == found.InitialPID || foreign > 0 {
			return fmt.Errorf("%s: process %d is %+v, and %d others", kind, os.Getpid(), found, foreign)
		}
	}
	if tried == 0 {
		return errors.New("no kind of iterator is there")
	}
	return nil
}

func child(t testing.TB, mode string, as *syscall.SysProcAttr, files ...*os.File) (pid int, lines []string) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childMode+"="+mode, quickExit)
	cmd.ExtraFiles, cmd.Stderr, cmd.SysProcAttr = files, os.Stderr, as
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
	for scan := bufio.NewScanner(out); scan.Scan(); lines = append(lines, scan.Text()) {
		if scan.Text() == "ready" {
			return cmd.Process.Pid, lines
		}
	}
	t.Fatalf("%s: %q", mode, lines)
	return 0, nil
}
