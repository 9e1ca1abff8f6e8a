package audit

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf16"
)

// wrappings are the forms in which a note comes back, made of the note.
func wrappings(t testing.TB) map[string]func(note string) string {
	quoted := func(v any) string {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(v); err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(b.String())
	}
	escaped := func(note string) string { return strings.ReplaceAll(note, "\n", `\n`) }
	message := func(note string) string {
		return `<30>1 2026-11-29T12:00:00.123456Z web1 portaudit 99 log.checkpoint [portaudit@32473 seq="42" checkpoint="` +
			strings.ReplaceAll(escaped(note), `\`, `\\`) + `" boot="b"] log.checkpoint: signed`
	}
	record := func(note string) string {
		return quoted(map[string]any{"seq": 42, "event": "log.checkpoint", "message": "the checkpoint", "checkpoint": note})
	}
	return map[string]func(note string) string{
		"the note itself":                    func(n string) string { return n },
		"as journalctl -o cat writes it":     func(n string) string { return n + "\n" },
		"by way of Windows":                  func(n string) string { return strings.ReplaceAll(n, "\n", "\r\n") },
		"on one line":                        escaped,
		"on one line, with a newline":        func(n string) string { return escaped(n) + "\n" },
		"escaped as in structured data":      func(n string) string { return strings.ReplaceAll(escaped(n), `\`, `\\`) },
		"escaped by rsyslog":                 func(n string) string { return strings.ReplaceAll(n, "\n", "#012") },
		"escaped by rsyslog with the dash":   func(n string) string { return strings.NewReplacer("\n", "#012", "—", "#342#200#224").Replace(n) },
		"a message of RFC 5424":              message,
		"the last of several messages":       func(n string) string { return message("old\n1\nx\n\n— old x\n") + "\n" + message(n) + "\nanother\n" },
		"the text of the Event Log":          func(n string) string { return "log.checkpoint: x\r\nCheckpoint: " + escaped(n) + "\r\nHost: web1\r\n" },
		"UTF-16, as PowerShell writes it":    func(n string) string { return utf16Text(binary.LittleEndian, "\ufeff"+n) },
		"UTF-16, the other way round":        func(n string) string { return utf16Text(binary.BigEndian, "\ufeff"+n) },
		"UTF-8 with a mark":                  func(n string) string { return "\ufeff" + n },
		"a record":                           record,
		"a record behind a head of syslog":   func(n string) string { return "Nov 29 12:00:00 web1 portaudit[99]: " + record(n) },
		"a document of ECS":                  func(n string) string { return `{"event":{"kind":"event"},"portaudit":` + record(n) + `}` },
		"an entry of the journal":            func(n string) string { return quoted(map[string]any{"MESSAGE": "m", "PORTAUDIT_CHECKPOINT": n}) },
		"an entry of the journal in bytes":   func(n string) string { return quoted(map[string]any{"PORTAUDIT_CHECKPOINT": numbers(n)}) },
		"an entry that has the field twice":  func(n string) string { return quoted(map[string]any{"PORTAUDIT_CHECKPOINT": []string{n, n}}) },
		"a record that a log server wrapped": func(n string) string { return quoted(map[string]any{"host": "web1", "msg": record(n)}) },
		"structured data in JSON":            func(n string) string { return quoted(map[string]any{"SD": message(n)}) },
	}
}

func utf16Text(order binary.AppendByteOrder, text string) string {
	var b []byte
	for _, u := range utf16.Encode([]rune(text)) {
		b = order.AppendUint16(b, u)
	}
	return string(b)
}

func numbers(text string) (list []int) {
	for _, b := range []byte(text) {
		list = append(list, int(b))
	}
	return list
}

func TestFindCheckpoint(t *testing.T) {
	signer, keys := newKey(t, "web1")
	trees, _ := forest(t, 7)
	signed, err := signTree(trees[7], signer)
	if err != nil {
		t.Fatal(err)
	}
	for why, wrap := range wrappings(t) {
		got, err := FindCheckpoint([]byte(wrap(string(signed))))
		if err != nil || !bytes.Equal(got, signed) {
			t.Errorf("%s: %v, %q of\n%s", why, err, got, wrap(string(signed)))
			continue
		}
		if c, err := ParseCheckpoint(got, keys); err != nil || c.Size != 7 {
			t.Errorf("%s: %v", why, err)
		}
	}
	for _, test := range []struct{ why, text string }{
		{"nothing", ""},
		{"a record of another kind", `{"seq":1,"event":"finding.raised"}`},
		{"a note without a signature", "web1/portaudit\n7\nx\n"},
		{"a message that was cut", `<30>1 - - - - - [portaudit@32473 checkpoint="web1`},
		{"too much", strings.Repeat("x", maxFound+1)},
		{"a record wrapped too often", `{"a":"{\"b\":\"{\\\"checkpoint\\\":1}\"}"}`},
	} {
		if got, err := FindCheckpoint([]byte(test.text)); err == nil || !strings.Contains(err.Error(), "it holds no checkpoint") {
			t.Errorf("%s: %q, %v", test.why, got, err)
		}
	}
}
