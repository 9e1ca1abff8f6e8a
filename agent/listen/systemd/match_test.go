package systemd

import (
	"net/netip"
	"slices"
	"testing"
)

// unit makes a unit that listens on streams.
func unit(t *testing.T, name, device string, private bool, texts ...string) Unit {
	t.Helper()
	u := Unit{Name: name, Device: device, Private: private}
	for _, text := range texts {
		a, err := ParseAddress("Stream", text, 0)
		if err != nil {
			t.Fatal(err)
		}
		u.Listen = append(u.Listen, a)
	}
	return u
}

func TestMatch(t *testing.T) {
	units := []Unit{
		unit(t, "ssh", "", false, "[::]:22", "/run/ssh.sock"),
		unit(t, "web4", "", false, "0.0.0.0:80"),
		unit(t, "web6", "", false, "[::]:80", "[::1]:8080"),
		unit(t, "cups", "", false, "127.0.0.1:631"),
		unit(t, "mapped", "", false, "[::ffff:127.0.0.1]:632"),
		unit(t, "left", "eth0", false, "0.0.0.0:53"),
		unit(t, "right", "eth1", false, "0.0.0.0:53"),
		unit(t, "shared1", "", false, "[::]:443"),
		unit(t, "shared2", "", false, "[::]:443"),
		unit(t, "zone1", "", false, "[fe80::1]:22%eth0"),
		unit(t, "zone2", "", false, "[fe80::1]:22%eth1"),
		unit(t, "vm", "", false, "vsock::22", "vsock:2:23"),
		unit(t, "apart", "", true, "[::]:22"),
	}
	tests := []struct {
		reason    string
		transport string
		address   string
		port      uint32
		device    string
		private   bool
		want      []string
	}{
		{reason: "a wildcard", address: "::", port: 22, want: []string{"ssh"}},
		{reason: "the same in a namespace of its own", address: "::", port: 22, private: true, want: []string{"apart"}},
		{reason: "none in a namespace of its own", address: "127.0.0.1", port: 631, private: true},
		{reason: "each family has its own wildcard", address: "0.0.0.0", port: 80, want: []string{"web4"}},
		{reason: "also the other one", address: "::", port: 80, want: []string{"web6"}},
		{reason: "a wildcard does not stand for an address", address: "127.0.0.1", port: 22},
		{reason: "an address does not stand for a wildcard", address: "0.0.0.0", port: 631},
		{reason: "the second address of a unit", address: "::1", port: 8080, want: []string{"web6"}},
		{reason: "another port", address: "127.0.0.1", port: 6310},
		{reason: "another transport", transport: "udp", address: "127.0.0.1", port: 631},
		{reason: "a transport that is not known", transport: "-", address: "127.0.0.1", port: 631},
		{reason: "a mapped socket, an IPv4 unit", address: "::ffff:127.0.0.1", port: 631, want: []string{"cups"}},
		{reason: "an IPv4 socket, a mapped unit", address: "127.0.0.1", port: 632, want: []string{"mapped"}},
		{reason: "told apart by device", address: "0.0.0.0", port: 53, device: "eth1", want: []string{"right"}},
		{reason: "a device that was renamed", address: "0.0.0.0", port: 53, device: "lan0", want: []string{"left", "right"}},
		{reason: "a device where the unit has none", address: "::", port: 22, device: "eth0", want: []string{"ssh"}},
		{reason: "a shared port", address: "::", port: 443, want: []string{"shared1", "shared2"}},
		{reason: "told apart by zone", address: "fe80::1%eth1", port: 22, want: []string{"zone2"}},
		{reason: "a zone by number", address: "fe80::1%3", port: 22, want: []string{"zone1", "zone2"}},
		{reason: "vsock", transport: "vsock", port: 23, want: []string{"vm"}},
		{reason: "no such vsock", transport: "vsock", port: 80},
		{reason: "no address", port: 22},
		{reason: "a port of 17 bits is not cut", address: "::", port: 1<<16 + 22},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			e := Endpoint{Transport: tt.transport, Port: tt.port, Device: tt.device, Private: tt.private}
			switch tt.transport {
			case "":
				e.Transport = "tcp"
			case "-":
				e.Transport = ""
			}
			if tt.address != "" {
				e.Address = netip.MustParseAddr(tt.address)
			}
			var got []string
			for _, u := range Match(units, e) {
				got = append(got, u.Name)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
