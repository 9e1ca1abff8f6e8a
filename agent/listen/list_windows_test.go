package listen

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/windows"
	winregistry "golang.org/x/sys/windows/registry"

	"github.com/portaudit/portaudit/agent/listen/iphelper"
	"github.com/portaudit/portaudit/registry"
)

// childVariable makes a process of this test listen for its parent.
const childVariable = "PORTAUDIT_TEST_WINDOWS_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		if err := listenForParent(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// listenForParent prints the port that it listens on and ends with its input.
func listenForParent() error {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	fmt.Println(l.Addr().(*net.TCPAddr).Port)
	bufio.NewReader(os.Stdin).ReadString('\n') //nolint:errcheck // the end is what is waited for
	return nil
}

// listenTCP listens until the test ends.
func listenTCP(t *testing.T, network, address string) netip.AddrPort {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// startChild starts a process that listens, which ends with the test.
func startChild(t *testing.T) (port registry.Port, cmd *exec.Cmd) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd = exec.Command(exe, "a word", `a "quoted" one`)
	cmd.Env = append(os.Environ(), childVariable+"=1")
	cmd.Stderr = t.Output()
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
	t.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	if _, err := fmt.Fscan(out, &port); err != nil {
		t.Fatal(err)
	}
	return port, cmd
}

func openLister(t *testing.T) *Lister {
	t.Helper()
	l, err := Open(Options{})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func listWith(t *testing.T, l *Lister) Snapshot {
	t.Helper()
	s, err := l.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if s.Coverage.Hidden(HidesSockets) {
		t.Fatalf("sockets are hidden: %+v", s.Coverage.Gaps)
	}
	return s
}

// ownerOf returns the one owner of a TCP port.
func ownerOf(t *testing.T, s Snapshot, at netip.AddrPort) Owner {
	t.Helper()
	i := slices.IndexFunc(s.Sockets, func(s Socket) bool {
		return s.Transport == registry.TCP && s.Port == registry.Port(at.Port()) && s.Address == at.Addr()
	})
	if i < 0 {
		t.Fatalf("%v is not among the sockets %+v", at, s.Sockets)
	}
	if len(s.Sockets[i].Owners) != 1 {
		t.Fatalf("owners of %v are %+v, want one", at, s.Sockets[i].Owners)
	}
	return s.Sockets[i].Owners[0]
}

// TestListNamesThisProcess holds what is told of this process against what it
// knows of itself.
func TestListNamesThisProcess(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	var created, unused windows.Filetime
	if err := windows.GetProcessTimes(windows.CurrentProcess(), &created, &unused, &unused, &unused); err != nil {
		t.Fatal(err)
	}
	places := []netip.AddrPort{listenTCP(t, "tcp4", "127.0.0.1:0"), listenTCP(t, "tcp6", "[::1]:0")}
	s := listWith(t, openLister(t))
	for _, place := range places {
		o := ownerOf(t, s, place)
		if o.How != Process || o.PID != os.Getpid() {
			t.Errorf("%v: owner is %v %d, want process %d", place, o.How, o.PID, os.Getpid())
		}
		if !strings.EqualFold(o.Executable, exe) || o.Command != filepath.Base(o.Executable) || o.Deleted != No {
			t.Errorf("%v: executable %q, deleted %v, command %q, want %q", place, o.Executable, o.Deleted, o.Command, exe)
		}
		if o.SID != me.Uid || !strings.EqualFold(o.User, me.Username) {
			t.Errorf("%v: account %q (%s), want %q (%s)", place, o.User, o.SID, me.Username, me.Uid)
		}
		if want := created.Nanoseconds(); o.Started.UnixNano() != want || o.Start == 0 {
			t.Errorf("%v: started at %v (%d), want %v", place, o.Started, o.Start, time.Unix(0, want).UTC())
		}
		if elevated := answer(windows.GetCurrentProcessToken().IsElevated()); o.Elevated != elevated {
			t.Errorf("%v: elevated %v, want %v", place, o.Elevated, elevated)
		}
		if !slices.Contains([]string{"low", "medium", "high", "system"}, o.Integrity) {
			t.Errorf("%v: integrity level is %q", place, o.Integrity)
		}
		checkArguments(t, s, o, os.Args)
	}
}

func TestListNamesAChild(t *testing.T) {
	port, cmd := startChild(t)
	s := listWith(t, openLister(t))
	o := ownerOf(t, s, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(port)))
	if o.How != Process || o.PID != cmd.Process.Pid {
		t.Errorf("owner is %v %d, want process %d", o.How, o.PID, cmd.Process.Pid)
	}
	if o.Parent != os.Getpid() || len(o.Parents) == 0 || o.Parents[0].PID != os.Getpid() {
		t.Errorf("parent %d, parents %v, want %d first", o.Parent, o.Parents, os.Getpid())
	}
	checkArguments(t, s, o, cmd.Args)
}

