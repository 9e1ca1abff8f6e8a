package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/portaudit/portaudit/agent/alert"
)

// TestOutputTypes opens an output of each type, with all of its keys.
func TestOutputTypes(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("journald is of Linux alone")
	}
	s, err := parseConfig([]byte(`outputs:
- {type: journald, socket: /s}
- {type: syslog}
- {type: syslog, name: siem, address: "tls://siem.example:6514", server_name: x, facility: authpriv, enterprise: 12345, max_size: 64KiB, format: json}
- {type: syslog, name: udp, address: "udp://[::1]:514"}
`), "c.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range s.outputs.outputs {
		sender, err := o.open()
		if err != nil {
			t.Error(err)
			continue
		}
		got = append(got, fmt.Sprintf("%s %T", o.name, sender))
	}
	if want := "[journald *alert.Journal syslog *alert.Syslog siem *alert.Syslog udp *alert.Syslog]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

// TestOutputFiles holds what becomes of files that an output names.
func TestOutputFiles(t *testing.T) {
	skipWithoutPrivateFiles(t)
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	check := func(keys string) error {
		s, err := parseConfig([]byte("outputs:\n- {type: syslog, address: \"tls://a:1\", "+keys+"}\n"), "c.yaml")
		if err != nil {
			t.Fatal(err)
		}
		return checkOutputs(s)
	}
	tests := []struct{ reason, keys, want string }{
		{"one that is not there", "ca_file: /none/ca.pem", "c.yaml:2:3: output syslog: ca_file: "},
		{"one that has no certificate", "ca_file: '" + path + "'", "has no certificate in PEM"},
		{"a key that is none", "cert_file: '" + path + "', key_file: '" + path + "'", "output syslog: cert_file "},
	}
	for _, tt := range tests {
		if err := check(tt.keys); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", tt.reason, err, tt.want)
		}
	}
	if runtime.GOOS == "windows" {
		return // its rights are others
	}
	if err := os.Chmod(path, 0o666); err != nil { //nolint:gosec // that is what is tried
		t.Fatal(err)
	}
	if err := check("ca_file: " + path); err == nil || !strings.Contains(err.Error(), "can be written by every user") {
		t.Errorf("a file that everybody can change: %v", err)
	}
}

// skipWithoutPrivateFiles skips a test of files that others must not read.
func skipWithoutPrivateFiles(t *testing.T) {
	t.Helper()
	if os.Getenv("PORTAUDIT_TEST_WINE") != "" {
		t.Skip("Wine lets everybody read a new file, and keeps no access list that says otherwise")
	}
}

func TestParseOutputs(t *testing.T) {
	s, err := parseConfig([]byte("outputs:\n- type: stderr\n- {type: stderr, name: second, records: all, severity: high}\n"), "c.yaml")
	if err != nil {
		t.Fatal(err)
	}
	all := s.outputs.outputs
	if len(all) != 2 || all[0].name != "stderr" || all[0].selection != (alert.Selection{}) ||
		all[1].name != "second" || all[1].selection != (alert.Selection{All: true, Severity: "high"}) {
		t.Errorf("got %+v", all)
	}
	tests := []struct {
		reason, text string
		want         []string // the beginnings of the lines of the error
	}{
		{"no list", "outputs: stderr\n", []string{`c.yaml:1:10: outputs wants a list, such as "- type: stderr"`}},
		{"no mapping", "outputs:\n- stderr\n", []string{`c.yaml:2:3: an output wants keys, such as "type: stderr"`}},
		{"no type", "outputs:\n- name: a\n", []string{"c.yaml:2:3: an output wants a type: one of "}},
		{"an unknown type", "outputs:\n- type: pigeon\n", []string{"c.yaml:2:9: type wants one of "}},
		{"two of a name", "outputs:\n- type: stderr\n- type: stderr\n", []string{`c.yaml:3:3: two outputs are named "stderr": give one another name, such as "name: stderr-2"`}},
		{"an unknown key", "outputs:\n- type: stderr\n  colour: red\n", []string{`c.yaml:3:3: unknown key "colour": known here are name, records, severity, type`}},
		{"a key twice", "outputs:\n- {type: stderr, type: stderr}\n", []string{`c.yaml:2:18: "type" is given twice`}},
		{"a name that leads elsewhere", "outputs:\n- {type: stderr, name: ../x}\n", []string{`c.yaml:2:24: name wants small letters, digits, - and _, 32 at the most, not "../x"`}},
		{"a list for a name", "outputs:\n- {type: stderr, name: []}\n", []string{`c.yaml:2:24: name wants a text`}},
		{"an address that is none", "outputs:\n- {type: syslog, address: siem}\n", []string{`c.yaml:2:27: address wants unix:///path, tcp://host:port, tls://host:port or udp://host:port, not "siem"`}},
		{"a port too few", "outputs:\n- {type: syslog, address: \"tls://siem\"}\n", []string{`c.yaml:2:27: address wants`}},
		{"what is for TLS alone", "outputs:\n- {type: syslog, ca_file: /ca.pem}\n", []string{`c.yaml:2:27: ca_file is for an address that begins with tls://`}},
		{"a certificate without its key", "outputs:\n- {type: syslog, address: \"tls://a:1\", cert_file: /c}\n", []string{`c.yaml:2:3: cert_file and key_file`}},
		{"sizes and numbers", "outputs:\n- {type: syslog, max_size: 1KiB, enterprise: 0, facility: 3, format: xml}\n", []string{
			"c.yaml:2:59: facility wants one of kern,", `c.yaml:2:46: enterprise wants a whole number from 1 to 2147483647, not "0"`,
			`c.yaml:2:28: max_size: "1KiB" is not between 2048 and 262144 bytes`, `c.yaml:2:70: format wants one of text, json`,
		}},
		{"all at once", "outputs:\n- {type: stderr, records: some, severity: 5}\n- {type: stderr, name: b, x: 1}\ninterval: 0\n", []string{
			`c.yaml:2:27: records wants one of alerts, all, not "some"`,
			`c.yaml:2:43: severity wants one of low, medium, high, critical, not "5"`,
			`c.yaml:3:27: unknown key "x": known here are name, records, severity, type`,
			`c.yaml:4:11: interval wants`,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			_, err := parseConfig([]byte(tt.text), "c.yaml")
			if err == nil {
				t.Fatal("it was taken")
			}
			lines := strings.Split(err.Error(), "\n")
			if len(lines) != len(tt.want) {
				t.Fatalf("got\n%v", err)
			}
			for i, want := range tt.want {
				if !strings.HasPrefix(lines[i], want) {
					t.Errorf("got %s, want %s", lines[i], want)
				}
			}
		})
	}
}
