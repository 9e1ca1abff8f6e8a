package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/portaudit/portaudit/registry"
)

const currentJSON = `{
 "80/tcp": ["www-http", "World Wide Web HTTP, today"],
 "465/tcp": ["submissions", "Submission"],
 "700/tcp": ["new", "New owner"],
 "701/tcp": ["", "Reserved"],
 "702/udp": ["", "Reserved"],
 "703/tcp": ["one", "One of two"],
 "704/tcp": ["", "any private thing"]
}`

const earlierJSON = `[
 {"ServiceName": "http", "PortNumber": "80", "TransportProtocol": "tcp", "Description": "HTTP", "AssignmentNotes": "first\nnote"},
 {"ServiceName": "www-http", "PortNumber": "80", "TransportProtocol": "tcp", "Description": "then"},
 {"ServiceName": "urd", "PortNumber": "465", "TransportProtocol": "tcp", "Description": "URD"},
 {"ServiceName": "old", "PortNumber": "700", "TransportProtocol": "tcp", "Description": "Old", "AssignmentNotes": "void"},
 {"ServiceName": "gone", "PortNumber": "701", "TransportProtocol": "tcp", "Description": "Gone", "KnownUnauthorizedUses": "void"},
 {"PortNumber": "702", "Description": "Unassigned"},
 {"PortNumber": "703", "Description": "Unassigned"},
 {"PortNumber": "704", "TransportProtocol": "tcp", "Description": "any private thing then", "AssignmentNotes": "kept"},
 {"PortNumber": "705", "Description": "Reserved"},
 {"ServiceName": "span", "PortNumber": "800-810", "TransportProtocol": "udp", "Description": "Range"},
 {"ServiceName": "no-port", "Description": "left out"}
]`

func mergeJSON(t *testing.T, amendments string) ([]registry.Row, error) {
	t.Helper()
	current, err := parseCurrent(strings.NewReader(currentJSON))
	if err != nil {
		t.Fatal(err)
	}
	earlier, err := parseEarlier(strings.NewReader(earlierJSON))
	if err != nil {
		t.Fatal(err)
	}
	amended, err := parseAmendments(strings.NewReader(amendments))
	if err != nil {
		t.Fatal(err)
	}
	return merge(current, earlier, amended)
}

func TestMerge(t *testing.T) {
	rows, err := mergeJSON(t, "# why\nport\ttransport\tnames\tsource\n465\ttcp\tsubmissions urd\tRFC 8314\n")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		first, last registry.Port
		transport   registry.Transport
		want        []string // name: description (note)
		reason      string
	}{
		{80, 80, registry.TCP, []string{"http: HTTP (first note)", "www-http: World Wide Web HTTP, today ()"}, "names of 2015 in their order, the current description"},
		{465, 465, registry.TCP, []string{"submissions: Submission ()", "urd: URD ()"}, "an amendment"},
		{700, 700, registry.TCP, []string{"new: New owner ()"}, "what has changed hands keeps nothing"},
		{701, 701, registry.TCP, []string{": Reserved ()"}, "nor does what was withdrawn"},
		{702, 702, registry.TCP, []string{": Unassigned ()"}, "a row without a transport speaks for the other one"},
		{702, 702, registry.UDP, []string{": Reserved ()"}, "where the current source speaks for one"},
		{702, 702, 0, nil, ""},
		{703, 703, registry.UDP, []string{": Unassigned ()"}, "likewise"},
		{704, 704, registry.TCP, []string{": any private thing (kept)"}, "nameless then and now"},
		{705, 705, 0, []string{": Reserved ()"}, "nothing current: as it stands"},
		{800, 810, registry.UDP, []string{"span: Range ()"}, "a range"},
	}
	seen := 0
	for _, test := range tests {
		var got []string
		for _, r := range rows {
			if r.First == test.first && r.Last == test.last && r.Transport == test.transport {
				got = append(got, r.Name+": "+r.Description+" ("+r.Note+")")
			}
		}
		seen += len(got)
		if !slices.Equal(got, test.want) {
			t.Errorf("%d-%d/%s is %q, want %q (%s)", test.first, test.last, test.transport, got, test.want, test.reason)
		}
	}
	if seen != len(rows)-1 { // 703/tcp is as current as 700/tcp
		t.Errorf("%d rows, %d of which were asked for", len(rows), seen)
	}
}

func TestMergeRefuses(t *testing.T) {
	tests := []struct{ reason, amendments, want string }{
		{"a name of neither source", "465\ttcp\tsubmissions smtps\tx\n", "has smtps, which neither source has"},
		{"a port of neither source", "999\ttcp\ta\tx\n", "amends nothing"},
	}
	for _, test := range tests {
		if _, err := mergeJSON(t, test.amendments); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.reason, err, test.want)
		}
	}
	for _, line := range []string{"465\ttcp\ta", "x\ttcp\ta\tb", "1\tip\ta\tb", "465\ttcp\ta\t"} {
		if _, err := parseAmendments(strings.NewReader(line)); err == nil {
			t.Errorf("%q was taken", line)
		}
	}
	for _, file := range []string{"", "[]", `{"80": ["a", "b"]}`, `{"x/tcp": ["a", "b"]}`} {
		if _, err := parseCurrent(strings.NewReader(file)); err == nil {
			t.Errorf("%q was taken", file)
		}
	}
	for _, file := range []string{"", "{}", `[{"PortNumber": "1-x"}]`} {
		if _, err := parseEarlier(strings.NewReader(file)); err == nil {
			t.Errorf("%q was taken", file)
		}
	}
}
