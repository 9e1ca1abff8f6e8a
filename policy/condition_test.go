package policy

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/portaudit/portaudit/registry"
)

func mustParse(t testing.TB, text string) *Policy {
	t.Helper()
	p, err := Parse([]byte(text), "p")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// sshd is a listener of which everything is known.
func sshd() Listener {
	return Listener{
		Transport: registry.TCP, Port: 22, Address: netip.IPv6Unspecified(), Scope: Wildcard, DualStack: Yes, Namespace: "host", State: registry.Assigned, Names: []string{"ssh", "secure-shell"},
		New: No, Changed: "none", Shadows: No, FirstSeen: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), now: time.Date(2026, 11, 1, 1, 0, 0, 0, time.UTC),
		Risk: High, Privileged: Yes, Ephemeral: No, Authority: "root",
		Owners: []Owner{{
			How: "process", User: "root", Root: Yes, Executable: "/usr/sbin/sshd",
			Deleted: No, Memory: No, Concealed: No, WorldWritable: No, Unit: "ssh.service",
			Groups: []string{"root", "ssl-cert"}, Capabilities: Capabilities{1 << 10, true}, SHA256: strings.Repeat("ab", 32), Image: "nginx:1.27",
			UID: UID{0, true}, CommandLine: "sshd: /usr/sbin/sshd -D [listener]", Parent: "systemd", Container: "web",
		}},
	}
}

