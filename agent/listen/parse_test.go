package listen

import (
	"bytes"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/portaudit/portaudit/registry"
)

const tableTitles = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"

func TestParseTable(t *testing.T) {
	tests := []struct {
		reason    string
		transport registry.Transport
		row       string
		want      []tableRow
	}{
		{"TCP in LISTEN", registry.TCP,
			"   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4242 1 0000000000000000 100 0 0 10 0",
			[]tableRow{{netip.MustParseAddr("127.0.0.1"), 8080, 1000, 4242}}},
		{"an established connection does not listen", registry.TCP,
			"   0: 0100007F:1F90 0100007F:C001 01 00000000:00000000 00:00000000 00000000  1000        0 4242 1", nil},
		{"IPv6 loopback, words turned around", registry.TCP,
			"   0: 00000000000000000000000001000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 7 1",
			[]tableRow{{netip.MustParseAddr("::1"), 22, 0, 7}}},
		{"an IPv4-mapped address stays mapped", registry.TCP,
			"   0: 0000000000000000FFFF00000100007F:0016 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 7 1",
			[]tableRow{{netip.MustParseAddr("::ffff:127.0.0.1"), 22, 0, 7}}},
		{"UDP, bound and not connected", registry.UDP,
			"  32: 00000000:14E9 00000000:0000 07 00000000:00000000 00:00000000 00000000   107        0 9 2 0000000000000000 0",
			[]tableRow{{netip.MustParseAddr("0.0.0.0"), 5353, 107, 9}}},
		{"UDP with a peer is a client", registry.UDP,
			"  32: 0100007F:14E9 0100007F:0035 01 00000000:00000000 00:00000000 00000000   107        0 9 2 0000000000000000 0", nil},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			if bigEndian {
				t.Skip("the rows were taken from a little-endian machine")
			}
			got, err := parseTable(strings.NewReader(tableTitles+tt.row+"\n"), "tcp", tt.transport)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestParseTableRefuses(t *testing.T) {
	tests := []struct{ reason, row, want string }{
		{"too few columns", "0: 0100007F:1F90", "tcp:2: 2 columns instead of 10"},
		{"no hexadecimal address", "0: ZZ00007F:1F90 00000000:0000 0A 0:0 0:0 0 1 0 4", "tcp:2: no address"},
		{"an address of 6 bytes", "0: 0100007F0000:1F90 00000000:0000 0A 0:0 0:0 0 1 0 4", "tcp:2: no address"},
		{"a uid past 32 bits", "0: 0100007F:1F90 00000000:0000 0A 0:0 0:0 0 4294967296 0 4", `tcp:2: uid "4294967296"`},
		{"an endless line", strings.Repeat("x", 2*maxTableLine), "tcp: bufio.Scanner: token too long"},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			_, err := parseTable(strings.NewReader(tableTitles+tt.row+"\n"), "tcp", registry.TCP)
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("got error %v, want one that starts with %q", err, tt.want)
			}
		})
	}
}

func TestParseStat(t *testing.T) {
	const fields = " S 1 10 10 0 -1 4194560 1 0 0 0 5 6 0 0 20 0 1 0 987654 1000 10"
	tests := []struct {
		reason, in string
		want       procStat
	}{
		{"plain", "10 (sshd)" + fields, procStat{command: "sshd", parent: 1, start: 987654}},
		{"a command with a space and parentheses", "10 (a) b (c)" + fields, procStat{command: "a) b (c", parent: 1, start: 987654}},
		{"a command that imitates the fields", "10 (x) S 99 (y)" + fields, procStat{command: "x) S 99 (y", parent: 1, start: 987654}},
		{"a command with a newline", "10 (a\nb)" + fields, procStat{command: "a\nb", parent: 1, start: 987654}},
		{"a kernel thread", "2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 3 0 0", procStat{command: "kthreadd", start: 3, kernelThread: true}},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			got, err := parseStat([]byte(tt.in))
			if err != nil || got != tt.want {
				t.Errorf("got %+v, %v, want %+v", got, err, tt.want)
			}
		})
	}
	for _, bad := range []string{"", "10 sshd S 1", "10 )(", "10 (sshd) S 1 2", "10 (a) S x 10 10 0 -1 1 1 0 0 0 5 6 0 0 20 0 1 0 9"} {
		if got, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("parseStat(%q) = %+v, want an error", bad, got)
		}
	}
}

