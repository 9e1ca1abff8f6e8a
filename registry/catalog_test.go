package registry

import (
	"slices"
	"strings"
	"testing"
)

func smallOverlay(t testing.TB) *Overlay {
	t.Helper()
	o, err := ParseOverlay(fixture(t, "overlay.yaml"), "overlay.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestOverlay(t *testing.T) {
	o := smallOverlay(t)
	billing, telemetry, game := Site{"billing-api", "payments team"}, Site{"Telemetry 2", ""}, Site{"game", ""}
	tests := []struct {
		port      Port
		transport Transport
		want      Site
		reason    string
	}{
		{8443, TCP, billing, "the transport is tcp unless given"},
		{8443, UDP, Site{}, "and nothing else"},
		{8442, TCP, Site{}, "the port below"},
		{8444, TCP, Site{}, "the port above"},
		{9000, TCP, telemetry, "one of a list"},
		{9000, UDP, telemetry, "on both of a list"},
		{9001, UDP, Site{}, "between the two of a list"},
		{9100, TCP, telemetry, "first of a range"},
		{9110, UDP, telemetry, "last of a range"},
		{9111, UDP, Site{}, "past a range"},
		{7000, UDP, game, "a range in quotes"},
		{7000, TCP, Site{}, ""},
		{0, TCP, Site{}, "the first port of all"},
		{65535, DCCP, Site{}, "the last port of all"},
	}
	for _, test := range tests {
		got, ok := o.Lookup(test.port, test.transport)
		if got != test.want || ok != (test.want != Site{}) {
			t.Errorf("%d/%s is %+v, %v, want %+v (%s)", test.port, test.transport, got, ok, test.want, test.reason)
		}
	}
	for _, empty := range []string{"", "# nothing yet\n", "services:\n", "services: []\n", "null\n"} {
		if o, err := ParseOverlay([]byte(empty), "x"); err != nil || len(o.sites) != 0 {
			t.Errorf("%q: %v, %v", empty, o, err)
		}
	}
}

func TestParseOverlayRefuses(t *testing.T) {
	one := func(service string) string { return "services:\n  - " + service + "\n" }
	tests := []struct{ reason, data, want string }{
		{"no mapping", "- 1\n", "o.yaml:1:1: expected a mapping with the keys services"},
		{"a text", "hello\n", "o.yaml:1:1: expected a mapping"},
		{"an unknown key at the top", "service: []\n", `o.yaml:1:1: unknown key "service": use services`},
		{"a second document", one("{ports: 1, name: a}") + "---\nx: 1\n", "o.yaml:3:1: a second document"},
		{"an empty second document", one("{ports: 1, name: a}") + "---\n", "a second document"},
		{"a key twice", "services: []\nservices: []\n", "o.yaml:2:1: services is given twice"},
		{"no list", "services: 8443\n", "o.yaml:1:11: services is a list"},
		{"no service", one("8443"), "o.yaml:2:5: expected a service such as"},
		{"an unknown key", one("{port: 1, name: a}"), `o.yaml:2:6: unknown key "port": use ports, transport, name, owner`},
		{"no ports", one("{name: a}"), "o.yaml:2:5: the service has no ports"},
		{"no name", one("{ports: 1}"), "o.yaml:2:5: the service has no name"},
		{"a fraction", one("{ports: 22.5, name: a}"), `o.yaml:2:13: "22.5" is no port`},
		{"octal", one("{ports: 010, name: a}"), `o.yaml:2:13: "010" is no port`},
		{"hexadecimal", one("{ports: 0x16, name: a}"), `"0x16" is no port`},
		{"too high", one("{ports: 65536, name: a}"), `"65536" is no port`},
		{"backwards", one("{ports: 9-8, name: a}"), "the range 9-8 runs backwards"},
		{"no ports in the list", one("{ports: [], name: a}"), "o.yaml:2:13: the list of ports is empty"},
		{"a list in a list", one("{ports: [[1]], name: a}"), "o.yaml:2:14: ports holds one value or a list"},
		{"nothing", one("{ports: , name: a}"), `"" is no port`},
		{"a transport", one("{ports: 1, transport: TCP, name: a}"), `o.yaml:2:27: "TCP" is no transport`},
		{"a number for a name", one("{ports: 1, name: 8443}"), "o.yaml:2:22: the name is a text: put it in quotes"},
		{"an empty name", one(`{ports: 1, name: ""}`), "the name is one line"},
		{"an escape sequence", one(`{ports: 1, name: "\e[2J"}`), "the name is one line"},
		{"a bidi control", one(`{ports: 1, name: "a\u202eb"}`), "the name is one line"},
		{"a long owner", one("{ports: 1, name: a, owner: " + strings.Repeat("x", maxOwner+1) + "}"), "the owner is one line"},
		{"an alias", one("&a {ports: 1, name: a}") + "  - *a\n", "o.yaml:3:5: expected a service"},
		{"one port twice", one("{ports: 1-9, name: a}") + "  - {ports: [5], name: b}\n", "o.yaml:3:5: port 5/tcp is named already at line 2"},
		{"a syntax error", "services: [\n", "o.yaml:"},
		{"a tab", "services:\n\t- 1\n", "o.yaml:2: "},
		{"too large", strings.Repeat("#", maxOverlay+1), "larger than 1 MiB"},
	}
	for _, test := range tests {
		o, err := ParseOverlay([]byte(test.data), "o.yaml")
		if err == nil || o != nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.reason, err, test.want)
		}
	}
	_, err := ParseOverlay([]byte(one("{ports: x, name: 1, colour: red}")+"  - {ports: 70000, transport: ip}\n"), "o.yaml")
	for _, want := range []string{"o.yaml:2:13", "o.yaml:2:22", "o.yaml:2:25", "o.yaml:3:13", "o.yaml:3:31", "o.yaml:3:5"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("not all errors at once: %s is missing in\n%v", want, err)
		}
	}
}