func TestConditions(t *testing.T) {
	unknownOwner := func(l *Listener) { l.Owners = []Owner{{How: "denied"}} }
	inMemory := func(l *Listener) {
		l.Owners[0].Deleted, l.Owners[0].Memory, l.Owners[0].WorldWritable = Unknown, Yes, Unknown
	}
	tests := []struct {
		match  string
		change func(*Listener) // nil: sshd as it is
		want   Answer
		reason string
	}{
		{"any", nil, Yes, "everything matches"},
		{"any", func(l *Listener) { *l = Listener{} }, Yes, "even the unknown"},
		{"{port: 22, transport: tcp}", nil, Yes, "both hold"},
		{"{port: 22, transport: udp}", nil, No, "one does not"},

		{"{port: 22}", nil, Yes, "itself"},
		{"{port: 1-22}", nil, Yes, "the last of a range"},
		{"{port: [80, 22-25]}", nil, Yes, "the first of a range in a list"},
		{"{port: [0-21, 23-65535]}", nil, No, "between two ranges"},
		{"{transport: [udp, tcp]}", nil, Yes, "one of a list"},
		{"{transport: sctp}", nil, No, "another"},
		{"{transport: [raw, packet, vsock, udplite]}", nil, No, "others"},
		{"{transport: [raw, packet]}", func(l *Listener) { l.Transport = registry.Packet }, Yes, "a kind without ports"},
		{"{transport: udp}", func(l *Listener) { l.Transport = registry.UDPLite }, No, "it shares the ports of UDP and is another"},
		{"{port: 22}", func(l *Listener) { l.Transport = registry.UDPLite }, Yes, "it shares the ports of UDP"},
		{"{transport: tcp}", func(l *Listener) { l.Transport = 0 }, Unknown, "no transport"},
		{"{scope: wildcard}", nil, Yes, "itself"},
		{"{scope: [loopback, private]}", nil, No, "others"},
		{"{scope: wildcard}", func(l *Listener) { l.Scope = UnknownScope }, Unknown, "no address"},
		{"{reachable: true}", nil, Yes, "a wildcard address"},
		{"{reachable: false}", nil, No, "a wildcard address"},
		{"{reachable: false}", func(l *Listener) { l.Scope = Loopback }, Yes, "loopback"},
		{"{reachable: true}", func(l *Listener) { l.Scope = UnknownScope }, Yes, "an unknown address counts as reachable"},
		{"{state: [assigned, reserved]}", nil, Yes, "one of a list"},
		{"{state: unassigned}", nil, No, "another"},
		{"{state: no statement}", func(l *Listener) { l.State = registry.NoStatement }, Yes, "IANA's silence is a fact"},
		{"{range: well-known}", nil, Yes, "below 1024"},
		{"{range: well-known}", func(l *Listener) { l.Port = 1024 }, No, "from 1024"},
		{"{range: dynamic}", func(l *Listener) { l.Port = 49152 }, Yes, "from 49152"},
		{"{service: secure-shell}", nil, Yes, "the second name"},
		{"{service: SSH}", nil, Yes, "case does not matter (RFC 6335 section 5.1)"},
		{"{service: ssh2}", nil, No, "another name"},
		{"{service: ssh}", func(l *Listener) { l.Names = nil }, No, "a port without a name"},
		{"{risk: [high, critical]}", nil, Yes, "one of a list"},
		{"{risk: low}", nil, No, "another"},
		{"{risk: low}", func(l *Listener) { l.Risk = None }, No, "not known to be abused"},
		{"{privileged: true}", nil, Yes, ""},
		{"{privileged: false}", nil, No, ""},
		{"{privileged: false}", func(l *Listener) { l.Privileged = Unknown }, Unknown, ""},
		{"{ephemeral: false}", nil, Yes, ""},
		{"{ephemeral: true}", nil, No, ""},
		{"{ephemeral: true}", func(l *Listener) { l.Ephemeral = Unknown }, Unknown, ""},
		{"{authority: [root, capability]}", nil, Yes, "one of a list"},
		{"{authority: unexplained}", nil, No, "another"},
		{"{authority: unexplained}", func(l *Listener) { l.Authority = "" }, Unknown, "not examined is not unexplained"},

		{"{reach: [blocked, host]}", func(l *Listener) { l.Reach = "host" }, Yes, "one of a list"},
		{"{reach: network}", func(l *Listener) { l.Reach = "host" }, No, "another"},
		{"{reach: [none, host, blocked, namespace, restricted, published, network]}", nil, Unknown, "not evaluated is none of them"},
		{"{not: {reach: network}}", nil, Unknown, "nor is it known not to be one"},

		{"{address: '::'}", nil, Yes, "itself"},
		{"{address: [192.0.2.0/24, '2001:db8::/32']}", func(l *Listener) { l.Address = netip.MustParseAddr("192.0.2.7") }, Yes, "one of a prefix"},
		{"{address: 192.0.2.0/24}", func(l *Listener) { l.Address = netip.MustParseAddr("::ffff:192.0.2.7") }, Yes, "an IPv4 address of an IPv6 socket"},
		{"{address: 'fe80::/10'}", func(l *Listener) { l.Address = netip.MustParseAddr("fe80::1%eth0") }, Yes, "whatever the zone"},
		{"{address: 192.0.2.0/24}", nil, No, "another"},
		{"{address: 0.0.0.0/0}", nil, No, "every address of IPv4 is none of IPv6"},
		{"{address: '::/0'}", func(l *Listener) { l.Address = netip.Addr{} }, Unknown, "a socket without an address"},
		{"{interface: eth*}", func(l *Listener) { l.Interface = "eth0" }, Yes, ""},
		{"{interface: eth*}", func(l *Listener) { l.Interface = "lo" }, No, ""},
		{"{interface: '**'}", nil, No, "bound to none is a fact"},
		{"{dual_stack: true}", nil, Yes, ""},
		{"{dual_stack: false}", nil, No, ""},
		{"{dual_stack: false}", func(l *Listener) { l.DualStack = Unknown }, Unknown, ""},
		{"{namespace: host}", nil, Yes, ""},
		{"{namespace: 'net:*'}", nil, No, ""},
		{"{namespace: host}", func(l *Listener) { l.Namespace = "" }, Unknown, ""},
		{"{shared: false}", nil, Yes, "one owner"},
		{"{shared: true}", func(l *Listener) { l.Owners = append(l.Owners, l.Owners[0]) }, No, "the same program twice"},
		{"{shared: true}", func(l *Listener) { l.Owners = append(l.Owners, Owner{User: "bob", Executable: "/usr/sbin/sshd"}) }, Yes, "another user"},
		{"{shared: true}", func(l *Listener) { l.Owners = append(l.Owners, Owner{Executable: "/tmp/x"}) }, Yes, "another program, of an unknown user"},
		{"{shared: true}", func(l *Listener) { l.Owners = append(l.Owners, Owner{User: "root"}) }, Unknown, "an unknown program"},
		{"{shared: false}", func(l *Listener) { l.Owners = nil }, Unknown, "nobody was seen"},
		{"{uid: [33, 0-10]}", nil, Yes, ""},
		{"{uid: 1-4294967295}", nil, No, ""},
		{"{uid: 0}", unknownOwner, Unknown, ""},
		{"{program: ssh*}", nil, Yes, ""},
		{"{program: usr}", nil, No, "no part but the last"},
		{"{program: SVCHOST.exe}", func(l *Listener) { l.Owners[0].Executable = `C:\Windows\System32\svchost.exe` }, Yes, "on Windows case does not matter"},
		{"{program: '*'}", unknownOwner, Unknown, ""},
		{"{command_line: 'sshd: ** -D *'}", nil, Yes, "** goes across slashes"},
		{"{command_line: '* -D'}", nil, No, ""},
		{"{command_line: '**'}", unknownOwner, Unknown, ""},
		{"{parent: systemd}", nil, Yes, ""},
		{"{parent: [bash, sh]}", nil, No, ""},
		{"{parent: '*'}", unknownOwner, Unknown, ""},
		{"{container: web}", nil, Yes, ""},
		{"{container: db*}", nil, No, ""},
		{"{container: '*'}", unknownOwner, Unknown, "none, or unknown"},
		{"{owner: process}", nil, Yes, ""},
		{"{owner: [kernel, socket unit]}", nil, No, ""},
		{"{owner: denied}", unknownOwner, Yes, "that it is denied is known"},
		{"{owner: process}", func(l *Listener) { l.Owners[0].How = "" }, Unknown, ""},
		{"{user: [bob, root]}", nil, Yes, "one of a list"},
		{"{user: Root}", nil, No, "case matters on Unix"},
		{`{user: 'nt authority\system'}`, func(l *Listener) { l.Owners[0].User = `NT AUTHORITY\SYSTEM` }, Yes, "and does not on Windows"},
		{"{user: root}", unknownOwner, Unknown, ""},
		{"{root: true}", nil, Yes, ""},
		{"{root: false}", nil, No, ""},
		{"{root: false}", unknownOwner, Unknown, ""},
		{"{executable: [/bin/x, /usr/sbin/*]}", nil, Yes, "one of a list"},
		{"{executable: /bin/*}", nil, No, ""},
		{"{executable: '**'}", unknownOwner, Unknown, "a pattern for all paths asks for one"},
		{"{unit: ssh*.service}", nil, Yes, ""},
		{"{unit: cron.service}", nil, No, ""},
		{"{unit: '*'}", unknownOwner, Unknown, ""},
		{"{deleted: false}", nil, Yes, ""},
		{"{deleted: true}", nil, No, ""},
		{"{deleted: true}", unknownOwner, Unknown, ""},
		{"{memory: false}", nil, Yes, ""},
		{"{memory: true}", nil, No, ""},
		{"{memory: true}", unknownOwner, Unknown, ""},
		{"{memory: true}", inMemory, Yes, "a program without a file"},
		{"{deleted: true}", inMemory, Unknown, "there was none to delete"},
		{"{deleted: false}", inMemory, Unknown, "and there is none to trust"},
		{"{not: {deleted: true}}", inMemory, Unknown, "nor by this"},
		{"{concealed: false}", nil, Yes, ""},
		{"{concealed: true}", nil, No, ""},
		{"{concealed: true}", unknownOwner, Unknown, ""},
		{"{world_writable: false}", nil, Yes, ""},
		{"{world_writable: true}", nil, No, ""},
		{"{world_writable: true}", unknownOwner, Unknown, ""},
		{"{user: root}", func(l *Listener) { l.Owners = nil }, Unknown, "nobody is known"},
		{"{port: [80/tcp, 22/tcp]}", nil, Yes, "a port of this transport"},
		{"{port: 22/udp}", nil, No, "of another one"},
		{"{port: 22/udp}", func(l *Listener) { l.Transport = 0 }, Unknown, "of who knows which"},
		{"{port: 23/udp}", func(l *Listener) { l.Transport = 0 }, No, "whichever it is"},
		{"{shadows: true}", nil, No, ""},
		{"{shadows: true}", func(l *Listener) { l.Shadows = Yes }, Yes, ""},
		{"{shadows: false}", func(l *Listener) { l.Shadows = Unknown }, Unknown, "nobody compared"},
		{"{new: true}", nil, No, ""},
		{"{new: true}", func(l *Listener) { l.New = Yes }, Yes, ""},
		{"{new: false}", func(l *Listener) { l.New = Unknown }, Unknown, "nobody watched"},
		{"{changed: [scope-widened, owner-changed]}", nil, No, "that it did not is known"},
		{"{changed: scope-widened}", func(l *Listener) { l.Changed = "scope-widened" }, Yes, ""},
		{"{not: {changed: scope-widened}}", func(l *Listener) { l.Changed = "" }, Unknown, "nobody watched"},
		{"{older_than: 1h}", nil, Yes, "to the second"},
		{"{older_than: 3601s}", nil, No, "not yet"},
		{"{older_than: 1h}", func(l *Listener) { l.FirstSeen = time.Time{} }, Unknown, "nobody knows since when"},
		{"{older_than: 1h}", func(l *Listener) { l.now = time.Time{} }, Unknown, "nor which time it is"},
		{"{group: [adm, ssl-cert]}", nil, Yes, "one of several"},
		{"{group: wheel}", nil, No, ""},
		{"{group: wheel}", func(l *Listener) { l.Owners[0].Groups = []string{} }, No, "that there is none is known"},
		{"{group: adm}", unknownOwner, Unknown, ""},
		{"{capabilities: [CAP_BPF, CAP_NET_BIND_SERVICE]}", nil, Yes, "one of several"},
		{"{capabilities: CAP_BPF}", nil, No, ""},
		{"{capabilities: CAP_BPF}", func(l *Listener) { l.Owners[0].Capabilities = Capabilities{} }, Unknown, "not read"},
		{"{sha256: [" + strings.Repeat("0", 64) + ", " + strings.Repeat("AB", 32) + "]}", nil, Yes, "in capitals too"},
		{"{sha256: '" + strings.Repeat("1", 64) + "'}", nil, No, ""},
		{"{sha256: '" + strings.Repeat("1", 64) + "'}", unknownOwner, Unknown, "not hashed"},
		{"{image: 'nginx:*'}", nil, Yes, ""},
		{"{image: postgres}", nil, No, ""},
		{"{image: '*'}", unknownOwner, Unknown, ""},
		{"{owner: unknown}", nil, No, "its owner is seen"},
		{"{owner: unknown}", unknownOwner, Yes, "nobody may look"},
		{"{owner: [unknown, kernel]}", func(l *Listener) { l.Owners = nil }, Yes, "nobody was seen"},
		{"{owner: [unknown, kernel]}", func(l *Listener) { l.Owners[0].How = "kernel" }, Yes, "or the other one"},
		{"{not: {owner: unknown}}", nil, Yes, ""},

		{"{not: {port: 22}}", nil, No, ""},
		{"{not: {port: 23}}", nil, Yes, ""},
		{"{not: {port: 22, transport: udp}}", nil, Yes, "not all of it holds"},
		{"{not: {not: {port: 22}}}", nil, Yes, "not not"},
		{"{not: {user: root}}", unknownOwner, Unknown, "who knows?"},
		{"{not: {user: root, port: 23}}", unknownOwner, Yes, "whoever it is, the port is another"},
		{"{not: {user: root}, port: 23}", unknownOwner, No, "whoever it is, the port is another"},
		{"{user: root, port: 22}", unknownOwner, Unknown, "it depends on who it is"},
		{"{user: root, port: 23}", unknownOwner, No, "it does not depend on who it is"},
		{"{not: {user: root}}", func(l *Listener) { l.Owners = nil }, Unknown, "nobody is known, and nobody is not somebody else"},
	}
	answered := map[string]bool{}
	for _, test := range tests {
		l := sshd()
		if test.change != nil {
			test.change(&l)
		}
		l = l.owned()
		r := mustParse(t, withMatch(test.match)).rules[0]
		for _, c := range r.match.conditions {
			answered[c.key+" "+[]string{"unknown", "no", "yes"}[c.test(&l, &l.Owners[0])]] = true
		}
		for _, r.verdict = range []Verdict{Allow, Alert} { // alike, with one owner at most
			if got := r.holds(&l); got != test.want {
				t.Errorf("%s is %v, want %v (%s; %v)", test.match, got, test.want, test.reason, r.verdict)
			}
		}
	}
	for key := range conditionKeys() {
		if !answered[key+" yes"] || !answered[key+" no"] {
			t.Errorf("no row in which %s holds, or none in which it does not", key)
		}
	}
}

