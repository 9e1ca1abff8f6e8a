package policy

import (
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/portaudit/portaudit/registry"
)

// Bounds of a policy: far above what people write, far below what hurts.
const (
	maxBytes = 1 << 20
	maxRules = 10_000
	maxDepth = 16
	maxText  = 4096   // bytes of one text or pattern
	maxGlobs = 10_000 // patterns, which take some kilobytes each

	// maxErrors is more than anybody mends in one go: a file that is no policy
	// at all has a mistake on every line.
	maxErrors = 1000
)

// decoder walks the nodes of a YAML document and collects every mistake. It
// reads nodes and not Go values because yaml.v3, asked for values, takes 22.5
// for 22, 010 for 8 and ~ for 0, ignores a second document and tells no column.
type decoder struct {
	file       string
	what       string // the file, in messages
	errors     Errors
	refused    map[*yaml.Node]bool // what was said of these nodes is enough
	conditions map[string]conditionKey
	ids        map[string]place
	globs      int
	sets       map[string]set
	files      Files
	names      []string // of the files that were read, this policy's first
	gathered   []gathered
	extended   map[string]*yaml.Node // the keys of the first file
	items      int                   // values that sets stood for
}

// place is where something stands.
type place struct {
	file         string
	line, column int
}

func (d *decoder) place(n *yaml.Node) place { return place{d.file, n.Line, n.Column} }

// from says where something stands, to one who reads another place.
func (p place) from(file string) string {
	if p.file == file {
		return fmt.Sprintf("on line %d", p.line)
	}
	return fmt.Sprintf("on line %d of %s", p.line, p.file)
}

func newDecoder(file, what string) *decoder {
	return &decoder{file: file, what: what, refused: map[*yaml.Node]bool{}, conditions: conditionKeys(), ids: map[string]place{}, sets: map[string]set{}}
}

func (d *decoder) errorf(n *yaml.Node, format string, args ...any) {
	if d.refused[n] {
		return
	}
	d.errors = append(d.errors, Error{File: d.file, Line: n.Line, Column: n.Column, Message: fmt.Sprintf(format, args...)})
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
		case k.Kind != yaml.ScalarNode:
			d.errorf(k, "a key of %s is a single word, not a list or mapping", what)
		case !slices.Contains(keys, k.Value):
			d.errorf(k, "unknown key %q in %s%s", clip(k.Value), what, suggest(k.Value, keys))
		case slices.Contains(seen, k.Value):
			d.errorf(k, "%q is given twice in %s", k.Value, what)
		default:
			seen = append(seen, k.Value)
			set(k.Value, k, v)
		}
	}
}

// list returns the items of a list, or a single value as a list of one, with the
// sets that are named written out.
func (d *decoder) list(n *yaml.Node) []*yaml.Node {
	switch {
	case n.Kind == yaml.ScalarNode:
		return d.expand(n)
	case n.Kind != yaml.SequenceNode:
		d.errorf(n, "a value or a list of values is wanted")
		return nil
	case len(n.Content) == 0:
		d.errorf(n, "an empty list can never match: remove the condition or fill the list")
	}
	var items []*yaml.Node
	for _, item := range n.Content {
		items = append(items, d.expand(item)...)
	}
	return items
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
	is := n.Value == "true"
	switch {
	case n.Kind != yaml.ScalarNode || n.Tag == "!!null":
		d.errorf(n, "true or false is wanted")
	case !is && n.Value != "false":
		d.errorf(n, "%q is neither true nor false", clip(n.Value))
	case n.Tag != "!!bool":
		d.errorf(n, "%q is in quotes: write it without", n.Value)
	}
	return is
}

// clip shortens a text for a message.
func clip(s string) string {
	if len(s) > 64 { // a SHA-256 fits
		return strings.ToValidUTF8(s[:64], "") + "…"
	}
	return s
}

// parsePorts reads 22 or 8000-8100, in plain decimal, alone or with a transport:
// 53/udp.
func parsePorts(text string) (portRange, error) {
	numbers, name, withTransport := strings.Cut(text, "/")
	if !withTransport {
		return parsePortRange(numbers)
	}
	t, err := registry.ParseSocketTransport(name)
	if err != nil || t.Assigned() == 0 {
		return portRange{}, fmt.Errorf("%q is no port with a transport such as 53/udp", text)
	}
	r, err := parsePortRange(numbers)
	r.transport = t
	return r, err
}

func parsePortRange(text string) (portRange, error) {
	first, last, isRange := strings.Cut(text, "-")
	a, err := registry.ParsePort(first)
	if !isRange {
		return portRange{first: a, last: a}, err
	}
	b, lastErr := registry.ParsePort(last)
	switch {
	case err != nil || lastErr != nil:
		return portRange{}, fmt.Errorf("%q is no range of ports such as 8000-8100: a port is a whole number from 0 to 65535", text)
	case a > b:
		return portRange{}, fmt.Errorf("the range %q runs backwards: write %d-%d", text, b, a)
	}
	return portRange{first: a, last: b}, nil
}
