package audit

import (
	"strconv"
	"unicode"
	"unicode/utf8"
)

// clipMark is room for the mark that Clip leaves: "…[+", a count, " bytes]".
const clipMark = 31

// Visible makes a string from outside harmless in a log and on a terminal.
//
// A string of valid UTF-8 in which every rune can be seen is returned as it
// is, without an allocation. A rune can be seen if unicode.IsPrint says so
// (the only space among these is U+0020), if it is not one that Unicode lets
// a terminal ignore (fillers, variation selectors), and, being a combining
// mark, if a rune stands before it that it can combine with.
//
// Any other string is escaped as in a Go string literal: control characters
// to \n, \t, \x1b and the like, bytes that are no UTF-8 to \xff, and every
// other rune that cannot be seen (bidirectional controls, zero-width and
// format characters, C1 controls, U+2028) to \u202e or \U000e0001. Backslashes
// are doubled, all other runes stay, quotes too, so that calls of
// strconv.UnquoteChar with quote 0 give the string back. Letters of scripts
// that run from right to left stay: a terminal may order them so.
//
// Visible(Visible(s)) is Visible(s). For that reason the result alone does not
// tell whether it was escaped: a process that names itself with a backslash
// and an n reads like one that has a newline in its name.
func Visible(s string) string {
	if plain(s) {
		return s
	}
	out := make([]byte, 0, len(s)+len(s)/4+8)
	base := false // whether a combining mark would have something to sit on
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			out = append(out, '\\', 'x', hexDigit(s[i]>>4), hexDigit(s[i]))
			base = false
		case r == '\\':
			out = append(out, `\\`...)
			base = true
		case seen(r, base):
			out = append(out, s[i:i+n]...)
			base = true
		default:
			out = appendEscape(out, r)
			base = false
		}
		i += n
	}
	return string(out)
}

// appendEscape appends what strconv.QuoteRuneToASCII has between its quotes.
func appendEscape(out []byte, r rune) []byte {
	start := len(out)
	out = strconv.AppendQuoteRuneToASCII(out, r)
	return append(out[:start], out[start+1:len(out)-1]...)
}

// plain reports whether Visible leaves s alone.
func plain(s string) bool {
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			if c < ' ' || c == 0x7f {
				return false
			}
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 || !seen(r, i > 0) {
			return false
		}
		i += n
	}
	return true
}

// seen reports whether r can be seen; base says whether a rune stands before
// it that a mark can combine with.
func seen(r rune, base bool) bool {
	if !unicode.IsPrint(r) {
		return false
	}
	if r < utf8.RuneSelf {
		return true
	}
	if unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) {
		return false
	}
	return base || !unicode.Is(unicode.M, r)
}

func hexDigit(b byte) byte { return "0123456789abcdef"[b&0xf] }

// Clip bounds a string to limit bytes. A longer one is cut between two runes
// and ends in "…[+1234 bytes]", the number of bytes left out; that mark is part
// of the bound. A limit below 31 counts as 31, the room that the mark may need.
func Clip(s string, limit int) string {
	limit = max(limit, clipMark)
	if len(s) <= limit {
		return s
	}
	keep := limit - clipMark
	// Not into a rune; where there is none to be found in the length of one,
	// the bytes are no UTF-8 and any place does.
	for i := keep; i >= 0 && i > keep-utf8.UTFMax; i-- {
		if utf8.RuneStart(s[i]) {
			keep = i
			break
		}
	}
	return s[:keep] + "…[+" + strconv.Itoa(len(s)-keep) + " bytes]"
}
