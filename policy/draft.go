package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// Draft is a policy that a program writes for people to read and change. Its
// default is to alert.
type Draft struct {
	Head  []string // paragraphs of comment above everything
	Rules []DraftRule
	Tail  []string // paragraphs of comment below the rules
}

// DraftRule is a rule of a Draft.
type DraftRule struct {
	Comment []string // paragraphs above it
	ID      string
	Verdict Verdict
	Alert   Severity // of an alert
	Always  bool     // whether no allowance silences it
	Match   []Clause
	Reason  string
	Message string // of an alert
	Out     bool   // written as a comment, for somebody to take in
}

// Clause is one condition of a DraftRule, made by Words, Texts, Not and Any.
type Clause struct {
	key    string
	values []string   // as they stand in the file
	groups [][]Clause // of "not" and "any"
}

// Words is the condition that a fact is one of several words of the language:
// names of it, numbers, true or false.
func Words(key string, words ...string) Clause { return Clause{key: key, values: words} }

// Texts is the condition that a fact is one of several texts. What a text is that
// could be taken for something else stands in quotes.
func Texts(key string, texts ...string) Clause {
	c := Clause{key: key}
	for _, t := range texts {
		c.values = append(c.values, scalar(t))
	}
	return c
}

// Not is the condition that some do not all hold.
func Not(clauses ...Clause) Clause { return Clause{key: "not", groups: [][]Clause{clauses}} }

// Any is the condition that all of one of several groups hold.
func Any(groups ...[]Clause) Clause { return Clause{key: "any", groups: groups} }

// Literal returns the pattern that fits a text and as few others as patterns can
// say, and whether it fits no other: a character that is special in patterns, a
// byte that is no UTF-8, and the $ of what would name a set, is stood in for by ?,
// which fits any.
func Literal(text string) (pattern string, exact bool) {
	var b strings.Builder
	exact = true
	set := setReference.MatchString(text)
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		if r == utf8.RuneError || strings.ContainsRune("*?{", r) || set && i == 0 { // U+FFFD itself fits each bad byte
			r, exact = '?', false
		}
		b.WriteRune(r)
		i += size
	}
	return b.String(), exact
}

// Writable reports whether a text can be the value of a condition: a policy in
// which it stands is not refused for it.
func Writable(text string) bool {
	return strings.TrimSpace(text) != "" && len(text) <= maxText && utf8.ValidString(text) && !setReference.MatchString(text)
}

// Pattern reports whether a pattern can fit a whole path of a program.
func Pattern(path string) bool {
	return Writable(path) && (strings.HasPrefix(path, "/") || windowsPattern.MatchString(path))
}

// scalar writes a text so that it is read back as this text anywhere in YAML, and
// cannot make a reader see another one.
func scalar(text string) string {
	if !plainText(text) || text == "<<" { // which yaml.v3 writes as a merge key
		return strconv.QuoteToASCII(text) // its escapes are YAML's, where the text is UTF-8
	}
	b, err := yaml.Marshal(struct {
		V []string `yaml:",flow"`
	}{[]string{text}})
	inner, ok := strings.CutPrefix(string(b), "v: [")
	inner, closed := strings.CutSuffix(inner, "]\n")
	if err != nil || !ok || !closed || strings.Contains(inner, "\n") {
		return strconv.QuoteToASCII(text)
	}
	return inner
}

// sentence writes a text for people behind a key, in quotes only where it needs
// them there.
func sentence(text string) string {
	b, err := yaml.Marshal(text)
	if s := strings.TrimSuffix(string(b), "\n"); err == nil && plainText(text) && !strings.ContainsAny(s[:1], "|>!") && !strings.Contains(s, "\n") && text != "<<" {
		return s
	}
	return scalar(text)
}

// plainText reports whether every character of a text can be seen, and none of
// them changes how others look.
func plainText(text string) bool {
	for i, r := range text {
		_, size := utf8.DecodeRuneInString(text[i:])
		if r == utf8.RuneError && size == 1 || !unicode.IsPrint(r) || unicode.In(r, unicode.M, unicode.Other_Default_Ignorable_Code_Point) {
			return false
		}
	}
	return true
}

// draftWidth is how long a line of a draft may be that can be broken.
const draftWidth = 80

