package registry

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// The reviewed table is UTF-8 text: comment lines that begin with #, of which
// "# source: " and "# date: " are read, a line of column names, then a line for
// each assignment. Cells are divided by a tab; \\, \t and \n stand for a
// backslash, a tab and a line feed. Assignments are in the order of their first
// port, last port and transport, where - stands for TCP and UDP alike.
const (
	sourceKey = "# source: "
	dateKey   = "# date: "
	columns   = "ports\ttransport\tstate\tnames\tdescription\tnote\tunauthorized"
	anyOfTwo  = "-"
)

var (
	escape   = strings.NewReplacer(`\`, `\\`, "\t", `\t`, "\n", `\n`)
	unescape = strings.NewReplacer(`\\`, `\`, `\t`, "\t", `\n`, "\n")
)

// WriteTSV writes the reviewed table with comment, whose lines may be several,
// at its top.
func (t *Table) WriteTSV(w io.Writer, comment string) error {
	b := bufio.NewWriter(w)
	for line := range strings.Lines(comment) {
		fmt.Fprintf(b, "# %s\n", strings.TrimSpace(line))
	}
	fmt.Fprintf(b, "%s%s\n%s%s\n%s\n", sourceKey, t.source, dateKey, t.date, columns)
	for _, a := range t.assignments {
		transport := anyOfTwo
		if a.transport != 0 {
			transport = a.transport.String()
		}
		cells := []string{a.ports(), transport, a.state.String(), strings.Join(a.names, " "), a.description, a.note, a.unauthorized}
		for i, s := range cells {
			cells[i] = escape.Replace(s)
		}
		fmt.Fprintln(b, strings.Join(cells, "\t"))
	}
	return b.Flush()
}

// ports returns "22" or "6000-6063".
func (s span) ports() string {
	if s.first == s.last {
		return s.first.String()
	}
	return s.first.String() + "-" + s.last.String()
}

// ParseTSV reads what WriteTSV wrote; name is the file's name for errors. It
// refuses a table that is not in the canonical order and form.
func ParseTSV(r io.Reader, name string) (*Table, error) {
	t := &Table{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 16*maxText)
	number, header := 0, false
	var problems problems
	for lines.Scan() {
		number++
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, "#"):
			t.comment(line)
		case !header:
			if line != columns {
				return nil, fmt.Errorf("%s:%d: expected the column names %q", name, number, columns)
			}
			header = true
		default:
			if err := t.add(line); err != nil {
				problems.add(fmt.Errorf("%s:%d: %w", name, number, err))
			}
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s:%d: %w", name, number+1, err)
	}
	if err := checkHeader(t.source, t.date); err != nil {
		problems.add(fmt.Errorf("%s: %w", name, err))
	}
	if len(t.assignments) > maxAssignments {
		problems.add(fmt.Errorf("%s: %d assignments, more than the %d that fit", name, len(t.assignments), maxAssignments))
	}
	return t, problems.join()
}

func (t *Table) comment(line string) {
	if s, ok := strings.CutPrefix(line, sourceKey); ok {
		t.source = s
	}
	if s, ok := strings.CutPrefix(line, dateKey); ok {
		t.date = s
	}
}

// add reads one line of the table.
func (t *Table) add(line string) error {
	cells := strings.Split(line, "\t")
	if want := strings.Count(columns, "\t") + 1; len(cells) != want {
		return fmt.Errorf("%d cells where the table has %d columns", len(cells), want)
	}
	for i, s := range cells {
		cells[i] = unescape.Replace(s)
		if escape.Replace(cells[i]) != s || tidyLines(cells[i]) != cells[i] {
			return fmt.Errorf("column %d holds a character that is not printable, a needless space or a wrong escape", i+1)
		}
	}
	var a assignment
	var err error
	if a.first, a.last, err = parsePorts(cells[0]); err != nil {
		return err
	}
	if cells[1] != anyOfTwo {
		if a.transport, err = ParseTransport(cells[1]); err != nil {
			return err
		}
	}
	if a.state, err = ParseState(cells[2]); err != nil {
		return err
	}
	a.names = strings.Fields(cells[3])
	if strings.Join(a.names, " ") != cells[3] {
		return errors.New("the names stand on one line with a space between them")
	}
	a.description, a.note, a.unauthorized = cells[4], cells[5], cells[6]
	if err := checkAssignment(a); err != nil {
		return err
	}
	if err := t.checkOrder(a); err != nil {
		return err
	}
	t.assignments = append(t.assignments, a)
	return nil
}

// checkOrder holds a against the lines before it.
func (t *Table) checkOrder(a assignment) error {
	for _, before := range slices.Backward(t.assignments) {
		if before.first != a.first {
			break
		}
		if before.last == a.last && before.transport == 0 && (a.transport == TCP || a.transport == UDP) {
			return errors.New("the same ports are listed without a transport: split that line into tcp and udp")
		}
	}
	if n := len(t.assignments); n > 0 && t.assignments[n-1].compare(a.span) >= 0 {
		return errors.New("out of order: lines go by first port, last port and transport, each combination once")
	}
	return nil
}

// tidyLines is tidy for each line of s, none of which may be empty.
func tidyLines(s string) string {
	var lines []string
	for line := range strings.Lines(s) {
		if line = tidy(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}

// parsePorts reads "22" or "6000-6063".
func parsePorts(s string) (first, last Port, err error) {
	from, to, ranged := strings.Cut(s, "-")
	if first, err = ParsePort(from); err != nil {
		return 0, 0, err
	}
	if !ranged {
		return first, first, nil
	}
	if last, err = ParsePort(to); err != nil {
		return 0, 0, err
	}
	if last < first {
		return 0, 0, fmt.Errorf("the range %s runs backwards", s)
	}
	return first, last, nil
}