func TestParseStatus(t *testing.T) {
	got, err := parseStatus([]byte("Name:\tcaddy\nUid:\t0\t33\t33\t33\nCapPrm:\t0000000000000c00\nCapEff:\t0000000000000400\n"))
	want := procStatus{uid: UID{ID: 33, Known: true}, effective: 1 << 10, permitted: 3 << 10, bindCapability: Yes}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want the effective uid and CAP_NET_BIND_SERVICE: %+v", got, err, want)
	}
	got, err = parseStatus([]byte("Name:\tx\nCapEff:\t000001ffffffffff\n"))
	if want := (procStatus{effective: 1<<41 - 1, bindCapability: Yes}); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("without a Uid line: got %+v, %v, want it unknown: %+v", got, err, want)
	}
	for _, bad := range []string{"Uid:\t1\n", "Uid:\tx\tx\tx\tx\n", "CapEff:\tx\n", "CapEff:\n", "Gid:\t1\n", "Gid:\tx\tx\tx\tx\nGroups:\t\n", "Gid:\t1\t1\t1\t1\nGroups:\tx \n"} {
		if got, err := parseStatus([]byte(bad)); err == nil {
			t.Errorf("parseStatus(%q) = %+v, want an error", bad, got)
		}
	}
}

func TestParseGroups(t *testing.T) {
	many := strings.Repeat("7 ", maxGroups)
	tests := []struct {
		reason, in string
		want       []uint32
	}{
		{"the effective one first, and once", "Gid:\t0\t33\t33\t33\nGroups:\t4 33 998 \n", []uint32{33, 4, 998}},
		{"it alone", "Gid:\t0\t0\t0\t0\nGroups:\t \n", []uint32{0}},
		{"a kernel without a line of them", "Gid:\t0\t0\t0\t0\n", nil},
		{"no effective one", "Groups:\t4\n", nil},
		{"cut off: the last may be another", "Gid:\t0\t0\t0\t0\nGroups:\t4 99", nil},
		{"as many as are kept", "Gid:\t1\t1\t1\t1\nGroups:\t" + many[2:] + "\n", slices.Concat([]uint32{1}, slices.Repeat([]uint32{7}, maxGroups-1))},
		{"too many", "Gid:\t1\t1\t1\t1\nGroups:\t" + many + "\n", nil},
	}
	for _, tt := range tests {
		s, err := parseStatus([]byte(tt.in))
		var got []uint32
		for _, g := range s.groups {
			got = append(got, g.ID)
		}
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, %v, want %v", tt.reason, got, err, tt.want)
		}
	}
}

func TestDelegated(t *testing.T) {
	for group, want := range map[string]bool{
		"/system.slice/docker-x.scope":                                     false,
		"/user.slice/user-1000.slice/user@1000.service/user.slice/x.scope": true,
		"/user.slice/user-0.slice/user@0.service/x.scope":                  false,
		"/user.slice/user-1000.slice/session-2.scope":                      false,
	} {
		if got := delegated(group); got != want {
			t.Errorf("delegated(%s) = %t", group, got)
		}
	}
}

func TestParseCgroup(t *testing.T) {
	id := strings.Repeat("0123456789abcdef", 4)
	tests := []struct{ reason, in, unit, container string }{
		{"version 2, a service", "0::/system.slice/nginx.service\n", "nginx.service", ""},
		{"a service with a slice of its own below", "0::/system.slice/nginx.service/workers\n", "nginx.service", ""},
		{"a user's service", "0::/user.slice/user-1000.slice/user@1000.service/app.slice/vite.service\n", "vite.service", ""},
		{"Docker with the systemd driver", "0::/system.slice/docker-" + id + ".scope\n", "docker-" + id + ".scope", id},
		{"Docker with the cgroupfs driver", "0::/docker/" + id + "\n", "", id},
		{"version 1: only systemd's hierarchy names the unit",
			"12:memory:/system.slice/other.service\n1:name=systemd:/system.slice/ssh.service\n", "ssh.service", ""},
		{"containerd for Kubernetes", "0::/kubepods.slice/kubepods-burstable.slice/cri-containerd-" + id + ".scope\n", "cri-containerd-" + id + ".scope", id},
		{"a container in a container: the inner one", "0::/docker/" + strings.Repeat("ab", 32) + "/docker/" + id + "\n", "", id},
		{"LXC", "0::/lxc.payload.web1/system.slice/nginx.service\n", "nginx.service", "web1"},
		{"LXC before version 4", "1:name=systemd:/lxc/web1\n", "", "web1"},
		{"systemd-nspawn by machinectl", "0::/machine.slice/systemd-nspawn@my\\x2dbox.service/payload\n", "systemd-nspawn@my\\x2dbox.service", "my-box"},
		{"systemd-nspawn by hand", "0::/machine.slice/machine-box.scope\n", "machine-box.scope", "box"},
		{"a virtual machine is no container", "0::/machine.slice/machine-qemu\\x2d1\\x2dvm.scope\n", "machine-qemu\\x2d1\\x2dvm.scope", ""},
		{"the root group", "0::/\n", "", ""},
		{"no control group line at all", "junk\n", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			c := parseCgroup([]byte(tt.in))
			if c.unit != tt.unit || c.container != tt.container {
				t.Errorf("got %+v, want %q, %q", c, tt.unit, tt.container)
			}
		})
	}
}

