package policy

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

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
	parsed, err := registry.ParseSocketTransport(transport)
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

// without describes a socket that has no port of IANA's.
func without(transport registry.Transport, owners ...Owner) Listener {
	l := Listener{Transport: transport, Owners: owners}
	if transport == registry.Raw {
		l.Scope = Wildcard
	}
	return l
}

// reaching says of a listener from where it can be reached in effect.
func reaching(reach string, l Listener) Listener {
	l.Reach = reach
	return l
}

func by(user, executable string) Owner {
	return Owner{How: "process", User: user, Root: truth(user == "root"), Executable: executable, Deleted: No, Memory: No, Concealed: No, WorldWritable: No}
}

// denied is an owner as seen without root: it is another user's process.
var denied = Owner{How: "denied"}

// kernel is the owner of what no process holds: Linux itself, or Windows' System.
var kernel = Owner{How: "kernel", Root: Yes}

// noRanges describes a namespace whose rules for ports cannot be read: that of
// a container without root, or of a system that does not tell.
func noRanges(l Listener) Listener {
	l.Privileged, l.Ephemeral = Unknown, Unknown
	return l
}

// watched lets a listener have been there for so long, on a host that was watched.
func watched(age time.Duration, l Listener) Listener {
	l.FirstSeen, l.New, l.Changed = noon.Add(-age), No, "none"
	return l
}

func inHost(l Listener) Listener {
	l.Namespace = "host"
	return l
}

func isNew(l Listener) Listener {
	l = watched(time.Hour, l)
	l.New = Yes
	return l
}

func changed(word string, l Listener) Listener {
	l = watched(48*time.Hour, l)
	l.Changed = word
	return l
}

func shadowing(l Listener) Listener {
	l.Shadows = Yes
	return l
}

// noon is when the tests decide.
var noon = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func change(o Owner, with func(*Owner)) Owner {
	with(&o)
	return o
}

