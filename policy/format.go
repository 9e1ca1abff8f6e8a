package policy

import (
	"bytes"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Format returns a policy in its canonical form: two spaces for each level, lists
// below their key, the keys of a rule in their order, and no blank lines but single
// ones. It works on the lines of the file, which it moves and indents and never
// writes anew: an encoder of YAML would lose blank lines, breaks of long texts and
// the places of comments.
//
// It refuses what it cannot put into form for certain. An error is of type Errors;
// that the rules make sense is not asked.
func Format(data []byte, name string) ([]byte, error) {
	data = bytes.ReplaceAll(bytes.TrimPrefix(data, []byte("\ufeff")), []byte("\r\n"), []byte("\n"))
	d := newDecoder(name, "policy")
	before := d.document(data)
	if len(d.errors) > 0 {
		return nil, d.inOrder().shortened(name)
	}
	out, err := formatOnce(data, name, before)
	if err != nil {
		return nil, err
	}
	d = newDecoder(name, "policy")
	if after := d.document(out); len(d.errors) > 0 || !sameNodes(before, after, "") || !sameLines(data, out) {
		return nil, unformatted(name, nil)
	} else if again, err := formatOnce(out, name, after); err != nil || !bytes.Equal(out, again) {
		return nil, unformatted(name, nil)
	}
	return out, nil
}

// unformatted refuses a file for what a node is, or for a reason that is not known.
func unformatted(name string, n *yaml.Node) Errors {
	e := Error{File: name, Message: "its form is too unusual to be changed without a risk: write it in the way of docs/policy.md"}
	if n != nil {
		e.Line, e.Column = n.Line, n.Column
	}
	return Errors{e}
}

// formatter puts the lines of a file into form.
type formatter struct {
	name  string
	lines []string
	first int        // before this line a "---" may stand
	odd   *yaml.Node // what cannot be put into form
}

// line is one line of the result. That of a block scalar is raw: its blank lines
// mean something.
type line struct {
	text string
	raw  bool
}

// entry is one key of a mapping: the comments and blank lines before it, and its
// lines.
type entry struct {
	key        string
	lead, body []line
}

// oddBreak finds what YAML takes for the end of a line and editors do not, and
// marks of documents.
var oddBreak = regexp.MustCompile("[\r\u0085\u2028\u2029]|(?m)^(---.|\\.\\.\\.|%)")

func formatOnce(data []byte, name string, root *yaml.Node) ([]byte, error) {
	if root.Kind != yaml.MappingNode || root.Style&yaml.FlowStyle != 0 || oddBreak.Match(data) {
		return nil, unformatted(name, root)
	}
	f := formatter{name: name, lines: strings.Split(string(data), "\n"), first: root.Line - 1}
	entries, tail, _ := f.mapping(root, 0, len(f.lines), 0, "")
	if f.odd != nil {
		return nil, unformatted(name, f.odd)
	}
	return joined(append(flat(entries), tail...)), nil
}

// joined writes lines out, with single blank lines and none at either end.
func joined(lines []line) []byte {
	var b bytes.Buffer
	blank := false
	for _, l := range lines {
		if !l.raw && l.text == "" {
			blank = true
			continue
		}
		if blank && b.Len() > 0 {
			b.WriteByte('\n')
		}
		blank = false
		b.WriteString(l.text + "\n")
	}
	return b.Bytes()
}

func flat(entries []entry) []line {
	var all []line
	for _, e := range entries {
		all = append(append(all, e.lead...), e.body...)
	}
	return all
}

// isRule reports whether a path is that of a rule.
func isRule(path string) bool { return path == ".rules[]" }

// mapping puts a mapping of several lines into form, from a line on to before
// another. The lines from rest on are comments and blank lines behind it.
func (f *formatter) mapping(n *yaml.Node, from, to, indent int, path string) (entries []entry, tail []line, rest int) {
	rest = from
	for i := 0; i+1 < len(n.Content) && f.odd == nil; i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		next := to
		if i+2 < len(n.Content) {
			next = n.Content[i+2].Line - 1
		}
		if k.Line-1 < rest || next <= k.Line-1 || k.Column != n.Column || !f.begins(k, i == 0) {
			f.odd = k
			return nil, nil, to
		}
		e := entry{key: k.Value, lead: f.comments(rest, k.Line-1, indent)}
		e.body, rest = f.value(k, v, k.Column-1, next, indent, path+"."+k.Value)
		entries = append(entries, e)
	}
	tail, rest = f.tail(rest, to, n.Column-1, indent)
	if isRule(path) {
		slices.SortStableFunc(entries, func(a, b entry) int { return rankOf(a.key) - rankOf(b.key) })
	}
	return entries, tail, rest
}