// TestPortless holds that nothing that is said of ports matches a socket that
// has none, whatever is asked for and whatever its number.
func TestPortless(t *testing.T) {
	about := []string{
		"{port: 0-65535}", "{port: 22}", "{range: [well-known, registered, dynamic]}", "{service: ssh}", "{risk: [low, medium, high, critical]}",
		"{state: [assigned, unassigned, reserved, no statement]}", "{privileged: true}", "{privileged: false}",
		"{ephemeral: true}", "{ephemeral: false}", "{authority: [root, creator-root, capability, sysctl, user namespace, inherited, unexplained]}",
	}
	for _, kind := range []registry.Transport{registry.Raw, registry.Packet, registry.VSOCK} {
		for _, match := range about {
			for _, change := range []func(*Listener){
				func(*Listener) {},
				func(l *Listener) { *l = Listener{Transport: kind, Owners: l.Owners} },
			} {
				l := sshd()
				l.Transport = kind
				change(&l)
				p := mustParse(t, rulesOf("alert", "a allow "+match))
				if r := p.rules[0]; r.holds(&l) != No {
					t.Errorf("%s is %v of a %v socket", match, r.holds(&l), kind)
				}
				key, _, _ := strings.Cut(match[1:], ":")
				want := key + " does not apply: a " + kind.String() + " socket has no port of IANA's"
				if got := p.Explain(l, time.Time{})[0].Failed; got != want {
					t.Errorf("%s of a %v socket: %q, want %q", match, kind, got, want)
				}
				if r := mustParse(t, withMatch("{not: "+match+"}")).rules[0]; r.holds(&l) != Yes {
					t.Errorf("not %s is %v of a %v socket", match, r.holds(&l), kind)
				}
			}
		}
	}
	for key, c := range conditionKeys() {
		if c.port != slices.ContainsFunc(about, func(match string) bool { return strings.HasPrefix(match, "{"+key+":") }) {
			t.Errorf("%s asks for a port: %t, and the rows say otherwise", key, c.port)
		}
	}
}

