package policy

import (
	"slices"
	"strings"
)

// Placeholders returns the names that may stand in braces in the texts of a
// rule: {address} {port} {transport} of the listener, and {endpoint}, which
// says all of these of every kind of socket; {service}, its highest-ranking
// name; {program}, {executable} and {user} of its owners;
// {owners}, program, pid and user of each; {state} and {range} of the
// registry; {scope} of the address; {reach}, from where it can be reached in
// effect; {authority} over a privileged port;
// {risk_name} and {risk_why}, what the port is commonly abused for.
func Placeholders() []string {
	return []string{
		"address", "port", "transport", "endpoint", "service", "program", "executable", "user", "owners",
		"state", "range", "scope", "reach", "authority", "risk_name", "risk_why",
	}
}

// Expand replaces each placeholder of text by its value. A text that has none
// is returned as it is.
func Expand(text string, value func(placeholder string) string) string {
	before, name, rest := cutPlaceholder(text)
	if name == "" {
		return text
	}
	var b strings.Builder
	for ; name != ""; before, name, rest = cutPlaceholder(rest) {
		b.WriteString(before)
		if slices.Contains(Placeholders(), name) {
			b.WriteString(value(name))
		} else {
			b.WriteString("{" + name + "}")
		}
	}
	b.WriteString(before)
	return b.String()
}

// fillIn replaces one placeholder.
func fillIn(text, placeholder, value string) string {
	return strings.ReplaceAll(text, "{"+placeholder+"}", value)
}

// cutPlaceholder cuts a text around the first name in braces, which Expand
// replaces or which looks like a mistyped one of these: {risk-name} and {port1}
// are mistakes, {} and {a b} are none. Without one, all of the text is before.
func cutPlaceholder(text string) (before, name, rest string) {
	for open := strings.IndexByte(text, '{'); open >= 0; {
		end := open + 1
		for end < len(text) && nameByte(text[end], end == open+1) {
			end++
		}
		if end < len(text) && text[end] == '}' && end > open+1 {
			return text[:open], text[open+1 : end], text[end+1:]
		}
		next := strings.IndexByte(text[end:], '{')
		if next < 0 {
			break
		}
		open = end + next
	}
	return text, "", ""
}

// nameByte reports whether a name in braces may have c, or begin with it.
func nameByte(c byte, first bool) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '_':
		return true
	}
	return !first && ('0' <= c && c <= '9' || c == '-')
}
