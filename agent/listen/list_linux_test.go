package listen

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/portaudit/portaudit/registry"
)

func find(t *testing.T, s Snapshot, transport registry.Transport, at netip.AddrPort) Socket {
	t.Helper()
	for _, k := range s.Sockets {
		if k.Transport == transport && k.Address == at.Addr() && k.Port == registry.Port(at.Port()) && k.Namespace == HostNamespace {
			return k
		}
	}
	t.Fatalf("%s %s is not in the snapshot of %d sockets", transport, at, len(s.Sockets))
	return Socket{}
}

func ownerPIDs(s Socket) []int {
	var pids []int
	for _, o := range s.Owners {
		pids = append(pids, o.PID)
	}
	return pids
}

// ways are the ways to enumerate that this process may use; they must give the
// same answer.
func ways(t *testing.T) map[string]func(context.Context) (Snapshot, error) {
	t.Helper()
	all := map[string]func(context.Context) (Snapshot, error){}
	for _, way := range []Way{BPF, Proc, Gopsutil} {
		l, err := Open(Options{Way: way, Once: true})
		if err != nil {
			if way == BPF {
				t.Logf("not compared: %v", err)
				continue
			}
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		})
		all[way.String()] = l.List
	}
	return all
}

func TestEveryOwnerIsNamed(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	_, tcp4 := listenTCP(t, "tcp4", "127.0.0.1:0")
	_, dual := listenTCP(t, "tcp", "[::]:0")
	forked, forkedAt := listenTCP(t, "tcp4", "127.0.0.1:0")
	file, err := forked.File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	heir, _ := child(t, self, "hold", file)

	shared, err := listenReusePort("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer shared.Close()
	sharedAt := shared.Addr().(*net.TCPAddr).AddrPort()
	second, _ := child(t, self, "reuseport "+strconv.Itoa(int(sharedAt.Port())))

	udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	client, err := net.Dial("udp4", udp.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()

	me := os.Getpid()
	tests := []struct {
		reason    string
		transport registry.Transport
		at        netip.AddrPort
		owners    []int
	}{
		{"one process", registry.TCP, tcp4, []int{me}},
		{"dual-stack wildcard", registry.TCP, dual, []int{me}},
		{"a child that inherited the descriptor", registry.TCP, forkedAt, []int{me, heir.Pid}},
		{"two processes with SO_REUSEPORT", registry.TCP, sharedAt, []int{me, second.Pid}},
		{"UDP, bound", registry.UDP, udp.LocalAddr().(*net.UDPAddr).AddrPort(), []int{me}},
	}
	for way, list := range ways(t) {
		snapshot, err := list(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, tt := range tests {
			t.Run(way+"/"+tt.reason, func(t *testing.T) {
				s := find(t, snapshot, tt.transport, tt.at)
				slices.Sort(tt.owners)
				if got := ownerPIDs(s); !slices.Equal(got, tt.owners) {
					t.Fatalf("owners are %v, want %v", got, tt.owners)
				}
				for _, o := range s.Owners {
					if o.How != Process || o.Executable != self || o.UID != (UID{uint32(os.Geteuid()), true}) || o.Started.IsZero() {
						t.Errorf("owner %d is not fully told: %+v", o.PID, o)
					}
				}
			})
		}
		for _, s := range snapshot.Sockets {
			if s.Transport == registry.UDP && s.Port == registry.Port(client.LocalAddr().(*net.UDPAddr).Port) {
				t.Errorf("%s: the connected UDP client %v is called a listener", way, s)
			}
		}
	}
}

// TestWaysAgree compares the ways on a busy host, socket by socket and owner
// by owner.
func TestWaysAgree(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	mine := map[int]bool{os.Getpid(): true}
	for range 20 {
		l, _ := listenTCP(t, "tcp", "[::]:0")
		file, err := l.File()
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		heir, _ := child(t, self, "busy", file)
		mine[heir.Pid] = true
	}
	answers := map[string]map[endpoint]string{}
	for way, list := range ways(t) {
		snapshot, err := list(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		answers[way] = map[endpoint]string{}
		for _, s := range snapshot.Sockets {
			// Other tests of this machine open and close sockets meanwhile: what
			// is not held by this one's processes is left out.
			if slices.ContainsFunc(s.Owners, func(o Owner) bool { return !mine[o.PID] }) {
				continue
			}
			var text strings.Builder
			for _, o := range s.Owners {
				fmt.Fprintln(&text, o.How, o.PID, o.Executable, o.Deleted, o.Command, o.Arguments, o.User, o.UID, o.Parent)
			}
			answers[way][endpointOf(s)] = text.String()
		}
	}
	if n := len(answers["proc"]); n < 20+20*30 {
		t.Fatalf("by /proc there are %d sockets of this test, want %d and more", n, 20+20*30)
	}
	for way, answer := range answers {
		if diff := cmp.Diff(answers["proc"], answer, cmp.AllowUnexported(endpoint{}), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("by /proc (-) and by %s (+):\n%s", way, diff)
		}
	}
}

func TestDeletedExecutable(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	exe := filepath.Join(t.TempDir(), "listener")
	if err := os.WriteFile(exe, content, 0o700); err != nil {
		t.Fatal(err)
	}
	_, printed := child(t, exe, "tcp 127.0.0.1:0")
	at := netip.MustParseAddrPort("127.0.0.1:" + printed[0])
	check := func(when string, deleted, replaced Answer) {
		t.Helper()
		for _, way := range []Way{Auto, Gopsutil} {
			s, err := listBy(t, way)
			if err != nil {
				t.Fatal(err)
			}
			o := find(t, s, registry.TCP, at).Owners[0]
			if o.Executable != exe || o.Deleted != deleted || o.Replaced != replaced {
				t.Errorf("%s, by %v: %q, deleted %v, replaced %v", when, way, o.Executable, o.Deleted, o.Replaced)
			}
		}
	}
	check("while the file is there", No, Unknown)
	if err := os.Remove(exe); err != nil {
		t.Fatal(err)
	}
	check("after its removal", Yes, No)
	if err := os.WriteFile(exe, content, 0o700); err != nil {
		t.Fatal(err)
	}
	check("after an upgrade", Yes, Yes)
}

func TestWorldWritable(t *testing.T) {
	dir := t.TempDir() // below a sticky directory that everybody may write to, on most systems
	closed := filepath.Join(dir, "closed")
	if err := os.Mkdir(closed, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(closed, 0o777); err != nil { // past the umask
		t.Fatal(err)
	}
	tests := []struct {
		reason, root, path string
		mode               uint32
		want               Answer
	}{
		{"a directory open to all", "", filepath.Join(closed, "x"), 0o755, Yes},
		{"below a directory open to all", "", filepath.Join(closed, "deep", "x"), 0o755, Unknown},
		{"a file open to all in a closed directory", "", "/usr/bin/x", 0o757, Yes},
		{"a system directory", "", "/usr/bin/x", 0o755, No},
		{"memfd has no directory", "", "/memfd:x", 0o777, Yes},
		{"a path that is none", "", "x", 0o755, Unknown},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			if got := worldWritable(tt.root, tt.path, tt.mode); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

// TestFakeProc reads a whole /proc made of files.
func TestFakeProc(t *testing.T) {
	root := t.TempDir()
	write := func(name, content string) {
		t.Helper()
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	link := func(target, name string) {
		t.Helper()
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, path); err != nil {
			t.Fatal(err)
		}
	}
	stat := func(pid int, command string) string {
		return fmt.Sprintf("%d (%s) S 1 1 1 0 -1 4194560 1 0 0 0 5 6 0 0 20 0 1 0 100 1 1", pid, command)
	}
	write("stat", "cpu 1\nbtime 1700000000\n")
	write("sys/net/ipv4/ip_unprivileged_port_start", "80\n")
	write("sys/net/ipv4/ip_local_port_range", "40000\t50000\n")
	write("sys/net/ipv4/ip_local_reserved_ports", "\n")
	link("net:[1]", "self/ns/net")
	link("pid:[4026531836]", "self/ns/pid")
	write("self/net/protocols", "protocol  size sockets  memory\nTCP       2304      2      89\n")
	write("self/net/tcp", tableTitles+
		"   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 100 1\n"+
		"   1: 00000000:0801 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 200 1\n")
	for pid, command := range map[int]string{1: "systemd", 7: "sshd"} {
		dir := strconv.Itoa(pid) + "/"
		write(dir+"stat", stat(pid, command))
		write(dir+"status", "Uid:\t0\t0\t0\t0\nCapEff:\t000001ffffffffff\n")
		write(dir+"cmdline", "/usr/sbin/"+command+"\x00-D\x00")
		write(dir+"cgroup", "0::/system.slice/ssh.service\n")
		link("net:[1]", dir+"ns/net")
		link("/usr/sbin/"+command, dir+"exe")
		link("socket:[100]", dir+"fd/3")
		link("/dev/null", dir+"fd/0")
	}
	e, err := openEngine(Options{Once: true}, root)
	if err != nil {
		t.Fatal(err)
	}
	defer e.close()
	snapshot, err := e.list(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(snapshot.Coverage.Gaps) > 0 {
		t.Errorf("gaps: %+v, want none", snapshot.Coverage.Gaps)
	}
	if ns := snapshot.Namespaces[0]; ns.UnprivilegedStart != 80 || ns.Ephemeral != (PortRange{40000, 50000}) || !ns.Complete {
		t.Errorf("rules for ports: %+v", ns)
	}
	ssh := find(t, snapshot, registry.TCP, netip.MustParseAddrPort("0.0.0.0:22"))
	if len(ssh.Owners) != 2 || ssh.Owners[0].How != SocketUnit || ssh.Owners[1].How != Process || ssh.Owners[1].Unit != "ssh.service" {
		t.Errorf("socket activation: owners are %+v, want systemd for the unit, then sshd", ssh.Owners)
	}
	if want := time.Unix(1700000001, 0); !ssh.Owners[1].Started.Equal(want) {
		t.Errorf("sshd started at %v, want %v", ssh.Owners[1].Started, want)
	}
	for reason, wrong := range map[string]holding{
		"the number went to another process": {pid: 7, fd: 3, inode: 100, start: 99},
		"the descriptor is another socket":   {pid: 7, fd: 3, inode: 101},
		"the process has ended":              {pid: 8, fd: 3, inode: 100},
	} {
		if p := e.reader.read(claim{holding: wrong}); p.owner.How != Raced || p.owner.PID != int(wrong.pid) {
			t.Errorf("%s: got %+v, want raced", reason, p.owner)
		}
	}
	nfs := find(t, snapshot, registry.TCP, netip.MustParseAddrPort("0.0.0.0:2049"))
	if len(nfs.Owners) != 1 || nfs.Owners[0].How != Kernel {
		t.Errorf("a socket that no process holds: owners are %+v, want the kernel", nfs.Owners)
	}
}
