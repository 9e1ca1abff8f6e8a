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

func TestWords(t *testing.T) {
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
