package registry

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func fixture(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func smallXML(t testing.TB) *Table {
	t.Helper()
	table, err := parseXML(bytes.NewReader(fixture(t, "small.xml")), "small.xml", 1)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func mustOpen(t testing.TB, table *Table) *Registry {
	t.Helper()
	r, err := Open(table.Pack())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestParseXML(t *testing.T) {
	r := mustOpen(t, smallXML(t))
	compareWithXML(t, r, fixture(t, "small.xml"))
	if info := r.Info(); info.Date != "2026-08-17" {
		t.Errorf("the date is %s", info.Date)
	}
	tests := []struct {
		port      Port
		transport Transport
		want
	}{
		{80, TCP, want{"assigned", []string{"http", "www", "www-http"}, "World Wide Web HTTP",
			"Defined TXT keys: u=<username>\nwww: This is a duplicate of the \"http\" service.", ""}},
		{888, UDP, want{"unassigned", []string{"alone"}, "Only in use", "This entry records an unassigned but widespread use", ""}},
		{1521, TCP, want{"assigned", []string{"ncube-lm"}, "nCube License Manager", "", "Unauthorized Use Known on port 1521"}},
		{6010, TCP, want{"assigned", []string{"narrow"}, "a port within a range", "", ""}},
		{6011, TCP, want{"assigned", []string{"x11"}, "X Window System", "", ""}},
		{8077, TCP, want{"reserved", nil, "Reserved", "De-Assigned on 2024-01-05 [Jo_Doe] by [RFC9900].", ""}},
		{9007, TCP, want{"assigned", []string{"blank"}, "without a transport", "", ""}},
		{9007, UDP, want{"assigned", []string{"blank", "more"}, "without a transport", "", ""}},
	}
	for _, test := range tests {
		if e := r.Lookup(test.port, test.transport); !entryEquals(e, test.want) {
			t.Errorf("%d/%s is %s %v %q %q %q", test.port, test.transport, e.State, e.Names(), e.Description(), e.Note(), e.Unauthorized())
		}
	}
	if refs := r.ByName("no-port"); len(refs) != 0 {
		t.Errorf("a service without a port is at %v", refs)
	}
}

// TestCSVEqualsXML holds the two forms of the same rows against each other.
func TestCSVEqualsXML(t *testing.T) {
	data := fixture(t, "small.csv")
	if !bytes.Contains(data, []byte("World Wide\nWeb")) || !bytes.Contains(data, []byte("HTTP,,,,2003-09,,,,\"This is a duplicate of the \"\"http\"\" service.\"\r\n")) {
		t.Fatal("the fixture has lost its bare line feeds or its CRLF")
	}
	for _, prefix := range []string{"", byteOrderMark} {
		table, err := parseCSV(strings.NewReader(prefix+string(data)), "small.csv", 1)
		if err != nil {
			t.Fatal(err)
		}
		if table.date != "2026-08-17" {
			t.Errorf("the date is %s, not the newest in the file", table.date)
		}
		a, b := mustOpen(t, table), mustOpen(t, smallXML(t))
		for _, transport := range Transports {
			for p := range portCount {
				// Compare as records: the two blobs order their texts alike.
				if got, want := a.Lookup(Port(p), transport), b.Lookup(Port(p), transport); got != want {
					t.Errorf("%d/%s is %+v from the CSV, %+v from the XML", p, transport, got, want)
				}
			}
		}
	}
}

// xmlOf returns a document with rows, which begin at line 3.
func xmlOf(rows string) string {
	return `<registry xmlns="http://www.iana.org/assignments" id="service-names-port-numbers">` +
		"\n<updated>2026-08-17</updated>\n" + rows + "</registry>\n"
}

func TestParseXMLRefuses(t *testing.T) {
	const good = "<record><name>a</name><protocol>tcp</protocol><number>1</number></record>\n"
	tests := []struct{ reason, data, want string }{
		{"empty", "", "f.xml:1: the file is empty"},
		{"spaces alone", " \n\n", "f.xml:3: the file is empty"},
		{"a comment alone", "<!-- x -->", "the file is empty"},
		{"cut short", strings.TrimSuffix(xmlOf(good), "</registry>\n"), "f.xml:4: the file is cut short"},
		{"cut within a row", xmlOf("<record><name>a"), "element <name> closed by </registry>"},
		{"another registry", strings.Replace(xmlOf(good), "service-names-", "other-", 1), `f.xml:1: this is <registry id="other-port-numbers">, not IANA's registry`},
		{"another namespace", strings.Replace(xmlOf(good), "iana.org", "example.org", 1), "not IANA's registry"},
		{"a web page", "<!DOCTYPE html><html></html>", "f.xml:1: a document type declaration"},
		{"a page without a declaration", "<html></html>", `this is <html id="">`},
		{"no date", strings.Replace(xmlOf(good), "<updated>2026-08-17</updated>", "", 1), "no <updated>"},
		{"a bad date", strings.Replace(xmlOf(good), "08-17", "8-17", 1), `f.xml:2: the date "2026-8-17"`},
		{"a second document", xmlOf(good) + "<registry/>", "f.xml:5: a second document"},
		{"another encoding", `<?xml version="1.0" encoding="latin1"?>` + xmlOf(good), "encoding \"latin1\""},
		{"an entity", xmlOf("<record><name>&lol;</name></record>"), "invalid character entity"},
		{"a port too high", xmlOf(strings.Replace(good, ">1<", ">65536<", 1)), `f.xml:3: "65536" is no port`},
		{"a port with a sign", xmlOf(strings.Replace(good, ">1<", ">-1<", 1)), `f.xml:3: "" is no port`},
		{"a port in words", xmlOf(strings.Replace(good, ">1<", ">one<", 1)), `f.xml:3: "one" is no port`},
		{"a range backwards", xmlOf(strings.Replace(good, ">1<", ">9-1<", 1)), "f.xml:3: the range 9-1 runs backwards"},
		{"a dynamic port", xmlOf(strings.Replace(good, ">1<", ">49152<", 1)), "f.xml:3: port 49152 lies in the dynamic range"},
		{"a range into the dynamic one", xmlOf(strings.Replace(good, ">1<", ">49000-50000<", 1)), "f.xml:3: port 50000 lies in the dynamic range"},
		{"a transport", xmlOf(strings.Replace(good, "tcp", "tpc", 1)), `f.xml:3: "tpc" is no transport`},
		{"a name with a space", xmlOf(strings.Replace(good, ">a<", ">a b<", 1)), `f.xml:3: "a b" is no service name`},
		{"nothing said", xmlOf("<record><protocol>tcp</protocol><number>1</number></record>"), "f.xml:3: neither a name nor a description"},
		{"two numbers", xmlOf(strings.Replace(good, "<number>", "<number>1</number><number>", 1)), "f.xml:3: two <number>"},
		{"a text too long", xmlOf(strings.Replace(good, "<number>", "<note>"+strings.Repeat("x", maxText+1)+"</note><number>", 1)), "f.xml:3: a text is longer than"},
		{"all at once", xmlOf(strings.Replace(good, "tcp", "tpc", 1) + strings.Replace(good, ">1<", ">x<", 1)), "f.xml:4: \"x\" is no port"},
		{"no rows", xmlOf(""), "f.xml: 0 rows with a port"},
	}
	for _, test := range tests {
		table, err := parseXML(strings.NewReader(test.data), "f.xml", 1)
		if err == nil || table != nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.reason, err, test.want)
		}
	}
}

func TestParseCSVRefuses(t *testing.T) {
	const head = "Service Name,Port Number,Transport Protocol,Description,Registration Date,Assignment Notes\r\n"
	const good = "a,1,tcp,x,2026-08-17,\r\n"
	tests := []struct{ reason, data, want string }{
		{"empty", "", "f.csv:1: the file is empty"},
		{"other columns", "a,b\r\n1,2\r\n", `f.csv:1: not IANA's CSV: no column is titled ["service name"`},
		{"a web page", "404 not found\n", "f.csv:1: not IANA's CSV"},
		{"cut within quotes", head + good + "b,2,tcp,\"x\ny", "f.csv:4: extraneous or missing \" in quoted-field"},
		{"cut within a row", head + good + "b,2,tc", "f.csv:3: wrong number of fields"},
		{"a bad port", head + "a,1,tcp,\"x\ny\",2026-08-17,\r\nb,70000,tcp,x,,\r\n", `f.csv:4: "70000" is no port`},
		{"a bare quote", head + "a\"b,1,tcp,x,,\r\n", "f.csv:2: bare \""},
		{"no dates", head + "a,1,tcp,x,,\r\n", "f.csv: no row has a date"},
		{"all at once", head + good + "b,2,tpc,x,,\r\nc,3-1,tcp,x,,\r\n", "f.csv:4: the range 3-1 runs backwards"},
		{"no rows", head, "f.csv: no row has a date"},
		{"too few rows", head + good, "f.csv: 1 rows with a port"},
	}
	for _, test := range tests {
		table, err := parseCSV(strings.NewReader(test.data), "f.csv", 2)
		if err == nil || table != nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.reason, err, test.want)
		}
	}
}

