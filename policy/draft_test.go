package policy

import (
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// TestDraftText holds how a draft is laid out.
func TestDraftText(t *testing.T) {
	d := Draft{
		Head: []string{"Who wrote it.", "What it is\nfor."},
		Rules: []DraftRule{
			{ID: "gone", Alert: High, Always: true, Match: []Clause{Words("deleted", "true")}, Message: "{program} is gone: look"},
			{
				Comment: []string{"Two words: \x1b[2J\nrules: []"}, ID: "web-80", Verdict: Allow, Reason: "Seen once.",
				Match: []Clause{
					Words("transport", "tcp"), Words("port", "80", "443"), Words("scope", "wildcard"), Not(Words("namespace", "host")),
					Any([]Clause{Texts("executable", "/usr/sbin/nginx"), Texts("user", "root", "1000")}, []Clause{Words("owner", "kernel")}),
				},
			},
			{ID: "redis-6379", Verdict: Allow, Match: []Clause{Words("port", "6379")}, Out: true},
		},
		Tail: []string{"Left out:", "- one", "- two"},
	}
	want := `# Who wrote it.
#
# What it is for.

version: 1

default: alert

rules:

  - id: gone
    verdict: alert
    severity: high
    always: true
    match: {deleted: true}
    message: '{program} is gone: look'

  # Two words: \x1b[2J rules: []
  - id: web-80
    verdict: allow
    match:
      transport: tcp
      port: [80, 443]
      scope: wildcard
      not: {namespace: host}
      any:
        - {executable: /usr/sbin/nginx, user: [root, "1000"]}
        - {owner: kernel}
    reason: Seen once.

  # - id: redis-6379
  #   verdict: allow
  #   match: {port: 6379}

# Left out:
# - one
# - two
`
	text := string(d.Text())
	if diff := cmp.Diff(want, text); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
	if p := mustParse(t, text); len(p.rules) != 2 || len(p.Warnings(time.Time{})) != 0 {
		t.Errorf("%d rules, %v", len(p.rules), p.Warnings(time.Time{}))
	}
	taken := strings.NewReplacer("  # - id: redis", "  - id: redis", "  #   ", "    ").Replace(text)
	if p := mustParse(t, taken); len(p.rules) != 3 {
		t.Errorf("with the marks taken away %d rules", len(p.rules))
	}
	if p := mustParse(t, string(Draft{Head: d.Head, Rules: d.Rules[2:]}.Text())); len(p.rules) != 0 {
		t.Errorf("%d rules where all are comments", len(p.rules))
	}
}

// TestDraftWraps holds that long lists and comments are broken, and read back as
// they were.
func TestDraftWraps(t *testing.T) {
	var ports []string
	for p := 2000; p < 2200; p += 2 {
		ports = append(ports, strconv.Itoa(p))
	}
	d := Draft{Head: []string{strings.Repeat("word ", 100)}, Rules: []DraftRule{{ID: "a", Verdict: Allow, Match: []Clause{Words("port", ports...)}}}}
	text := string(d.Text())
	for line := range strings.Lines(text) {
		if len(line) > draftWidth+1 {
			t.Errorf("%d columns: %s", len(line), line)
		}
	}
	if got := mustParse(t, text).rules[0].match.conditions[0].values; !cmp.Equal(got, ports) {
		t.Errorf("got %v", got)
	}
}

// TestLiteral holds that a pattern fits the text it was made of, and what else it
// fits.
func TestLiteral(t *testing.T) {
	tests := []struct {
		text, pattern string
		exact         bool
		not           []string // what it does not fit
		reason        string
	}{
		{"/usr/sbin/sshd", "/usr/sbin/sshd", true, []string{"/usr/sbin/sshd2", "/usr/sbin", "/USR/sbin/sshd"}, "plain"},
		{"/opt/a*b", "/opt/a?b", false, []string{"/opt/ab", "/opt/axxb", "/opt/a/b"}, "a star is one character"},
		{"/opt/**/x", "/opt/??/x", false, []string{"/opt/x", "/opt/a/x"}, "two stars are two"},
		{"/opt/{a,b}", "/opt/?a,b}", false, []string{"/opt/a", "/opt/b"}, "a closing brace alone is itself"},
		{"/opt/[a]?", "/opt/[a]?", false, []string{"/opt/a"}, "brackets are themselves"},
		{"/opt/\xff\xfe", "/opt/??", false, []string{"/opt/x"}, "bytes that are no UTF-8"},
		{"/opt/\ufffd", "/opt/?", false, []string{"/opt/"}, "the character that stands for these"},
		{"$web", "?web", false, []string{"web"}, "what would be the name of a set"},
		{"$Web", "$Web", true, []string{"Web"}, "what would not"},
		{"/a\nb", "/a\nb", true, []string{"/a"}, "a newline"},
		{`C:\x\y.exe`, `C:\x\y.exe`, true, []string{`C:\x`}, "Windows"},
		{`\\s\x{1}`, `\\s\x?1}`, false, []string{`\\s\x`}, "a share"},
	}
	for _, tt := range tests {
		pattern, exact := Literal(tt.text)
		if pattern != tt.pattern || exact != tt.exact {
			t.Errorf("%s: %q makes %q (exact: %t)", tt.reason, tt.text, pattern, exact)
		}
		g, err := compileGlob(pattern)
		if err != nil || !g.match(tt.text) {
			t.Errorf("%s: %q does not fit %q: %v", tt.reason, pattern, tt.text, err)
			continue
		}
		for _, other := range tt.not {
			if g.match(other) {
				t.Errorf("%s: %q fits %q, too", tt.reason, pattern, other)
			}
		}
	}
}

// FuzzDraft holds that whatever text a program puts into a draft is read back as
// it was, and changes nothing beside.
func FuzzDraft(f *testing.F) {
	for _, s := range []string{
		"root", "1000", "true", "~", "a: b", "a #b", "'", `"`, "a\nb", "- x", "{a", "]", "<<", "!!str x", "&a", "*a", "\u202e", "é", "e\u0301", "\x00", "0x1F",
		"2001-01-01", "1:30", "a, b", "\u2028", "\ufeff", "yes", `\`, "%", "@", "`", " x ", "#", "\t", "$x", "$",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !Writable(s) {
			return
		}
		d := Draft{
			Head: []string{s}, Tail: []string{"- " + s},
			Rules: []DraftRule{{Comment: []string{s}, ID: "a", Verdict: Allow, Match: []Clause{Texts("user", s), Any([]Clause{Texts("user", s, "x")})}, Reason: s}},
		}
		text := d.Text()
		if !utf8.Valid(text) {
			t.Fatalf("%q is no UTF-8", text)
		}
		p, err := Parse(text, "f.yaml")
		if err != nil {
			t.Fatalf("%v\nin\n%s", err, text)
		}
		got := p.rules[0].match.conditions
		if len(p.rules) != 1 || got[0].values[0] != s || got[1].any[0].conditions[0].values[0] != s || p.rules[0].reason != strings.Join(strings.Fields(s), " ") {
			t.Errorf("%q was read back as %q from\n%s", s, got[0].values, text)
		}
	})
}
