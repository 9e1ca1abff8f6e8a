package registry

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"
	"testing"
)

// TestRowState has every kind of wording in IANA's registry of 2015 and 2026.
func TestRowState(t *testing.T) {
	const use = "This entry records an unassigned but widespread use (added 5/21/97)"
	tests := []struct {
		name, description, note string
		want                    State
		reason                  string
	}{
		{"ssh", "The Secure Shell (SSH) Protocol", "", Assigned, "a name and what it is"},
		{"ssh", "", "", Assigned, "a name alone"},
		{"", "Unassigned", "", Unassigned, ""},
		{"", "unassigned", "Deprecated June 2004", Unassigned, "notes do not withdraw"},
		{"", "Unassigned [was netstat]", "", Unassigned, ""},
		{"", "Unassigned (FRP-Released 12/7/00)", "", Unassigned, ""},
		{"", "(unassigned) Possibly assigned", "", Unassigned, ""},
		{"", "Unassigned", "\"pcp\" assignment withdrawn, moved to port 5351", Unassigned, ""},
		{"", "Reserved", "", Reserved, ""},
		{"", "Reserved", "De-Assigned on 2019-10-30", Reserved, ""},
		{"", "Reserved - IANA", "", Reserved, ""},
		{"", "IANA Reserved", "", Reserved, ""},
		{"", "De-registered", "", Reserved, "withdrawn"},
		{"", "De-Registered", "", Reserved, "withdrawn"},
		{"", "Removed", "", Reserved, "withdrawn"},
		{"", "Deprecated", "", Reserved, "withdrawn"},
		{"", "Decommissioned", "", Reserved, "withdrawn"},
		{"", "Decomissioned Port 04/14/00, ms", "", Reserved, "withdrawn, IANA's spelling"},
		{"", "De-Commissioned Port", "", Reserved, "withdrawn, IANA's other spelling"},
		{"", "any private mail system", "", Assigned, "for whoever wants it, so no name"},
		{"", "Possibly used by Sun Solaris????", "", Assigned, "neither unassigned nor reserved"},
		{"sua", "De-Registered", "", Reserved, "withdrawn with its name kept"},
		{"remoteware-un", "RemoteWare Unassigned", "", Assigned, "a product of that name"},
		{"stun-behaviors", "Reserved for a future enhancement of STUN-BEHAVIOR", "", Assigned, "the name is assigned"},
		{"msp", "Message Send Protocol (historic)", "", Assigned, ""},
		{"pcmk-remote", "pacemaker", "port 3121 previously noted \"Removed on 2003-09-17\"", Assigned, "of an earlier service"},
		{"vcmp", "VeloCloud", "This port was previously removed on 2002-04-29.", Assigned, "of an earlier service"},
		{"cddbp", "CD Database Protocol", use, Unassigned, "a use and no assignment"},
	}
	for _, test := range tests {
		if got := (Row{Name: test.name, Description: test.description, Note: test.note}).State(); got != test.want {
			t.Errorf("%q %q %q is %s, want %s (%s)", test.name, test.description, test.note, got, test.want, test.reason)
		}
	}
}

