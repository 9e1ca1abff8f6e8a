package listen

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/portaudit/portaudit/agent/listen/iphelper"
	"github.com/portaudit/portaudit/registry"
)

func TestSocketsOfRows(t *testing.T) {
	row := func(table iphelper.Table, local string, pid, tag uint32) iphelper.Row {
		return iphelper.Row{Table: table, Local: netip.MustParseAddrPort(local), PID: pid, ServiceTag: tag}
	}
	services := map[uint32][]string{1: {"Dnscache"}, 2: {"FDResPub", "SSDPSRV"}}
	owner := func(r iphelper.Row) Owner {
		return Owner{How: Process, PID: int(r.PID), Services: services[r.ServiceTag]}
	}
	got := socketsOfRows([]iphelper.Row{
		row(iphelper.UDP4, "0.0.0.0:5353", 900, 2), // two sockets of one svchost at one port (SO_REUSEADDR)
		row(iphelper.UDP4, "0.0.0.0:5353", 900, 1),
		row(iphelper.UDP4, "0.0.0.0:5353", 901, 0), // and one of another program
		row(iphelper.TCP6, "[fe80::1%12]:5357", 4, 0),
		row(iphelper.TCP4, "0.0.0.0:80", 77, 0),
		row(iphelper.TCP6, "[::]:80", 77, 0),
	}, owner)
	want := []Socket{
		{Transport: registry.TCP, Port: 80, Address: netip.IPv4Unspecified(), DualStack: No, Owners: []Owner{{How: Process, PID: 77}}},
		{Transport: registry.TCP, Port: 80, Address: netip.IPv6Unspecified(), Owners: []Owner{{How: Process, PID: 77}}},
		{Transport: registry.TCP, Port: 5357, Address: netip.MustParseAddr("fe80::1%12"), Owners: []Owner{{How: Process, PID: 4}}},
		{Transport: registry.UDP, Port: 5353, Address: netip.IPv4Unspecified(), DualStack: No, Owners: []Owner{
			{How: Process, PID: 900, Services: []string{"Dnscache", "FDResPub", "SSDPSRV"}},
			{How: Process, PID: 901},
		}},
	}
	for i := range want {
		want[i].Namespace = HostNamespace
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmpopts.IgnoreUnexported(Socket{}), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("sockets (-want +got):\n%s", diff)
	}
}

func TestOwnerOfRow(t *testing.T) {
	bind := time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC)
	hosted := []string{"Dnscache", "NlaSvc"}
	process := func(started time.Time) Owner { return Owner{How: Process, PID: 900, Started: started} }
	with := func(o Owner, services ...string) Owner { o.Services = services; return o }
	tests := []struct {
		reason  string
		created time.Time
		process Owner
		tagged  string
		want    Owner
	}{
		{"the service that made the bind", bind, process(bind.Add(-time.Hour)), "Dnscache", with(process(bind.Add(-time.Hour)), "Dnscache")},
		{"no tag: every service of the process", bind, process(bind.Add(-time.Hour)), "", with(process(bind.Add(-time.Hour)), hosted...)},
		{"bound as it started", bind, process(bind), "", with(process(bind), hosted...)},
		{"a process with a pid used again", bind, process(bind.Add(100)), "Dnscache", Owner{How: Raced, PID: 900}},
		{"the time of the bind is unknown", time.Time{}, process(bind), "", with(process(bind), hosted...)},
		{"the services of a process that may not be read are known", bind, Owner{How: Denied, PID: 900}, "", with(Owner{How: Denied, PID: 900}, hosted...)},
		{"a process that has ended hosts nothing", bind, Owner{How: Raced, PID: 900}, "Dnscache", Owner{How: Raced, PID: 900}},
	}
	for _, tt := range tests {
		got := ownerOfRow(iphelper.Row{PID: 900, Created: tt.created}, tt.process, tt.tagged, hosted)
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.reason, diff)
		}
	}
}

func TestSystemOwner(t *testing.T) {
	ports := map[registry.Port]bool{5985: true}
	tests := []struct {
		reason, want string
		table        iphelper.Table
		port         uint16
	}{
		{"WinRM's port is reserved with http.sys", "http.sys", iphelper.TCP6, 5985},
		{"SMB is of the kernel and no http.sys", "System", iphelper.TCP4, 445},
		{"http.sys reserves no port of UDP", "System", iphelper.UDP4, 5985},
	}
	for _, tt := range tests {
		row := iphelper.Row{Table: tt.table, Local: netip.AddrPortFrom(netip.IPv4Unspecified(), tt.port), PID: 4}
		got := systemOwner(row, ports)
		if got.How != Kernel || got.PID != 4 || got.Command != tt.want || (len(got.Services) == 1) != (tt.want == "http.sys") {
			t.Errorf("%s: got %+v, want %s", tt.reason, got, tt.want)
		}
	}
}

// The first of these are the reservations of a Windows that was just installed.
func TestParseURLPort(t *testing.T) {
	for prefix, want := range map[string]registry.Port{
		"http://+:80/Temporary_Listen_Addresses/": 80, "http://+:5985/wsman/": 5985, "http://*:5357/": 5357,
		"https://+:443/sra_{BA195980-CD49-458b-9E23-C84EE0ADCD75}/": 443, "http://*:2869/": 2869,
		"https://[::1]:8443/a:b/": 8443, "http://[fe80::1%12]:81/": 81, "http://www.example.com:82:10.0.0.1/": 82,
		"http://host:65535": 65535,
		// none
		"http://+/": 0, "http://+:0/": 0, "http://+:65536/": 0, "http://[::1]/": 0, "http://[::1": 0, "+:80/": 0, "": 0, "http://": 0, "http://+:-1/": 0,
	} {
		if got, ok := parseURLPort(prefix); ok != (want != 0) || ok && got != want {
			t.Errorf("parseURLPort(%q) = %d, %v, want %d", prefix, got, ok, want)
		}
	}
}

func TestParseBindingPort(t *testing.T) {
	for binding, want := range map[string]registry.Port{
		"0.0.0.0:443": 443, "[::]:8443": 8443, "www.example.com:444": 444, "": 0, "0.0.0.0": 0, "[::]": 0, "0.0.0.0:": 0, "a:0": 0,
	} {
		if got, ok := parseBindingPort(binding); ok != (want != 0) || ok && got != want {
			t.Errorf("parseBindingPort(%q) = %d, %v, want %d", binding, got, ok, want)
		}
	}
}

func TestIntegrityOf(t *testing.T) {
	for rid, want := range map[uint32]string{
		0: "untrusted", 0x1000: "low", 0x1fff: "low", 0x2000: "medium", 0x2100: "medium", 0x3000: "high", 0x4000: "system", 0x5000: "system",
	} {
		if got := integrityOf(rid); got != want {
			t.Errorf("integrityOf(%#x) = %q, want %q", rid, got, want)
		}
	}
}

func FuzzParseHTTPPorts(f *testing.F) {
	for _, s := range []string{"http://+:5985/wsman/", "https://[::1]:8443/", "http://*:80:10.0.0.1/", "0.0.0.0:443", "[::]:443"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, parse := range []func(string) (registry.Port, bool){parseURLPort, parseBindingPort} {
			if port, ok := parse(s); ok && port == 0 {
				t.Errorf("%q has port 0", s)
			}
		}
	})
}
