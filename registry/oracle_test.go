package registry

import (
	"bytes"
	"compress/gzip"
	"encoding/xml"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// ports reads "22" or "6000-6063".
func ports(t *testing.T, s string) (first, last int) {
	t.Helper()
	from, to, ranged := strings.Cut(s, "-")
	first, err := strconv.Atoi(from)
	if err != nil {
		t.Fatal(err)
	}
	if !ranged {
		return first, first
	}
	if last, err = strconv.Atoi(to); err != nil {
		t.Fatal(err)
	}
	return first, last
}

// naiveRecord and what follows read IANA's XML a second time, as plainly as can
// be and by none of the importer's code, to hold the importer against.
type naiveRecord struct {
	Name        string `xml:"name"`
	Protocol    string `xml:"protocol"`
	Description string `xml:"description"`
	Number      string `xml:"number"`
	Note        string `xml:"note"`
	Inner       string `xml:",innerxml"`

	Unauthorized string `xml:"unauthorized"`

	first, last int
}

// naiveStates has every odd description of a row without a name, word for word.
var naiveStates = map[string]string{
	"Unassigned":                        "unassigned",
	"unassigned":                        "unassigned",
	"Unassigned [was netstat]":          "unassigned",
	"(unassigned) Possibly assigned":    "unassigned",
	"Unassigned (FRP-Released 12/7/00)": "unassigned",
	"Reserved":                          "reserved",
	"Reserved - IANA":                   "reserved",
	"IANA Reserved":                     "reserved",
	"De-registered":                     "reserved",
	"Removed":                           "reserved",
	"Deprecated":                        "reserved",
	"Decomissioned Port 04/14/00, ms":   "reserved",
	"De-Commissioned Port":              "reserved",
	"any private mail system":           "assigned",
	"any private printer server":        "assigned",
	"any private terminal access":       "assigned",
	"any private file service":          "assigned",
	"any private dial out service":      "assigned",
	"any private RJE service":           "assigned",
	"any private terminal link":         "assigned",
	"Possibly used by Sun Solaris????":  "assigned",
}

func (r naiveRecord) state(t *testing.T) string {
	switch {
	case strings.Contains(r.Note, "records an unassigned but widespread use"):
		return "unassigned"
	case r.Name != "" && r.Description == "De-Registered":
		return "reserved"
	case r.Name != "":
		return "assigned"
	}
	state, ok := naiveStates[strings.TrimSpace(r.Description)]
	if !ok {
		t.Fatalf("decide what %q means", r.Description)
	}
	return state
}

func naiveRecords(t *testing.T, data []byte) []naiveRecord {
	var file struct {
		Records []naiveRecord `xml:"record"`
	}
	if err := xml.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	var records []naiveRecord
	for _, r := range file.Records {
		if r.Number != "" {
			r.first, r.last = ports(t, r.Number)
			records = append(records, r)
		}
	}
	return records
}

// compareWithXML holds r against the document, for all ports.
func compareWithXML(t *testing.T, r *Registry, data []byte) {
	records := naiveRecords(t, data)
	for _, transport := range []string{"tcp", "udp", "sctp", "dccp"} {
		on := make([][]naiveRecord, 65536)
		for _, rec := range records {
			if rec.Protocol == transport || rec.Protocol == "" && (transport == "tcp" || transport == "udp") {
				for p := rec.first; p <= rec.last; p++ {
					on[p] = append(on[p], rec)
				}
			}
		}
		tr, err := ParseTransport(transport)
		if err != nil {
			t.Fatal(err)
		}
		for p := range on {
			state, names := naiveAnswer(t, on[p], p, transport)
			e := r.Lookup(Port(p), tr)
			if e.State.String() != state || !slices.Equal(e.Names(), names) {
				t.Errorf("%d/%s is %s %v, the XML says %s %v", p, transport, e.State, e.Names(), state, names)
			}
			compareNotes(t, e, on[p], p, transport)
		}
	}
}

// compareNotes holds that no note is lost, leaving out notes with markup.
func compareNotes(t *testing.T, e Entry, records []naiveRecord, port int, transport string) {
	width := narrowest(records)
	for _, r := range records {
		if r.last-r.first != width {
			continue
		}
		if u := strings.Join(strings.Fields(r.Unauthorized), " "); !strings.Contains(e.Unauthorized(), u) {
			t.Errorf("%d/%s lacks %q of unauthorized use: %q", port, transport, u, e.Unauthorized())
		}
		note := strings.Join(strings.Fields(r.Note), " ")
		if !strings.Contains(r.Inner, "<br/>") && !strings.Contains(r.Inner, "<xref") && !strings.Contains(e.Note(), note) {
			t.Errorf("%d/%s lacks the note %q: %q", port, transport, note, e.Note())
		}
	}
}

func narrowest(records []naiveRecord) int {
	width := 65536
	for _, r := range records {
		width = min(width, r.last-r.first)
	}
	return width
}

func naiveAnswer(t *testing.T, records []naiveRecord, port int, transport string) (state string, names []string) {
	if len(records) == 0 {
		if port < 49152 && (transport == "tcp" || transport == "udp") {
			return "unassigned", nil
		}
		return "no statement", nil
	}
	width := narrowest(records)
	states := map[string]bool{}
	for _, r := range records {
		if r.last-r.first != width {
			continue
		}
		states[r.state(t)] = true
		if r.Name != "" && !slices.Contains(names, r.Name) {
			names = append(names, r.Name)
		}
	}
	for _, state := range []string{"assigned", "reserved", "unassigned"} {
		if states[state] {
			return state, names
		}
	}
	t.Fatalf("no state for %d/%s", port, transport)
	return "", nil
}

// TestOracle imports IANA's own file, saves and loads it, and holds every port
// against an independent reading of the same file.
func TestOracle(t *testing.T) {
	path := os.Getenv("PORTAUDIT_IANA_XML")
	if path == "" {
		t.Skip("set PORTAUDIT_IANA_XML to IANA's service-names-port-numbers.xml, or its .gz, to compare the import with it on every port")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasSuffix(path, ".gz") {
		unzip, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		if data, err = io.ReadAll(unzip); err != nil {
			t.Fatal(err)
		}
	}
	table, err := Import(path)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := Save(dir, table); err != nil {
		t.Fatal(err)
	}
	r, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	compareWithXML(t, r, data)
}
