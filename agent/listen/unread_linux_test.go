package listen

import (
	"encoding/binary"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/portaudit/portaudit/registry"
)

// refuseDumps puts a kernel that has no room for any answer in the place of the
// one that this process asks for its sockets.
func refuseDumps(t *testing.T) {
	t.Helper()
	replaced := 0
	for _, name := range openFileNames(t) {
		fd, err := strconv.Atoi(name)
		if err != nil {
			t.Fatal(err)
		}
		family, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
		protocol, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
		if family != unix.AF_NETLINK || protocol != unix.NETLINK_SOCK_DIAG {
			continue
		}
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Dup3(pair[0], fd, unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		unix.Close(pair[0])
		go answerNoRoom(pair[1])
		replaced++
	}
	if replaced == 0 {
		t.Fatal("this process asks no kernel for its sockets")
	}
}

// answerNoRoom answers each question with ENOBUFS (netlink(7)) until nobody asks.
func answerNoRoom(fd int) {
	defer unix.Close(fd)
	question := make([]byte, 512)
	for {
		n, err := unix.Read(fd, question)
		if err != nil || n < unix.SizeofNlMsghdr {
			return
		}
		errno := -int32(unix.ENOBUFS)
		answer := make([]byte, unix.SizeofNlMsghdr+4)
		binary.NativeEndian.PutUint32(answer, uint32(len(answer)))
		binary.NativeEndian.PutUint16(answer[4:], unix.NLMSG_ERROR)
		copy(answer[8:12], question[8:12]) // the number of the question
		binary.NativeEndian.PutUint32(answer[unix.SizeofNlMsghdr:], uint32(errno))
		if _, err := unix.Write(fd, answer); err != nil {
			return
		}
	}
}

func openFileNames(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// TestUnfinishedDumpIsAGap takes the answers away from an engine that has seen
// a listener: it says that listeners may be missing, and of which namespace, and
// does not tell of this one as gone.
func TestUnfinishedDumpIsAGap(t *testing.T) {
	_, at := listenTCP(t, "tcp4", "127.0.0.1:0")
	e := openTest(t, Options{Way: Proc})
	find(t, settled(t, e), registry.TCP, at)
	refuseDumps(t)
	s := snapshotOf(t, e)
	find(t, s, registry.TCP, at)
	gap := func(g Gap) bool {
		return g.Hides == HidesSockets && g.Source == "sock_diag TCP of "+HostNamespace && strings.Contains(g.Reason, "no buffer space")
	}
	if !slices.ContainsFunc(s.Coverage.Gaps, gap) {
		t.Errorf("gaps are %+v, want one for the sockets of TCP", s.Coverage.Gaps)
	}
	for _, n := range s.Namespaces {
		if n.Label == HostNamespace && n.Complete {
			t.Error("the namespace is told as complete")
		}
	}
}
