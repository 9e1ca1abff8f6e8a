package agent

import (
	"context"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/agent/listen"
	"github.com/portaudit/portaudit/policy"
	"github.com/portaudit/portaudit/registry"
)

// documentOf makes the document of a socket of the host under a policy.
func documentOf(t *testing.T, s listen.Socket, rules string) Listener {
	t.Helper()
	p, err := policy.Parse([]byte("version: 1\nrules: ["+rules+"]\n"), "p")
	if err != nil {
		t.Fatal(err)
	}
	s.Namespace = listen.HostNamespace
	snapshot := listen.Snapshot{Sockets: []listen.Socket{s}, Namespaces: []listen.Namespace{{
		Label: listen.HostNamespace, UnprivilegedStart: 1024, StartKnown: true, Complete: true,
		Ephemeral: listen.PortRange{First: 32768, Last: 60999}, EphemeralKnown: true,
	}}}
	return observe(snapshot, newClassifier(snapshot, &registry.Catalog{}, p, false), p).listeners[0]
}

// TestEndpoints holds how each kind of socket is written.
func TestEndpoints(t *testing.T) {
	const any4 = "0.0.0.0"
	tests := []struct {
		reason                  string
		socket                  listen.Socket
		address                 string // empty: none
		text, sentence, service string
	}{
		{"a port", listen.Socket{Transport: registry.TCP, Address: netip.MustParseAddr(any4), Port: 22},
			any4, "tcp 0.0.0.0:22", "0.0.0.0 port 22/tcp", "ssh"},
		{"of one device", listen.Socket{Transport: registry.UDP, Address: netip.MustParseAddr(any4), Port: 68, Interface: "eth0"},
			any4, "udp 0.0.0.0%eth0:68", "0.0.0.0 port 68/udp of the device eth0", "bootpc"},
		{"a link-local address names its device already", listen.Socket{Transport: registry.UDP, Address: netip.MustParseAddr("fe80::1%eth0"), Port: 546, Interface: "eth0"},
			"fe80::1%eth0", "udp [fe80::1%eth0]:546", "fe80::1%eth0 port 546/udp", "dhcpv6-client"},
		{"UDP-Lite has the ports of UDP", listen.Socket{Transport: registry.UDPLite, Address: netip.MustParseAddr("::"), Port: 53},
			"::", "udplite [::]:53", ":: port 53/udplite", "domain"},
		{"a raw socket", listen.Socket{Transport: registry.Raw, Address: netip.MustParseAddr(any4), Number: 1},
			any4, "raw 0.0.0.0:1", "a raw socket for IP protocol 1 on 0.0.0.0", "icmp"},
		{"of one device", listen.Socket{Transport: registry.Raw, Address: netip.MustParseAddr("::"), Number: 58, Interface: "eth0"},
			"::", "raw [::%eth0]:58", "a raw socket for IP protocol 58 on :: of the device eth0", "ipv6-icmp"},
		{"for a protocol without a name", listen.Socket{Transport: registry.Raw, Address: netip.MustParseAddr(any4), Number: 253},
			any4, "raw 0.0.0.0:253", "a raw socket for IP protocol 253 on 0.0.0.0", "unnamed"},
		{"a packet socket", listen.Socket{Transport: registry.Packet, Number: 0x88cc, Interface: "eth0"},
			"", "packet *%eth0:0x88cc", "a packet socket for EtherType 0x88cc on eth0", "lldp"},
		{"for everything everywhere", listen.Socket{Transport: registry.Packet, Number: 3},
			"", "packet *:0x0003", "a packet socket for EtherType 0x0003 on every interface", "all frames"},
		{"for nothing: it can only send", listen.Socket{Transport: registry.Packet},
			"", "packet *:0x0000", "a packet socket for EtherType 0x0000 on every interface", "no frames"},
		{"a vsock", listen.Socket{Transport: registry.VSOCK, Number: 4294967290},
			"", "vsock *:4294967290", "port 4294967290/vsock for every machine", "unnamed"},
		{"for one machine", listen.Socket{Transport: registry.VSOCK, Number: 22, Interface: "cid 3"},
			"", "vsock 3:22", "port 22/vsock for cid 3", "unnamed"},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			l := documentOf(t, tt.socket, "")
			if got := EndpointText(l); got != tt.text || l.Address != tt.address {
				t.Errorf("got %q and the address %q, want %q and %q", got, l.Address, tt.text, tt.address)
			}
			if got := endpointPhrase(l); got != tt.sentence {
				t.Errorf("in a sentence: %q, want %q", got, tt.sentence)
			}
			if got := ServiceText(l); got != tt.service {
				t.Errorf("named %q, want %q", got, tt.service)
			}
			if l.Port != tt.socket.ID() {
				t.Errorf("port %d, want %d", l.Port, tt.socket.ID())
			}
		})
	}
}

