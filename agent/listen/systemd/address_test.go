package systemd

import (
	"net/netip"
	"testing"
)

func TestParseAddress(t *testing.T) {
	tests := []struct {
		reason, kind, text string
		protocol           int32
		transport, local   string
		cid, port          uint32
		refused            bool
	}{
		{reason: "IPv4", kind: "Stream", text: "127.0.0.1:631", transport: "tcp", local: "127.0.0.1:631"},
		{reason: "every IPv4 address", kind: "Datagram", text: "0.0.0.0:80", transport: "udp", local: "0.0.0.0:80"},
		{reason: "every address", kind: "Stream", text: "[::]:22", transport: "tcp", local: "[::]:22"},
		{reason: "a mapped address stays mapped", kind: "Stream", text: "[::ffff:127.0.0.1]:22", transport: "tcp", local: "[::ffff:127.0.0.1]:22"},
		{reason: "a zone by name", kind: "Stream", text: "[fe80::1]:22%eth0", transport: "tcp", local: "[fe80::1%eth0]:22"},
		{reason: "a zone by number", kind: "Stream", text: "[fe80::1]:22%3", transport: "tcp", local: "[fe80::1%3]:22"},
		{reason: "the last port", kind: "Stream", text: "[::]:65535", transport: "tcp", local: "[::]:65535"},
		{reason: "SCTP, one to one", kind: "Stream", text: "[::]:22", protocol: protocolSCTP, transport: "sctp", local: "[::]:22"},
		{reason: "SCTP, one to many", kind: "SequentialPacket", text: "[::]:22", protocol: protocolSCTP, transport: "sctp", local: "[::]:22"},
		{reason: "sequential packets are SCTP", kind: "SequentialPacket", text: "[::]:22", transport: "sctp", local: "[::]:22"},
		{reason: "UDP-Lite", kind: "Datagram", text: "[::]:22", protocol: protocolUDPLite, transport: "udplite", local: "[::]:22"},
		{reason: "Multipath TCP is listed as TCP", kind: "Stream", text: "[::]:22", protocol: protocolMPTCP, transport: "tcp", local: "[::]:22"},
		{reason: "TCP by name", kind: "Stream", text: "[::]:22", protocol: protocolTCP, transport: "tcp", local: "[::]:22"},
		{reason: "UDP by name", kind: "Datagram", text: "[::]:22", protocol: protocolUDP, transport: "udp", local: "[::]:22"},
		{reason: "DCCP", kind: "Stream", text: "[::]:22", protocol: protocolDCCP, transport: "dccp", local: "[::]:22"},
		{reason: "a protocol that is not known", kind: "Stream", text: "[::]:22", protocol: 99, local: "[::]:22"},
		{reason: "vsock", kind: "Stream", text: "vsock:2:1234", transport: "vsock", cid: 2, port: 1234},
		{reason: "vsock of every context", kind: "Stream", text: "vsock::1234", transport: "vsock", cid: AnyCID, port: 1234},
		{reason: "the last port of vsock", kind: "Stream", text: "vsock:4294967295:4294967295", transport: "vsock", cid: AnyCID, port: 1<<32 - 1},
		{reason: "a path", kind: "Stream", text: "/run/x.sock"},
		{reason: "a path like an address", kind: "Stream", text: "/[::]:22"},
		{reason: "an abstract name", kind: "Datagram", text: "@x"},
		{reason: "no name", kind: "SequentialPacket", text: "<unnamed>"},
		{reason: "nothing", kind: "Stream", text: ""},
		{reason: "netlink", kind: "Netlink", text: "kobject-uevent 1"},
		{reason: "a device", kind: "Special", text: "/dev/input/event0"},
		{reason: "a kind that is not known", kind: "Carrier Pigeon", text: "[::]:22"},
		{reason: "no port", kind: "Stream", text: "[::]", refused: true},
		{reason: "too great a port", kind: "Stream", text: "[::]:65536", refused: true},
		{reason: "no bracket", kind: "Stream", text: "::1:22", refused: true},
		{reason: "a name", kind: "Stream", text: "localhost:22", refused: true},
		{reason: "an empty zone", kind: "Stream", text: "[fe80::1]:22%", refused: true},
		{reason: "a zone of IPv4", kind: "Stream", text: "[127.0.0.1]:22%eth0", refused: true},
		{reason: "vsock without a port", kind: "Stream", text: "vsock:2", refused: true},
		{reason: "vsock with too great a port", kind: "Stream", text: "vsock:2:4294967296", refused: true},
		{reason: "vsock of a context that is no number", kind: "Stream", text: "vsock:host:1", refused: true},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			got, err := ParseAddress(tt.kind, tt.text, tt.protocol)
			if (err != nil) != tt.refused {
				t.Fatalf("error is %v", err)
			}
			want := Address{Kind: tt.kind, Text: tt.text, Transport: tt.transport, CID: tt.cid, Port: tt.port}
			if tt.local != "" {
				want.Local = netip.MustParseAddrPort(tt.local)
			}
			if got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, text := range []string{"[::]:22", "0.0.0.0:80", "[fe80::1]:22%eth0", "vsock::1", "vsock:2:1234", "/run/x.sock", "@x", "]%", "[::1%]:1"} {
		f.Add("Stream", text, int32(0))
		f.Add("SequentialPacket", text, int32(protocolSCTP))
	}
	f.Fuzz(func(t *testing.T, kind, text string, protocol int32) {
		a, err := ParseAddress(kind, text, protocol)
		if a.Kind != kind || a.Text != text {
			t.Fatalf("kind and text are %q and %q", a.Kind, a.Text)
		}
		switch a.Transport {
		case "":
		case "vsock":
			if a.Local.IsValid() {
				t.Errorf("vsock with an address: %+v", a)
			}
		default:
			if !a.Local.IsValid() {
				t.Errorf("no address: %+v", a)
			}
		}
		if err != nil && a != (Address{Kind: kind, Text: text}) {
			t.Errorf("refused, and yet %+v", a)
		}
	})
}