// rankOf is the place of a key in a rule; those that no rule has come last.
func rankOf(key string) int {
	if i := slices.Index(ruleKeys(), key); i >= 0 {
		return i
	}
	return len(ruleKeys())
}

// begins reports whether nothing but white space stands before a node, or, of the
// first one in an item of a list, a dash.
func (f *formatter) begins(n *yaml.Node, first bool) bool {
	before := strings.TrimSpace(f.cut(n, false))
	return before == "" || first && before == "-"
}

// cut returns the text of a line before a node, or from it on. Columns count
// characters.
func (f *formatter) cut(n *yaml.Node, after bool) string {
	text := []rune(f.lines[n.Line-1])
	at := min(n.Column-1, len(text))
	if after {
		return string(text[at:])
	}
	return string(text[:at])
}

// value puts the lines of a key or of an item of a list into form, which begin at
// the node k. was and indent are how far its mapping or list was and is indented.
func (f *formatter) value(k, v *yaml.Node, was, to, indent int, path string) ([]line, int) {
	head := line{text: spaces(indent) + strings.TrimRight(f.cut(k, true), " \t")}
	block := v.Style&yaml.FlowStyle == 0 && len(v.Content) > 0
	switch {
	case block && v.Line == k.Line:
		f.odd = v
		return nil, to
	case block && v.Kind == yaml.MappingNode:
		entries, tail, rest := f.mapping(v, k.Line, to, indent+2, path)
		return slices.Concat([]line{head}, flat(entries), tail), rest
	case block && v.Kind == yaml.SequenceNode:
		items, rest := f.sequence(v, k.Line, to, was, indent+2, path)
		return append([]line{head}, items...), rest
	case v.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		if v.Line != k.Line {
			f.odd = v
			return nil, to
		}
		content, rest := f.blockScalar(v, was, to, indent)
		return append([]line{head}, content...), rest
	}
	if isRule(path) && v.Line == k.Line {
		head.text = spaces(indent) + orderFlow(strings.TrimRight(f.cut(k, true), " \t"), v)
	}
	return f.scalar(head, k, v, was, to, indent)
}

// scalar puts a scalar into form, or a collection in brackets, whose further lines
// keep their distance from the first.
func (f *formatter) scalar(head line, k, v *yaml.Node, was, to, indent int) ([]line, int) {
	end := f.endOfQuotes(v)
	if end == 0 {
		for end = to; end > k.Line && isComment(f.lines[end-1]); end-- {
		}
	}
	shift := indent - was
	if v.Line > k.Line {
		shift = indent + 2 - (v.Column - 1)
	}
	lines := []line{head}
	for _, text := range f.lines[k.Line:end] {
		at := max(indentOf(text)+shift, indent)
		if v.Kind == yaml.ScalarNode {
			at = indent + 2 // there the space before a line means nothing
		}
		if text = strings.Trim(text, " \t"); text != "" {
			text = spaces(at) + text
		}
		lines = append(lines, line{text: text})
	}
	return lines, end
}

// endOfQuotes returns the line behind the one on which a quoted text ends, 0 of
// other values: a line of such a text may look like a comment.
func (f *formatter) endOfQuotes(v *yaml.Node) int {
	if v.Kind != yaml.ScalarNode || v.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) == 0 {
		return 0
	}
	text := f.cut(v, true)
	quote, from := text[:min(1, len(text))], 1
	for i := v.Line; ; i++ {
		for at := from; at < len(text); at++ {
			switch {
			case quote == `"` && text[at] == '\\', quote == "'" && strings.HasPrefix(text[at:], "''"):
				at++
			case text[at:at+1] == quote:
				return i
			}
		}
		if i == len(f.lines) {
			return 0
		}
		text, from = f.lines[i], 0
	}
}

var explicitIndent = regexp.MustCompile(`^[|>][+-]?[1-9]`)

// blockScalar puts a text below its key into form. Its lines begin where its first
// one does.
func (f *formatter) blockScalar(v *yaml.Node, was, to, indent int) ([]line, int) {
	first := v.Line
	for first < to && strings.Trim(f.lines[first], " ") == "" {
		first++
	}
	if first == to || indentOf(f.lines[first]) <= was {
		return nil, v.Line
	}
	old := indentOf(f.lines[first])
	now := indent + 2
	if explicitIndent.MatchString(f.cut(v, true)) {
		now = old + indent - was
	}
	var lines []line
	end := v.Line
	for i := v.Line; i < to; i++ {
		text := f.lines[i]
		blank := strings.Trim(text, " ") == ""
		if !blank && indentOf(text) < old {
			break
		}
		if len(text) > old {
			text = spaces(now) + text[old:]
		} else {
			text = ""
		}
		lines = append(lines, line{text, true})
		if !blank {
			end = i + 1
		}
	}
	return lines[:end-v.Line], end
}