// TestMessagesOfEverySocket holds that what a rule says reads well of a socket
// that has no port, and of one that has.
func TestMessagesOfEverySocket(t *testing.T) {
	owners := []listen.Owner{{How: listen.Process, PID: 7, Executable: "/opt/x", User: "bob"}}
	tests := []struct {
		reason string
		socket listen.Socket
		rule   string
		want   string
	}{
		{"the default verdict, of a port", listen.Socket{Transport: registry.TCP, Address: netip.MustParseAddr("::1"), Port: 22}, "",
			"x (pid 7, user bob) listens on ::1 port 22/tcp (ssh), and no rule of the policy allows it."},
		{"and of a packet socket", listen.Socket{Transport: registry.Packet, Number: 0x88cc, Interface: "eth0"}, "",
			"x (pid 7, user bob) listens on a packet socket for EtherType 0x88cc on eth0 (lldp), and no rule of the policy allows it."},
		{"a rule without a message", listen.Socket{Transport: registry.Raw, Address: netip.MustParseAddr("0.0.0.0"), Number: 1}, "{id: r, verdict: alert, severity: high, match: any}",
			"x (pid 7, user bob) listens on a raw socket for IP protocol 1 on 0.0.0.0 (icmp): rule r."},
		{"a message that speaks of ports", listen.Socket{Transport: registry.Packet, Number: 3}, "{id: r, verdict: alert, severity: high, match: any, message: '{address} {port}/{transport} {state} {range} {reach}'}",
			"every interface 0x0003/packet none none unknown"},
		{"where reach is known", listen.Socket{Transport: registry.TCP, Address: netip.MustParseAddr("::"), Port: 1, Exposure: listen.Exposure{Reach: listen.ReachBlocked}},
			"{id: r, verdict: alert, severity: high, match: {reach: blocked}, message: '{address} {port} {state} {range} {reach}'}",
			":: 1 assigned well-known blocked"},
	}
	for _, tt := range tests {
		tt.socket.Owners = owners
		l := documentOf(t, tt.socket, tt.rule)
		if len(l.Findings) == 0 || l.Findings[0].Message != tt.want {
			t.Errorf("%s: %+v, want %q", tt.reason, l.Findings, tt.want)
		}
	}
}

// TestNoPortNoRegistry holds that the number of a socket that has no port is
// not taken for one: 22 of these is not SSH.
func TestNoPortNoRegistry(t *testing.T) {
	for _, kind := range []registry.Transport{registry.Raw, registry.Packet, registry.VSOCK} {
		l := documentOf(t, listen.Socket{Transport: kind, Number: 22, Creator: uid(1000)}, "")
		want := audit.Registry{Names: []string{}}
		if !cmp.Equal(l.Registry, want) || l.Service != "" || l.Known != nil || l.Site != nil ||
			l.Privileged != nil || l.Ephemeral != nil || l.Authority != "" {
			t.Errorf("%v 22 is taken for a port: %+v", kind, l)
		}
	}
}

func TestExposureOf(t *testing.T) {
	s := listen.Socket{Transport: registry.TCP, Port: 22}
	if b, _ := json.Marshal(documentOf(t, s, "")); strings.Contains(string(b), "exposure") {
		t.Errorf("an exposure that was not evaluated: %s", b)
	}
	s.Exposure = listen.Exposure{Reach: listen.ReachBlocked, Sentence: "dropped by\nchain input"}
	if want := (Exposure{"blocked", `dropped by\nchain input`}); documentOf(t, s, "").Exposure != want {
		t.Errorf("got %+v, want %+v", documentOf(t, s, "").Exposure, want)
	}
}

