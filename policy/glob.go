package policy

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// glob is a compiled pattern of a path or name: * stands for anything within
// one part of a path, ** for anything across parts, **/ for any number of
// whole parts, ? for one character, {a,b} for either. Nothing else is special
// and nothing escapes these.
type glob struct {
	literal string // the pattern, where nothing in it is special
	suffix  string // of one such as **/sshd: what must end the path, with the slash
	needed  string // what any text that fits has in it: most paths lack it, and need no regular expression
	exact   *regexp.Regexp
	folded  *regexp.Regexp // for paths of Windows; nil where the pattern fits none
}

// windowsPattern matches how a path of Windows may begin: a drive, or two
// backslashes.
var windowsPattern = regexp.MustCompile(`^([A-Za-z?*]:[\\/]|\\\\)`)

// compileGlob compiles a pattern.
func compileGlob(text string) (glob, error) {
	var g glob
	var err error
	if g.exact, err = translate(text); err != nil {
		return g, fmt.Errorf("%q %v", clip(text), err)
	}
	// A regular expression takes each byte that is no UTF-8 for U+FFFD, and the short
	// ways do not.
	switch rest, anywhere := strings.CutPrefix(text, "**/"); {
	case strings.ContainsRune(text, utf8.RuneError):
	case !strings.ContainsAny(text, "*?{"):
		g.literal = text
	case anywhere && !strings.ContainsAny(rest, "*?{"):
		g.suffix = "/" + rest
	}
	if !strings.ContainsRune(text, utf8.RuneError) {
		g.needed = neededOf(text)
	}
	if !strings.HasPrefix(text, "/") {
		g.folded, err = translate(fold(text))
	}
	return g, err
}

// match reports whether s fits the pattern. A path of Windows is matched as
// there: without regard to case, either slash for the other.
func (g glob) match(s string) bool {
	if isWindowsPath(s) {
		return g.folded != nil && g.folded.MatchString(fold(s))
	}
	switch {
	case g.literal != "":
		return s == g.literal
	case g.suffix != "":
		return strings.HasSuffix(s, g.suffix) || s == g.suffix[1:]
	}
	return strings.Contains(s, g.needed) && g.exact.MatchString(s)
}

// neededOf returns the longest part of a pattern that stands for itself and is in
// every text that fits: none of what is in braces, nor the slash of **/.
func neededOf(text string) string {
	longest, from, depth := "", 0, 0
	end := func(i int) {
		if depth == 0 && i-from > len(longest) {
			longest = text[from:i]
		}
	}
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '*' || c == '?':
			end(i)
			if strings.HasPrefix(text[i:], "**/") {
				i += len("**/") - 1
			}
			from = i + 1
		case c == '{':
			end(i)
			depth++
		case c == '}' && depth > 0:
			depth--
			from = i + 1
		}
	}
	end(len(text))
	return longest
}

func isWindowsPath(s string) bool {
	return strings.HasPrefix(s, `\\`) || len(s) > 2 && isLetter(s[0]) && s[1] == ':' && (s[2] == '\\' || s[2] == '/')
}

// isLetter reports whether a drive of Windows may be called so.
func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func fold(s string) string { return strings.ToLower(strings.ReplaceAll(s, `\`, "/")) }

// translate makes a regular expression of a pattern: its matching takes linear
// time whatever the pattern.
func translate(text string) (*regexp.Regexp, error) {
	var b strings.Builder
	b.WriteString(`(?s)\A(?:`)
	open := false
	part := true // whether a part of the path begins here
	for i := 0; i < len(text); {
		c, size := utf8.DecodeRuneInString(text[i:])
		piece := regexp.QuoteMeta(string(c))
		switch {
		case part && strings.HasPrefix(text[i:], "**/"):
			piece, size = `(?:.*/)?`, len("**/")
		case strings.HasPrefix(text[i:], "**"):
			piece, size = `.*`, len("**")
		case c == '*':
			piece = `[^/]*`
		case c == '?':
			piece = `[^/]`
		case c == '{' && open:
			return nil, errors.New("has a brace inside a brace")
		case c == '{':
			piece, open = `(?:`, true
		case c == '}' && open:
			piece, open = `)`, false
		case c == ',' && open:
			piece = `|`
		}
		b.WriteString(piece)
		i += size
		last := text[i-1]
		part = last == '/' || open && (last == '{' || last == ',')
	}
	if open {
		return nil, errors.New("opens a brace and does not close it")
	}
	b.WriteString(`)\z`)
	return regexp.Compile(b.String())
}
