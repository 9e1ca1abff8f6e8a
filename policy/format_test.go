package policy

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestFormat(t *testing.T) {
	tests := []struct{ reason, text, want string }{
		{"in form already", "version: 1\nrules: []\n", "version: 1\nrules: []\n"},
		{"white space at the ends, and line ends of Windows", "\ufeff\r\n\r\nversion: 1   \r\n\r\n\r\n\r\nrules: []\r\n\r\n", "version: 1\n\nrules: []\n"},
		{"no end of the last line", "version: 1\nrules: []", "version: 1\nrules: []\n"},
		{"the mark of a document and comments stay", "# a\n\n---\n# b\nversion: 1 # c\nrules: [] # d\n# e\n", "# a\n\n---\n# b\nversion: 1 # c\nrules: [] # d\n# e\n"},
		{
			"the keys of a rule have an order, and take their comments along",
			"rules:\n- verdict: alert # x\n  # the id\n  id: a\n  fix: f\n  why: >-\n    w\n    v\n  # found\n  message: m\n  severity: low\n  match: any\nversion: 1\n",
			"rules:\n  # the id\n  - id: a\n    verdict: alert # x\n    severity: low\n    match: any\n    # found\n    message: m\n    why: >-\n      w\n      v\n    fix: f\nversion: 1\n",
		},
		{
			"levels are two spaces wide, whatever they were",
			"rules:\n      -   id: a\n          match:\n                any:\n                - port: 22\n                  # c\n                  user: root\n                -   {port: 23}\n          verdict: allow\n",
			"rules:\n  - id: a\n    verdict: allow\n    match:\n      any:\n        - port: 22\n          # c\n          user: root\n        - {port: 23}\n",
		},
		{
			"comments belong to what they are indented like, else to what follows",
			"rules:\n- id: a\n  match: any\n  # of a\n# of b\n- id: b\n  match:\n    port: 22\n    # of the port\n  # of the reason\n  reason: r\n# of the file\nversion: 1\n",
			"rules:\n  - id: a\n    match: any\n    # of a\n  # of b\n  - id: b\n    match:\n      port: 22\n      # of the port\n    # of the reason\n    reason: r\n# of the file\nversion: 1\n",
		},
		{
			"brackets, quotes and texts over several lines move as they are",
			"rules:\n-   reason: a text\n            that goes on\n    match: {\n      port: [22, # ssh\n        23]\n    }\n    message: \"quoted\n\n      # no comment\"\n    id: a\n",
			"rules:\n  - id: a\n    match: {\n      port: [22, # ssh\n        23]\n    }\n    reason: a text\n      that goes on\n    message: \"quoted\n\n      # no comment\"\n",
		},
		{
			"blocks of text keep what is within them",
			"rules:\n- why: |\n          # no comment\n\n\n            further in\n          end\n\n\n  # a comment\n  id: a\n  fix: >2\n      with an indicator\n",
			"rules:\n  # a comment\n  - id: a\n    why: |\n      # no comment\n\n\n        further in\n      end\n    fix: >2\n        with an indicator\n",
		},
		{
			"values on the next line",
			"rules:\n- id:\n          a\n  match:\n   {port: 22}\n",
			"rules:\n  - id:\n      a\n    match:\n      {port: 22}\n",
		},
		{
			"rules in braces are put in order on their line",
			"rules:\n- {match: {port: [22, 23]}, verdict: allow,id: a, reason: 'it''s, {so}'} # } c\n- {id: b, verdict: allow}\n- {verdict: allow,\n   id: c}\n",
			"rules:\n  - {id: a, verdict: allow, match: {port: [22, 23]}, reason: 'it''s, {so}'} # } c\n  - {id: b, verdict: allow}\n  - {verdict: allow,\n     id: c}\n",
		},
		{"a dash on a line of its own", "rules:\n- # of a\n  # more\n  id: a\n-\n  {id: b}\n", "rules:\n  # of a\n  # more\n  - id: a\n  - {id: b}\n"},
		{"unknown keys come last, in their order", "rules:\n- zzz: 1\n  id: a\n  aaa: 2\n", "rules:\n  - id: a\n    zzz: 1\n    aaa: 2\n"},
		{"only rules are put in order", "sets:\n    reason: [a]\n    id: [b]\nversion: 1\n", "sets:\n  reason: [a]\n  id: [b]\nversion: 1\n"},
		{"keys without a value", "default:\n# c\nrules:\n", "default:\n# c\nrules:\n"},
		{"wide letters before a key", "rules:\n- {reason: Übergröße 日本, id: a}\n", "rules:\n  - {id: a, reason: Übergröße 日本}\n"},
	}
	for _, test := range tests {
		got, err := Format([]byte(test.text), "p.yaml")
		if err != nil || string(got) != test.want {
			t.Errorf("%s: %v\ngot\n%s\nwant\n%s", test.reason, err, got, test.want)
		}
	}
}