func TestImportTooFewRows(t *testing.T) {
	for _, name := range []string{"small.xml", "small.csv"} {
		_, err := Import(filepath.Join("testdata", name))
		if err == nil || !strings.Contains(err.Error(), "rows with a port, where IANA's registry has more than 10000") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// manyRows is a registry of a size that Import takes.
func manyRows() string {
	var rows strings.Builder
	for p := range minRows {
		rows.WriteString("<record><name>s" + strconv.Itoa(p) + "</name><protocol>tcp</protocol><number>" + strconv.Itoa(p) + "</number></record>\n")
	}
	return xmlOf(rows.String())
}

func zipped(t *testing.T, s string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(s)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestImport(t *testing.T) {
	dir := t.TempDir()
	whole := manyRows()
	var csv strings.Builder
	csv.WriteString("Service Name,Port Number,Transport Protocol,Description,Registration Date,Assignment Notes\r\n")
	for p := range minRows {
		csv.WriteString("s" + strconv.Itoa(p) + "," + strconv.Itoa(p) + ",tcp,x,2026-08-17,\r\n")
	}
	compressed := zipped(t, whole)
	damaged := slices.Clone(compressed)
	damaged[len(damaged)-6] ^= 1 // within the checksum that ends the file
	tests := []struct {
		reason string
		data   []byte
		want   string // of the error, empty for none
	}{
		{"XML", []byte(whole), ""},
		{"XML after a byte order mark", []byte(byteOrderMark + whole), ""},
		{"XML compressed", compressed, ""},
		{"CSV", []byte(csv.String()), ""},
		{"CSV compressed", zipped(t, csv.String()), ""},
		{"a wrong checksum of the compression", damaged, "gzip: invalid checksum"},
		{"compressed and cut short", compressed[:len(compressed)/2], "the file is cut short"},
		{"no compression behind its mark", []byte{0x1f, 0x8b, 0}, "unexpected EOF"},
	}
	for _, test := range tests {
		path := filepath.Join(dir, "data.txt")
		if err := os.WriteFile(path, test.data, 0o600); err != nil {
			t.Fatal(err)
		}
		table, err := Import(path)
		switch {
		case test.want == "" && err != nil:
			t.Errorf("%s: %v", test.reason, err)
		case test.want == "":
			if e := mustOpen(t, table).Lookup(9999, TCP); e.Name() != "s9999" {
				t.Errorf("%s: 9999/tcp is %q", test.reason, e.Name())
			}
		case err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), path):
			t.Errorf("%s: %v, want %q", test.reason, err, test.want)
		}
	}
	if _, err := Import(filepath.Join(dir, "absent")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an absent file: %v", err)
	}
}

func TestSaveLoad(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data", "dir")
	if _, err := Load(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("before an import: %v", err)
	}
	table := smallXML(t)
	for range 2 { // the second time over the first
		if err := Save(dir, table); err != nil {
			t.Fatal(err)
		}
	}
	r, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if e := r.Lookup(6010, TCP); e.Name() != "narrow" {
		t.Errorf("6010/tcp is %q", e.Name())
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 || entries[0].Name() != FileName {
		t.Errorf("Save left %v", entries)
	}
	info, err := os.Stat(filepath.Join(dir, FileName))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm()&0o444 != 0o444 {
		t.Errorf("the file is %v, which not everybody can read", info.Mode())
	}
}

func TestSaveKeepsTheOldFile(t *testing.T) {
	dir := t.TempDir()
	// A directory in the place of the file cannot be renamed over, on any system.
	if err := os.MkdirAll(filepath.Join(dir, FileName, "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Save(dir, smallXML(t)); err == nil {
		t.Fatal("Save replaced a directory")
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 {
		t.Errorf("Save left %v", entries)
	}
	if err := Save(dir, &Table{}); err == nil {
		t.Error("Save took an empty table")
	}
}

func TestLoadRefuses(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, FileName)
	blob := smallXML(t).Pack()
	damaged := slices.Clone(blob)
	damaged[len(damaged)-1] ^= 1
	for reason, data := range map[string][]byte{
		"empty":     nil,
		"cut short": blob[:len(blob)-1],
		"damaged":   damaged,
		"text":      []byte(strings.Repeat("x", 1<<17)),
	} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Load(dir)
		if err == nil || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "import the registry again") {
			t.Errorf("%s: %v", reason, err)
		}
	}
}

// zeros is a reader without an end, as a small compressed file may be.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestImportIsBounded(t *testing.T) {
	n, err := io.CopyBuffer(io.Discard, newBounded(zeros{}), make([]byte, 1<<20))
	if n != maxImport+1 || err == nil || !strings.Contains(err.Error(), "larger than 64 MiB") {
		t.Errorf("read %d bytes: %v", n, err)
	}
}
