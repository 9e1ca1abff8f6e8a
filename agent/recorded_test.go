package agent

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/agent/listen"
	"github.com/portaudit/portaudit/policy"
	"github.com/portaudit/portaudit/registry"
)

// recordOf makes the record of a socket of the host that opened, and what the
// policy saw of it.
func recordOf(t *testing.T, s listen.Socket) (audit.Event, policy.Listener) {
	t.Helper()
	s.Namespace = listen.HostNamespace
	snapshot := listen.Snapshot{Sockets: []listen.Socket{s}, Namespaces: []listen.Namespace{{
		Label: listen.HostNamespace, UnprivilegedStart: 1024, StartKnown: true, Complete: true,
		Ephemeral: listen.PortRange{First: 32768, Last: 60999}, EphemeralKnown: true,
	}}}
	p := mustPolicy(t, alertAll)
	c := newClassifier(snapshot, &registry.Catalog{}, p, false).classify(s)
	l := listener(c, p.Decide(c.facts, time.Time{}), time.Unix(1e9, 0))
	return event(track{Listener: l, Addresses: []string{l.Address}}.change(audit.ListenerOpened)), c.facts
}

// TestFactsOfARecord holds that a record holds what a policy asks for: the facts
// come back as they were, but for what is never written.
func TestFactsOfARecord(t *testing.T) {
	const yes, no = listen.Yes, listen.No
	sshd := listen.Owner{How: listen.Process, PID: 7, Executable: "/usr/sbin/sshd", Deleted: no, Memory: no, Concealed: no, WorldWritable: no,
		User: "root", UID: uid(0), Unit: "ssh.service", Parents: []listen.Ancestor{{PID: 1, Command: "systemd"}}, Arguments: []string{"sshd", "-D"}}
	tests := []struct {
		reason string
		socket listen.Socket
	}{
		{"everything is known", listen.Socket{Transport: registry.TCP, Address: netip.IPv6Unspecified(), Port: 22, DualStack: yes, Owners: []listen.Owner{sshd},
			Exposure: listen.Exposure{Reach: listen.ReachNetwork}, Creator: uid(0)}},
		{"nobody was seen", listen.Socket{Transport: registry.UDP, Address: netip.MustParseAddr("127.0.0.1"), Port: 40000, DualStack: no, Owners: []listen.Owner{{How: listen.Denied}}}},
		{"several owners, one replaced", listen.Socket{Transport: registry.TCP, Address: netip.MustParseAddr("10.0.0.1"), Port: 80, Owners: []listen.Owner{
			sshd, {How: listen.Process, PID: 8, Executable: "/x", Deleted: yes, Replaced: yes, Memory: no, Concealed: no, UID: uid(33), User: "www-data", WorldWritable: yes, Container: "c"}}}},
		{"from memory, and hidden", listen.Socket{Transport: registry.TCP, Address: netip.MustParseAddr("::1"), Port: 1, Owners: []listen.Owner{
			{How: listen.Process, PID: 8, Executable: "/memfd:x", Memory: yes, Concealed: yes, UID: uid(1), User: "daemon"}}}},
		{"of one machine", listen.Socket{Transport: registry.VSOCK, Number: 22, Interface: "cid 3", Owners: []listen.Owner{sshd}}},
		{"every frame", listen.Socket{Transport: registry.Packet, Number: 3, Interface: "eth0", Owners: []listen.Owner{sshd}}},
		{"the kernel", listen.Socket{Transport: registry.UDP, Address: netip.IPv4Unspecified(), Port: 51820, Owners: []listen.Owner{{How: listen.Kernel}}}},
		{"Windows", listen.Socket{Transport: registry.TCP, Address: netip.IPv4Unspecified(), Port: 135, Owners: []listen.Owner{
			{How: listen.Process, PID: 4, Executable: `C:\Windows\System32\svchost.exe`, User: `NT AUTHORITY\SYSTEM`, SID: systemSID, Services: []string{"RpcSs"}}}}},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			e, want := recordOf(t, tt.socket)
			got := factsOf(e, &registry.Catalog{})
			if len(got) != 1 {
				t.Fatalf("%d listeners", len(got))
			}
			options := cmp.Options{cmpopts.IgnoreUnexported(policy.Listener{}), cmpopts.IgnoreFields(policy.Owner{}, "CommandLine", "Groups", "Capabilities"), cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty()}
			if diff := cmp.Diff(want, got[0], options); diff != "" {
				t.Errorf("the host (-) and the record (+) differ:\n%s", diff)
			}
		})
	}
}

// TestFactsOfOtherRecords holds what becomes of records that say less, or more.
func TestFactsOfOtherRecords(t *testing.T) {
	nothing := &registry.Catalog{}
	if got := factsOf(audit.Event{Event: audit.AgentStarted}, nothing); got != nil {
		t.Errorf("a record about no listener has %+v", got)
	}
	if got := factsOf(audit.Event{Event: audit.FindingRaised, Rule: policy.HiddenPort, Transport: "tcp", Port: 7}, nothing); got != nil {
		t.Errorf("the finding of a cross-check has %+v", got)
	}
	e := audit.Event{Listener: "x", Transport: "tcp", Port: 22, Scope: "loopback", Addresses: []string{"127.0.0.1", "::1"}}
	if got := factsOf(e, nothing); len(got) != 2 || got[1].Address != netip.IPv6Loopback() || got[0].Names[0] != "ssh" {
		t.Errorf("two addresses make %+v", got)
	}
	zero, other := uint32(0), uint32(7)
	for _, tt := range []struct {
		reason string
		owner  audit.Owner
		want   policy.Answer
	}{
		{"an older record of uid 0", audit.Owner{UID: &zero, How: "process"}, policy.Yes},
		{"of another", audit.Owner{UID: &other, How: "process"}, policy.No},
		{"of Windows itself", audit.Owner{SID: systemSID, How: "process"}, policy.Yes},
		{"of an account of Windows that may be an administrator", audit.Owner{SID: "S-1-5-21-1", How: "process"}, policy.Unknown},
	} {
		if got := ownerFrom(tt.owner).Root; got != tt.want {
			t.Errorf("%s: root is %d, want %d", tt.reason, got, tt.want)
		}
	}
	if o := ownerFrom(audit.Owner{How: "…[+12 more]"}); !cmp.Equal(o, policy.Owner{}) {
		t.Errorf("owners that were too many to record are %+v", o)
	}
}

// TestEscaped holds which names of a record are certain to be those that were
// seen.
func TestEscaped(t *testing.T) {
	for _, tt := range []struct {
		text    string
		windows bool
		want    bool
		reason  string
	}{
		{"/usr/sbin/sshd", false, false, "plain"},
		{"/usr/sbin/sshd ünïcode", false, false, "letters are not escaped"},
		{audit.Visible("/tmp/a\nb"), false, true, "a newline"},
		{`/tmp/a\nb`, false, true, "a backslash, which reads the same"},
		{audit.Clip(strings.Repeat("/x", 4096), 4096), false, true, "cut"},
		{`C:\Windows\x.exe`, true, false, "Windows"},
		{`\\share\x.exe`, true, false, "of a share"},
		{audit.Visible("C:\\a\u202eb.exe"), true, true, "turned round"},
		{"", true, false, "nothing"},
	} {
		if got := escaped(tt.text, tt.windows); got != tt.want {
			t.Errorf("%s: %q: %t", tt.reason, tt.text, got)
		}
	}
}
