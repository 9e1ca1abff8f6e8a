package agent

import (
	"bytes"
)

// members calls do with each member of a JSON object in its text, and with each
// element of an array, whose key is nil; both are as they are written. It returns
// false where do did, and where the text is not one that can be read so: then
// nobody knows what it says, and it has to be decoded. It takes a part of the time
// that decoding does, and allocates nothing.
//
// A key that is written in another way than by this program (with an escape, or
// not in lower case, which encoding/json takes too) ends it.
func members(text []byte, do func(key, value []byte) bool) bool {
	text = bytes.TrimSpace(text)
	if len(text) < 2 || text[0] != '{' && text[0] != '[' {
		return false
	}
	object, closing := text[0] == '{', text[len(text)-1]
	if object && closing != '}' || !object && closing != ']' {
		return false
	}
	rest := skipSpace(text[1 : len(text)-1])
	for len(rest) > 0 {
		var key []byte
		if object {
			n := valueEnd(rest)
			if n < 2 || rest[0] != '"' || !plainKey(rest[1:n-1]) {
				return false
			}
			key, rest = rest[1:n-1], skipSpace(rest[n:])
			if len(rest) == 0 || rest[0] != ':' {
				return false
			}
			rest = skipSpace(rest[1:])
		}
		n := valueEnd(rest)
		if n <= 0 || !do(key, rest[:n]) {
			return false
		}
		if rest = skipSpace(rest[n:]); len(rest) == 0 {
			return true
		}
		if rest[0] != ',' {
			return false
		}
		if rest = skipSpace(rest[1:]); len(rest) == 0 {
			return false
		}
	}
	return true
}

// valueEnd returns the length of the value that the text begins with, -1 if it has
// no end. What is in an object or array is not looked at.
func valueEnd(text []byte) int {
	if len(text) == 0 {
		return -1
	}
	switch text[0] {
	case '"':
		return stringEnd(text)
	case '{', '[':
		for depth, i := 0, 0; i < len(text); i++ {
			switch text[i] {
			case '"':
				n := stringEnd(text[i:])
				if n < 0 {
					return -1
				}
				i += n - 1
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
		}
		return -1
	}
	for i, c := range text {
		switch c {
		case ',', '}', ']', ' ', '\t', '\n', '\r':
			return i
		}
	}
	return len(text)
}

// stringEnd returns the length of the string that the text begins with, its quotes
// included, -1 if it has no end.
func stringEnd(text []byte) int {
	for i := 1; ; {
		n := bytes.IndexByte(text[i:], '"')
		if n < 0 {
			return -1
		}
		end := i + n
		escapes := 0
		for text[end-1-escapes] == '\\' { // ends at the first quote at the latest
			escapes++
		}
		if i = end + 1; escapes%2 == 0 {
			return i
		}
		if i >= len(text) {
			return -1
		}
	}
}

// plainKey reports whether a key is written as this program writes keys.
func plainKey(key []byte) bool {
	for _, c := range key {
		if c != '_' && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// plainText returns the string that a value is, false if it is none or has an
// escape.
func plainText(value []byte) ([]byte, bool) {
	if len(value) < 2 || value[0] != '"' || bytes.IndexByte(value, '\\') >= 0 {
		return nil, false
	}
	return value[1 : len(value)-1], true
}

func skipSpace(text []byte) []byte {
	if len(text) > 0 && text[0] > ' ' {
		return text // nearly always
	}
	return bytes.TrimLeft(text, " \t\r\n")
}

// plainNumber returns the whole number that a value is, false if it is none of at
// most nine digits.
func plainNumber(value []byte) (uint64, bool) {
	if len(value) == 0 || len(value) > 9 {
		return 0, false
	}
	var n uint64
	for _, c := range value {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + uint64(c-'0')
	}
	return n, true
}
