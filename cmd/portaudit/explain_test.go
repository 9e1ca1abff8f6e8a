package main

import (
	"strings"
	"testing"
	"time"

	"github.com/portaudit/portaudit/agent"
	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/registry"
)

func TestParseQuestion(t *testing.T) {
	packet := agent.Listener{Transport: "packet", Port: 0x88cc, Interface: "eth0", ID: "0123456789abcdef"}
	ssh := agent.Listener{Transport: "tcp", Port: 22, Address: "0.0.0.0"}
	dhcp := agent.Listener{Transport: "udp", Port: 68, Address: "0.0.0.0", Interface: "eth0"}
	lite := agent.Listener{Transport: "udplite", Port: 68, Address: "::"}
	tests := []struct {
		question string
		about    string // transports of those that it is about
	}{
		{"22", "tcp"},
		{"22/tcp", "tcp"},
		{"22/udp", ""},
		{"68", "udp udplite"},
		{"68/udp", "udp udplite"}, // UDP-Lite has the ports of UDP
		{"ssh", "tcp"},
		{"0.0.0.0:68", "udp"},
		{"0.0.0.0%eth0:68", "udp"},
		{"127.0.0.1:22", ""},
		{"0x88cc/packet", "packet"},
		{"0X88CC/PACKET", "packet"},
		{"35020/packet", "packet"},
		{"35020/tcp", ""},
		{"35020/raw", ""},
		{"22/vsock", ""},
		{"0123456789abcdef", "packet"},
	}
	for _, tt := range tests {
		q, err := parseQuestion(&registry.Catalog{}, tt.question)
		if err != nil {
			t.Errorf("%s: %v", tt.question, err)
		}
		var about []string
		for _, l := range []agent.Listener{ssh, dhcp, lite, packet} {
			if q.about(l) {
				about = append(about, l.Transport)
			}
		}
		if got := strings.Join(about, " "); got != tt.about {
			t.Errorf("%s is about %q, want %q", tt.question, got, tt.about)
		}
	}
	for _, bad := range []string{"", "-1/raw", "0x/packet", "4294967296/vsock", "1e3/vsock", "/raw", "22/", "65536", "22/tpc"} {
		if q, err := parseQuestion(&registry.Catalog{}, bad); err == nil {
			t.Errorf("%q is taken for %+v", bad, q)
		}
	}
}

func TestDescribeOwner(t *testing.T) {
	pid, login, yes := 7, uint32(1000), true
	at := time.Date(2026, 11, 23, 4, 0, 0, 0, time.Local)
	tests := []struct {
		reason string
		owner  audit.Owner
		want   string
	}{
		{"nothing", audit.Owner{}, "unknown"},
		{"a service", audit.Owner{
			PID: &pid, Executable: "/usr/sbin/nginx", Command: "nginx", User: "root", Started: &at, Unit: "nginx.service", SHA256: "ab12",
			Package: &audit.Package{Manager: "dpkg", Name: "nginx", Version: "1.28"},
			OwnerDetail: &audit.OwnerDetail{
				Parents:      []audit.Process{{PID: 2, Command: "sh"}, {PID: 1}},
				LoginUID:     &login,
				Groups:       []audit.Group{{GID: 33, Name: "www-data"}, {GID: 998, Name: "998"}},
				Capabilities: &audit.Capabilities{Effective: []string{"CAP_CHOWN", "CAP_NET_RAW"}},
			},
		}, "nginx (pid 7, user root), running /usr/sbin/nginx of the dpkg package nginx 1.28 (SHA-256 ab12), of nginx.service, " +
			"since 2026-11-23 04:00:00, started by sh (2) under unknown (1), for the login of user 1000, in the groups www-data 998, with CAP_CHOWN CAP_NET_RAW"},
		{"a package without a version", audit.Owner{Executable: "/x", Package: &audit.Package{Manager: "apk", Name: "x"}}, "x, running /x of the apk package x"},
		{"in a container with a name", audit.Owner{Executable: "/x", Container: strings.Repeat("c", 64), ContainerName: "web", Image: "nginx:1.29"},
			"x, running /x, in container web (cccccccccccc) of nginx:1.29"},
		{"in a container", audit.Owner{Executable: "/x", Container: strings.Repeat("c", 64)}, "x, running /x, in container cccccccccccc"},
		{"a file that was never there", audit.Owner{Executable: "/memfd:x", Deleted: &yes, Memory: true}, "memfd:x, running /memfd:x (it was never on disk)"},
		{"a file that is too large to hash", audit.Owner{Executable: "/x", OwnerDetail: &audit.OwnerDetail{Unhashed: "too large"}}, "x, running /x (SHA-256 unknown: the program is larger than hash_limit)"},
		{"a file that is not hashed yet", audit.Owner{Executable: "/x", OwnerDetail: &audit.OwnerDetail{Unhashed: "pending"}}, "x, running /x (SHA-256 unknown: pending)"},
		{"of Windows", audit.Owner{Executable: `C:\x.exe`, Services: []string{"Dnscache", "WinRM"}, OwnerDetail: &audit.OwnerDetail{Integrity: "system"}},
			`x.exe, running C:\x.exe, which hosts Dnscache, WinRM, of integrity system`},
	}
	for _, tt := range tests {
		if got := describeOwner(tt.owner); got != tt.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.reason, got, tt.want)
		}
	}
}

// TestDeviceSentence holds that a device is told of where a socket is bound to one.
func TestDeviceSentence(t *testing.T) {
	tests := []struct {
		reason   string
		listener agent.Listener
		want     bool
	}{
		{"bound to a device", agent.Listener{Transport: "tcp", Address: "0.0.0.0", Port: 8004, Interface: "lo"}, true},
		{"frames of one device", agent.Listener{Transport: "packet", Port: 0x88cc, Interface: "lo"}, true},
		{"bound to none", agent.Listener{Transport: "tcp", Address: "127.0.0.1", Port: 8004}, false},
		{"machines are no devices", agent.Listener{Transport: "vsock", Port: 1024, Interface: "cid 3"}, false},
	}
	for _, tt := range tests {
		var b strings.Builder
		writeListener(&b, screen{}, agent.Explanation{Listener: tt.listener}, false, "")
		if got := strings.Contains(b.String(), "  It is bound to the device lo.\n"); got != tt.want || strings.Contains(b.String(), "device cid") {
			t.Errorf("%s: told %t, want %t:\n%s", tt.reason, got, tt.want, b.String())
		}
	}
}

func TestReachSentence(t *testing.T) {
	tests := []struct {
		listener agent.Listener
		want     string
	}{
		{agent.Listener{Scope: "loopback"}, "It listens on a loopback address: other hosts cannot reach it."},
		{agent.Listener{Scope: "wildcard"}, "It listens on all addresses: every host that a firewall lets through can reach it."},
		{agent.Listener{Scope: "private"}, "It listens on a private address: other hosts may reach it."},
		{agent.Listener{Scope: "unknown"}, "On which address it listens is not known: other hosts may reach it."},
		{agent.Listener{Transport: "packet", Scope: "unknown"}, "It takes frames from the link, before any packet filter."},
		{agent.Listener{Transport: "vsock", Scope: "unknown"}, "It is for virtual machines and their host: no network leads to it."},
		{agent.Listener{Scope: "wildcard", Exposure: agent.Exposure{Reach: "blocked", Sentence: "A rule drops it."}}, "Reach: blocked. A rule drops it."},
	}
	for _, tt := range tests {
		if got := reachSentence(tt.listener); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}
