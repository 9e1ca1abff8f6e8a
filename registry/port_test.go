package registry

import "testing"

func TestParsePort(t *testing.T) {
	tests := []struct {
		text, reason string
		want         Port
		ok           bool
	}{
		{"0", "the first", 0, true},
		{"22", "", 22, true},
		{"65535", "the last", 65535, true},
		{"65536", "past the last", 0, false},
		{"", "nothing", 0, false},
		{"010", "YAML 1.1 would take it as 8", 0, false},
		{"+22", "a sign", 0, false},
		{"-1", "a sign", 0, false},
		{"22.5", "no whole number", 0, false},
		{" 22", "a space", 0, false},
		{"0x16", "hexadecimal", 0, false},
		{"2_2", "an underscore", 0, false},
		{"٢٢", "digits of another script", 0, false},
	}
	for _, test := range tests {
		got, err := ParsePort(test.text)
		if got != test.want || (err == nil) != test.ok {
			t.Errorf("%q is %d, %v (%s)", test.text, got, err, test.reason)
		}
	}
}

func TestRangeOf(t *testing.T) {
	tests := []struct {
		port Port
		want string
	}{
		{0, "well-known"}, {255, "well-known"}, {1023, "well-known"},
		{1024, "registered"}, {49151, "registered"},
		{49152, "dynamic"}, {65535, "dynamic"},
	}
	for _, test := range tests {
		if got := RangeOf(test.port).String(); got != test.want {
			t.Errorf("%d is %s, want %s", test.port, got, test.want)
		}
	}
}

func TestAssigned(t *testing.T) {
	tests := []struct {
		transport Transport
		want      Transport
		reason    string
	}{
		{TCP, TCP, "assigns its own"},
		{DCCP, DCCP, "assigns its own"},
		{UDPLite, UDP, "RFC 3828 section 6"},
		{Raw, 0, "numbered by IP protocol"},
		{Packet, 0, "numbered by EtherType"},
		{VSOCK, 0, "no Internet transport"},
		{0, 0, "none"},
	}
	for _, test := range tests {
		if got := test.transport.Assigned(); got != test.want {
			t.Errorf("%s: got %s, want %s (%s)", test.transport, got, test.want, test.reason)
		}
	}
	var c Catalog
	if f := c.Describe(53, UDPLite); len(f.Names) == 0 || f.Names[0] != "domain" {
		t.Errorf("53/udplite is %v, want the names of 53/udp", f.Names)
	}
	if f := c.Describe(53, VSOCK); len(f.Names) != 0 || f.State == Assigned || f.Common != nil {
		t.Errorf("53/vsock is %+v, want nothing", f)
	}
}

func TestWords(t *testing.T) {
	for _, name := range TransportNames() {
		if got, err := ParseSocketTransport(name); got.String() != name || err != nil {
			t.Errorf("%s reads as %s, %v", name, got, err)
		}
	}
	if _, err := ParseTransport("raw"); err == nil {
		t.Error("IANA assigns no ports for raw sockets, but raw is read as a transport of the registry")
	}
	for _, transport := range Transports {
		if got, err := ParseTransport(transport.String()); got != transport || err != nil {
			t.Errorf("%s reads as %s, %v", transport, got, err)
		}
	}
	for _, r := range []Range{WellKnown, Registered, Dynamic} {
		if got, err := ParseRange(r.String()); got != r || err != nil {
			t.Errorf("%s reads as %s, %v", r, got, err)
		}
	}
	for _, s := range []State{NoStatement, Unassigned, Reserved, Assigned} {
		if got, err := ParseState(s.String()); got != s || err != nil {
			t.Errorf("%s reads as %s, %v", s, got, err)
		}
	}
	for _, word := range []string{"", "TCP", "unknown", "Assigned", "system"} {
		if got, err := ParseTransport(word); err == nil {
			t.Errorf("%q is transport %s", word, got)
		}
		if got, err := ParseRange(word); err == nil {
			t.Errorf("%q is range %s", word, got)
		}
		if got, err := ParseState(word); err == nil {
			t.Errorf("%q is state %s", word, got)
		}
	}
	if got := Transport(9).String() + Range(9).String() + State(9).String(); got != "unknownRange(9)State(9)" {
		t.Errorf("values without a name print as %s", got)
	}
}
