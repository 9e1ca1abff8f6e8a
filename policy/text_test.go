package policy

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestExpand(t *testing.T) {
	value := func(name string) string { return "<" + name + "{port}>" }
	tests := []struct{ text, want, reason string }{
		{"no placeholder", "no placeholder", ""},
		{"{port}/{transport}", "<port{port}>/<transport{port}>", "what a value holds is not replaced"},
		{"{Port} {nothing} {} { port }", "{Port} {nothing} {} { port }", "what is no placeholder stays"},
		{"{{port}}", "{<port{port}>}", "braces around"},
		{"{port", "{port", "an open brace"},
	}
	for _, test := range tests {
		if got := Expand(test.text, value); got != test.want {
			t.Errorf("%q is %q, want %q (%s)", test.text, got, test.want, test.reason)
		}
	}
	for _, name := range Placeholders() {
		if got := Expand("{"+name+"}", strings.ToUpper); got != strings.ToUpper(name) {
			t.Errorf("{%s} is %q", name, got)
		}
	}
}

// FuzzExpand holds the scan for names in braces against a regular expression.
func FuzzExpand(f *testing.F) {
	f.Add("{owners} listens on {address} port {port}/{transport}.")
	f.Add("{{port}} {Port} {risk-name} {port1} {1} {-a} {} {a b} {port")
	f.Add("{a{b}{_}{é}\xff{")
	named := regexp.MustCompile(`\{[A-Za-z_][A-Za-z0-9_-]*\}`)
	value := func(name string) string { return "<" + name + "{port}>" }
	f.Fuzz(func(t *testing.T, text string) {
		want := named.ReplaceAllStringFunc(text, func(s string) string {
			if name := s[1 : len(s)-1]; slices.Contains(Placeholders(), name) {
				return value(name)
			}
			return s
		})
		if got := Expand(text, value); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
		var names []string
		for _, name, rest := cutPlaceholder(text); name != ""; _, name, rest = cutPlaceholder(rest) {
			names = append(names, "{"+name+"}")
		}
		if want := named.FindAllString(text, -1); !slices.Equal(names, want) {
			t.Errorf("the names in %q are %q, want %q", text, names, want)
		}
	})
}

// BenchmarkExpand fills in the text of a finding.
func BenchmarkExpand(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Expand(fallbackMessage, func(string) string { return "value" })
	}
}