func TestNewTableResolves(t *testing.T) {
	row := func(ports string, transport Transport, name, description string) Row {
		first, last, err := parsePorts(ports)
		if err != nil {
			t.Fatal(err)
		}
		return Row{First: first, Last: last, Transport: transport, Name: name, Description: description}
	}
	tests := []struct {
		reason string
		rows   []Row
		at     Port
		want   string // state and names on TCP, then on UDP
	}{
		{"the narrower row wins, though it says less",
			[]Row{row("5-6", TCP, "wide", ""), row("5", TCP, "", "Unassigned")}, 5, "unassigned [] unassigned []"},
		{"and wherever it stands",
			[]Row{row("5", TCP, "", "Unassigned"), row("5-6", TCP, "wide", "")}, 5, "unassigned [] unassigned []"},
		{"the rest of the wider one stays",
			[]Row{row("5-6", TCP, "wide", ""), row("5", TCP, "", "Unassigned")}, 6, "assigned [wide] unassigned []"},
		{"at an equal width assigned beats reserved",
			[]Row{row("5", TCP, "", "Reserved"), row("5", TCP, "a", "")}, 5, "assigned [a] unassigned []"},
		{"and reserved beats unassigned",
			[]Row{row("5", TCP, "", "Unassigned"), row("5", TCP, "", "Reserved")}, 5, "reserved [] unassigned []"},
		{"names are in document order without duplicates",
			[]Row{row("5", TCP, "b", ""), row("5", TCP, "a", ""), row("5", TCP, "b", "")}, 5, "assigned [b a] unassigned []"},
		{"a row without a transport is for TCP and UDP",
			[]Row{row("5", 0, "a", "")}, 5, "assigned [a] assigned [a]"},
		{"and shares a port with a row of one of them",
			[]Row{row("5", 0, "a", ""), row("5", TCP, "b", "")}, 5, "assigned [a b] assigned [a]"},
		{"in document order",
			[]Row{row("5", UDP, "b", ""), row("5", 0, "a", "")}, 5, "assigned [a] assigned [b a]"},
		{"ranges of one width that cross: assigned first",
			[]Row{row("4-5", TCP, "", "Reserved"), row("5-6", TCP, "a", "")}, 5, "assigned [a] unassigned []"},
		{"then the lower one",
			[]Row{row("5-6", TCP, "b", ""), row("4-5", TCP, "a", "")}, 5, "assigned [a] unassigned []"},
	}
	for _, test := range tests {
		table, err := NewTable(test.rows, "test", "2026-08-17")
		if err != nil {
			t.Errorf("%s: %v", test.reason, err)
			continue
		}
		r := mustOpen(t, table)
		var got []string
		for _, transport := range []Transport{TCP, UDP} {
			e := r.Lookup(test.at, transport)
			got = append(got, e.State.String(), "["+strings.Join(e.Names(), " ")+"]")
		}
		if s := strings.Join(got, " "); s != test.want {
			t.Errorf("%s: %s, want %s", test.reason, s, test.want)
		}
	}
}

func TestNewTableRefuses(t *testing.T) {
	long := strings.Repeat("x", maxText)
	var many []Row
	for i := range 10 {
		many = append(many, Row{Name: "s" + string(rune('0'+i)), Note: long})
	}
	tests := []struct {
		reason       string
		rows         []Row
		source, date string
	}{
		{"no source", nil, "", "2026-08-17"},
		{"a source of two lines", nil, "a\nb", "2026-08-17"},
		{"no date", nil, "test", ""},
		{"a row without content", []Row{{}}, "test", "2026-08-17"},
		{"a transport that is none", []Row{{Name: "a", Transport: 9}}, "test", "2026-08-17"},
		{"the dynamic range", []Row{{Name: "a", First: 49152, Last: 49152}}, "test", "2026-08-17"},
		{"notes of one port that do not fit", many, "test", "2026-08-17"},
	}
	for _, test := range tests {
		if _, err := NewTable(test.rows, test.source, test.date); err == nil {
			t.Errorf("%s was taken", test.reason)
		}
	}
}

const tsvHead = "# source: test\n# date: 2026-08-17\n" + columns + "\n"

func TestTSV(t *testing.T) {
	table := smallXML(t)
	var first, second strings.Builder
	if err := table.WriteTSV(&first, "A comment\nof two lines"); err != nil {
		t.Fatal(err)
	}
	again, err := ParseTSV(strings.NewReader(first.String()), "t.tsv")
	if err != nil {
		t.Fatal(err)
	}
	if err := again.WriteTSV(&second, "A comment\nof two lines"); err != nil {
		t.Fatal(err)
	}
	if first.String() != second.String() || !slices.Equal(table.Pack(), again.Pack()) {
		t.Error("the table changed on its way through the TSV")
	}
	escaped := tsvHead + "5\ttcp\tassigned\ta\ttab\\tbackslash\\\\n\tnote\\nnote\t\n"
	if _, err := ParseTSV(strings.NewReader(escaped), "t.tsv"); err == nil {
		t.Error("a tab within a description was taken")
	}
	escaped = tsvHead + "5\ttcp\tassigned\ta\tbackslash\\\\n\tnote\\nnote\t\n"
	table, err = ParseTSV(strings.NewReader(escaped), "t.tsv")
	if err != nil {
		t.Fatal(err)
	}
	if e := mustOpen(t, table).Lookup(5, TCP); e.Description() != `backslash\n` || e.Note() != "note\nnote" {
		t.Errorf("the escapes read as %q and %q", e.Description(), e.Note())
	}
}