// TestOwnerOf holds what evidence and what a scan tell of an owner.
func TestOwnerOf(t *testing.T) {
	const yes, no = listen.Yes, listen.No
	o := listen.Owner{
		How: listen.Process, PID: 7, Parent: 2, Parents: []listen.Ancestor{{PID: 2, Command: "sh\n"}, {PID: 1, Command: "init"}}, Executable: "/bin/x",
		Deleted: yes, Replaced: no, Memory: yes, Concealed: yes, SHA256: [32]byte{0xab}, Package: listen.Package{Manager: "dpkg", Name: "x", Version: "1-2"},
		Command: "x", User: "u", UID: uid(1), Login: uid(1000), Cgroup: "/a\x1b", Services: []string{"Dnscache"}, Elevated: no,
		Groups: []listen.Group{{ID: 4, Name: "adm\n"}, {ID: 998, Name: "998"}}, Container: "c", ContainerName: "n\n", Image: "i\n",
		Unhashed: listen.UnhashedPending, Integrity: "high", Effective: 1<<13 | 1<<10, Permitted: 1<<41 - 1, BindCapability: yes, NamespaceOwner: no, Inherits: yes,
	}
	document := []audit.Owner{ownerOf(o, false)}
	if document[0].OwnerDetail != nil {
		t.Error("evidence has what only a scan tells")
	}
	document = newOwnerships(false, true).of([]listen.Owner{o}).documents
	pid, parent, user, login, isTrue, isFalse := 7, 2, uint32(1), uint32(1000), true, false
	want := audit.Owner{
		PID: &pid, Executable: "/bin/x", Deleted: &isTrue, Replaced: &isFalse, Memory: true, Concealed: true, SHA256: "ab" + strings.Repeat("0", 62),
		Package: &audit.Package{Manager: "dpkg", Name: "x", Version: "1-2"}, Command: "x", User: "u", UID: &user, Root: &isFalse, How: "process",
		Parent: &parent, ParentName: `sh\n`, Services: []string{"Dnscache"}, Container: "c", ContainerName: `n\n`, Image: `i\n`,
		Escaped: []string{"cgroup", "container_name", "groups[0].name", "image", "parent_command", "parents[0].command"},
		OwnerDetail: &audit.OwnerDetail{
			Parents: []audit.Process{{PID: 2, Command: `sh\n`}, {PID: 1, Command: "init"}}, Cgroup: `/a\x1b`, Unhashed: "pending", LoginUID: &login,
			Groups:       []audit.Group{{GID: 4, Name: `adm\n`}, {GID: 998, Name: "998"}},
			Capabilities: &audit.Capabilities{Effective: []string{"CAP_NET_BIND_SERVICE", "CAP_NET_RAW"}},
			Inherits:     &isTrue, NamespaceOwner: &isFalse, Elevated: &isFalse, Integrity: "high",
		},
	}
	if diff := cmp.Diff(want, document[0]); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
	nobody := newOwnerships(false, true).of([]listen.Owner{{}}).documents
	if !cmp.Equal(nobody[0], audit.Owner{}) {
		t.Errorf("of nobody something is told: %+v", nobody[0])
	}
}

