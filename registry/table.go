package registry

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Table is a validated registry in its reviewed form, one assignment for each
// port or range and transport. NewTable, ParseTSV, ParseXML, ParseCSV and
// Import make one; the zero Table holds nothing.
type Table struct {
	source      string
	date        string
	assignments []assignment
}

// assignment is all that the registry holds of one span of ports on one
// transport, the rows of an alias joined.
type assignment struct {
	span
	state        State
	names        []string // the preferred one first
	description  string
	note         string
	unauthorized string
}

// span is what an assignment covers: a port or a range on one transport, or on
// TCP and UDP where the transport is zero.
type span struct {
	first, last Port
	transport   Transport
}

func (s span) compare(o span) int {
	return cmp.Or(cmp.Compare(s.first, o.first), cmp.Compare(s.last, o.last), cmp.Compare(s.transport, o.transport))
}

// covers lists the transports of a span. A row without a transport stands for
// TCP and UDP alone: IANA's rows of that kind are older than its first entry
// for SCTP or DCCP.
func (s span) covers() []Transport {
	if s.transport == 0 {
		return []Transport{TCP, UDP}
	}
	return []Transport{s.transport}
}

// maxAssignments keeps the number of distinct records within the 16 bits that
// the packed form has for them. IANA's registry needed 13,600 in 2026.
const maxAssignments = 1<<16 - 8

// NewTable resolves rows in the order of their document. Rows of the same span
// become one assignment: its names stand in document order without duplicates,
// and of their states assigned beats reserved beats unassigned. source says in
// words where the rows come from and date is the day of the data, YYYY-MM-DD.
func NewTable(rows []Row, source, date string) (*Table, error) {
	if err := checkHeader(source, date); err != nil {
		return nil, err
	}
	for _, r := range rows {
		if err := r.check(); err != nil {
			return nil, fmt.Errorf("row for port %d: %w", r.First, err)
		}
	}
	groups := map[span][]Row{}
	for _, r := range rows {
		s := span{r.First, r.Last, r.Transport}
		groups[s] = append(groups[s], r)
	}
	if splitBlank(groups) {
		groups = regroup(rows, groups)
	}
	t := &Table{source: source, date: date}
	for s, group := range groups {
		a := join(s, group)
		if err := checkAssignment(a); err != nil {
			return nil, fmt.Errorf("port %d: %w", s.first, err)
		}
		t.assignments = append(t.assignments, a)
	}
	slices.SortFunc(t.assignments, func(a, b assignment) int { return a.compare(b.span) })
	if len(t.assignments) > maxAssignments {
		return nil, fmt.Errorf("%d assignments, more than the %d that fit", len(t.assignments), maxAssignments)
	}
	return t, nil
}

func checkHeader(source, date string) error {
	if source == "" || source != tidy(source) || len(source) > maxText {
		return fmt.Errorf("the source %.80q is no line of text", source)
	}
	if _, err := time.Parse(time.DateOnly, date); err != nil {
		return fmt.Errorf("the date %.80q is not of the form 2026-08-17", date)
	}
	return nil
}

// splitBlank reports whether a span has a row without a transport and one with
// TCP or UDP, and takes the former's group away in favour of both of the latter.
func splitBlank(groups map[span][]Row) bool {
	split := false
	for s := range groups {
		if s.transport != 0 {
			continue
		}
		tcp, udp := span{s.first, s.last, TCP}, span{s.first, s.last, UDP}
		if groups[tcp] != nil || groups[udp] != nil {
			delete(groups, s)
			split = true
		}
	}
	return split
}

// regroup groups rows again, in document order, such that a row without a
// transport joins TCP and UDP where its own group is gone.
func regroup(rows []Row, kept map[span][]Row) map[span][]Row {
	groups := map[span][]Row{}
	for _, r := range rows {
		s := span{r.First, r.Last, r.Transport}
		if kept[s] != nil {
			groups[s] = append(groups[s], r)
			continue
		}
		for _, t := range s.covers() {
			s.transport = t
			groups[s] = append(groups[s], r)
		}
	}
	return groups
}

// join makes one assignment of the rows of a span.
func join(s span, rows []Row) assignment {
	a := assignment{span: s}
	lead := rows[0]
	for _, r := range rows {
		a.state = max(a.state, r.State())
		if r.Name != "" && !slices.Contains(a.names, r.Name) {
			a.names = append(a.names, r.Name)
		}
		if lead.Name == "" && (r.Name != "" || lead.State() < r.State()) {
			lead = r
		}
	}
	a.description = lead.Description
	var notes, unauthorized []string
	for _, r := range rows {
		notes = appendNote(notes, r.Note, r.Name, lead.Name)
		unauthorized = appendNote(unauthorized, r.Unauthorized, r.Name, lead.Name)
	}
	a.note, a.unauthorized = strings.Join(notes, "\n"), strings.Join(unauthorized, "\n")
	return a
}

// appendNote adds a row's note on a line of its own. A note that belongs to
// another name than the preferred one begins with that name, because "This is a
// duplicate of http" under http would mislead.
func appendNote(notes []string, note, name, preferred string) []string {
	if note == "" {
		return notes
	}
	if name != preferred && name != "" {
		note = name + ": " + note
	}
	if slices.Contains(notes, note) {
		return notes
	}
	return append(notes, note)
}

// checkAssignment reports the first thing in a that no registry can hold or
// that the packed form, with 16 bits for a length, has no room for.
func checkAssignment(a assignment) error {
	for _, name := range a.names {
		if err := (Row{First: a.first, Last: a.last, Name: name}).check(); err != nil {
			return err
		}
	}
	r := Row{First: a.first, Last: a.last, Transport: a.transport, Description: "-"}
	if err := r.check(); err != nil {
		return err
	}
	if a.state == NoStatement {
		return errors.New("a row cannot have the state no statement: leave it out")
	}
	if len(a.names) == 0 && a.description == "" {
		return errors.New("neither a name nor a description says what the port is")
	}
	size := len(strings.Join(a.names, " ")) + len(a.description) + len(a.note) + len(a.unauthorized)
	if size > math.MaxUint16 {
		return fmt.Errorf("%d bytes of names and texts, more than the %d that fit", size, math.MaxUint16)
	}
	return nil
}
