package policy

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/portaudit/portaudit/registry"
)

func defaultPolicy(t *testing.T) *Policy {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "configs", "policy.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return mustParse(t, string(data))
}

// on describes a listener of a Linux host with the usual ranges, by the
// registry that is built in.
func on(t *testing.T, transport, address string, port registry.Port, authority string, owners ...Owner) Listener {
	t.Helper()
	parsed, err := registry.ParseTransport(transport)
	if err != nil {
		t.Fatal(err)
	}
	facts := registry.Catalog{}.Describe(port, parsed)
	l := Listener{
		Transport: parsed, Port: port, Scope: ScopeOf(netip.MustParseAddr(address)), State: facts.State, Names: facts.Names,
		Privileged: truth(port < 1024), Ephemeral: truth(port >= 32768 && port <= 60999), Authority: authority, Owners: owners,
	}
	if facts.Common != nil && facts.Common.Severity != None.String() {
		if l.Risk, err = ParseSeverity(facts.Common.Severity); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

func by(user, executable string) Owner {
	return Owner{How: "process", User: user, Root: truth(user == "root"), Executable: executable, Deleted: No, WorldWritable: No}
}

// denied is an owner as seen without root: it is another user's process.
var denied = Owner{How: "denied"}

func change(o Owner, with func(*Owner)) Owner {
	with(&o)
	return o
}

func TestDefaultPolicyIsSilent(t *testing.T) {
	const any4, any6 = "0.0.0.0", "::"
	systemd := Owner{How: "socket unit", User: "root", Root: Yes, Executable: "/usr/lib/systemd/systemd", Deleted: No, WorldWritable: No, Unit: "x.socket"}
	kernel := Owner{How: "kernel", Root: Yes}
	windows := func(l Listener) Listener {
		l.Privileged, l.Ephemeral, l.Authority = No, truth(l.Port >= 49152), ""
		return l
	}
	svchost := Owner{How: "process", User: `NT AUTHORITY\SYSTEM`, Root: Yes, Executable: `C:\WINDOWS\system32\svchost.exe`, Deleted: No, WorldWritable: No}
	tests := []struct {
		reason   string
		listener Listener
	}{
		{"a DHCP client", on(t, "udp", any4, 68, "root", by("root", "/usr/sbin/dhclient"))},
		{"systemd-networkd as a DHCP client", on(t, "udp", "192.168.1.5", 68, "capability", by("systemd-network", "/usr/lib/systemd/systemd-networkd"))},
		{"a DHCPv6 client", on(t, "udp", "fe80::1", 546, "capability", by("systemd-network", "/usr/lib/systemd/systemd-networkd"))},
		{"a DHCP client of another user", on(t, "udp", any4, 68, "", denied)},
		{"avahi", on(t, "udp", any4, 5353, "", by("avahi", "/usr/sbin/avahi-daemon"))},
		{"mDNS of several programs", on(t, "udp", any6, 5353, "", by("avahi", "/usr/sbin/avahi-daemon"), by("bob", "/opt/google/chrome/chrome"))},
		{"mDNS of its group", on(t, "udp", "224.0.0.251", 5353, "", by("bob", "/opt/google/chrome/chrome"))},
		{"LLMNR", on(t, "udp", any4, 5355, "", by("systemd-resolve", "/usr/lib/systemd/systemd-resolved"))},
		{"LLMNR over TCP", on(t, "tcp", any4, 5355, "", by("systemd-resolve", "/usr/lib/systemd/systemd-resolved"))},
		{"a resolver for this host", on(t, "udp", "127.0.0.53", 53, "capability", by("systemd-resolve", "/usr/lib/systemd/systemd-resolved"))},
		{"a resolver for this host over TCP", on(t, "tcp", "127.0.0.1", 53, "creator-root", by("unbound", "/usr/sbin/unbound"))},
		{"chronyd for chronyc", on(t, "udp", "127.0.0.1", 323, "creator-root", by("_chrony", "/usr/sbin/chronyd"))},
		{"chronyd for chronyc elsewhere", on(t, "udp", "192.168.1.5", 323, "creator-root", by("_chrony", "/usr/sbin/chronyd"))},
		{"chronyd of another user", on(t, "udp", "::1", 323, "", denied)},
		{"a UDP client", on(t, "udp", any4, 40123, "", by("bob", "/usr/bin/curl"))},
		{"a UDP client on a port that is reserved", on(t, "udp", any4, 35354, "", by("bob", "/usr/bin/curl"))},
		{"a UDP client on a port that is assigned", on(t, "udp", any4, 34980, "", by("bob", "/usr/bin/curl"))},
		{"a UDP client on a dynamic port", on(t, "udp", any6, 55555, "", by("bob", "/usr/bin/curl"))},
		{"a UDP client beyond the range", on(t, "udp", any6, 62000, "", by("bob", "/usr/bin/curl"))},
		{"a UDP client of another user", on(t, "udp", any4, 40123, "", denied)},
		{"sshd", on(t, "tcp", any4, 22, "root", by("root", "/usr/sbin/sshd"))},
		{"sshd of another user", on(t, "tcp", any6, 22, "", denied)},
		{"nginx: master and workers on 80", on(t, "tcp", any4, 80, "root", by("root", "/usr/sbin/nginx"), by("www-data", "/usr/sbin/nginx"), by("www-data", "/usr/sbin/nginx"))},
		{"nginx: master and workers on 443", on(t, "tcp", any6, 443, "root", by("root", "/usr/sbin/nginx"), by("www-data", "/usr/sbin/nginx"))},
		{"sshd by socket activation", on(t, "tcp", any6, 22, "inherited", systemd)},
		{"a service that a socket unit passed its port to", on(t, "tcp", any4, 80, "inherited", systemd, by("web", "/usr/bin/web"))},
		{"the same, with systemd not seen", on(t, "tcp", any4, 80, "inherited", by("web", "/usr/bin/web"))},
		{"a lowered net.ipv4.ip_unprivileged_port_start", func() Listener {
			l := on(t, "tcp", any4, 80, "sysctl", by("web", "/usr/bin/web"))
			l.Privileged = No
			return l
		}()},
		{"a program that was upgraded", on(t, "tcp", any4, 22, "root", change(by("root", "/usr/sbin/sshd"), func(o *Owner) { o.Deleted = No }))},
		{"postfix for this host", on(t, "tcp", "127.0.0.1", 25, "root", by("root", "/usr/lib/postfix/sbin/master"))},
		{"PostgreSQL for this host", on(t, "tcp", "127.0.0.1", 5432, "", by("postgres", "/usr/lib/postgresql/15/bin/postgres"))},
		{"a development server for this host", on(t, "tcp", "127.0.0.1", 14555, "", by("bob", "/home/bob/app"))},
		{"a language server on a dynamic port of this host", on(t, "tcp", "127.0.0.1", 50505, "", by("bob", "/usr/bin/node"))},
		{"kube-proxy's health check", on(t, "tcp", any6, 10256, "", by("root", "/usr/local/bin/kube-proxy"))},
		{"Tailscale", on(t, "udp", any4, 41641, "", by("root", "/usr/sbin/tailscaled"))},
		{"WireGuard", on(t, "udp", any4, 51820, "", kernel)},
		{"Windows' RPC", windows(on(t, "tcp", any4, 49664, "", svchost))},
		{"rpc.statd on a port it was given", on(t, "udp", any4, 815, "creator-root", by("statd", "/sbin/rpc.statd"))},
		{"rpcbind on a port that is assigned", on(t, "udp", any4, 749, "creator-root", by("_rpc", "/usr/sbin/rpcbind"))},
	}
	p := defaultPolicy(t)
	for _, test := range tests {
		if d := p.Decide(test.listener); d.Verdict != Allow {
			t.Errorf("%s: %v", test.reason, findings(d))
		}
	}
}

// findings returns rule and severity of each finding.
func findings(d Decision) string {
	var list []string
	for _, f := range d.Findings {
		list = append(list, f.Rule+" "+f.Severity.String())
	}
	return strings.Join(list, ", ")
}

func TestDefaultPolicyAlerts(t *testing.T) {
	const any4 = "0.0.0.0"
	deleted := change(by("bob", "/home/bob/x"), func(o *Owner) { o.Deleted = Yes })
	temporary := change(by("bob", "/tmp/x"), func(o *Owner) { o.WorldWritable = Yes })
	sshd := by("root", "/usr/sbin/sshd")
	noRange := func(l Listener) Listener { l.Ephemeral = Unknown; return l }
	tests := []struct {
		reason   string
		listener Listener
		want     string
	}{
		{"a deleted program", on(t, "tcp", any4, 22, "root", sshd, deleted), "deleted-executable high"},
		{"a deleted program for this host", on(t, "tcp", "::1", 14555, "", deleted), "deleted-executable-local medium"},
		{"a program in /tmp", on(t, "tcp", any4, 8080, "", temporary), "world-writable-executable high"},
		{"a program in /tmp as a DHCP client", on(t, "udp", any4, 68, "root", temporary), "world-writable-executable high"},
		{"a program in /tmp for this host", on(t, "tcp", "127.0.0.1", 14555, "", temporary), "world-writable-executable-local medium"},
		{"80 of a user, unexplained", on(t, "tcp", any4, 80, "unexplained", by("bob", "/home/bob/web")), "privileged-port-unprivileged-owner high"},
		{"80 of a user, unexplained, for this host", on(t, "tcp", "127.0.0.1", 80, "unexplained", by("bob", "/home/bob/web")), "privileged-port-unprivileged-owner-local low"},
		{"root opened 80 and gave root up", on(t, "tcp", any4, 80, "creator-root", by("www-data", "/usr/sbin/lighttpd")), "privileged-port-non-root low"},
		{"80 by CAP_NET_BIND_SERVICE", on(t, "tcp", any4, 80, "capability", by("caddy", "/usr/bin/caddy")), "privileged-port-non-root low"},
		{"80 by a user namespace", on(t, "tcp", any4, 80, "user namespace", by("bob", "/usr/bin/rootlessport")), "privileged-port-non-root low"},
		{"Telnet", on(t, "tcp", any4, 23, "root", by("root", "/usr/sbin/in.telnetd")), "risky-service-critical critical"},
		{"the kubelet", on(t, "tcp", "::", 10250, "", by("root", "/usr/bin/kubelet")), "risky-service-critical critical"},
		{"Redis on a private address", on(t, "tcp", "10.0.0.1", 6379, "", by("redis", "/usr/bin/redis-server")), "risky-service-critical critical"},
		{"Redis of another user", on(t, "tcp", "10.0.0.1", 6379, "", denied), "risky-service-critical critical"},
		{"PostgreSQL", on(t, "tcp", any4, 5432, "", by("postgres", "/usr/lib/postgresql/15/bin/postgres")), "risky-service-high high"},
		{"NFS of the kernel", on(t, "tcp", any4, 2049, "", Owner{How: "kernel", Root: Yes}), "risky-service-high high"},
		{"the end point mapper of Windows", on(t, "tcp", any4, 135, "", by("root", `C:\Windows\System32\svchost.exe`)), "risky-service-high high"},
		{"a resolver for others", on(t, "udp", "192.168.1.5", 53, "root", by("root", "/usr/sbin/named")), "risky-service-medium medium"},
		{"chrony's port with another program", on(t, "udp", any4, 323, "root", by("root", "/opt/x")), "reserved-port low"},
		{"an unassigned port below 1024", on(t, "tcp", any4, 815, "root", by("root", "/opt/x")), "system-port-unassigned medium"},
		{"the same of a user", on(t, "tcp", any4, 815, "unexplained", by("bob", "/home/bob/x")), "privileged-port-unprivileged-owner high, system-port-unassigned medium"},
		{"another user's unassigned port below 1024", on(t, "tcp", any4, 815, "", denied), "system-port-unassigned medium"},
		{"an unassigned port", on(t, "tcp", any4, 14555, "", by("bob", "/home/bob/x")), "user-port-unassigned low"},
		{"another user's unassigned port", on(t, "tcp", any4, 14555, "", denied), "user-port-unassigned low"},
		{"an unassigned port over UDP", on(t, "udp", any4, 14555, "", by("bob", "/home/bob/x")), "user-port-unassigned low"},
		{"a port of the range for automatic binds", on(t, "tcp", any4, 40001, "", by("bob", "/home/bob/x")), "ephemeral-port-listener low"},
		{"the same where the range is not known", noRange(on(t, "tcp", any4, 40001, "", by("bob", "/home/bob/x"))), "user-port-unassigned low"},
		{"a dynamic port", on(t, "tcp", "::", 50505, "", by("bob", "/home/bob/x")), "dynamic-port-listener low"},
		{"a dynamic port of another user", on(t, "tcp", "::", 50505, "", denied), "dynamic-port-listener low"},
		{"a risky service on a dynamic port", on(t, "tcp", any4, 50070, "", by("hdfs", "/usr/bin/java")), "risky-service-high high, dynamic-port-listener low"},
		{"a reserved port", on(t, "tcp", any4, 1023, "root", by("root", "/opt/x")), "reserved-port low"},
		{"SCTP, of which IANA says nothing", on(t, "sctp", any4, 100, "root", by("root", "/opt/x")), "default medium"},
		{"SCTP on a dynamic port", on(t, "sctp", any4, 50505, "", by("root", "/opt/x")), "default medium"},
	}
	p := defaultPolicy(t)
	fired := []string{}
	for _, test := range tests {
		d := p.Decide(test.listener)
		if got := findings(d); got != test.want {
			t.Errorf("%s: %q, want %q", test.reason, got, test.want)
		}
		for _, f := range d.Findings {
			fired = append(fired, f.Rule)
		}
	}
	for _, r := range p.rules {
		if r.verdict == Alert && !slices.Contains(fired, r.id) {
			t.Errorf("no row makes the rule %s speak", r.id)
		}
		if r.verdict == Alert && (r.why == "" || r.fix == "") || r.verdict == Allow && r.reason == "" {
			t.Errorf("the rule %s does not say why, or what to do", r.id)
		}
	}
}

// TestDefaultPolicyOneWord holds, for every port, that a listener with a
// finding does not get the default's too, and that what a scan without root
// cannot see about owners makes no finding.
func TestDefaultPolicyOneWord(t *testing.T) {
	p := defaultPolicy(t)
	for _, transport := range []string{"tcp", "udp", "sctp", "dccp"} {
		for _, address := range []string{"0.0.0.0", "127.0.0.1"} {
			for port := registry.Port(0); port < 65535; port++ {
				l := on(t, transport, address, port, "", denied)
				d := p.Decide(l)
				for i, f := range d.Findings {
					if f.Rule == DefaultRule && i > 0 ||
						strings.HasPrefix(f.Rule, "privileged") || strings.HasPrefix(f.Rule, "deleted") || strings.HasPrefix(f.Rule, "world") {
						t.Fatalf("%d/%s on %s: %s", port, transport, address, findings(d))
					}
				}
				if address == "127.0.0.1" && d.Verdict != Allow {
					t.Fatalf("%d/%s on %s: %s", port, transport, address, findings(d))
				}
			}
		}
	}
}
