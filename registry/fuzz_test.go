package registry

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// checkTable holds what any accepted input must fulfil: it packs, opens, answers
// every port and goes through the TSV unchanged.
func checkTable(t *testing.T, table *Table) {
	blob := table.Pack()
	r, err := Open(blob)
	if err != nil {
		t.Fatalf("Open of what Pack made: %v", err)
	}
	checkRegistry(t, r)
	var tsv strings.Builder
	if err := table.WriteTSV(&tsv, ""); err != nil {
		t.Fatal(err)
	}
	again, err := ParseTSV(strings.NewReader(tsv.String()), "again.tsv")
	if err != nil {
		t.Fatalf("%v in\n%s", err, tsv.String())
	}
	if !bytes.Equal(again.Pack(), blob) {
		t.Fatalf("the TSV changed the table:\n%s", tsv.String())
	}
}

func checkRegistry(t *testing.T, r *Registry) {
	for _, transport := range Transports {
		for p := 0; p < portCount; p += 13 {
			e := r.Lookup(Port(p), transport)
			if len(e.Description())+len(e.Note())+len(e.Unauthorized()) > len(e.text) || e.State > Assigned {
				t.Fatalf("%d/%s is %+v", p, transport, e)
			}
		}
	}
	r.Info()
	for _, name := range r.Lookup(80, TCP).Names() {
		if !slices.Contains(r.ByName(name), Ref{80, 80, TCP}) && len(r.ByName(name)) == 0 {
			t.Fatalf("80/tcp is %s, which is nowhere", name)
		}
	}
}

// located fails where an error does not begin with the file's name.
func located(t *testing.T, err error) {
	for line := range strings.Lines(err.Error()) {
		if !strings.HasPrefix(line, "f:") && !strings.HasPrefix(line, "and ") {
			t.Fatalf("no file is named in %q", err)
		}
	}
}

func FuzzParseXML(f *testing.F) {
	f.Add(fixture(f, "small.xml"))
	f.Add([]byte(xmlOf("<record><name>a</name><number>1-9</number></record>")))
	f.Add([]byte(xmlOf("")))
	f.Fuzz(func(t *testing.T, data []byte) {
		table, err := parseXML(bytes.NewReader(data), "f", 0)
		if err != nil {
			if table != nil || !strings.HasPrefix(err.Error(), "f:") {
				t.Fatalf("no file is named in %q", err)
			}
			return
		}
		checkTable(t, table)
	})
}

func FuzzParseCSV(f *testing.F) {
	f.Add(fixture(f, "small.csv"))
	f.Add([]byte("Service Name,Port Number,Transport Protocol,Description,Registration Date,Assignment Notes\r\na,1,tcp,\"x\ny\",2026-08-17,\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		table, err := parseCSV(bytes.NewReader(data), "f", 0)
		if err != nil {
			if table != nil || !strings.HasPrefix(err.Error(), "f:") {
				t.Fatalf("no file is named in %q", err)
			}
			return
		}
		checkTable(t, table)
	})
}

func FuzzParseTSV(f *testing.F) {
	var tsv strings.Builder
	if err := smallXML(f).WriteTSV(&tsv, "seed"); err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(tsv.String()))
	f.Add([]byte(tsvHead + "5-6\t-\treserved\ta b\tx\\n\\\\y\tz\t\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		table, err := ParseTSV(bytes.NewReader(data), "f")
		if err != nil {
			located(t, err)
			return
		}
		checkTable(t, table)
	})
}

// FuzzOpen damages a good blob at a place, and gives it the checksum it needs to
// get past the first check. The place counts from the end of the checksum.
func FuzzOpen(f *testing.F) {
	good := smallXML(f).Pack()
	f.Add(uint32(0), []byte{}, uint32(0))
	f.Add(uint32(4), []byte{0xff, 0xff, 0xff, 0xff}, uint32(0))
	f.Add(uint32(indexesAt-headerAt), []byte{3}, uint32(0))
	f.Add(uint32(runsAt-headerAt), []byte{9, 0}, uint32(1))
	f.Add(uint32(len(good)-headerAt-700), []byte{9, 0}, uint32(0))
	f.Fuzz(func(t *testing.T, at uint32, value []byte, cut uint32) {
		blob := slices.Clone(good[:len(good)-int(cut)%(len(good)-headerAt)])
		copy(blob[headerAt+int(at)%(len(blob)-headerAt):], value)
		if r, err := Open(reseal(blob)); err == nil {
			checkRegistry(t, r)
		}
	})
}

func FuzzParseOverlay(f *testing.F) {
	f.Add(fixture(f, "overlay.yaml"))
	f.Add([]byte("services: [{ports: [1, 2-3], transport: [tcp, dccp], name: a, owner: b}]\n---\n"))
	f.Add([]byte("services: &a [*a]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		o, err := ParseOverlay(data, "f")
		if err != nil {
			located(t, err)
			return
		}
		for _, s := range o.sites {
			if site, ok := o.Lookup(s.last, s.transport); !ok || site != s.Site {
				t.Fatalf("%d/%s is %+v, want %+v", s.last, s.transport, site, s.Site)
			}
			if len(o.ByName(s.Name)) == 0 {
				t.Fatalf("%q is nowhere", s.Name)
			}
		}
	})
}

func FuzzParseServices(f *testing.F) {
	f.Add([]byte(servicesFile))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := ParseServices(bytes.NewReader(data), "f")
		if err != nil {
			t.Fatal(err) // no content is refused, and the inputs are small
		}
		for key, names := range s.names {
			for _, name := range names {
				if !isName(name) || !slices.Contains(s.ByName(name), Ref{key.port, key.port, key.transport}) {
					t.Fatalf("%d/%s is %q", key.port, key.transport, name)
				}
			}
		}
	})
}