// checkArguments allows a system not to tell command lines, as Wine does, if the
// snapshot says so.
func checkArguments(t *testing.T, s Snapshot, o Owner, want []string) {
	t.Helper()
	if o.Arguments == nil {
		if !slices.ContainsFunc(s.Coverage.Gaps, func(g Gap) bool { return g.Source == "command lines" && g.Count > 0 }) {
			t.Errorf("no arguments of %d, and no gap that says so in %+v", o.PID, s.Coverage.Gaps)
		}
		return
	}
	if !slices.Equal(o.Arguments, want) {
		t.Errorf("arguments of %d are %q, want %q", o.PID, o.Arguments, want)
	}
}

// TestListNamesAUDPSocket binds below the package net, whose UDP sockets do not
// work under Wine.
func TestListNamesAUDPSocket(t *testing.T) {
	for _, tt := range []struct {
		family int
		bind   windows.Sockaddr
		at     netip.Addr
	}{
		{windows.AF_INET, &windows.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}, netip.MustParseAddr("127.0.0.1")},
		{windows.AF_INET6, &windows.SockaddrInet6{Addr: netip.IPv6Loopback().As16()}, netip.IPv6Loopback()},
	} {
		listenTCP(t, "tcp4", "127.0.0.1:0") // the package net starts Winsock
		fd, err := windows.Socket(tt.family, windows.SOCK_DGRAM, windows.IPPROTO_UDP)
		if err != nil {
			t.Fatal(err)
		}
		defer windows.Closesocket(fd) //nolint:errcheck // of an open socket it cannot fail
		if err := windows.Bind(fd, tt.bind); err != nil {
			t.Fatal(err)
		}
		name, err := windows.Getsockname(fd)
		if err != nil {
			t.Fatal(err)
		}
		var port int
		switch a := name.(type) {
		case *windows.SockaddrInet4:
			port = a.Port
		case *windows.SockaddrInet6:
			port = a.Port
		}
		s := listWith(t, openLister(t))
		i := slices.IndexFunc(s.Sockets, func(s Socket) bool {
			return s.Transport == registry.UDP && int(s.Port) == port && s.Address == tt.at
		})
		if i < 0 {
			t.Fatalf("UDP port %d of %v is not among the sockets %+v", port, tt.at, s.Sockets)
		}
		if o := s.Sockets[i].Owners; len(o) != 1 || o[0].How != Process || o[0].PID != os.Getpid() {
			t.Errorf("owners of UDP port %d of %v are %+v, want process %d", port, tt.at, o, os.Getpid())
		}
	}
}

