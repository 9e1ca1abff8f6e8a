package agent

import (
	"net/netip"
	"slices"
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
			got, doubtful := factsOf(e, &registry.Catalog{})
			if doubtful {
				t.Error("it is doubtful")
			}
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
	if got, _ := factsOf(audit.Event{Event: audit.AgentStarted}, nothing); got != nil {
		t.Errorf("a record about no listener has %+v", got)
	}
	if got, _ := factsOf(audit.Event{Event: audit.FindingRaised, Rule: policy.HiddenPort, Transport: "tcp", Port: 7}, nothing); got != nil {
		t.Errorf("the finding of a cross-check has %+v", got)
	}
	e := audit.Event{Listener: "x", Transport: "tcp", Port: 22, Scope: "loopback", Addresses: []string{"127.0.0.1", "::1"}}
	if got, _ := factsOf(e, nothing); len(got) != 2 || got[1].Address != netip.IPv6Loopback() || got[0].Names[0] != "ssh" {
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

// TestFactsOfAreTheTrueNames holds that a policy decides on the names that were seen,
// whatever they look like in the record.
func TestFactsOfAreTheTrueNames(t *testing.T) {
	const odd = "/tmp/a\nb\xff \u202e\\x"
	o := listen.Owner{PID: 7, How: listen.Process, Executable: odd, User: "us\ner", Unit: "dev\\x2dfoo.service", Container: "c\x1b"}
	c := change{kind: audit.ListenerOpened, listener: Listener{ID: "x", Transport: "tcp", Port: 8080, Namespace: `net\x1b`, Escaped: []string{"namespace"}}}
	c.listener.Owners = []audit.Owner{ownerOf(o, false)}
	dir := t.TempDir()
	log, err := audit.Open(dir, audit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := log.Append(event(c)); err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	said := 0
	for e, err := range audit.ReadFrom(dir, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Event != audit.ListenerOpened {
			continue
		}
		said++
		facts, doubtful := factsOf(e, &registry.Catalog{})
		if len(facts) != 1 || doubtful || facts[0].Namespace != "net\x1b" {
			t.Fatalf("doubtful %v: %+v of %+v", doubtful, facts, e)
		}
		if got := facts[0].Owners[0]; got.Executable != odd || got.User != o.User || got.Unit != o.Unit || got.Container != o.Container {
			t.Errorf("%+v", got)
		}
		// What is remembered is what the audit makes of it: no difference is reported.
		again := trackOf(e).Listener
		if diff := cmp.Diff(c.listener.Owners, again.Owners, cmpopts.EquateEmpty()); diff != "" || !slices.Equal(again.Escaped, c.listener.Escaped) {
			t.Errorf("%q; the audit (-) and the record (+) differ:\n%s", again.Escaped, diff)
		}
	}
	if said != 1 {
		t.Errorf("%d records of the listener", said)
	}
}

// TestFactsOfOldRecords holds that names of which that is not certain are doubted.
func TestFactsOfOldRecords(t *testing.T) {
	for _, tt := range []struct {
		text   string
		want   bool
		reason string
	}{
		{"/usr/sbin/sshd", false, "plain"},
		{"/usr/sbin/sshd ünïcode", false, "letters are not escaped"},
		{audit.Visible("/tmp/a\nb"), true, "a newline"},
		{`/tmp/a\nb`, true, "a backslash, which reads the same"},
		{audit.Clip(strings.Repeat("/x", 4096), 4096), true, "cut"},
		{`C:\Windows\x.exe`, false, "Windows: that is no escape"},
		{`\\share\x.exe`, false, "of a share"},
		{audit.Visible("C:\\a\u202eb.exe"), true, "turned round"},
		{"", false, "nothing"},
	} {
		e := audit.Event{Listener: "x", Transport: "tcp", Port: 22, Owners: []audit.Owner{{Executable: tt.text}}}
		if _, got := factsOf(e, &registry.Catalog{}); got != tt.want {
			t.Errorf("%s: %q: doubtful is %t", tt.reason, tt.text, got)
		}
		e.Escaped, e.Clipped = []string{}, []string{}
		if _, got := factsOf(e, &registry.Catalog{}); got {
			t.Errorf("%s: %q of a record that says nothing was escaped is doubted", tt.reason, tt.text)
		}
	}
}
