package listen

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/portaudit/portaudit/registry"
)

// kinds are the kinds of sockets that listen.
var kinds = []struct {
	reason                 string
	family, kind, protocol int
	option                 func(fd int) error
	at                     unix.Sockaddr
}{
	{"TCP", unix.AF_INET, unix.SOCK_STREAM, 0, nil, &unix.SockaddrInet4{}},
	{"TCP on loopback", unix.AF_INET, unix.SOCK_STREAM, 0, nil, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}},
	{"TCP, dual stack", unix.AF_INET6, unix.SOCK_STREAM, 0, v6Only(0), &unix.SockaddrInet6{}},
	{"TCP, IPv6 alone", unix.AF_INET6, unix.SOCK_STREAM, 0, v6Only(1), &unix.SockaddrInet6{}},
	{"TCP on one device", unix.AF_INET, unix.SOCK_STREAM, 0, onLoopback, &unix.SockaddrInet4{}},
	{"Multipath TCP", unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP, nil, &unix.SockaddrInet4{}},
	{"UDP", unix.AF_INET, unix.SOCK_DGRAM, 0, nil, &unix.SockaddrInet4{}},
	{"UDP, IPv6 alone", unix.AF_INET6, unix.SOCK_DGRAM, 0, v6Only(1), &unix.SockaddrInet6{}},
	{"UDP-Lite", unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_UDPLITE, nil, &unix.SockaddrInet4{}},
	{"raw", unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP, nil, nil},
	{"raw, IPv6", unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_ICMPV6, nil, nil},
	{"packet", unix.AF_PACKET, unix.SOCK_RAW, 0xcc88, nil, nil}, // LLDP, in network order
}

func v6Only(v int) func(int) error {
	return func(fd int) error { return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, v) }
}

func onLoopback(fd int) error { return unix.BindToDevice(fd, "lo") }

// openKind opens a socket of the kind, and returns its inode, or why this host
// has none.
func openKind(t *testing.T, i int) (inode uint64, err error) {
	t.Helper()
	k := kinds[i]
	fd, err := unix.Socket(k.family, k.kind|unix.SOCK_CLOEXEC, k.protocol)
	if err != nil {
		return 0, err
	}
	t.Cleanup(func() { unix.Close(fd) })
	if k.option != nil {
		if err := k.option(fd); err != nil {
			t.Fatalf("%s: %v", k.reason, err)
		}
	}
	if k.at != nil {
		if err := unix.Bind(fd, k.at); err != nil {
			t.Fatalf("%s: %v", k.reason, err)
		}
	}
	if k.kind == unix.SOCK_STREAM {
		if err := unix.Listen(fd, 7); err != nil {
			t.Fatalf("%s: %v", k.reason, err)
		}
	}
	var s unix.Stat_t
	err = unix.Fstat(fd, &s)
	return s.Ino, err
}

// TestWaysAgreeOnKinds compares the ways on a socket of each kind, in this
// namespace and in another one, with everything that is told of it.
func TestWaysAgreeOnKinds(t *testing.T) {
	needRoot(t)
	mine := map[uint64]string{}
	for i, k := range kinds {
		inode, err := openKind(t, i)
		if err != nil {
			t.Logf("%s: not compared: %v", k.reason, err)
			continue
		}
		mine[inode] = k.reason
	}
	if len(mine) < 8 {
		t.Fatalf("only %d kinds could be opened", len(mine))
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childMode+"=tcp 0.0.0.0:0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	away, _ := start(t, cmd)

	answers := map[string]map[string]string{}
	all := ways(t)
	for way, list := range all {
		answers[way] = toldOf(t, list, func(s Socket) bool {
			return slices.ContainsFunc(s.inodes, func(n uint64) bool { return mine[n] != "" }) ||
				slices.ContainsFunc(s.Owners, func(o Owner) bool { return o.PID == away.Pid })
		})
	}
	if n := len(answers["proc"]); n != len(mine)+1 {
		t.Errorf("by /proc there are %d sockets of this test, want %d of %v: %v", n, len(mine)+1, mine, answers["proc"])
	}
	if _, ok := all["bpf"]; ok {
		if diff := cmp.Diff(answers["proc"], answers["bpf"]); diff != "" {
			t.Errorf("by /proc (-) and by BPF (+):\n%s", diff)
		}
	}
	comparePortable(t, all)
}

// toldOf returns all that a way tells of the sockets that are wanted.
func toldOf(t *testing.T, list func(context.Context) (Snapshot, error), wanted func(Socket) bool) map[string]string {
	t.Helper()
	s, err := list(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]string{}
	for _, k := range s.Sockets {
		if wanted(k) {
			at := fmt.Sprintf("%s %s %s %d %d %s", k.Namespace, k.Transport, k.Address, k.Port, k.Number, k.Interface)
			told[at] = fmt.Sprintf("%v %v %v %v %v\n%+v", k.DualStack, k.Multipath, k.Creator, k.Backlog, k.Exposure, k.Owners)
		}
	}
	return told
}

// comparePortable holds gopsutil against /proc: it sees TCP and UDP of this
// namespace, without devices, and tells less of each.
func comparePortable(t *testing.T, all map[string]func(context.Context) (Snapshot, error)) {
	t.Helper()
	listed := map[string][]string{}
	for _, way := range []string{"proc", "gopsutil"} {
		s, err := all[way](t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range s.Sockets {
			mine := slices.ContainsFunc(k.Owners, func(o Owner) bool { return o.PID == os.Getpid() })
			if mine && k.Namespace == HostNamespace && (k.Transport == registry.TCP || k.Transport == registry.UDP) {
				listed[way] = append(listed[way], fmt.Sprintf("%s %s %d %v", k.Transport, k.Address, k.Port, ownerPIDs(k)))
			}
		}
		slices.Sort(listed[way])
		listed[way] = slices.Compact(listed[way])
	}
	if !slices.Equal(listed["proc"], listed["gopsutil"]) {
		t.Errorf("by /proc\n%s\nby gopsutil\n%s", strings.Join(listed["proc"], "\n"), strings.Join(listed["gopsutil"], "\n"))
	}
}

// TestWaysAgreeOnTheHost compares all that the host has: what BPF sees before
// and after must be what /proc sees in between.
func TestWaysAgreeOnTheHost(t *testing.T) {
	needRoot(t)
	everything, last := func(Socket) bool { return true }, ""
	for range 10 { // sockets of others come and go
		// Anew each time: a process that went into another namespace after it was
		// looked at is looked at again at the next beat alone, and here is none.
		all := ways(t)
		if all["bpf"] == nil {
			t.Skip("there is nothing to compare")
		}
		before, between, after := toldOf(t, all["bpf"], everything), toldOf(t, all["proc"], everything), toldOf(t, all["bpf"], everything)
		if diff := cmp.Diff(before, after); diff != "" {
			continue
		}
		if last = cmp.Diff(between, after); last == "" {
			return
		}
	}
	if last != "" {
		t.Fatalf("by /proc (-) and by BPF (+), each time:\n%s", last)
	}
	t.Skip("this host is too busy to be compared as a whole")
}
