package registry

import (
	"strings"
	"testing"
)

func TestUsesTable(t *testing.T) {
	uses, err := parseUses(usesTSV)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range uses {
		if (u.Severity == "none") != (u.Class == "ordinary") {
			t.Errorf("%d/%s is %s and of severity %s", u.first, u.transport, u.Class, u.Severity)
		}
	}
}

func TestCommonUse(t *testing.T) {
	tests := []struct {
		port                  Port
		transport             Transport
		name, class, severity string
		reason                string
	}{
		{23, TCP, "Telnet", "cleartext", "critical", ""},
		{22, TCP, "", "", "", "IANA's name says it"},
		{9200, TCP, "Elasticsearch", "database", "critical", "IANA: wap-wsp"},
		{9200, UDP, "", "", "", "another transport"},
		{10250, TCP, "kubelet", "admin-noauth", "critical", "IANA: unassigned"},
		{10256, TCP, "kube-proxy health", "ordinary", "none", "harmless"},
		{5899, TCP, "", "", "", "below a range"},
		{5900, TCP, "VNC", "remote-access", "high", "first of a range"},
		{5910, TCP, "VNC", "remote-access", "high", "last of a range"},
		{5911, TCP, "", "", "", "past a range"},
		{6063, TCP, "X11", "remote-access", "high", "a display beyond the first"},
		{27018, TCP, "MongoDB", "database", "critical", "within a range"},
		{11211, UDP, "memcached", "amplifier", "critical", "both transports"},
		{51820, UDP, "WireGuard", "ordinary", "none", "in the dynamic range"},
		{0, TCP, "", "", "", "the first port"},
		{65535, DCCP, "", "", "", "the last port"},
		{80, 0, "", "", "", "no transport"},
	}
	for _, test := range tests {
		u, ok := CommonUse(test.port, test.transport)
		if u.Name != test.name || u.Class != test.class || u.Severity != test.severity || ok != (test.name != "") {
			t.Errorf("%d/%s is %+v, %v, want %s, %s, %s (%s)", test.port, test.transport, u, ok, test.name, test.class, test.severity, test.reason)
		}
	}
}

func TestParseUsesRefuses(t *testing.T) {
	const good = "5\ttcp\tname\tlegacy\tlow\tIt is old.\tvendor\n"
	if uses, err := parseUses("# x\nports\t\n" + good); err != nil || len(uses) != 1 {
		t.Fatalf("%v, %v", uses, err)
	}
	tests := []struct{ reason, data, want string }{
		{"a missing cell", "5\ttcp\n", "uses.tsv:1: 2 cells"},
		{"an empty cell", strings.Replace(good, "vendor", "", 1), "column 7"},
		{"a class", strings.Replace(good, "legacy", "old", 1), `unknown class "old"`},
		{"a severity", strings.Replace(good, "low", "med", 1), `unknown severity "med"`},
		{"no sentence", strings.Replace(good, "old.", "old", 1), "the reason is a sentence"},
		{"a port", strings.Replace(good, "5", "x", 1), `"x" is no port`},
		{"a transport", strings.Replace(good, "tcp", "ip", 1), `"ip" is no transport`},
		{"a port twice", good + strings.Replace(good, "5", "4-6", 1), "port 5/tcp is listed twice"},
	}
	for _, test := range tests {
		if _, err := parseUses(test.data); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.reason, err, test.want)
		}
	}
}