func TestOwners(t *testing.T) {
	root := Owner{How: "process", User: "root", Root: Yes}
	bob := Owner{How: "process", User: "bob", Root: No}
	nobody := Owner{How: "denied"}
	tests := []struct {
		match        string
		owners       []Owner
		allow, alert Answer
		reason       string
	}{
		{"{user: root}", []Owner{root, root}, Yes, Yes, "all of them"},
		{"{user: root}", []Owner{root, bob}, No, Yes, "one: an alert needs one, an allowance every owner"},
		{"{user: root}", []Owner{bob, bob}, No, No, "none"},
		{"{user: root}", []Owner{root, nobody}, Unknown, Yes, "the other may be anybody"},
		{"{user: root}", []Owner{bob, nobody}, No, Unknown, "the other may be root"},
		{"{user: root}", []Owner{nobody, nobody}, Unknown, Unknown, "nobody can be seen"},
		{"{user: root}", nil, Unknown, Unknown, "there is none"},
		{"{not: {user: root}}", []Owner{root, bob}, No, Yes, "one owner who is not root"},
		{"{not: {user: root}}", []Owner{bob, bob}, Yes, Yes, "no owner is root"},
		{"{not: {user: root}}", []Owner{bob, nobody}, Unknown, Yes, "the other may be root"},
		{"{not: {user: root}}", nil, Unknown, Unknown, "there is none"},
		{"{user: bob, root: true}", []Owner{root, bob}, No, No, "no single owner is both"},
		{"{port: 22}", []Owner{root, bob, nobody}, Yes, Yes, "owners do not matter"},
		{"{not: {port: 22}}", nil, No, No, "owners do not matter"},
	}
	for _, test := range tests {
		l := sshd()
		r := mustParse(t, withMatch(test.match)).rules[0]
		l.Owners = test.owners
		l = l.owned()
		for range l.Owners { // in every rotation
			l.Owners = append(l.Owners[1:len(l.Owners):len(l.Owners)], l.Owners[0])
			if r.verdict = Allow; r.holds(&l) != test.allow {
				t.Errorf("allow %s of %v: %v, want %v (%s)", test.match, l.Owners, r.holds(&l), test.allow, test.reason)
			}
			if r.verdict = Alert; r.holds(&l) != test.alert {
				t.Errorf("alert %s of %v: %v, want %v (%s)", test.match, l.Owners, r.holds(&l), test.alert, test.reason)
			}
		}
	}
}

