package registry

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// Limits of a file to import. IANA's XML of 2026 has 3.9 MB and 13,463 rows
// with a port; the registry has not been smaller than the second limit since
// RFC 6335 gave it its form in 2011.
const (
	maxImport = 64 << 20
	minRows   = 10_000
)

// Import reads IANA's registry as published at
// https://www.iana.org/assignments/service-names-port-numbers, in XML or CSV by
// its content and not its name, compressed by gzip or not. The file is checked
// whole: the errors name file, line and reason.
func Import(path string) (*Table, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	in := bufio.NewReader(f)
	if start, _ := in.Peek(2); bytes.Equal(start, []byte{0x1f, 0x8b}) {
		unzip, err := gzip.NewReader(in)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		in = bufio.NewReader(unzip)
	}
	if isXML(in) {
		return ParseXML(in, path)
	}
	return ParseCSV(in, path)
}

// isXML reports whether the first character that is no space opens a tag. It
// consumes nothing; a read error shows again when the file is parsed.
func isXML(in *bufio.Reader) bool {
	start, _ := in.Peek(512)
	start = bytes.TrimPrefix(start, []byte(byteOrderMark))
	return bytes.HasPrefix(bytes.TrimSpace(start), []byte("<"))
}

const byteOrderMark = "\ufeff"

// bounded ends with an error, and not as if the file did, past maxImport bytes.
type bounded struct {
	r    io.Reader
	left int
}

func newBounded(r io.Reader) *bounded { return &bounded{r, maxImport + 1} }

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("the file is larger than %d MiB", maxImport>>20)
	}
	n, err := b.r.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// importer gathers the rows of one file.
type importer struct {
	name     string
	minRows  int
	rows     []Row
	problems problems
}

// refuse notes what is wrong at a line.
func (im *importer) refuse(line int, err error) {
	im.problems.add(fmt.Errorf("%s:%d: %w", im.name, line, err))
}

// fields are the columns of a row that are used, as they stand in the file.
type fields struct {
	port, transport, name, description, note, unauthorized string
}

// add checks one row. A row without a port names a service alone and is left out.
func (im *importer) add(line int, f fields) {
	ports := strings.TrimSpace(f.port)
	if ports == "" {
		return
	}
	row := Row{
		Name:         strings.TrimSpace(f.name),
		Description:  tidy(f.description),
		Note:         tidy(f.note),
		Unauthorized: tidy(f.unauthorized),
	}
	var err error
	if row.First, row.Last, err = parsePorts(ports); err != nil {
		im.refuse(line, err)
		return
	}
	if transport := strings.TrimSpace(f.transport); transport != "" {
		if row.Transport, err = ParseTransport(strings.ToLower(transport)); err != nil {
			im.refuse(line, err)
			return
		}
	}
	if err := row.check(); err != nil {
		im.refuse(line, err)
		return
	}
	im.rows = append(im.rows, row)
}

// table resolves the rows of a file that was read to its end.
func (im *importer) table(source, date string) (*Table, error) {
	if err := im.problems.join(); err != nil {
		return nil, err
	}
	if len(im.rows) < im.minRows {
		return nil, fmt.Errorf("%s: %d rows with a port, where IANA's registry has more than %d: the file is cut short or another one",
			im.name, len(im.rows), im.minRows)
	}
	t, err := NewTable(im.rows, source, date)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", im.name, err)
	}
	return t, nil
}

// stop ends an import at what cannot be read on, and keeps what was found before.
func (im *importer) stop(line int, err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("the file is cut short: fetch it again")
	}
	im.refuse(line, err)
	return im.problems.join()
}

var errEmpty = errors.New("the file is empty")