func TestParsePortRules(t *testing.T) {
	if r, err := parsePortRange([]byte("32768\t60999\n")); err != nil || r != (PortRange{32768, 60999}) {
		t.Errorf("the kernel's default: got %v, %v", r, err)
	}
	for _, bad := range []string{"", "1", "2 1", "1 70000", "a b"} {
		if r, err := parsePortRange([]byte(bad)); err == nil {
			t.Errorf("parsePortRange(%q) = %v, want an error", bad, r)
		}
	}
	list, err := parsePortList([]byte("8080,9148-9152\n"))
	if want := []PortRange{{8080, 8080}, {9148, 9152}}; err != nil || !slices.Equal(list, want) {
		t.Errorf("got %v, %v, want %v", list, err, want)
	}
	if list, err := parsePortList([]byte("\n")); err != nil || list != nil {
		t.Errorf("no reserved ports: got %v, %v, want none", list, err)
	}
	ns := Namespace{UnprivilegedStart: 1024, StartKnown: true, EphemeralKnown: true,
		Ephemeral: PortRange{32768, 60999}, Excluded: []PortRange{{40000, 40010}}}
	for port, want := range map[registry.Port][2]Answer{
		1023: {Yes, No}, 1024: {No, No}, 32768: {No, Yes}, 60999: {No, Yes}, 61000: {No, No}, 40005: {No, No},
	} {
		if got := [2]Answer{ns.Privileged(port), ns.InEphemeral(port)}; got != want {
			t.Errorf("port %d: privileged and ephemeral are %v, want %v", port, got, want)
		}
	}
	if (Namespace{}).Privileged(22) != Unknown || (Namespace{}).InEphemeral(40000) != Unknown {
		t.Error("a namespace of which nothing is known must answer Unknown")
	}
}

func TestParseDynamicPort(t *testing.T) {
	english := "\r\nProtocol tcp Dynamic Port Range\r\n---------------------------------\r\nStart Port      : 49152\r\nNumber of Ports : 16384\r\n\r\n"
	german := "\r\nDynamischer Portbereich \"tcp\"\r\n---------------------------------\r\nStartport        : 1025\r\nAnzahl von Ports : 64511\r\n"
	for text, want := range map[string]PortRange{english: {49152, 65535}, german: {1025, 65535}} {
		if got, err := parseDynamicPort([]byte(text)); err != nil || got != want {
			t.Errorf("got %v, %v, want %v", got, err, want)
		}
	}
	for _, bad := range []string{"", "a: 1\n", "a: 65535\nb: 2\n", "a: 1\nb: 0\n"} {
		if got, err := parseDynamicPort([]byte(bad)); err == nil {
			t.Errorf("parseDynamicPort(%q) = %v, want an error", bad, got)
		}
	}
}

func TestMergeNamesEachOwnerOnce(t *testing.T) {
	s := func(port registry.Port, pid int, uid uint32) Socket {
		return Socket{Transport: registry.TCP, Address: netip.IPv6Unspecified(), Port: port, Namespace: HostNamespace,
			Creator: UID{uid, true}, Owners: []Owner{{How: Process, PID: pid}}}
	}
	got := merge([]Socket{s(80, 3, 0), s(80, 2, 0), s(80, 3, 0), s(22, 1, 0), s(80, 4, 33)})
	if len(got) != 2 || got[0].Port != 22 || got[1].Port != 80 {
		t.Fatalf("got %+v, want one socket for port 22, then one for port 80", got)
	}
	var pids []int
	for _, o := range got[1].Owners {
		pids = append(pids, o.PID)
	}
	if !slices.Equal(pids, []int{2, 3, 4}) {
		t.Errorf("owners of port 80: %v, want 2, 3, 4", pids)
	}
	if got[1].Creator.Known {
		t.Errorf("creators 0 and 33 behind one endpoint gave %v, want unknown", got[1].Creator)
	}
}

func FuzzParseTable(f *testing.F) {
	f.Add([]byte(tableTitles + "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4242 1\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		rows, _ := parseTable(bytes.NewReader(b), "tcp", registry.TCP)
		for _, r := range rows {
			if r.port == 0 || !r.address.IsValid() {
				t.Errorf("row %+v does not listen anywhere", r)
			}
		}
	})
}

