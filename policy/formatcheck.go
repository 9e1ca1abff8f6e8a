package policy

import (
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// endOfFlow is the end of a rule in braces: nothing but a comment may follow.
var endOfFlow = regexp.MustCompile(`\}[ \t]*(#.*)?$`)

// orderFlow puts the keys of a rule in order that stands in braces on one line.
// One that it cannot take apart stays as it is.
func orderFlow(text string, n *yaml.Node) string {
	if n.Kind != yaml.MappingNode || len(n.Content) < 4 || !strings.HasPrefix(text, "{") {
		return text
	}
	runes := []rune(text)
	type part struct{ key, text string }
	var parts []part
	last := 0
	for i := 0; i < len(n.Content); i += 2 {
		k := n.Content[i]
		from := k.Column - n.Column
		if k.Line != n.Line || from <= last || from > len(runes) {
			return text
		}
		if i > 0 {
			parts[len(parts)-1].text = strings.TrimRight(string(runes[last:from]), " \t")
			if !strings.HasSuffix(parts[len(parts)-1].text, ",") {
				return text
			}
			parts[len(parts)-1].text = strings.TrimRight(strings.TrimSuffix(parts[len(parts)-1].text, ","), " \t")
		}
		parts, last = append(parts, part{key: k.Value}), from
	}
	rest := string(runes[last:])
	end := endOfFlow.FindStringIndex(rest)
	if end == nil {
		return text
	}
	parts[len(parts)-1].text = strings.TrimRight(rest[:end[0]], " \t,")
	slices.SortStableFunc(parts, func(a, b part) int { return rankOf(a.key) - rankOf(b.key) })
	var texts []string
	for _, p := range parts {
		texts = append(texts, p.text)
	}
	return "{" + strings.Join(texts, ", ") + rest[end[0]:]
}

// sameNodes reports whether two documents say the same, but for the order of the
// keys of a rule.
func sameNodes(a, b *yaml.Node, path string) bool {
	if a.Kind != b.Kind || a.Tag != b.Tag || a.Value != b.Value || a.Style != b.Style || len(a.Content) != len(b.Content) {
		return false
	}
	one, other := a.Content, b.Content
	if a.Kind == yaml.MappingNode && isRule(path) {
		one, other = ruleInOrder(one), ruleInOrder(other)
	}
	for i := range one {
		inner := path + "[]"
		if a.Kind == yaml.MappingNode {
			inner = path + "." + one[i-i%2].Value
			if i%2 == 0 {
				inner = ""
			}
		}
		if !sameNodes(one[i], other[i], inner) {
			return false
		}
	}
	return true
}

// ruleInOrder returns the keys and values of a rule in their order.
func ruleInOrder(content []*yaml.Node) []*yaml.Node {
	var pairs [][]*yaml.Node
	for i := 0; i+1 < len(content); i += 2 {
		pairs = append(pairs, content[i:i+2])
	}
	slices.SortStableFunc(pairs, func(a, b []*yaml.Node) int { return rankOf(a[0].Value) - rankOf(b[0].Value) })
	return slices.Concat(pairs...)
}

// sameLines reports whether two texts have the same lines in any order, without
// regard to white space, dashes before them, and the order within a line: no
// comment is lost.
func sameLines(a, b []byte) bool { return slices.Equal(lettersOf(a), lettersOf(b)) }

// lettersOf returns the letters of each line in their order, for comparison.
func lettersOf(data []byte) []string {
	var all []string
	for text := range strings.Lines(string(data)) {
		text = strings.TrimLeft(text, " \t")
		if rest, ok := strings.CutPrefix(text, "-"); ok && strings.TrimLeft(rest, " \t\n") != rest {
			text = rest
		}
		letters := []rune(strings.Map(func(r rune) rune {
			if strings.ContainsRune(" \t\n,", r) {
				return -1
			}
			return r
		}, text))
		if len(letters) > 0 {
			slices.Sort(letters)
			all = append(all, string(letters))
		}
	}
	slices.Sort(all)
	return all
}
