package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"github.com/portaudit/portaudit/registry"
)

// Bounds of a policy: far above what people write, far below what hurts.
const (
	maxBytes = 1 << 20
	maxRules = 10_000
	maxDepth = 16
	maxText  = 4096 // bytes of one text or pattern
)

// decoder walks the nodes of a YAML document and collects every mistake. It
// reads nodes and not Go values because yaml.v3, asked for values, takes 22.5
// for 22, 010 for 8 and ~ for 0, ignores a second document and tells no column.
type decoder struct {
	file   string
	errors Errors
}

func (d *decoder) errorf(n *yaml.Node, format string, args ...any) {
	d.errors = append(d.errors, Error{File: d.file, Line: n.Line, Column: n.Column, Message: fmt.Sprintf(format, args...)})
}

// document reads the one YAML document of a file. nil: it has none that could
// be read, and the reason is among the errors.
func (d *decoder) document(data []byte) *yaml.Node {
	refuse := func(format string, args ...any) *yaml.Node {
		d.errors = append(d.errors, Error{File: d.file, Message: fmt.Sprintf(format, args...)})
		return nil
	}
	switch {
	case len(data) > maxBytes:
		return refuse("%d bytes are too many for a policy: the limit is %d", len(data), maxBytes)
	case !utf8.Valid(data):
		return refuse("not UTF-8: save the file in that encoding")
	case bytes.IndexByte(data, 0) >= 0:
		return refuse("a NUL byte is in it: this is no text file")
	}
	in := yaml.NewDecoder(bytes.NewReader(data))
	var doc, second yaml.Node
	if err := in.Decode(&doc); errors.Is(err, io.EOF) {
		return refuse("no policy is in it: begin with \"version: 1\"")
	} else if err != nil {
		d.errors = append(d.errors, syntaxError(d.file, err))
		return nil
	}
	if err := in.Decode(&second); err == nil {
		d.errorf(&second, "a second document begins: a policy is one document, remove the \"---\"")
	} else if !errors.Is(err, io.EOF) {
		d.errors = append(d.errors, syntaxError(d.file, err))
	}
	root := doc.Content[0]
	if !d.plain(root, 0) {
		return nil
	}
	return root
}

// yamlLine matches the line in an error of yaml.v3.
var yamlLine = regexp.MustCompile(`^yaml: line (\d+): (.*)$`)

// syntaxError turns yaml.v3's error into one with a place. It names no column.
func syntaxError(file string, err error) Error {
	e := Error{File: file, Message: strings.TrimPrefix(err.Error(), "yaml: ")}
	if m := yamlLine.FindStringSubmatch(strings.ReplaceAll(err.Error(), "\n", " ")); m != nil {
		if line, err := strconv.Atoi(m[1]); err == nil {
			e.Line, e.Column, e.Message = line, 1, m[2]+" (the mistake may be on the line before)"
		}
	}
	return e
}

// plain refuses what makes YAML mean something else than what it looks like:
// aliases, anchors, merge keys, tags, and nesting beyond reason.
func (d *decoder) plain(n *yaml.Node, depth int) bool {
	switch {
	case depth > maxDepth:
		d.errorf(n, "nested more than %d levels deep", maxDepth)
		return false
	case n.Kind == yaml.AliasNode:
		d.errorf(n, "an alias (*%s): write the value out", n.Value)
		return false
	case n.Anchor != "":
		d.errorf(n, "an anchor (&%s): write the value out where it is wanted", n.Anchor)
		return false
	case n.Style&yaml.TaggedStyle != 0:
		d.errorf(n, "a tag (%s): write the value without it", n.Tag)
		return false
	case n.Tag == "!!merge":
		d.errorf(n, "a merge key (<<): write the keys out")
		return false
	}
	ok := true
	for _, c := range n.Content {
		ok = d.plain(c, depth+1) && ok
	}
	return ok
}

// mapping calls set for each key of a mapping, in order. A key that is unknown
// or given twice is a mistake.
func (d *decoder) mapping(n *yaml.Node, what string, keys []string, set func(key string, k, v *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		d.errorf(n, "%s wants keys and values: %s", what, strings.Join(keys, ", "))
		return
	}
	var seen []string
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		switch {
		case !slices.Contains(keys, k.Value) || k.Kind != yaml.ScalarNode:
			d.errorf(k, "unknown key %q in %s%s", clip(k.Value), what, suggest(k.Value, keys))
		case slices.Contains(seen, k.Value):
			d.errorf(k, "%q is given twice in %s", k.Value, what)
		default:
			seen = append(seen, k.Value)
			set(k.Value, k, v)
		}
	}
}

// list returns the items of a list, or a single value as a list of one.
func (d *decoder) list(n *yaml.Node) []*yaml.Node {
	switch {
	case n.Kind == yaml.ScalarNode:
		return []*yaml.Node{n}
	case n.Kind != yaml.SequenceNode:
		d.errorf(n, "a value or a list of values is wanted")
	case len(n.Content) == 0:
		d.errorf(n, "an empty list can never match: remove the condition or fill the list")
	}
	return n.Content
}

// text returns a scalar as it is written. A number is a text here: an account
// may be called 1000.
func (d *decoder) text(n *yaml.Node) (string, bool) {
	switch {
	case n.Kind != yaml.ScalarNode:
		d.errorf(n, "a single value is wanted, not a list or mapping")
	case n.Tag == "!!null" || strings.TrimSpace(n.Value) == "":
		d.errorf(n, "a value is missing")
	case n.Tag != "!!str" && n.Tag != "!!int" && n.Tag != "!!float":
		d.errorf(n, "%q is not taken for a text: put it in quotes", clip(n.Value))
	case len(n.Value) > maxText:
		d.errorf(n, "a text of more than %d bytes", maxText)
	default:
		return n.Value, true
	}
	return "", false
}

// word returns a scalar that must be one of a fixed set.
func (d *decoder) word(n *yaml.Node, words []string) string {
	text, ok := d.text(n)
	if !ok {
		return ""
	}
	if !slices.Contains(words, text) {
		d.errorf(n, "%q is not one of %s%s", clip(text), strings.Join(words, ", "), suggest(text, words))
		return ""
	}
	return text
}

func (d *decoder) bool(n *yaml.Node) bool {
	if n.Kind != yaml.ScalarNode || n.Value != "true" && n.Value != "false" || n.Tag != "!!bool" {
		d.errorf(n, "%q is neither true nor false", clip(n.Value))
	}
	return n.Value == "true"
}

func clip(s string) string {
	if len(s) > 60 {
		return strings.ToValidUTF8(s[:60], "") + "…"
	}
	return s
}

// parsePorts reads 22 or 8000-8100, in plain decimal.
func parsePorts(text string) (portRange, error) {
	first, last, isRange := strings.Cut(text, "-")
	if !isRange {
		last = first
	}
	a, err := registry.ParsePort(first)
	if err != nil {
		return portRange{}, portError(text, isRange, err)
	}
	b, err := registry.ParsePort(last)
	if err != nil {
		return portRange{}, portError(text, isRange, err)
	}
	if a > b {
		return portRange{}, fmt.Errorf("the range %q runs backwards: write %d-%d", text, b, a)
	}
	return portRange{a, b}, nil
}

func portError(text string, isRange bool, err error) error {
	if isRange {
		return fmt.Errorf("%q is no range of ports such as 8000-8100: %w", clip(text), err)
	}
	return err
}
