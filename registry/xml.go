package registry

import (
	"bufio"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

const (
	xmlSpace = "http://www.iana.org/assignments"
	xmlID    = "service-names-port-numbers"
)

// ParseXML reads IANA's registry in its XML form; name is the file's name for
// errors. It reads at most 64 MiB and refuses a file that is not that registry,
// is cut short or holds a row that cannot be true.
func ParseXML(r io.Reader, name string) (*Table, error) {
	return parseXML(r, name, minRows)
}

func parseXML(r io.Reader, name string, least int) (*Table, error) {
	x := &xmlImport{importer: importer{name: name, minRows: least}}
	x.d = xml.NewDecoder(bufio.NewReader(newBounded(r)))
	if err := x.document(); err != nil {
		return nil, x.stop(x.place(err))
	}
	return x.table("IANA, "+xmlID+" (XML)", x.date)
}

type xmlImport struct {
	importer
	d    *xml.Decoder
	date string
}

// place returns the line of what ended the reading, and the reason without it.
func (x *xmlImport) place(err error) (int, error) {
	var syntax *xml.SyntaxError
	switch {
	case errors.As(err, &syntax) && syntax.Msg == io.ErrUnexpectedEOF.Error():
		return syntax.Line, io.ErrUnexpectedEOF
	case syntax != nil:
		return syntax.Line, errors.New("XML syntax: " + syntax.Msg)
	}
	line, _ := x.d.InputPos()
	return line, err
}

// document reads to the end of the file, so that one which is cut short, or
// whose compression has a wrong checksum, is refused.
func (x *xmlImport) document() error {
	root, err := x.start()
	if errors.Is(err, io.EOF) {
		return errEmpty
	}
	if err != nil {
		return err
	}
	if root.Name != (xml.Name{Space: xmlSpace, Local: "registry"}) || attribute(root, "id") != xmlID {
		return fmt.Errorf("this is <%s id=%q>, not IANA's registry %q", root.Name.Local, attribute(root, "id"), xmlID)
	}
	if err := x.children(x.child); err != nil {
		return err
	}
	if x.date == "" {
		return errors.New("no <updated> gives the date of the registry")
	}
	switch _, err := x.start(); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return err
	}
	return errors.New("a second document follows")
}

// start returns the next start tag outside of any element.
func (x *xmlImport) start() (xml.StartElement, error) {
	for {
		token, err := x.d.Token()
		if err != nil {
			return xml.StartElement{}, err
		}
		switch token := token.(type) {
		case xml.StartElement:
			return token, nil
		case xml.Directive:
			return xml.StartElement{}, errors.New("a document type declaration has no place in IANA's file")
		}
	}
}

// children calls f for each child of the element whose start tag was read last;
// f reads the child to its end tag.
func (x *xmlImport) children(f func(xml.StartElement) error) error {
	for {
		token, err := x.d.Token()
		if err != nil {
			return err
		}
		switch token := token.(type) {
		case xml.EndElement:
			return nil
		case xml.StartElement:
			if err := f(token); err != nil {
				return err
			}
		}
	}
}

func (x *xmlImport) child(e xml.StartElement) error {
	switch e.Name.Local {
	case "record":
		return x.record()
	case "updated":
		s, err := x.content()
		if err != nil {
			return err
		}
		x.date = strings.TrimSpace(s)
		if _, err := time.Parse(time.DateOnly, x.date); err != nil {
			return fmt.Errorf("the date %.40q is not of the form 2026-08-17", x.date)
		}
		return nil
	default:
		return x.d.Skip()
	}
}

// record reads one row. Its line, in errors, is that of its start tag.
func (x *xmlImport) record() error {
	line, _ := x.d.InputPos()
	var f fields
	into := map[string]*string{
		"number": &f.port, "protocol": &f.transport, "name": &f.name,
		"description": &f.description, "note": &f.note, "unauthorized": &f.unauthorized,
	}
	seen := map[string]bool{}
	err := x.children(func(e xml.StartElement) error {
		field := into[e.Name.Local]
		if field == nil {
			return x.d.Skip()
		}
		if seen[e.Name.Local] {
			x.refuse(line, fmt.Errorf("two <%s> in one record", e.Name.Local))
		}
		seen[e.Name.Local] = true
		var err error
		*field, err = x.content()
		return err
	})
	if err == nil {
		x.add(line, f)
	}
	return err
}

// content returns the text up to the end of an element. References within it
// are written as in IANA's CSV, "[RFC9110]"; <br/> and <paragraph> divide words.
func (x *xmlImport) content() (string, error) {
	var s strings.Builder
	for depth := 1; depth > 0; {
		token, err := x.d.Token()
		if err != nil {
			return "", err
		}
		switch token := token.(type) {
		case xml.CharData:
			s.Write(token)
		case xml.StartElement:
			depth++
			s.WriteString(reference(token))
		case xml.EndElement:
			depth--
			if token.Name.Local != "xref" && depth > 0 {
				s.WriteByte(' ')
			}
		}
	}
	return s.String(), nil
}

// reference returns what stands for a start tag within a text.
func reference(e xml.StartElement) string {
	if e.Name.Local != "xref" {
		return " "
	}
	switch data := attribute(e, "data"); attribute(e, "type") {
	case "rfc":
		return "[" + strings.ToUpper(data) + "]"
	case "uri":
		return data
	default:
		return "[" + data + "]"
	}
}

func attribute(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if a.Name.Space == "" && a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}