func TestScopeOf(t *testing.T) {
	tests := []struct {
		address string
		want    Scope
		reason  string
	}{
		{"127.0.0.1", Loopback, ""},
		{"127.255.255.255", Loopback, "all of 127.0.0.0/8"},
		{"::1", Loopback, ""},
		{"::ffff:127.0.0.1", Loopback, "an IPv4-mapped address"},
		{"0.0.0.0", Wildcard, ""},
		{"::", Wildcard, ""},
		{"::ffff:0.0.0.0", Wildcard, "an IPv4-mapped address"},
		{"169.254.1.1", LinkLocal, ""},
		{"fe80::1%eth0", LinkLocal, "with a zone"},
		{"224.0.0.251", LinkLocal, "mDNS"},
		{"ff02::fb", LinkLocal, "mDNS"},
		{"ff01::1", Loopback, "of this host alone (RFC 4291 section 2.7)"},
		{"10.0.0.1", Private, ""},
		{"172.31.255.255", Private, ""},
		{"172.32.0.0", Public, "past 172.16.0.0/12"},
		{"192.168.0.1", Private, ""},
		{"100.64.0.1", Private, "RFC 6598"},
		{"100.128.0.0", Public, "past 100.64.0.0/10"},
		{"fd00::1", Private, ""},
		{"8.8.8.8", Public, ""},
		{"2001:db8::1", Public, ""},
		{"239.1.2.3", Public, "multicast beyond the link"},
	}
	for _, test := range tests {
		if got := ScopeOf(netip.MustParseAddr(test.address)); got != test.want {
			t.Errorf("%s is %v, want %v (%s)", test.address, got, test.want, test.reason)
		}
	}
	if got := ScopeOf(netip.Addr{}); got != UnknownScope || !got.Reachable() {
		t.Errorf("no address is %v", got)
	}
}