func TestParseTSVRefuses(t *testing.T) {
	const good = "5\ttcp\tassigned\ta\tx\t\t\n"
	tests := []struct{ reason, data, want string }{
		{"empty", "", "the source"},
		{"no date", "# source: x\n" + columns + "\n", "the date"},
		{"no column names", "# source: x\n" + good, "t.tsv:2: expected the column names"},
		{"a missing cell", tsvHead + "5\ttcp\tassigned\n", "t.tsv:4: 3 cells"},
		{"a port", tsvHead + strings.Replace(good, "5", "x", 1), "t.tsv:4: \"x\" is no port"},
		{"a transport", tsvHead + strings.Replace(good, "tcp", "", 1), "t.tsv:4: \"\" is no transport"},
		{"a state", tsvHead + strings.Replace(good, "assigned", "no statement", 1), "leave it out"},
		{"an unknown state", tsvHead + strings.Replace(good, "assigned", "maybe", 1), "is no state"},
		{"out of order", tsvHead + good + strings.Replace(good, "5", "4", 1), "t.tsv:5: out of order"},
		{"twice", tsvHead + good + good, "t.tsv:5: out of order"},
		{"beside a row without transport", tsvHead + strings.Replace(good, "tcp", "-", 1) + good, "split that line"},
		{"the dynamic range", tsvHead + strings.Replace(good, "5", "50000", 1), "dynamic range"},
		{"nothing said", tsvHead + "5\ttcp\tassigned\t\t\t\t\n", "neither a name nor a description"},
		{"a needless space", tsvHead + strings.Replace(good, "\tx", "\tx ", 1), "column 5"},
		{"a wrong escape", tsvHead + strings.Replace(good, "\tx", "\t\\x", 1), "column 5"},
		{"a control character", tsvHead + strings.Replace(good, "\tx", "\tx\x1b[m", 1), "column 5"},
		{"names on two lines", tsvHead + strings.Replace(good, "\ta\t", "\ta\\nb\t", 1), "the names stand on one line"},
		{"a carriage return", strings.ReplaceAll(tsvHead+good, "\n", "\r\n"), ""},
	}
	for _, test := range tests {
		_, err := ParseTSV(strings.NewReader(test.data), "t.tsv")
		if test.want == "" {
			if err != nil {
				t.Errorf("%s: %v", test.reason, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.reason, err, test.want)
		}
	}
}

// reseal gives a changed blob the checksum that belongs to it.
func reseal(blob []byte) []byte {
	sum := sha256.Sum256(blob[headerAt:])
	copy(blob[len(magic):], sum[:])
	return blob
}

// TestOpenRefuses changes one number at a time in a blob whose checksum fits,
// as a program with a fault would write it.
func TestOpenRefuses(t *testing.T) {
	blob := smallXML(t).Pack()
	runs := 0
	for i := range Transports {
		runs += int(binary.LittleEndian.Uint32(blob[headerAt+4*(4+i):]))
	}
	recordsAt := runsAt + 2*runs
	tests := []struct {
		reason string
		at     int
		value  uint32
		want   string
	}{
		{"the length of the text", headerAt, 1 << 31, "ends early"},
		{"the number of records", headerAt + 4, 1 << 31, "ends early"},
		{"no records", headerAt + 4, 0, "bytes after the end"},
		{"the number of runs", headerAt + 16, 0, "bytes after the end"},
		{"no run at port 0", indexesAt, 0, "no run begins at port 0"},
		{"more runs than there are", indexesAt, 0xffffffff, "wrong count of runs at port 64"},
		{"a wrong rank", indexesAt + bitmapSize, 7, "wrong count of runs at port 0"},
		{"a run without a record", runsAt, 0xffff, "record 65535 of"},
		{"a text that begins too late", recordsAt, 0xffffff00, "out of bounds"},
		{"names that end after the description", recordsAt + 4, 0x0000ffff, "out of bounds"},
		{"a state that is none", recordsAt + 12, 0xff, "out of bounds"},
	}
	for _, test := range tests {
		changed := slices.Clone(blob)
		binary.LittleEndian.PutUint32(changed[test.at:], test.value)
		if _, err := Open(reseal(changed)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.reason, err, test.want)
		}
	}
	for n := range len(blob) {
		if n%97 != 0 && n > headerAt {
			continue
		}
		if _, err := Open(blob[:n]); err == nil {
			t.Fatalf("the first %d bytes were taken", n)
		}
	}
	if _, err := Open(append(slices.Clone(blob), 0)); err == nil {
		t.Error("a byte after the end was taken")
	}
	text := slices.Clone(blob)
	text[len(text)-len("2026-08-17")-1] = 0x1b // the end of the source
	if _, err := Open(reseal(text)); err == nil {
		t.Error("an escape character in the source was taken")
	}
}
