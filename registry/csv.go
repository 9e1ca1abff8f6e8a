package registry

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// ParseCSV reads IANA's registry in its CSV form; name is the file's name for
// errors. It reads at most 64 MiB and refuses a file that is not that registry,
// is cut short or holds a row that cannot be true. Rows end in CRLF, and bare
// line feeds stand within quoted cells (RFC 4180 section 2). The form carries no
// date, so the newest registration or modification in it stands in.
func ParseCSV(r io.Reader, name string) (*Table, error) {
	return parseCSV(r, name, minRows)
}

func parseCSV(r io.Reader, name string, least int) (*Table, error) {
	in := bufio.NewReader(newBounded(r))
	if start, _ := in.Peek(len(byteOrderMark)); string(start) == byteOrderMark {
		_, _ = in.Discard(len(byteOrderMark)) // just seen, so there
	}
	c := &csvImport{importer: importer{name: name, minRows: least}, r: csv.NewReader(in), line: 1}
	c.r.ReuseRecord = true
	if line, err := c.document(); err != nil {
		return nil, c.stop(line, err)
	}
	if c.date == "" {
		c.problems.add(fmt.Errorf("%s: no row has a date of registration or modification", name))
	}
	return c.table("IANA, "+xmlID+" (CSV)", c.date)
}

type csvImport struct {
	importer
	r      *csv.Reader
	column map[string]int // by lower-case title
	line   int            // of the row read last
	date   string
}

// document reads to the end and returns the line of what stopped it.
func (c *csvImport) document() (int, error) {
	cells, err := c.r.Read()
	if errors.Is(err, io.EOF) {
		return 1, errEmpty
	}
	if err != nil {
		return c.place(err)
	}
	if err := c.header(cells); err != nil {
		return 1, err
	}
	for {
		cells, err := c.r.Read()
		if errors.Is(err, io.EOF) {
			return 0, nil
		}
		if err != nil {
			return c.place(err)
		}
		c.line, _ = c.r.FieldPos(0)
		c.row(cells)
	}
}

// place returns the line of what ended the reading, that of the last good row
// where the reader does not know better, and the reason without it.
func (c *csvImport) place(err error) (int, error) {
	var parse *csv.ParseError
	if errors.As(err, &parse) {
		return parse.Line, parse.Err
	}
	return c.line, err
}

// header finds the columns by their titles, which have been reordered before.
func (c *csvImport) header(cells []string) error {
	c.column = map[string]int{}
	for i, s := range cells {
		c.column[strings.ToLower(strings.TrimSpace(s))] = i
	}
	var missing []string
	for _, title := range []string{"service name", "port number", "transport protocol", "description", "assignment notes"} {
		if _, ok := c.column[title]; !ok {
			missing = append(missing, title)
		}
	}
	if missing != nil {
		return fmt.Errorf("not IANA's CSV: no column is titled %q", missing)
	}
	return nil
}

// cell returns the cell below a title, empty where there is no such column.
func (c *csvImport) cell(cells []string, title string) string {
	if i, ok := c.column[title]; ok {
		return cells[i]
	}
	return ""
}

func (c *csvImport) row(cells []string) {
	for _, title := range []string{"registration date", "modification date"} {
		day := strings.TrimSpace(c.cell(cells, title))
		if _, err := time.Parse(time.DateOnly, day); err == nil && day > c.date {
			c.date = day
		}
	}
	unauthorized := c.cell(cells, "unauthorized use reported")
	if unauthorized == "" {
		// The title until 2016 or so.
		unauthorized = c.cell(cells, "known unauthorized uses")
	}
	c.add(c.line, fields{
		port:         c.cell(cells, "port number"),
		transport:    c.cell(cells, "transport protocol"),
		name:         c.cell(cells, "service name"),
		description:  c.cell(cells, "description"),
		note:         c.cell(cells, "assignment notes"),
		unauthorized: unauthorized,
	})
}