const servicesFile = "# a comment\r\n" +
	"http\t80/tcp\twww WWW # with aliases\r\n" +
	"http-again 80/tcp www\n" +
	"myservice  10250/tcp\n" +
	"junk\n" +
	"bad port/tcp\n" +
	"worse 70000/tcp\n" +
	"apple 1/ddp\n" +
	"late 80/sctp"

func TestServices(t *testing.T) {
	// A line longer than the limit is passed over and the next one is read.
	s, err := ParseServices(strings.NewReader("x"+strings.Repeat(" ", 3*maxServicesLine)+"9/tcp\n"+servicesFile), "services")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		port      Port
		transport Transport
		want      string
		reason    string
	}{
		{80, TCP, "http www WWW http-again", "the first line leads, the second adds"},
		{80, UDP, "", ""},
		{10250, TCP, "myservice", ""},
		{80, SCTP, "late", "the last line has no line feed"},
		{9, TCP, "", "on a line that is too long"},
		{1, TCP, "", "of a transport that has no ports of IANA's"},
	}
	for _, test := range tests {
		if got := strings.Join(s.Lookup(test.port, test.transport), " "); got != test.want {
			t.Errorf("%d/%s is %q, want %q (%s)", test.port, test.transport, got, test.want, test.reason)
		}
	}
	if _, err := ParseServices(strings.NewReader(strings.Repeat("# a line\n", maxServices/9+1)), "services"); err == nil {
		t.Error("a file over the limit was taken")
	}
	if _, err := ParseServices(newBounded(zeros{}), "services"); err == nil || !strings.Contains(err.Error(), "larger than 8 MiB") {
		t.Errorf("a file of one endless line: %v", err)
	}
}

func TestDescribe(t *testing.T) {
	services, err := ParseServices(strings.NewReader(servicesFile), "services")
	if err != nil {
		t.Fatal(err)
	}
	overlay, err := ParseOverlay([]byte("services:\n- {ports: [80, 10250, 60000], name: front}\n"), "o")
	if err != nil {
		t.Fatal(err)
	}
	full := Catalog{Embedded(), overlay, services}
	tests := []struct {
		c         Catalog
		port      Port
		transport Transport
		state     State
		names     string
		common    string
		reason    string
	}{
		{full, 80, TCP, Assigned, "front http www www-http http-again", "", "site, IANA, services file, each name once"},
		{full, 10250, TCP, Unassigned, "front myservice", "kubelet", "names assign nothing"},
		{full, 60000, TCP, NoStatement, "front", "", "nor in the dynamic range"},
		{Catalog{}, 80, TCP, Assigned, "http www www-http", "", "nothing but the embedded registry"},
		{Catalog{Services: services}, 10250, TCP, Unassigned, "myservice", "kubelet", "a services file only adds a name"},
		{Catalog{}, 9200, TCP, Assigned, "wap-wsp", "Elasticsearch", "common use stands beside the name"},
		{Catalog{}, 24, TCP, Assigned, "", "", "assigned without a name"},
		{Catalog{Registry: mustOpen(t, smallXML(t))}, 9200, TCP, Unassigned, "", "Elasticsearch", "an imported registry replaces the embedded one"},
	}
	for _, test := range tests {
		f := test.c.Describe(test.port, test.transport)
		common := ""
		if f.Common != nil {
			common = f.Common.Name
		}
		if f.State != test.state || !slices.Equal(f.Names, strings.Fields(test.names)) || common != test.common {
			t.Errorf("%d/%s is %s %v, commonly %q, want %s [%s], %q (%s)",
				test.port, test.transport, f.State, f.Names, common, test.state, test.names, test.common, test.reason)
		}
		if f.Names == nil || f.IANA == nil || f.Range != RangeOf(test.port) || (f.Site != nil) != (test.c.Overlay != nil) {
			t.Errorf("%d/%s: %+v", test.port, test.transport, f)
		}
	}
	if !full.Describe(255, TCP).Historic || full.Describe(256, TCP).Historic {
		t.Error("the historic range is 0 to 255")
	}
}

func TestCatalogByName(t *testing.T) {
	services, err := ParseServices(strings.NewReader(servicesFile), "services")
	if err != nil {
		t.Fatal(err)
	}
	c := Catalog{Overlay: smallOverlay(t), Services: services}
	tests := []struct{ name, want, reason string }{
		{"Billing-API", "8443/tcp", "the site's name"},
		{"telemetry 2", "9000/tcp 9000/udp 9100-9110/tcp 9100-9110/udp", "a site's name may have a space"},
		{"http", "80/tcp 80/udp 80/sctp", "IANA's, which the services file repeats"},
		{"myservice", "10250/tcp", "the services file's"},
		{"nosuchname", "", ""},
	}
	for _, test := range tests {
		var got []string
		for _, ref := range c.ByName(test.name) {
			got = append(got, ref.String())
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%q is at %v, want %s (%s)", test.name, got, test.want, test.reason)
		}
	}
}