// sequence puts a list of several lines into form, with its dashes at indent. was
// is how far its key was indented.
func (f *formatter) sequence(n *yaml.Node, from, to, was, indent int, path string) (lines []line, rest int) {
	rest = from
	for i, item := range n.Content {
		dash, ok := f.dashOf(item, rest)
		next := to
		if i+1 < len(n.Content) {
			next, _ = f.dashOf(n.Content[i+1], item.Line)
		}
		block := item.Style&yaml.FlowStyle == 0 && len(item.Content) > 0
		if !ok || next < item.Line || f.odd != nil || block && item.Kind == yaml.SequenceNode {
			f.odd = item
			return nil, to
		}
		lines = append(lines, f.comments(rest, dash, indent)...)
		lines = append(lines, f.loose(dash, item.Line-1, indent)...)
		var body, tail []line
		if block {
			var entries []entry
			entries, tail, rest = f.mapping(item, item.Line-1, next, indent+2, path+"[]")
			if len(entries) > 0 {
				lines = append(lines, outdented(entries[0].lead)...)
				entries[0].lead = nil
			}
			body = flat(entries)
		} else {
			body, rest = f.value(item, item, indentOf(f.lines[dash]), next, indent, path+"[]")
		}
		if f.odd != nil || len(body) == 0 {
			f.odd = item
			return nil, to
		}
		body[0].text = spaces(indent) + "- " + strings.TrimLeft(body[0].text, " ")
		lines = append(append(lines, body...), tail...)
	}
	column := n.Column - 1
	if column == was {
		column++ // a list may stand as far left as its key: comments there are of what follows
	}
	tail, rest := f.tail(rest, to, column, indent)
	return append(lines, tail...), rest
}

// outdented moves comments from before a key to before the dash of its rule.
func outdented(lines []line) []line {
	for len(lines) > 0 && lines[0].text == "" {
		lines = lines[1:]
	}
	for i := range lines {
		lines[i].text = strings.TrimPrefix(lines[i].text, "  ")
	}
	return lines
}

// dashOf returns the line with the dash of an item: its own, or one above it.
func (f *formatter) dashOf(item *yaml.Node, from int) (at int, ok bool) {
	if before := strings.TrimSpace(f.cut(item, false)); before != "" {
		return item.Line - 1, before == "-"
	}
	for at = item.Line - 2; at >= from && isComment(f.lines[at]); at-- {
	}
	return at, at >= from && looseDash.MatchString(f.lines[at])
}

// looseDash is a dash alone, or with a comment.
var looseDash = regexp.MustCompile(`^ *-[ \t]*(#.*)?$`)

// loose returns what stands from a dash on a line of its own to before its item.
func (f *formatter) loose(dash, to, indent int) []line {
	if dash == to {
		return nil
	}
	var lines []line
	if comment := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(f.lines[dash]), "-")); comment != "" {
		lines = append(lines, line{text: spaces(indent) + comment})
	}
	return append(lines, f.comments(dash+1, to, indent)...)
}

// comments puts comments and blank lines into form.
func (f *formatter) comments(from, to, indent int) []line {
	var lines []line
	for i := from; i < to; i++ {
		text := strings.TrimSpace(f.lines[i])
		switch {
		case text == "", text == "---" && i < f.first:
		case text[0] != '#':
			f.odd = &yaml.Node{Line: i + 1, Column: 1}
			return nil
		default:
			text = spaces(indent) + text
		}
		lines = append(lines, line{text: text})
	}
	return lines
}

// tail returns the comments behind the last entry that are indented as far as it
// was, and belong to it. The rest is of what follows.
func (f *formatter) tail(from, to, was, indent int) ([]line, int) {
	end := from
	for i := from; i < to; i++ {
		if strings.TrimSpace(f.lines[i]) == "" {
			continue
		}
		if indentOf(f.lines[i]) < was {
			break
		}
		end = i + 1
	}
	return f.comments(from, end, indent), end
}

func isComment(text string) bool {
	text = strings.TrimSpace(text)
	return text == "" || text[0] == '#'
}

func indentOf(text string) int { return len(text) - len(strings.TrimLeft(text, " \t")) }

func spaces(n int) string { return strings.Repeat(" ", n) }
