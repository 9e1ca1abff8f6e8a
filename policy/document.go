package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sort"
	"strings"
	"unicode"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// document reads the one YAML document of a file. nil: it has none that could
// be read, and the reason is among the errors.
func (d *decoder) document(data []byte) *yaml.Node {
	if e, ok := d.unreadable(data); ok {
		d.errors = append(d.errors, e)
		return nil
	}
	doc, second, err := readDocuments(data)
	if err != nil {
		d.errors = append(d.errors, SyntaxError(d.file, data, err))
	}
	switch {
	case second != nil:
		d.errorf(second, "a second document begins: a %s is one document, remove the \"---\"", d.what)
	case doc == nil && err == nil:
		d.errors = append(d.errors, Error{File: d.file, Message: "no " + d.what + " is in it: begin with \"version: 1\""})
	}
	if doc == nil {
		return nil
	}
	root := doc.Content[0]
	if !d.plain(root, 0) {
		return nil
	}
	return root
}

// unreadable tells why data cannot be YAML at all.
func (d *decoder) unreadable(data []byte) (Error, bool) {
	e := Error{File: d.file}
	if len(data) > maxBytes {
		e.Message = fmt.Sprintf("%d bytes are too many for a %s: the limit is %d", len(data), d.what, maxBytes)
		return e, true
	}
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			e.Message = "not UTF-8: save the file in that encoding"
		case r == 0:
			e.Message = "a NUL byte: this is no text file"
		case unicode.IsControl(r) && !strings.ContainsRune("\t\n\r\u0085", r): // YAML 1.1 section 4.1
			e.Message = fmt.Sprintf("the control character %U: remove it", r)
		}
		if e.Message != "" {
			e.Line, e.Column = placeBehind(data[:i])
			return e, true
		}
		i += size
	}
	return e, false
}

// placeBehind returns the line and column, from 1, of what follows text.
func placeBehind(text []byte) (line, column int) {
	start := bytes.LastIndexByte(text, '\n') + 1
	return bytes.Count(text, []byte("\n")) + 1, utf8.RuneCount(text[start:]) + 1
}

// readDocuments reads the first document and, to refuse it, the second; nil
// where there is none.
func readDocuments(data []byte) (first, second *yaml.Node, err error) {
	in := yaml.NewDecoder(bytes.NewReader(data))
	documents := [2]*yaml.Node{}
	for i := range documents {
		var n yaml.Node
		if err := in.Decode(&n); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return documents[0], nil, err
		}
		documents[i] = &n
	}
	return documents[0], documents[1], nil
}

// yamlLine matches the place in an error of yaml.v3.
var yamlLine = regexp.MustCompile(`^yaml: (?:line \d+: )?`)

// SyntaxError turns yaml.v3's error into one with a place. The line that
// yaml.v3 itself tells is that of the block around the mistake, one off, or
// missing, so it is found anew: the first line with which the error appears.
func SyntaxError(file string, data []byte, err error) Error {
	lines := bytes.SplitAfter(data, []byte("\n"))
	ends := make([]int, 0, len(lines))
	end := 0
	for _, line := range lines {
		end += len(line)
		ends = append(ends, end)
	}
	at := sort.Search(len(ends)-1, func(i int) bool {
		_, _, early := readDocuments(data[:ends[i]])
		return early != nil && early.Error() == err.Error()
	})
	indent := len(lines[at]) - len(bytes.TrimLeft(lines[at], " \t"))
	tab := bytes.IndexByte(lines[at][:indent], '\t')
	if tab >= 0 && strings.Contains(err.Error(), "cannot start any token") {
		return Error{File: file, Line: at + 1, Column: tab + 1, Message: "a tab in the indentation: YAML is indented by spaces"}
	}
	message := yamlLine.ReplaceAllString(strings.ReplaceAll(err.Error(), "\n", " "), "")
	return Error{
		File: file, Line: at + 1, Column: indent + 1,
		Message: "no YAML: " + message + " (see to indentation, quotes and brackets)",
	}
}

// plain refuses what makes YAML mean something else than what it looks like:
// aliases, anchors, merge keys, tags, and nesting beyond reason. It returns
// false where the rest cannot be read for it.
func (d *decoder) plain(n *yaml.Node, depth int) bool {
	if depth > maxDepth {
		d.errorf(n, "nested more than %d levels deep", maxDepth)
		return false
	}
	switch {
	case n.Kind == yaml.AliasNode:
		d.refuse(n, "an alias (*%s): write the value out", n.Value)
	case n.Anchor != "":
		d.refuse(n, "an anchor (&%s): write the value out where it is wanted", n.Anchor)
	case n.Style&yaml.TaggedStyle != 0:
		d.refuse(n, "a tag (%q): write the value without it", clip(n.Tag)) // its %-escapes may hide anything
	case n.Tag == "!!merge":
		d.refuse(n, "a merge key (<<): write the keys out")
	}
	ok := true
	for _, c := range n.Content {
		ok = d.plain(c, depth+1) && ok
	}
	return ok
}

// refuse reports a mistake about a node, and no further one about it.
func (d *decoder) refuse(n *yaml.Node, format string, args ...any) {
	d.errorf(n, format, args...)
	d.refused[n] = true
}
