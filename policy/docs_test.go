package policy

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/portaudit/portaudit/configs"
	"github.com/portaudit/portaudit/registry"
)

// documentation returns docs/policy.md and the policies in it.
func documentation(t *testing.T) (text string, policies []*Policy) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "docs", "policy.md"))
	if err != nil {
		t.Fatal(err)
	}
	text = strings.ReplaceAll(string(data), "\r\n", "\n")
	for i, block := range strings.Split(text, "```yaml\n")[1:] {
		yaml, _, ended := strings.Cut(block, "```")
		if !ended {
			t.Fatalf("example %d has no end", i+1)
		}
		p, err := Compile([]byte(yaml), fmt.Sprintf("example %d", i+1), Files{
			Read:    func(string) ([]byte, error) { return nil, errors.New("no file of an example is there") },
			List:    func(string) ([]string, error) { return nil, nil },
			Shipped: configs.Policies(),
		})
		if err != nil {
			t.Fatal(err)
		}
		policies = append(policies, p)
	}
	return text, policies
}

// TestDocumentation holds that the reference names everything there is.
func TestDocumentation(t *testing.T) {
	text, policies := documentation(t)
	if len(policies) < 5 {
		t.Fatalf("%d examples", len(policies))
	}
	for i, p := range policies {
		if w := p.Warnings(time.Time{}); len(w) > 0 {
			t.Errorf("example %d: %v", i+1, w)
		}
	}
	for key := range conditionKeys() {
		if !strings.Contains(text, "\n| `"+key+"` |") {
			t.Errorf("no row for the condition %s", key)
		}
	}
	for _, words := range [][]string{Hows(), Authorities(), Changes(), States(), Reaches(), registry.TransportNames(), scopeNames[1:], severityNames[1:]} {
		for _, w := range words {
			if !strings.Contains(text, "`"+w+"`") {
				t.Errorf("%s is not named", w)
			}
		}
	}
	for _, how := range Hows() {
		if !regexp.MustCompile("\n\\| `" + regexp.QuoteMeta(how) + "` \\| [A-Z].*\\. \\|\n").MatchString(text) {
			t.Errorf("no sentence says what the owner %s is", how)
		}
	}
	for name := range configs.Policies() {
		if !strings.Contains(text, "\n| `"+name+"` |") {
			t.Errorf("no row for the policy %s, which is shipped", name)
		}
	}
	for _, name := range Placeholders() {
		if !strings.Contains(text, "`{"+name+"}`") {
			t.Errorf("the placeholder %s is not named", name)
		}
	}
	for _, limit := range []int{maxBytes, maxRules, maxGlobs, maxText, maxDepth, maxErrors, maxFiles, maxInclude, maxItems} {
		if !strings.Contains(text, fmt.Sprintf("| %d", limit)) {
			t.Errorf("the limit %d is not named", limit)
		}
	}
}

// TestFirstPolicy holds that the first example does what the text says.
func TestFirstPolicy(t *testing.T) {
	_, policies := documentation(t)
	tests := []struct {
		reason string
		change func(*Listener)
		want   string
	}{
		{"sshd as root", func(*Listener) {}, "allow by ssh"},
		{"another port", func(l *Listener) { l.Port = 23 }, "alert by default"},
		{"another transport", func(l *Listener) { l.Transport = registry.UDP }, "alert by default"},
		{"another program", func(l *Listener) { l.Owners[0].Executable = "/tmp/sshd" }, "alert by default"},
		{"another user", func(l *Listener) { l.Owners[0].User = "bob" }, "alert by default"},
		{"a program that cannot be seen", func(l *Listener) { l.Owners[0].Executable = "" }, "alert by default"},
	}
	for _, test := range tests {
		l := sshd()
		test.change(&l)
		d := policies[0].Decide(l, time.Time{})
		if got := fmt.Sprintf("%v by %s", d.Verdict, d.Rule); got != test.want {
			t.Errorf("%s: %s, want %s", test.reason, got, test.want)
		}
	}
}

// TestDocumentedExpectations holds that the example of expectations is read, and
// that no key of it is missing in the text.
func TestDocumentedExpectations(t *testing.T) {
	text, _ := documentation(t)
	_, example, _ := strings.Cut(text, "```yaml expectations\n")
	example, _, ended := strings.Cut(example, "```")
	if !ended {
		t.Fatal("there is no example")
	}
	e, err := ParseExpectations([]byte(example), "example")
	if err != nil {
		t.Fatal(err)
	}
	p := mustParse(t, "version: 1\nrules: [{id: writable, verdict: alert, severity: high, match: {world_writable: true}}, {id: ssh, verdict: allow, match: {user: root}}]\n")
	results, _, err := Run(p, e, today)
	if err != nil || len(results) != 2 {
		t.Fatalf("%d results, %v", len(results), err)
	}
	for _, r := range results {
		if !r.Passed {
			t.Errorf("%s: wanted %s, came %s", r.Name, r.Wanted(), r.Came())
		}
	}
}
