package trace

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// childMode makes the test binary a process that opens and closes sockets, and
// writes down what it did: "tcp 1000 200" opens a thousand TCP listeners at two
// hundred a second, each closed at once. "hold" opens one, writes the descriptor's
// number and waits for the end of its input.
const childMode = "PORTAUDIT_TEST_TRACE"

func TestMain(m *testing.M) {
	mode := os.Getenv(childMode)
	if mode == "" {
		os.Exit(m.Run())
	}
	do := func() error { return openAndClose(strings.Fields(mode)) }
	if mode == "hold" {
		do = hold
	}
	if err := do(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// hold opens a listener and keeps it.
func hold() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.Listen(fd, 1); err != nil { // on a port that the kernel chooses
		return err
	}
	fmt.Println(fd)
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// witness is what a child writes down of one socket.
type witness struct {
	port uint16
	at   time.Duration // since boot, when listen(2) or bind(2) had returned
}

const witnessSize = 16

// openAndClose opens sockets, as many as it is told and as often a second, and
// writes down each.
func openAndClose(args []string) error {
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	rate, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(os.Stdout, n*witnessSize)
	kind := unix.SOCK_STREAM
	if args[0] == "udp" {
		kind = unix.SOCK_DGRAM
	}
	began := time.Now()
	for i := range n {
		if rate > 0 {
			time.Sleep(time.Until(began.Add(time.Duration(i) * time.Second / time.Duration(rate))))
		}
		w, err := openOne(kind)
		if err != nil {
			return err
		}
		var b [witnessSize]byte
		binary.NativeEndian.PutUint64(b[:], uint64(w.at))
		binary.NativeEndian.PutUint16(b[8:], w.port)
		if _, err := out.Write(b[:]); err != nil {
			return err
		}
	}
	return out.Flush()
}

func openOne(kind int) (witness, error) {
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return witness{}, err
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return witness{}, err
	}
	if kind == unix.SOCK_STREAM {
		if err := unix.Listen(fd, 1); err != nil {
			return witness{}, err
		}
	}
	w := witness{at: sinceBoot()}
	at, err := unix.Getsockname(fd)
	if err != nil {
		return w, err
	}
	w.port = uint16(at.(*unix.SockaddrInet4).Port)
	return w, nil
}

// sinceBoot is the clock of records.
func sinceBoot() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// startChild starts a child as a user, in the directory of the root.
func startChild(t *testing.T, mode string, uid uint32) *exec.Cmd {
	t.Helper()
	// The test binary lies in a directory of root's: others run it by a
	// descriptor.
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childMode+"="+mode)
	cmd.Dir, cmd.Stderr = "/", os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	return cmd
}

func parseWitnesses(b []byte) []witness {
	var list []witness
	for ; len(b) >= witnessSize; b = b[witnessSize:] {
		list = append(list, witness{binary.NativeEndian.Uint16(b[8:]), time.Duration(binary.NativeEndian.Uint64(b))})
	}
	return list
}