// TestListRemembersProcesses: the second audit reuses what the first read, and
// forgets what is gone.
func TestListRemembersProcesses(t *testing.T) {
	place := listenTCP(t, "tcp4", "127.0.0.1:0")
	w := &windowsLister{processes: map[uint32]Owner{}, accounts: map[string]string{}}
	list := func() Owner {
		t.Helper()
		s, err := w.list(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return ownerOf(t, s, place)
	}
	first := list()
	pid := uint32(os.Getpid())
	remembered := w.processes[pid]
	if remembered.PID != int(pid) {
		t.Fatalf("remembered of %d is %+v", pid, remembered)
	}
	remembered.Command = "remembered.exe"
	w.processes[pid] = remembered
	if got := list().Command; got != "remembered.exe" {
		t.Errorf("command of the same process is %q, want what was remembered", got)
	}
	remembered.Start--
	w.processes[pid] = remembered
	if got := list(); !got.equal(first) {
		t.Errorf("a process with the pid of another is %+v, want %+v", got, first)
	}
	w.processes[1<<31] = Owner{How: Process}
	list()
	if _, kept := w.processes[1<<31]; kept {
		t.Error("a process without a socket was remembered")
	}
}

// TestWithoutTables: gopsutil still names this process, and the coverage record
// says why it was asked.
func TestWithoutTables(t *testing.T) {
	place := listenTCP(t, "tcp4", "127.0.0.1:0")
	s, err := withoutTables(t.Context(), iphelper.ErrUnavailable)
	if err != nil {
		t.Fatal(err)
	}
	if o := ownerOf(t, s, place); o.How != Process || o.PID != os.Getpid() {
		t.Errorf("owner is %v %d, want process %d", o.How, o.PID, os.Getpid())
	}
	if !slices.ContainsFunc(s.Coverage.Gaps, func(g Gap) bool {
		return g.Source == tablesSource && g.Hides == HidesFacts && strings.Contains(g.Reason, iphelper.ErrUnavailable.Error())
	}) {
		t.Errorf("no gap says that there are no tables: %+v", s.Coverage.Gaps)
	}
}

// TestOwnerOfAClosedProcess takes every right to a process from everybody, as
// services have it towards ordinary users.
func TestOwnerOfAClosedProcess(t *testing.T) {
	port, cmd := startChild(t)
	h, err := windows.OpenProcess(windows.WRITE_DAC, false, uint32(cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	defer windows.CloseHandle(h) //nolint:errcheck // of an open handle it cannot fail
	nobody, err := windows.SecurityDescriptorFromString("D:P")
	if err != nil {
		t.Fatal(err)
	}
	dacl, _, err := nobody.DACL()
	if err != nil {
		t.Fatal(err)
	}
	if err := windows.SetSecurityInfo(h, windows.SE_KERNEL_OBJECT, windows.DACL_SECURITY_INFORMATION, nil, nil, dacl, nil); err != nil {
		t.Fatal(err)
	}
	s := listWith(t, openLister(t))
	o := ownerOf(t, s, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(port)))
	if o.How != Denied || o.PID != cmd.Process.Pid || !strings.EqualFold(o.Command, filepath.Base(cmd.Path)) {
		t.Errorf("got %+v, want denied, with the pid and the name of the program", o)
	}
	if !slices.ContainsFunc(s.Coverage.Gaps, func(g Gap) bool { return g.Hides == HidesOwners && g.Count == 1 && g.Fix != "" }) {
		t.Errorf("no gap counts the one process that was denied: %+v", s.Coverage.Gaps)
	}
}

// TestOwnerOfADeadProcess takes a pid that was of a process of this test: it is
// still held open, so no other process has it.
func TestOwnerOfADeadProcess(t *testing.T) {
	port, cmd := startChild(t)
	p, err := openProcess(uint32(cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	a := &windowsAudit{windowsLister: &windowsLister{}, seen: map[uint32]Owner{}, read: time.Now()}
	row := iphelper.Row{Local: netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(port)), PID: p.pid}
	if o := a.owner(row); o.How != Raced || o.PID != int(p.pid) {
		t.Errorf("got %+v, want raced", o)
	}
}

// TestOwnerOfALaterProcess: the tables were read before the process started, so
// it is not what they mean.
func TestOwnerOfALaterProcess(t *testing.T) {
	_, cmd := startChild(t)
	a := &windowsAudit{windowsLister: &windowsLister{}, seen: map[uint32]Owner{}, read: time.Now().Add(-time.Hour)}
	if o := a.owner(iphelper.Row{PID: uint32(cmd.Process.Pid)}); o.How != Raced {
		t.Errorf("got %+v, want raced", o)
	}
}

// TestParentsOfAnOlderProcess makes the child older than its parent, as it is
// where the parent has ended and its pid was used again.
func TestParentsOfAnOlderProcess(t *testing.T) {
	_, cmd := startChild(t)
	p, err := openProcess(uint32(cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	if parents := p.parents(); len(parents) == 0 || parents[0].PID != os.Getpid() {
		t.Fatalf("parents are %v, want %d first", parents, os.Getpid())
	}
	p.started = p.started.Add(-time.Hour)
	if parents := p.parents(); len(parents) > 0 {
		t.Errorf("parents are %v, which started after their child", parents)
	}
}

func TestProcessNames(t *testing.T) {
	names, err := processNames()
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if got := names[uint32(os.Getpid())]; !strings.EqualFold(got, filepath.Base(exe)) {
		t.Errorf("name of this process is %q, want %q", got, filepath.Base(exe))
	}
}

// TestReadServices looks for one of the services that each Windows, and Wine, runs:
// Wine starts them when the first program has begun, and not always all (Wine 10
// left PlugPlay out in one boot of five).
func TestReadServices(t *testing.T) {
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		table, err := readServices()
		if err != nil {
			t.Fatal(err)
		}
		for pid, names := range table.hosted {
			if !slices.ContainsFunc(names, func(name string) bool {
				return strings.EqualFold(name, "PlugPlay") || strings.EqualFold(name, "EventLog")
			}) {
				continue
			}
			if pid == 0 {
				t.Errorf("no process hosts %v", names)
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("neither PlugPlay nor EventLog is among %v", table.hosted)
		}
	}
}

// TestListKeepsNoHandle: the system gives out the numbers of closed handles
// again, so many new handles fill all gaps, and the highest of them says how
// many are open. (Wine does not count the handles of a process.)
func TestListKeepsNoHandle(t *testing.T) {
	startChild(t)
	listenTCP(t, "tcp4", "127.0.0.1:0")
	w := &windowsLister{accounts: map[string]string{}}
	list := func(audits int) {
		for range audits {
			w.processes = nil // read all again
			if _, err := w.list(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	const audits, handlesApart = 200, 4
	list(5) // loads libraries, runs netsh
	before := highestHandle(t)
	list(audits)
	if after := highestHandle(t); after > before+audits*handlesApart/2 {
		t.Errorf("the highest of many new handles was %d before %d audits and is %d after them", before, audits, after)
	}
}

// highestHandle returns the highest number of many new handles.
func highestHandle(t *testing.T) windows.Handle {
	t.Helper()
	var highest windows.Handle
	for range 1000 {
		h, err := windows.CreateEvent(nil, 0, 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer windows.CloseHandle(h) //nolint:errcheck // of an open handle it cannot fail
		highest = max(highest, h)
	}
	return highest
}

// TestServiceOfNoTag asks for a tag that no service has: there is no name, and
// no harm where the call is not there.
func TestServiceOfNoTag(t *testing.T) {
	table, err := readServices()
	if err != nil {
		t.Fatal(err)
	}
	for _, tag := range []uint32{0, 1<<32 - 1} {
		if name := table.tagged(uint32(os.Getpid()), tag); name != "" {
			t.Errorf("the service with the tag %d of this process is %q, want none", tag, name)
		}
	}
}

// TestReadHTTPPorts reserves a URL and binds a certificate as http.sys keeps
// them, in the registry of Wine.
func TestReadHTTPPorts(t *testing.T) {
	if os.Getenv("PORTAUDIT_TEST_WINE") == "" {
		t.Skip("PORTAUDIT_TEST_WINE is not set: this writes to the registry")
	}
	key := func(path string) winregistry.Key {
		t.Helper()
		k, _, err := winregistry.CreateKey(winregistry.LOCAL_MACHINE, httpParameters+path, winregistry.ALL_ACCESS)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { k.Close() })
		return k
	}
	const reservation, binding = "http://+:59851/portaudit/", "0.0.0.0:59852"
	urls := key("UrlAclInfo")
	if err := urls.SetBinaryValue(reservation, []byte{1}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { urls.DeleteValue(reservation) }) //nolint:errcheck // the prefix is made anew
	key("SslBindingInfo" + `\` + binding)
	t.Cleanup(func() {
		winregistry.DeleteKey(winregistry.LOCAL_MACHINE, httpParameters+"SslBindingInfo"+`\`+binding) //nolint:errcheck // likewise
	})
	ports, err := readHTTPPorts()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []registry.Port{59851, 59852} {
		if !slices.Contains(ports, want) {
			t.Errorf("port %d is not among %v", want, ports)
		}
	}
}

// BenchmarkListAgain is an audit in which nothing is new.
func BenchmarkListAgain(b *testing.B) {
	for range 100 {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		defer l.Close()
	}
	l, err := Open(Options{})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := l.List(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := l.List(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