func TestDefaultPolicyIsSilent(t *testing.T) {
	const any4, any6 = "0.0.0.0", "::"
	systemd := Owner{How: "socket unit", User: "root", Root: Yes, Executable: "/usr/lib/systemd/systemd", Deleted: No, WorldWritable: No, Unit: "x.socket"}
	windows := func(l Listener) Listener {
		l.Privileged, l.Ephemeral, l.Authority = No, truth(l.Port >= 49152), ""
		return l
	}
	svchost := Owner{How: "process", User: `NT AUTHORITY\SYSTEM`, Root: Yes, Executable: `C:\WINDOWS\system32\svchost.exe`, Deleted: No, WorldWritable: No}
	tests := []struct {
		reason   string
		listener Listener
		rule     string // that allows it
	}{
		{"a DHCP client", on(t, "udp", any4, 68, "root", by("root", "/usr/sbin/dhclient")), "dhcp-client"},
		{"systemd-networkd as a DHCP client", on(t, "udp", "192.168.1.5", 68, "capability", by("systemd-network", "/usr/lib/systemd/systemd-networkd")), "dhcp-client"},
		{"a DHCPv6 client", on(t, "udp", "fe80::1", 546, "capability", by("systemd-network", "/usr/lib/systemd/systemd-networkd")), "dhcp-client"},
		{"a DHCP client of another user", on(t, "udp", any4, 68, "", denied), "dhcp-client"},
		{"avahi", on(t, "udp", any4, 5353, "", by("avahi", "/usr/sbin/avahi-daemon")), "name-discovery"},
		{"mDNS of several programs", on(t, "udp", any6, 5353, "", by("avahi", "/usr/sbin/avahi-daemon"), by("bob", "/opt/google/chrome/chrome")), "name-discovery"},
		{"mDNS of its group", on(t, "udp", "224.0.0.251", 5353, "", by("bob", "/opt/google/chrome/chrome")), "name-discovery"},
		{"LLMNR", on(t, "udp", any4, 5355, "", by("systemd-resolve", "/usr/lib/systemd/systemd-resolved")), "name-discovery"},
		{"LLMNR over TCP", on(t, "tcp", any4, 5355, "", by("systemd-resolve", "/usr/lib/systemd/systemd-resolved")), "registered-service"},
		{"a resolver for this host", on(t, "udp", "127.0.0.53", 53, "capability", by("systemd-resolve", "/usr/lib/systemd/systemd-resolved")), "this-host-only"},
		{"a resolver for this host over TCP", on(t, "tcp", "127.0.0.1", 53, "creator-root", by("unbound", "/usr/sbin/unbound")), "this-host-only"},
		{"chronyd for chronyc", on(t, "udp", "127.0.0.1", 323, "creator-root", by("_chrony", "/usr/sbin/chronyd")), "chrony-command"},
		{"chronyd for chronyc elsewhere", on(t, "udp", "192.168.1.5", 323, "creator-root", by("_chrony", "/usr/sbin/chronyd")), "chrony-command"},
		{"chronyd of another user", on(t, "udp", "::1", 323, "", denied), "this-host-only"},
		{"chronyd of another user elsewhere", on(t, "udp", "192.168.1.5", 323, "", denied), "nothing-further"},
		{"a UDP client", on(t, "udp", any4, 40123, "", by("bob", "/usr/bin/curl")), "udp-client"},
		{"a UDP client on a port that is reserved", on(t, "udp", any4, 35354, "", by("bob", "/usr/bin/curl")), "udp-client"},
		{"a UDP client on a port that is assigned", on(t, "udp", any4, 34980, "", by("bob", "/usr/bin/curl")), "udp-client"},
		{"a UDP client that stays", watched(23*time.Hour, on(t, "udp", any4, 40123, "", by("bob", "/usr/bin/curl"))), "udp-client"},
		{"a listener of this host that stays", watched(48*time.Hour, on(t, "tcp", "127.0.0.1", 40001, "", by("bob", "/usr/bin/node"))), "this-host-only"},
		{"a test on a port that it was given", watched(9*time.Minute, on(t, "tcp", any4, 40001, "", by("bob", "/home/bob/x"))), "nothing-further-ephemeral"},
		{"a test on a dynamic port", watched(9*time.Minute, on(t, "tcp", any4, 62001, "", by("bob", "/home/bob/x"))), "nothing-further-dynamic"},
		{"a test on a port that it was given, without a daemon that remembers", on(t, "tcp", any4, 40001, "", by("bob", "/home/bob/x")), "nothing-further-ephemeral"},
		{"a new listener of this host", isNew(on(t, "tcp", "127.0.0.1", 8080, "", by("bob", "/usr/bin/web"))), "this-host-only"},
		{"a new UDP client", isNew(on(t, "udp", any4, 40123, "", by("bob", "/usr/bin/curl"))), "udp-client"},
		{"a new listener behind the packet filter", isNew(reaching("blocked", on(t, "tcp", any4, 8080, "", by("bob", "/usr/bin/web")))), "out-of-reach"},
		{"another browser that answers mDNS", shadowing(on(t, "udp", any4, 5353, "", by("bob", "/opt/google/chrome/chrome"))), "name-discovery"},
		{"a resolver of this host beside one for all", shadowing(on(t, "udp", "127.0.0.53", 53, "capability", by("systemd-resolve", "/usr/lib/systemd/systemd-resolved"))), "this-host-only"},
		{"a script on port 80 of this host", on(t, "tcp", "127.0.0.1", 80, "root", by("root", "/usr/bin/python3.11")), "this-host-only"},
		{"a script on port 80 of a container", func() Listener {
			l := on(t, "tcp", any4, 80, "root", by("root", "/usr/bin/python3.11"))
			l.Namespace = "netns:web"
			return l
		}(), "registered-service"},
		{"an IDE's server for this host", on(t, "tcp", "127.0.0.1", 14555, "", by("bob", "/home/bob/.vscode-server/cli/servers/x/server/node")), "this-host-only"},
		{"a program of the user in his own folder", on(t, "tcp", any4, 8080, "", by("bob", "/home/bob/.cargo/bin/miniserve")), "registered-service"},
		{"the kubelet as root", on(t, "tcp", any6, 10256, "", by("root", "/usr/bin/kubelet")), "unregistered-but-common"},
		{"sshd on a user port", on(t, "tcp", any4, 2222, "", by("root", "/usr/sbin/sshd")), "registered-service"},
		{"Windows' services run as the system", windows(on(t, "tcp", any4, 5357, "", svchost)), "registered-service"},
		{"who has just gone is not unresolved", watched(time.Minute, on(t, "tcp", any4, 8080, "", Owner{How: "raced"})), "registered-service"},
		{"a UDP client on a dynamic port", on(t, "udp", any6, 55555, "", by("bob", "/usr/bin/curl")), "udp-client"},
		{"a UDP client beyond the range", on(t, "udp", any6, 62000, "", by("bob", "/usr/bin/curl")), "udp-dynamic"},
		{"a UDP client where the range is not known", noRanges(on(t, "udp", any4, 40123, "", by("bob", "/usr/bin/curl"))), "nothing-further"},
		{"a UDP client on a reserved port where the range is not known", noRanges(on(t, "udp", any4, 35354, "", by("bob", "/usr/bin/curl"))), "nothing-further"},
		{"a UDP client of another user where the range is not known", noRanges(on(t, "udp", any6, 40123, "", denied)), "nothing-further"},
		{"a UDP client of another user", on(t, "udp", any4, 40123, "", denied), "udp-client"},
		{"sshd", on(t, "tcp", any4, 22, "root", by("root", "/usr/sbin/sshd")), "registered-service"},
		{"sshd of another user", on(t, "tcp", any6, 22, "", denied), "registered-service"},
		{"nginx: master and workers on 80", on(t, "tcp", any4, 80, "root", by("root", "/usr/sbin/nginx"), by("www-data", "/usr/sbin/nginx"), by("www-data", "/usr/sbin/nginx")), "registered-service"},
		{"nginx: master and workers on 443", on(t, "tcp", any6, 443, "root", by("root", "/usr/sbin/nginx"), by("www-data", "/usr/sbin/nginx")), "registered-service"},
		{"sshd by socket activation", on(t, "tcp", any6, 22, "inherited", systemd), "registered-service"},
		{"a service that a socket unit passed its port to", on(t, "tcp", any4, 80, "inherited", systemd, by("web", "/usr/bin/web")), "registered-service"},
		{"the same, with systemd not seen", on(t, "tcp", any4, 80, "inherited", by("web", "/usr/bin/web")), "registered-service"},
		{"a lowered net.ipv4.ip_unprivileged_port_start", func() Listener {
			l := on(t, "tcp", any4, 80, "sysctl", by("web", "/usr/bin/web"))
			l.Privileged = No
			return l
		}(), "registered-service"},
		{"a program that was upgraded", on(t, "tcp", any4, 22, "root", change(by("root", "/usr/sbin/sshd"), func(o *Owner) { o.Deleted = No })), "registered-service"},
		{"postfix for this host", on(t, "tcp", "127.0.0.1", 25, "root", by("root", "/usr/lib/postfix/sbin/master")), "this-host-only"},
		{"PostgreSQL for this host", on(t, "tcp", "127.0.0.1", 5432, "", by("postgres", "/usr/lib/postgresql/15/bin/postgres")), "this-host-only"},
		{"a development server for this host", on(t, "tcp", "127.0.0.1", 14555, "", by("bob", "/home/bob/app")), "this-host-only"},
		{"a language server on a dynamic port of this host", on(t, "tcp", "127.0.0.1", 50505, "", by("bob", "/usr/bin/node")), "this-host-only"},
		{"kube-proxy's health check", on(t, "tcp", any6, 10256, "", by("root", "/usr/local/bin/kube-proxy")), "unregistered-but-common"},
		{"Tailscale", on(t, "udp", any4, 41641, "", by("root", "/usr/sbin/tailscaled")), "udp-client"},
		{"lockd of NFS, over UDP", on(t, "udp", any4, 40001, "", kernel), "kernel-service"},
		{"lockd of NFS, over TCP", on(t, "tcp", any6, 40001, "", kernel), "kernel-service"},
		{"a language server in the range for automatic binds", on(t, "tcp", "127.0.0.1", 40001, "", by("bob", "/usr/bin/node")), "this-host-only"},
		{"a registered service in the range for automatic binds", on(t, "tcp", any4, 34980, "", by("root", "/usr/sbin/ethercat")), "registered-service"},
		{"a port that takes no privilege needs no explanation", on(t, "tcp", any4, 8080, "unexplained", by("bob", "/usr/bin/web")), "registered-service"},
		{"a port that takes no privilege, for this host", on(t, "tcp", "127.0.0.1", 8080, "unexplained", by("bob", "/usr/bin/web")), "this-host-only"},
		{"a port that takes no privilege needs no root", on(t, "tcp", any4, 8080, "creator-root", by("bob", "/usr/bin/web")), "registered-service"},
		{"WireGuard", on(t, "udp", any4, 51820, "", kernel), "kernel-service"},
		{"Windows' RPC", windows(on(t, "tcp", any4, 49664, "", svchost)), "windows-rpc"},
		{"Windows' RPC of another user", windows(on(t, "tcp", any4, 49669, "", denied)), "nothing-further-dynamic"},
		{"Windows' RPC by a program whose file could not be seen", windows(on(t, "tcp", any4, 49669, "", Owner{How: "process"})), "nothing-further-dynamic"},
		{"Windows' System on a dynamic port", windows(on(t, "tcp", any4, 49670, "", kernel)), "kernel-service"},
		{"Windows' System where the range is not known", noRanges(on(t, "tcp", any4, 50001, "", kernel)), "kernel-service-dynamic"},
		{"Windows' System for devices", windows(on(t, "tcp", any4, 5357, "", kernel)), "registered-service"},
		{"rpc.statd on a port it was given", on(t, "udp", any4, 815, "creator-root", by("statd", "/sbin/rpc.statd")), "rpc-reserved-ports"},
		{"rpcbind as seen by another user", on(t, "udp", any4, 815, "", denied), "nothing-further"},
		{"rpcbind before anything is known of it", on(t, "udp", any4, 815, ""), "nothing-further"},
		{"rpcbind as seen from a container", on(t, "udp", any4, 815, "", Owner{How: "other pid namespace"}), "nothing-further"},
		{"dhcpcd and its packets", without(registry.Packet, by("root", "/usr/sbin/dhcpcd")), "nothing-further-raw"},
		{"dhclient and its packets", without(registry.Packet, by("root", "/usr/sbin/dhclient")), "nothing-further-raw"},
		{"NetworkManager and its packets", without(registry.Packet, by("root", "/usr/sbin/NetworkManager")), "nothing-further-raw"},
		{"systemd-networkd and its packets", without(registry.Packet, by("root", "/usr/lib/systemd/systemd-networkd")), "nothing-further-raw"},
		{"wpa_supplicant and its packets", without(registry.Packet, by("root", "/usr/sbin/wpa_supplicant")), "nothing-further-raw"},
		{"tcpdump and its packets", without(registry.Packet, by("root", "/usr/bin/tcpdump")), "nothing-further-raw"},
		{"ping and its packets", without(registry.Packet, by("root", "/usr/bin/ping")), "nothing-further-raw"},
		{"traceroute of Debian and its packets", without(registry.Packet, by("root", "/usr/bin/traceroute.db")), "nothing-further-raw"},
		{"avahi-autoipd and its packets", without(registry.Packet, by("root", "/usr/sbin/avahi-autoipd")), "nothing-further-raw"},
		{"udhcpc, which is busybox and its packets", without(registry.Packet, by("root", "/bin/busybox")), "nothing-further-raw"},
		{"ping and its answers", without(registry.Raw, by("bob", "/usr/bin/ping")), "nothing-further-raw"},
		{"systemd-networkd, which listens to routers", without(registry.Raw, by("systemd-network", "/usr/lib/systemd/systemd-networkd")), "nothing-further-raw"},
		{"a packet socket of another user", without(registry.Packet, denied), "nothing-further-raw"},
		{"a packet socket of dhcpcd and of one that could not be seen", without(registry.Packet, by("root", "/usr/sbin/dhcpcd"), denied), "nothing-further-raw"},
		{"a raw socket of the kernel", without(registry.Raw, kernel), "nothing-further-raw"},
		{"the SSH of a virtual machine for its host", without(registry.VSOCK, systemd), "virtual-machine-socket"},
		{"a client of UDP-Lite", on(t, "udplite", any4, 40123, "", by("bob", "/usr/bin/x")), "udp-client"},
		{"a client of UDP-Lite on a dynamic port", on(t, "udplite", any4, 62000, "", by("bob", "/usr/bin/x")), "udp-dynamic"},
		{"an unassigned port that the packet filter drops", reaching("blocked", on(t, "tcp", any4, 14555, "", by("bob", "/home/bob/x"))), "out-of-reach"},
		{"a port of a namespace to which no way leads", reaching("none", on(t, "tcp", any4, 815, "root", by("root", "/opt/x"))), "out-of-reach"},
		{"NTP that only this host reaches", reaching("host", on(t, "udp", any4, 123, "root", by("root", "/usr/sbin/ntpd"))), "out-of-reach"},
		{"rpcbind on a port that is assigned", on(t, "udp", any4, 749, "creator-root", by("_rpc", "/usr/sbin/rpcbind")), "rpc-reserved-ports"},
	}
	p := defaultPolicy(t)
	decided := map[string]bool{}
	for _, test := range tests {
		d := p.Decide(test.listener, noon)
		if d.Verdict != Allow || d.Rule != test.rule {
			t.Errorf("%s: %v by %s with %q, want allow by %s", test.reason, d.Verdict, d.Rule, findings(d), test.rule)
		}
		decided[d.Rule] = true
	}
	for _, r := range p.rules {
		if r.verdict == Allow && !decided[r.id] && r.id != "nothing-further-ephemeral" { // it follows its own alert
			t.Errorf("no row is decided by the rule %s", r.id)
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
	tests := []struct {
		reason   string
		listener Listener
		want     string
	}{
		{"a deleted program", on(t, "tcp", any4, 22, "root", sshd, deleted), "suspicious-executable-deleted high"},
		{"a deleted program for this host", on(t, "tcp", "::1", 14555, "", deleted), "suspicious-executable-deleted-local medium"},
		{"a program in memory", on(t, "tcp", any4, 22, "root", change(by("root", "/memfd:x"), func(o *Owner) { o.Deleted, o.Memory, o.WorldWritable = Unknown, Yes, Unknown })), "suspicious-executable-in-memory high"},
		{"a program in memory for this host", on(t, "tcp", "127.0.0.1", 14555, "", change(by("bob", "/memfd:x"), func(o *Owner) { o.Deleted, o.Memory, o.WorldWritable = Unknown, Yes, Unknown })), "suspicious-executable-in-memory high"},
		{"a process that is hidden", on(t, "tcp", "127.0.0.1", 22, "root", change(sshd, func(o *Owner) { o.Concealed = Yes })), "suspicious-process-concealed critical"},
		{"a socket in an io_uring", on(t, "tcp", any4, 22, "root", change(by("root", "/usr/sbin/sshd"), func(o *Owner) { o.How = "io_uring" })), "suspicious-socket-without-descriptor high"},
		{"a socket in a message under way", on(t, "udp", "127.0.0.1", 40001, "", Owner{How: "unheld"}), "suspicious-socket-without-descriptor high"},
		{"a program in /tmp", on(t, "tcp", any4, 8080, "", temporary), "suspicious-executable-world-writable high"},
		{"a program in /tmp as a DHCP client", on(t, "udp", any4, 68, "root", temporary), "suspicious-executable-world-writable high"},
		{"a program in /tmp for this host", on(t, "tcp", "127.0.0.1", 14555, "", temporary), "suspicious-executable-world-writable-local medium"},
		{"80 of a user, unexplained", on(t, "tcp", any4, 80, "unexplained", by("bob", "/home/bob/web")), "privileged-port-unprivileged-owner high"},
		{"80 of a user, unexplained, for this host", on(t, "tcp", "127.0.0.1", 80, "unexplained", by("bob", "/home/bob/web")), "privileged-port-unprivileged-owner-local low"},
		{"root opened 80 and gave root up", on(t, "tcp", any4, 80, "creator-root", by("www-data", "/usr/sbin/lighttpd")), "privileged-port-non-root low"},
		{"DHCP's port over TCP", on(t, "tcp", any4, 68, "creator-root", by("bob", "/usr/bin/x")), "privileged-port-non-root low"},
		{"a DHCP server that is not root", on(t, "udp", any4, 67, "capability", by("dnsmasq", "/usr/sbin/dnsmasq")), "privileged-port-non-root low"},
		{"chrony's port over TCP", on(t, "tcp", any4, 323, "creator-root", by("_chrony", "/usr/sbin/chronyd")), "privileged-port-non-root low"},
		{"chronyd as a server of time", on(t, "udp", any4, 123, "creator-root", by("_chrony", "/usr/sbin/chronyd")), "risky-service-medium medium, privileged-port-non-root low"},
		{"rpcbind", on(t, "tcp", any4, 111, "inherited", by("_rpc", "/usr/sbin/rpcbind")), "risky-service-high high"},
		{"the kubelet's number over SCTP", on(t, "sctp", any4, 10250, "", by("root", "/usr/bin/kubelet")), "default medium"},
		{"80 by CAP_NET_BIND_SERVICE", on(t, "tcp", any4, 80, "capability", by("caddy", "/usr/bin/caddy")), "privileged-port-non-root low"},
		{"80 by a user namespace", on(t, "tcp", any4, 80, "user namespace", by("bob", "/usr/bin/rootlessport")), "privileged-port-non-root low"},
		{"Telnet", on(t, "tcp", any4, 23, "root", by("root", "/usr/sbin/in.telnetd")), "risky-service-critical critical"},
		{"the kubelet", on(t, "tcp", "::", 10250, "", by("root", "/usr/bin/kubelet")), "risky-service-critical critical"},
		{"Redis on a private address", on(t, "tcp", "10.0.0.1", 6379, "", by("redis", "/usr/bin/redis-server")), "risky-service-critical critical"},
		{"Redis of another user", on(t, "tcp", "10.0.0.1", 6379, "", denied), "risky-service-critical critical"},
		{"PostgreSQL", on(t, "tcp", any4, 5432, "", by("postgres", "/usr/lib/postgresql/15/bin/postgres")), "risky-service-high high"},
		{"NFS of the kernel", on(t, "tcp", any4, 2049, "", kernel), "risky-service-high high"},
		{"the end point mapper of Windows", on(t, "tcp", any4, 135, "", by("root", `C:\Windows\System32\svchost.exe`)), "risky-service-high high"},
		{"a resolver for others", on(t, "udp", "192.168.1.5", 53, "root", by("root", "/usr/sbin/named")), "risky-service-medium medium"},
		{"chrony's port with another program", on(t, "udp", any4, 323, "root", by("root", "/opt/x")), "reserved-port low"},
		{"an unassigned port below 1024", on(t, "tcp", any4, 815, "root", by("root", "/opt/x")), "system-port-unassigned medium"},
		{"the same of a user", on(t, "tcp", any4, 815, "unexplained", by("bob", "/home/bob/x")), "privileged-port-unprivileged-owner high, system-port-unassigned medium"},
		{"another user's unassigned port below 600", on(t, "tcp", any4, 285, "", denied), "system-port-unassigned medium"},
		{"rpcbind's port, which another program holds too", on(t, "udp", any4, 815, "root", by("_rpc", "/usr/sbin/rpcbind"), by("root", "/opt/x")), "system-port-unassigned medium"},
		{"rpcbind's port, which a program that cannot be seen holds too", on(t, "udp", any4, 815, "", by("_rpc", "/usr/sbin/rpcbind"), denied), "system-port-unassigned medium"},
		{"chronyd's port, which another program holds too", on(t, "udp", any4, 323, "root", by("_chrony", "/usr/sbin/chronyd"), by("root", "/opt/x")), "reserved-port low"},
		{"an unassigned port", on(t, "tcp", any4, 14555, "", by("bob", "/home/bob/x")), "user-port-unassigned low"},
		{"another user's unassigned port", on(t, "tcp", any4, 14555, "", denied), "user-port-unassigned low"},
		{"an unassigned port over UDP", on(t, "udp", any4, 14555, "", by("bob", "/home/bob/x")), "user-port-unassigned low"},
		{"a port of the range for automatic binds", watched(10*time.Minute, on(t, "tcp", any4, 40001, "", by("bob", "/home/bob/x"))), "ephemeral-port-listener low"},
		{"the same where the range is not known", noRanges(on(t, "tcp", any4, 40001, "", by("bob", "/home/bob/x"))), "user-port-unassigned low"},
		{"a dynamic port", watched(10*time.Minute, on(t, "tcp", "::", 50505, "", by("bob", "/home/bob/x"))), "dynamic-port-reachable low"},
		{"another program on a dynamic port beside Windows' RPC", watched(time.Hour, on(t, "tcp", any4, 49669, "", by("bob", `C:\Users\bob\svchost.exe`))), "dynamic-port-reachable low"},
		{"a UDP socket that stays for a day", watched(24*time.Hour, on(t, "udp", any4, 40123, "", by("bob", "/usr/bin/x"))), "udp-ephemeral low"},
		{"a new listener", isNew(on(t, "tcp", any4, 8080, "", by("bob", "/usr/bin/web"))), "new-listener medium"},
		{"a loopback listener that was opened to all", changed("scope-widened", on(t, "tcp", any4, 8080, "", by("bob", "/usr/bin/web"))), "scope-widened high"},
		{"another program on a web port", changed("owner-changed", on(t, "tcp", any4, 443, "root", by("root", "/usr/sbin/x"))), "owner-changed-privileged high"},
		{"another program on a user port", changed("owner-changed", on(t, "tcp", any4, 8080, "", by("bob", "/usr/bin/web"))), "owner-changed medium"},
		{"another program on a user port of this host", changed("owner-changed", on(t, "tcp", "127.0.0.1", 8080, "", by("bob", "/usr/bin/web"))), "owner-changed medium"},
		{"a user who takes what was meant for a service", shadowing(on(t, "tcp", "10.0.0.1", 8080, "", by("bob", "/home/bob/x"))), "shadowed-bind high"},
		{"a netcat on the port of SSH", inHost(on(t, "tcp", any4, 22, "root", by("root", "/usr/bin/nc.openbsd"))), "service-mismatch medium"},
		{"a script on the web's port", inHost(on(t, "tcp", any4, 80, "root", by("root", "/usr/bin/python3.11"))), "service-mismatch medium"},
		{"sshd on the web's port", inHost(on(t, "tcp", any4, 443, "root", sshd)), "service-mismatch-daemon medium"},
		{"a web server on the port of SSH", inHost(on(t, "tcp", any4, 22, "root", by("root", "/usr/sbin/nginx"))), "service-mismatch-daemon medium"},
		{"root on a user port", on(t, "tcp", any4, 8080, "", by("root", "/opt/app/server")), "root-on-user-port low"},
		{"a hidden program", on(t, "tcp", any4, 8080, "", by("bob", "/var/lib/.x/server")), "suspicious-executable-hidden medium"},
		{"a hidden program for this host", on(t, "tcp", "127.0.0.1", 8080, "", by("bob", "/home/bob/.x/server")), "suspicious-executable-hidden-local low"},
		{"who stays without a name", watched(11*time.Minute, on(t, "tcp", any4, 8080, "", Owner{How: "raced"})), "owner-unresolved medium"},
		{"a port below the dynamic ones of the kernel, fixed", on(t, "tcp", any4, 14555, "", kernel), "user-port-unassigned low"},
		{"an unassigned port over UDP where the range is known not to hold it", on(t, "udp", any4, 14556, "", by("bob", "/home/bob/x")), "user-port-unassigned low"},
		{"a reserved port over UDP", on(t, "udp", any4, 1023, "root", by("root", "/opt/x")), "reserved-port low"},
		{"a dynamic port of another user", watched(time.Hour, on(t, "tcp", "::", 50505, "", denied)), "dynamic-port-reachable low"},
		{"a risky service on a dynamic port", watched(time.Hour, on(t, "tcp", any4, 50070, "", by("hdfs", "/usr/bin/java"))), "risky-service-high high, dynamic-port-reachable low"},
		{"a reserved port", on(t, "tcp", any4, 1023, "root", by("root", "/opt/x")), "reserved-port low"},
		{"another program that reads all frames", without(registry.Packet, by("root", "/opt/x")), "raw-or-packet-socket low"},
		{"the same beside dhcpcd", without(registry.Packet, by("root", "/usr/sbin/dhcpcd"), by("root", "/opt/x")), "raw-or-packet-socket low"},
		{"another program that reads ICMP", without(registry.Raw, by("root", "/opt/x")), "raw-or-packet-socket low"},
		{"a program in /tmp that calls itself tcpdump", without(registry.Packet, change(by("root", "/tmp/tcpdump"), func(o *Owner) { o.WorldWritable = Yes })), "suspicious-executable-world-writable high"},
		{"a deleted program with a vsock", without(registry.VSOCK, deleted), "suspicious-executable-deleted high"},
		{"Redis behind the packet filter", reaching("blocked", on(t, "tcp", any4, 6379, "", by("redis", "/usr/bin/redis-server"))), "risky-service-out-of-reach low"},
		{"Redis that the packet filter lets some reach", reaching("restricted", on(t, "tcp", any4, 6379, "", by("redis", "/usr/bin/redis-server"))), "risky-service-critical critical"},
		{"Redis in a container", reaching("namespace", on(t, "tcp", any4, 6379, "", by("redis", "/usr/bin/redis-server"))), "risky-service-critical critical"},
		{"a deleted program behind the packet filter", reaching("blocked", on(t, "tcp", any4, 22, "root", sshd, deleted)), "suspicious-executable-deleted high"},
		{"an unassigned port that published address translation leads to", reaching("published", on(t, "tcp", any4, 14555, "", by("bob", "/home/bob/x"))), "user-port-unassigned low"},
		{"SCTP, of which IANA says nothing", on(t, "sctp", any4, 100, "root", by("root", "/opt/x")), "default medium"},
		{"SCTP on a dynamic port", on(t, "sctp", any4, 50505, "", by("root", "/opt/x")), "default medium"},
	}
	p := defaultPolicy(t)
	fired := []string{}
	for _, test := range tests {
		d := p.Decide(test.listener, noon)
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

// TestDefaultPolicyOfTheHost holds that there is a rule for each state of a host,
// and none for a healthy one.
func TestDefaultPolicyOfTheHost(t *testing.T) {
	p := defaultPolicy(t)
	if found := p.Judge(nil); len(found) > 0 {
		t.Errorf("a healthy host: %+v", found)
	}
	for _, word := range States() {
		found := p.Judge([]State{{Word: word, Subject: "x", Detail: "this is so"}})
		if len(found) != 1 || !strings.Contains(found[0].Message, "this is so") || found[0].Why == "" || found[0].Fix == "" {
			t.Errorf("%s: %+v", word, found)
		}
	}
}

// TestDefaultPolicyOneWord holds, for every port, that a listener with a
// finding does not get the default's too, and that what a scan without root
// cannot see about owners makes no finding.
func TestDefaultPolicyOneWord(t *testing.T) {
	p := defaultPolicy(t)
	for _, transport := range []string{"tcp", "udp", "sctp", "dccp", "udplite"} {
		for _, address := range []string{"0.0.0.0", "127.0.0.1"} {
			for port := range 65536 {
				l := on(t, transport, address, registry.Port(port), "", denied)
				d := p.Decide(l, noon)
				for i, f := range d.Findings {
					if f.Rule == DefaultRule && i > 0 ||
						strings.HasPrefix(f.Rule, "privileged") || strings.HasPrefix(f.Rule, "suspicious") {
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