func TestCapabilityNames(t *testing.T) {
	tests := []struct {
		reason string
		set    uint64
		want   string
	}{
		{"none", 0, ""},
		{"all of Linux 3.16", 1<<38 - 1, ""},
		{"all of Linux 5.9", 1<<41 - 1, ""},
		{"all of a kernel that is newer than the table", 1<<44 - 1, ""},
		{"the first", 1, "CAP_CHOWN"},
		{"the last", 1 << 40, "CAP_CHECKPOINT_RESTORE"},
		{"what Docker leaves root", 0xa80425fb, "CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_FSETID CAP_KILL CAP_SETGID CAP_SETUID CAP_SETPCAP " +
			"CAP_NET_BIND_SERVICE CAP_NET_RAW CAP_SYS_CHROOT CAP_MKNOD CAP_AUDIT_WRITE CAP_SETFCAP"},
		{"one that is newer than the table", 1 << 41, "CAP_41"},
		{"root that lacks one", (1<<41 - 1) &^ (1 << 24), "ALL -CAP_SYS_RESOURCE"},
		{"root that lacks the last", 1<<37 - 1, "ALL -CAP_AUDIT_READ"},
		{"every bit", ^uint64(0), ""},
	}
	for _, tt := range tests {
		if got := strings.Join(capabilityNames(tt.set), " "); got != tt.want {
			t.Errorf("%s: %#x is %q, want %q", tt.reason, tt.set, got, tt.want)
		}
	}
	for _, o := range []listen.Owner{
		{PID: 1, Effective: 1}, // the bits mean nothing
		{PID: 1, BindCapability: listen.No},
		{PID: 1, BindCapability: listen.Yes, Effective: 1<<41 - 1, Permitted: 1<<41 - 1},
	} {
		if c := capabilitiesOf(o); c != nil {
			t.Errorf("capabilities of %+v: %+v", o, c)
		}
	}
}

func TestNamespacesOf(t *testing.T) {
	start := uint32(80)
	got := namespacesOf([]listen.Namespace{
		{Label: "host\n", UnprivilegedStart: 80, StartKnown: true, Complete: true, Container: "c",
			Ephemeral: listen.PortRange{First: 1, Last: 9}, EphemeralKnown: true, Excluded: []listen.PortRange{{First: 2, Last: 3}}},
		{},
	})
	want := []Namespace{
		{Label: `host\n`, Container: "c", UnprivilegedStart: &start, Complete: true,
			Ephemeral: &EphemeralRange{PortRange: PortRange{1, 9}, Excluded: []PortRange{{2, 3}}}},
		{},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
	if b, _ := json.Marshal(namespacesOf(nil)); string(b) != "[]" {
		t.Errorf("no namespaces are %s", b)
	}
}

// TestScanTellsMore holds that a scan tells of each owner what the loop leaves
// out, in the right place.
func TestScanTellsMore(t *testing.T) {
	p, err := policy.Parse([]byte("version: 1\nrules: []\n"), "p")
	if err != nil {
		t.Fatal(err)
	}
	s := listen.Snapshot{Time: time.Now(), Sockets: []listen.Socket{
		{Transport: registry.TCP, Port: 1, Owners: []listen.Owner{{PID: 1, Cgroup: "/1"}, {How: listen.Denied}}},
		{Transport: registry.TCP, Port: 2, Owners: []listen.Owner{{PID: 2, Cgroup: "/2"}}},
		{Transport: registry.TCP, Port: 3, Owners: []listen.Owner{{PID: 1, Start: 7, Cgroup: "/another with the same pid"}}},
		{Transport: registry.TCP, Port: 4, Owners: []listen.Owner{{PID: 2, Cgroup: "/2", Inherits: listen.Yes}}},
	}}
	o := ScanOptions{
		List:    func(context.Context) (listen.Snapshot, error) { return s, nil },
		Catalog: &registry.Catalog{}, Policy: p, StateDir: t.TempDir(),
	}
	report, err := Scan(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	explained, _, err := Explain(t.Context(), o, func(Listener) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range report.Listeners {
		for _, owners := range [][]audit.Owner{l.Owners, explained[i].Owners} {
			if got, want := owners[0].Cgroup, s.Sockets[i].Owners[0].Cgroup; got != want {
				t.Errorf("port %d: control group %q, want %q", l.Port, got, want)
			}
		}
	}
	if inherits := report.Listeners[3].Owners[0].Inherits; inherits == nil || !*inherits || report.Listeners[1].Owners[0].Inherits != nil {
		t.Error("what a process is to one socket is told of another one")
	}
	if report.Listeners[0].Owners[1].OwnerDetail != nil {
		t.Error("an owner that could not be seen has details")
	}
	if slices.ContainsFunc(observe(s, newClassifier(s, o.Catalog, p, false), p).listeners, func(l Listener) bool { return l.Owners[0].OwnerDetail != nil }) {
		t.Error("the loop keeps what only a scan tells")
	}
}