// Text returns the file.
func (d Draft) Text() []byte {
	var b strings.Builder
	paragraphs(&b, "", d.Head)
	b.WriteString("\nversion: 1\n\ndefault: alert\n\nrules:")
	if !slices.ContainsFunc(d.Rules, func(r DraftRule) bool { return !r.Out }) {
		b.WriteString(" []")
	}
	b.WriteByte('\n')
	for _, r := range d.Rules {
		b.WriteByte('\n')
		paragraphs(&b, "  ", r.Comment)
		mark := "  "
		if r.Out {
			mark = "  # "
		}
		for line := range strings.Lines(r.text()) {
			b.WriteString(mark + line)
		}
	}
	if len(d.Tail) > 0 {
		b.WriteByte('\n')
		paragraphs(&b, "", d.Tail)
	}
	return []byte(b.String())
}

// text writes a rule as an item of a list.
func (r DraftRule) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "- id: %s\n  verdict: %v\n", r.ID, r.Verdict)
	if r.Verdict == Alert {
		fmt.Fprintf(&b, "  severity: %v\n", r.Alert)
	}
	if r.Always {
		b.WriteString("  always: true\n")
	}
	if line := "  match: " + flow(r.Match) + "\n"; len(line) <= draftWidth-len("  # ") {
		b.WriteString(line)
	} else {
		b.WriteString("  match:\n")
		for _, c := range r.Match {
			c.block(&b)
		}
	}
	for _, s := range []struct{ key, text string }{{"reason", r.Reason}, {"message", r.Message}} {
		if s.text != "" {
			fmt.Fprintf(&b, "  %s: %s\n", s.key, sentence(s.text))
		}
	}
	return b.String()
}

// block writes a condition on lines of its own: a long list on several.
func (c Clause) block(b *strings.Builder) {
	if len(c.groups) > 0 && c.key == "any" {
		b.WriteString("    any:\n")
		for _, g := range c.groups {
			b.WriteString("      - " + flow(g) + "\n")
		}
		return
	}
	line := "    " + c.String()
	if len(line) <= draftWidth-len("  # ") || len(c.values) < 2 {
		b.WriteString(line + "\n")
		return
	}
	line = "    " + c.key + ": ["
	for i, v := range c.values {
		end := ","
		if i == len(c.values)-1 {
			end = "]"
		}
		if i > 0 && len(line)+len(v)+len(" ,") > draftWidth-len("  # ") {
			b.WriteString(line + "\n")
			line = "      " + v + end
			continue
		}
		if i > 0 {
			line += " "
		}
		line += v + end
	}
	b.WriteString(line + "\n")
}

// String writes a condition on one line.
func (c Clause) String() string {
	switch {
	case c.key == "not":
		return "not: " + flow(c.groups[0])
	case len(c.groups) > 0:
		all := make([]string, len(c.groups))
		for i, g := range c.groups {
			all[i] = flow(g)
		}
		return c.key + ": [" + strings.Join(all, ", ") + "]"
	case len(c.values) == 1:
		return c.key + ": " + c.values[0]
	}
	return c.key + ": [" + strings.Join(c.values, ", ") + "]"
}

func flow(clauses []Clause) string {
	all := make([]string, len(clauses))
	for i, c := range clauses {
		all[i] = c.String()
	}
	return "{" + strings.Join(all, ", ") + "}"
}

// paragraphs writes comments, each paragraph broken into lines, with an empty one
// between two but for those that begin with "- ", the items of a list. Whatever
// they hold, they stay comments.
func paragraphs(b *strings.Builder, indent string, list []string) {
	for i, text := range list {
		item := strings.HasPrefix(text, "- ")
		if i > 0 && !item {
			b.WriteString(indent + "#\n")
		}
		line, next := indent+"#", indent+"#"
		if item {
			next += "  "
		}
		for _, word := range strings.Fields(text) {
			if !plainText(word) {
				quoted := strconv.QuoteToASCII(word)
				word = quoted[1 : len(quoted)-1]
			}
			if len(line) > len(next) && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > draftWidth {
				b.WriteString(line + "\n")
				line = next
			}
			line += " " + word
		}
		b.WriteString(line + "\n")
	}
}