func TestParseProcessMounts(t *testing.T) {
	const text = `22 1 0:21 / /proc rw,nosuid - proc proc rw
30 22 0:35 / /proc/sys/fs/binfmt_misc rw - binfmt_misc binfmt_misc rw
31 22 0:36 / /proc/1234 rw - tmpfs none rw
32 22 0:21 /1 /proc/77/fd rw - proc proc rw
33 22 0:37 / /proc/0 rw - tmpfs none rw
34 22 0:38 / /procfs/99 rw - tmpfs none rw
35 22 0:39 / /proc/99999999999 rw - tmpfs none rw
short /proc/5
`
	if got, want := parseProcessMounts([]byte(text), "/proc"), (map[int32]bool{1234: true, 77: true}); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestUnifiedHierarchy(t *testing.T) {
	const v1 = "30 24 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n31 30 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
	tests := []struct{ reason, text, want string }{
		{"unified", "29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n", "/sys/fs/cgroup"},
		{"hybrid", v1 + "32 30 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n", "/sys/fs/cgroup/unified"},
		{"the old ones alone", v1, ""},
		{"a part of it, in a container", "29 23 0:26 /docker/1 /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", ""},
		{"a path with a space", "29 23 0:26 / /sys/fs/c\\040g rw - cgroup2 cgroup2 rw\n", "/sys/fs/c g"},
		{"nothing that it is", "x - cgroup2", ""},
	}
	for _, tt := range tests {
		if got := unifiedHierarchy([]byte(tt.text)); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.reason, got, tt.want)
		}
	}
}

func TestParseRingFiles(t *testing.T) {
	tests := []struct {
		reason string
		text   string
		want   []uint64
		told   bool
	}{
		{"as Linux 6.18 tells it", "SqThread:\t-1\nUserFiles:\t2\n    0: socket:[12]\n    1: /dev/null\nUserBufs:\t0\nPollList:\n", []uint64{12}, true},
		{"files that were taken out again", "UserFiles:\t2\n    0: <none>\n    1: socket:[13]\n", []uint64{13}, true},
		{"more than four digits of files", "UserFiles:\t200000\n123456: socket:[14]\n", []uint64{14}, true},
		{"a buffer is no file", "UserFiles:\t0\nUserBufs:\t1\n    0: socket:[15]\n", nil, true},
		{"busy: the kernel leaves the files out", "SqHead:\t0\nCqTail:\t0\n", nil, false},
		{"the link of a file may hold a colon", "UserFiles:\t1\n    0: /tmp/a:socket:[16]\n", nil, true},
	}
	for _, tt := range tests {
		got, told := parseRingFiles([]byte(tt.text))
		if !slices.Equal(got, tt.want) || told != tt.told {
			t.Errorf("%s: %v, %v; want %v, %v", tt.reason, got, told, tt.want, tt.told)
		}
	}
}

// FuzzParseProcess runs every decoder of what a process may influence.
func FuzzParseProcess(f *testing.F) {
	f.Add([]byte("10 (sshd) S 1 10 10 0 -1 4194560 1 0 0 0 5 6 0 0 20 0 1 0 987654 1000 10"))
	f.Add([]byte("Name:\tcaddy\nUid:\t0\t33\t33\t33\nCapEff:\t0000000000000400\n"))
	f.Add([]byte("0::/system.slice/nginx.service\n"))
	f.Add([]byte("socket:[12345]"))
	f.Add([]byte("/usr/sbin/sshd\x00-D\x00"))
	f.Add([]byte("UserFiles:\t1\n    0: socket:[12345]\nUserBufs:\t0\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		_, _ = parseStat(b)
		_, _ = parseStatus(b)
		_ = parseCgroup(b)
		_, _ = parseLoginUID(b)
		_ = parseNamespaceMounts(b)
		_ = parseProcessMounts(b, "/proc")
		_ = unifiedHierarchy(b)
		_, _ = parseProtocolSockets(b, "TCP")
		_ = parseLastProcess(b)
		_, _ = parseBootOffset(b)
		_ = numbers(b, func(int, []byte) {})
		_, _ = parseSocketLink(b)
		_, _ = parseRingFiles(b)
		_ = parseCommandLine(b)
		_, _ = parseBootTime(b)
		_, _ = parsePortRange(b)
		_, _ = parsePortList(b)
		_, _ = parseDynamicPort(b)
		if diff := cmp.Diff(before, b); diff != "" {
			t.Errorf("a parser changed its input:\n%s", diff)
		}
	})
}
