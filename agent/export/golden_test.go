package export

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/portaudit/portaudit/agent/audit"
)

// golden compares a document with the one in testdata, which
// "go test ./agent/export -update" writes anew.
func golden(t *testing.T, format, kind string, got []byte) {
	t.Helper()
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, got, "", "  "); err != nil {
		t.Fatal(err)
	}
	pretty.WriteByte('\n')
	compare(t, filepath.Join("testdata", format, kind+".json"), pretty.Bytes())
}

func compare(t *testing.T, path string, got []byte) {
	t.Helper()
	if flag.Lookup("update").Value.String() == "true" {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(bytes.ReplaceAll(want, []byte("\r\n"), []byte("\n")), bytes.ReplaceAll(got, []byte("\r\n"), []byte("\n"))) {
		t.Errorf("%s is otherwise:\n%s\nwant\n%s", path, got, want)
	}
}

func TestMain(m *testing.M) {
	flag.Bool("update", false, "write the documents in testdata anew")
	flag.Parse()
	os.Exit(m.Run())
}

// checkVisible checks that no string of a document can harm a receiver.
func checkVisible(t *testing.T, doc []byte) {
	t.Helper()
	if bytes.ContainsRune(doc, '\n') {
		t.Fatalf("a document of two lines: %q", doc)
	}
	var v any
	if err := json.Unmarshal(doc, &v); err != nil {
		t.Fatal(err)
	}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case string:
			if v != audit.Visible(v) || strings.ContainsFunc(v, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Fatalf("%q can do harm", v)
			}
		case []any:
			for _, v := range v {
				walk(v)
			}
		case map[string]any:
			for _, v := range v {
				walk(v)
			}
		}
	}
	walk(v)
}
