package audit

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf16"
)

const (
	// maxFound bounds the text in which a checkpoint is looked for.
	maxFound = 32 << 20
	// maxWrapped is how often a record may be wrapped: a document of a log server
	// holds a message as a string, and that a document.
	maxWrapped = 4
	// signedBy is where the signatures of a note begin.
	signedBy = "\n\n— "
)

// FindCheckpoint returns the signed checkpoint that text holds, in one of the forms
// in which it comes back from where it was sent to: the note itself; the note on one
// line with \n or, as rsyslog writes it, #012 for its newlines; a message of RFC 5424
// with the parameter checkpoint; a JSON document with the member checkpoint or
// PORTAUDIT_CHECKPOINT at any place, as a record of the log, a document of ECS or OCSF
// and an entry of journalctl -o json are. Of several lines the last counts that holds
// one.
//
// It verifies nothing: ParseCheckpoint does.
func FindCheckpoint(text []byte) ([]byte, error) {
	if len(text) > maxFound {
		return nil, fmt.Errorf("it holds no checkpoint: more than %d bytes", maxFound)
	}
	all := strings.TrimRight(strings.ReplaceAll(plainText(text), "\r\n", "\n"), "\n")
	if strings.Contains(all, signedBy) {
		return []byte(all + "\n"), nil
	}
	for all != "" {
		i := strings.LastIndexByte(all, '\n')
		if note, ok := findNote(all[i+1:], maxWrapped); ok {
			return []byte(note), nil
		}
		all = all[:max(i, 0)]
	}
	return nil, errors.New("it holds no checkpoint: neither a signed note (c2sp.org/tlog-checkpoint) nor a message or record with one")
}

// plainText returns a text without the mark at its beginning, and one of UTF-16, which
// the shell of Windows writes, as UTF-8.
func plainText(text []byte) string {
	little := bytes.HasPrefix(text, []byte("\xff\xfe"))
	if !little && !bytes.HasPrefix(text, []byte("\xfe\xff")) {
		return strings.TrimPrefix(string(text), "\ufeff")
	}
	units := make([]uint16, 0, len(text)/2)
	for text = text[2:]; len(text) >= 2; text = text[2:] {
		if little {
			units = append(units, binary.LittleEndian.Uint16(text))
		} else {
			units = append(units, binary.BigEndian.Uint16(text))
		}
	}
	return string(utf16.Decode(units))
}

// findNote looks for a note in a line, or in a text of a document.
func findNote(line string, wrapped int) (note string, ok bool) {
	if value, is := parameter(line, "checkpoint"); is {
		if note, ok := noteOf(value); ok {
			return note, true
		}
	}
	if i := strings.IndexByte(line, '{'); i >= 0 && wrapped > 0 {
		// Behind the document there may be more, such as a quote.
		var v any
		if err := json.NewDecoder(strings.NewReader(line[i:])).Decode(&v); err == nil {
			if note, ok := findIn(v, "", wrapped-1); ok {
				return note, true
			}
		}
	}
	line = strings.TrimPrefix(strings.TrimSpace(line), "Checkpoint: ") // of the Windows Event Log
	if strings.ContainsRune(line, '{') {
		return "", false // a document: what it holds in another place is not meant
	}
	return noteOf(line)
}

// findIn looks for a note in what a JSON document holds under a name.
func findIn(v any, name string, wrapped int) (note string, ok bool) {
	switch v := v.(type) {
	case string:
		if name == "checkpoint" || name == "PORTAUDIT_CHECKPOINT" {
			return noteOf(v)
		}
		if !strings.Contains(v, "checkpoint") || wrapped <= 0 {
			return "", false
		}
		return findNote(v, wrapped)
	case []any:
		if b, is := bytesOf(v); is { // journalctl writes so what it does not take for text
			return findIn(b, name, wrapped)
		}
		for _, one := range v {
			if note, ok := findIn(one, name, wrapped); ok {
				return note, true
			}
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			if note, ok := findIn(v[name], name, wrapped); ok {
				return note, true
			}
		}
	}
	return "", false
}

// bytesOf returns a list of numbers as the bytes that they are.
func bytesOf(list []any) (text string, ok bool) {
	b := make([]byte, len(list))
	for i, v := range list {
		n, is := v.(float64)
		if !is || n < 0 || n > 255 || n != float64(byte(n)) {
			return "", false
		}
		b[i] = byte(n)
	}
	return string(b), len(b) > 0
}

// noteOf returns a note whose newlines may have been escaped: none of ours has a
// backslash or a # in it, but those of others that signed it might, so that what has
// newlines is left as it is.
func noteOf(text string) (note string, ok bool) {
	if !strings.Contains(text, "\n") {
		text = strings.NewReplacer(`\\n`, "\n", `\n`, "\n", "#012", "\n", "#342#200#224", "—").Replace(text)
	}
	return strings.TrimRight(text, "\n") + "\n", strings.Contains(text, signedBy)
}

// parameter returns the last parameter of a name in structured data (RFC 5424, 6.3.3).
func parameter(line, name string) (value string, ok bool) {
	start := ` ` + name + `="`
	i := strings.LastIndex(line, start)
	if i < 0 {
		return "", false
	}
	var b bytes.Buffer
	rest := line[i+len(start):]
	for j := 0; j < len(rest); j++ {
		switch c := rest[j]; {
		case c == '"':
			return b.String(), true
		case c == '\\' && j+1 < len(rest) && strings.IndexByte(`"\]`, rest[j+1]) >= 0:
			j++
			b.WriteByte(rest[j])
		default:
			b.WriteByte(c)
		}
	}
	return "", false
}
