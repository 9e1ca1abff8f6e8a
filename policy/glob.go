package policy

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// glob is a compiled pattern of a path or name: * stands for anything within
// one part of a path, ** for anything across parts, ? for one character,
// {a,b} for either.
type glob struct {
	pattern *regexp.Regexp
	windows bool
}

// windowsPath matches how a path of Windows begins: a drive, or two backslashes.
var windowsPath = regexp.MustCompile(`^([A-Za-z]:[\\/]|\\\\)`)

// compileGlob compiles a pattern. One that looks like a path of Windows is
// matched there: without regard to case, either slash for the other.
func compileGlob(text string) (glob, error) {
	g := glob{windows: windowsPath.MatchString(text)}
	if g.windows {
		text = strings.ToLower(strings.ReplaceAll(text, `\`, "/"))
	}
	var b strings.Builder
	b.WriteString(`(?s)\A(?:`)
	open := false
	for i := 0; i < len(text); {
		c, size := utf8.DecodeRuneInString(text[i:])
		switch {
		case strings.HasPrefix(text[i:], "**/"):
			b.WriteString(`(?:.*/)?`)
			size = len("**/")
		case strings.HasPrefix(text[i:], "**"):
			b.WriteString(`.*`)
			size = len("**")
		case c == '*':
			b.WriteString(`[^/]*`)
		case c == '?':
			b.WriteString(`[^/]`)
		case c == '{' && open:
			return g, fmt.Errorf("%q has a brace inside a brace", text)
		case c == '{':
			open = true
			b.WriteString(`(?:`)
		case c == '}' && open:
			open = false
			b.WriteString(`)`)
		case c == ',' && open:
			b.WriteString(`|`)
		default:
			b.WriteString(regexp.QuoteMeta(string(c)))
		}
		i += size
	}
	if open {
		return g, fmt.Errorf("%q opens a brace and does not close it", text)
	}
	b.WriteString(`)\z`)
	var err error
	g.pattern, err = regexp.Compile(b.String())
	return g, err
}

// match reports whether s fits the pattern.
func (g glob) match(s string) bool {
	if g.windows {
		s = strings.ToLower(strings.ReplaceAll(s, `\`, "/"))
	}
	return g.pattern.MatchString(s)
}