// TestFormatRefuses holds that what cannot be put into form is told with its place.
func TestFormatRefuses(t *testing.T) {
	tests := []struct{ reason, text, want string }{
		{"no YAML", "a: [\n", "p.yaml:1:1: no YAML"},
		{"nothing", "# only\n", "p.yaml: no policy is in it"},
		{"an alias", "a: &x 1\nb: *x\n", "p.yaml:1:4: an anchor"},
		{"no mapping", "- a\n", "p.yaml:1:1: its form is too unusual"},
		{"all in braces", "{version: 1, rules: []}\n", "p.yaml:1:1: its form is too unusual"},
		{"a key with a question mark", "? version\n: 1\n", "p.yaml:1:3: its form is too unusual"},
		{"a list in a list", "rules:\n- - a\n", "p.yaml:2:3: its form is too unusual"},
		{"the end of a document", "version: 1\n...\n", "its form is too unusual"},
		{"a line that ends like those of old Macs", "version: 1\rrules: []\n", "its form is too unusual"},
		{"blank lines that mean something", "why: |+\n  a\n\n\nfix: b\n", "its form is too unusual"},
	}
	for _, test := range tests {
		out, err := Format([]byte(test.text), "p.yaml")
		var list Errors
		if out != nil || !errors.As(err, &list) || !strings.HasPrefix(err.Error(), test.want) && !strings.Contains(err.Error(), ": "+test.want) {
			t.Errorf("%s: %q, %v, want %s", test.reason, out, err, test.want)
		}
	}
}

// TestShippedAreFormatted holds that what is installed and documented is in form.
func TestShippedAreFormatted(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "configs", "*.yaml"))
	if err != nil || len(files) < 2 {
		t.Fatalf("%v: %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text = []byte(strings.ReplaceAll(string(text), "\r\n", "\n"))
		inForm(t, file, string(text))
	}
	text, _ := documentation(t)
	for i, block := range strings.Split(text, "```yaml\n")[1:] {
		example, _, _ := strings.Cut(block, "```")
		inForm(t, fmt.Sprintf("example %d", i+1), example)
	}
}

func inForm(t *testing.T, name, text string) {
	t.Helper()
	if out, err := Format([]byte(text), name); err != nil || string(out) != text {
		t.Errorf("%s: %v\n%s", name, err, out)
	}
}

func FuzzFormat(f *testing.F) {
	for _, text := range []string{
		"rules:\n- verdict: alert # x\n  # the id\n  id: a\n  why: >-\n    w\n\n     v\n  match: any\nversion: 1\n",
		"# a\n---\nversion: 1\nrules:\n    - {id: a, match: {port: 22}, verdict: allow} # c\n    # d\n",
		"rules:\n-   reason: a\n      b\n    match: {\n    port: [22, # ssh\n        23] }\n    id: a\n",
		"version: 1\nrules:\n-\n  # c\n  match:\n    any:\n    - port: 22\n    # d\n    - {user: a}\n  verdict: allow\n  id: a\n",
		"version: 1\r\nrules:\r\n- why: |+2\r\n    a\r\n\r\n  id: x\r\n",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		out, err := Format(data, "f.yaml")
		if err != nil {
			var list Errors
			if !errors.As(err, &list) || len(list) == 0 {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		if again, err := Format(out, "f.yaml"); err != nil || string(again) != string(out) {
			t.Errorf("%v: %q becomes %q, and then %q", err, data, out, again)
		}
		before, errBefore := Parse(data, "f.yaml")
		after, errAfter := Parse(out, "f.yaml")
		if (errBefore == nil) != (errAfter == nil) {
			t.Fatalf("%q: %v, formatted %q: %v", data, errBefore, out, errAfter)
		}
		if errBefore != nil {
			return
		}
		for _, l := range fuzzListeners() {
			if a, b := before.Decide(l, today), after.Decide(l, today); !reflect.DeepEqual(a, b) {
				t.Errorf("%q decides %+v, formatted %q %+v", data, a, out, b)
			}
		}
	})
}
