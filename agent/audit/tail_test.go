package audit

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestTail holds what is read of a log that others write, piece by piece.
func TestTail(t *testing.T) {
	record := func(message string) string {
		var b bytes.Buffer
		if _, err := encode(&b, Event{Version: Version, Seq: 1, Prev: firstHead().Hash, Event: PolicyLoaded, Message: message, Errors: []string{strings.Repeat("e", 4<<10)}}); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	long := strings.Repeat("m", 32<<10)
	tests := []struct {
		reason string
		before string
		pieces []string // that are written, one after the other
		want   []string // messages, after all pieces; "" ends with an error
	}{
		{"nothing", record("a"), nil, nil},
		{"an empty log", "", []string{record("b")}, []string{"b"}},
		{"what was there is not told", record("a"), []string{record("b"), record("c")}, []string{"b", "c"}},
		{"several at once", record("a"), []string{record("b") + record("c")}, []string{"b", "c"}},
		{"in pieces", record("a"), []string{record("b")[:7], record("b")[7:] + record("c")[:1], record("c")[1:]}, []string{"b", "c"}},
		{"one that was being written is of before", record("a") + record("b")[:7], []string{record("b")[7:], record("c")}, []string{"c"}},
		{"more than is read at once", "", []string{record(long) + record(long) + record("b")}, []string{long, long, "b"}},
		{"what is no record", "", []string{record("b"), "no\n"}, []string{"b", ""}},
		{"a line without an end", "", []string{strings.Repeat("x", maxLine+1)}, []string{""}},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, logName)
			if err := os.WriteFile(path, []byte(tt.before), 0o600); err != nil {
				t.Fatal(err)
			}
			tail, err := OpenTail(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer tail.Close()
			var got []string
			for _, piece := range append(tt.pieces, "") {
				appendTo(t, path, piece)
				e, more, err := tail.Next()
				for ; more; e, more, err = tail.Next() {
					got = append(got, e.Message)
				}
				if err != nil {
					got = append(got, "")
					break
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("%d records, want %d: %.200q", len(got), len(tt.want), got)
			}
		})
	}
	if _, err := OpenTail(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of no log: %v", err)
	}
}

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
