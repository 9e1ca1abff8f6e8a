package policy

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/portaudit/portaudit/registry"
)

// filesOf serves files from memory.
func filesOf(files map[string]string) Files {
	return Files{
		Read: func(path string) ([]byte, error) {
			text, ok := files[filepath.ToSlash(path)]
			if !ok {
				return nil, fmt.Errorf("open %s: %w", path, fs.ErrNotExist)
			}
			return []byte(text), nil
		},
		List: func(dir string) ([]string, error) {
			var paths []string
			for _, path := range slices.Sorted(maps.Keys(files)) {
				if strings.HasPrefix(path, filepath.ToSlash(dir)+"/") {
					paths = append(paths, path)
				}
			}
			if paths == nil {
				return nil, errors.New("open " + dir + ": no such directory")
			}
			return paths, nil
		},
		Shipped: map[string][]byte{"default": []byte(`version: 1
default: {verdict: alert, severity: low}
command_lines: true
rules:
- {id: gone, verdict: alert, severity: high, always: true, match: {deleted: true}}
- {id: noisy, verdict: alert, severity: low, match: {port: 22}}
- {id: rest, verdict: allow, match: {reachable: false}}
`)},
	}
}

// orderOf is how a policy tries its rules.
func orderOf(p *Policy) string {
	var ids []string
	for _, r := range p.rules {
		ids = append(ids, r.id)
	}
	return strings.Join(ids, " ")
}

func TestCompile(t *testing.T) {
	const allow = "- {id: %s, verdict: allow, match: {port: %d}}\n"
	rule := func(id string, port int) string { return fmt.Sprintf(allow, id, port) }
	absolute, err := filepath.Abs("x.yaml")
	if err != nil {
		t.Fatal(err)
	}
	absolute = filepath.ToSlash(absolute)
	tests := []struct {
		reason, main string
		files        map[string]string
		order        string // of the rules, or
		mistakes     string
	}{
		{reason: "one file", main: "version: 1\nrules:\n" + rule("a", 1), order: "a"},
		{reason: "included rules come behind", main: "version: 1\ninclude: more.yaml\nrules:\n" + rule("a", 1),
			files: map[string]string{"etc/more.yaml": "version: 1\nrules:\n" + rule("b", 2)}, order: "a b"},
		{reason: "a directory, in lexical order, and an absolute path", main: "version: 1\ninclude: [d/, '" + absolute + "']\n",
			files: map[string]string{"etc/d/20.yaml": "version: 1\nrules:\n" + rule("b", 2), "etc/d/10.yaml": "version: 1\nrules:\n" + rule("a", 2), absolute: "version: 1\nrules: []\n"}, order: "a b"},
		{reason: "included files include, by their own directory", main: "version: 1\ninclude: d/a.yaml\n",
			files: map[string]string{"etc/d/a.yaml": "version: 1\ninclude: b.yaml\nrules:\n" + rule("a", 1), "etc/d/b.yaml": "version: 1\nrules:\n" + rule("b", 1)}, order: "a b"},
		{reason: "the shipped policy comes last, but for what always counts", main: "version: 1\nextends: default\nrules:\n" + rule("a", 1), order: "gone a noisy rest"},
		{reason: "rules of it are changed and left out", main: "version: 1\nextends: default\nchanges: {gone: off, rest: off, noisy: critical}\n", order: "noisy"},
		{reason: "the id of one that is off is free", main: "version: 1\nextends: default\nchanges: {gone: off}\nrules:\n" + rule("gone", 1), order: "gone noisy rest"},
		{reason: "sets of another file", main: "version: 1\ninclude: s.yaml\nrules:\n- {id: a, verdict: allow, match: {port: $web}}\n",
			files: map[string]string{"etc/s.yaml": "version: 1\nsets: {http: 80/tcp, web: [$http, 443/tcp]}\n"}, order: "a"},

		{reason: "a file that is not there", main: "version: 1\ninclude: [a.yaml]\n", mistakes: "etc/p.yaml:2:11: open etc/a.yaml: file does not exist"},
		{reason: "a directory that is not there", main: "version: 1\ninclude: d/\n", mistakes: "etc/p.yaml:2:10: open etc/d: no such directory"},
		{reason: "a circle", main: "version: 1\ninclude: a.yaml\n", files: map[string]string{"etc/a.yaml": "version: 1\ninclude: [p.yaml]\n"},
			mistakes: "etc/a.yaml:2:11: etc/p.yaml is included already, or is this file"},
		{reason: "what belongs to the first file", main: "version: 1\ninclude: a.yaml\n", files: map[string]string{"etc/a.yaml": "version: 1\ndefault: allow\nrules: []\n"},
			mistakes: "etc/a.yaml:2:1: default belongs into the file that includes this one"},
		{reason: "ids across files", main: "version: 1\ninclude: a.yaml\nrules:\n" + rule("a", 1), files: map[string]string{"etc/a.yaml": "version: 1\nrules:\n" + rule("a", 2)},
			mistakes: `etc/a.yaml:3:8: the id "a" is already that of the rule on line 4 of etc/p.yaml`},
		{reason: "mistakes of several files", main: "version: 1\ninclude: a.yaml\nrules:\n- {id: a, verdict: alow, match: any}\n", files: map[string]string{"etc/a.yaml": "rules: []\n"},
			mistakes: "etc/p.yaml:4:20: \"alow\" is not one of alert, allow, require, did you mean \"allow\"?\netc/a.yaml:1:1: the version is missing: begin with \"version: 1\""},
		{reason: "no YAML in another file", main: "version: 1\ninclude: a.yaml\n", files: map[string]string{"etc/a.yaml": "version: 1\nrules: *x\n"},
			mistakes: "etc/a.yaml:2:1: no YAML: unknown anchor 'x' referenced (see to indentation, quotes and brackets)"},
		{reason: "an unknown policy", main: "version: 1\nextends: defult\n", mistakes: `etc/p.yaml:2:10: "defult" is not one of default, did you mean "default"?`},
		{reason: "an unknown rule, a wrong word, a severity of an allowance", main: "version: 1\nextends: default\nchanges: {nosy: off, noisy: of, rest: low}\n",
			mistakes: "etc/p.yaml:3:11: unknown key \"nosy\" in changes, did you mean \"noisy\"?\netc/p.yaml:3:29: \"of\" is not one of off, low, medium, high, critical, did you mean \"off\"?\netc/p.yaml:3:39: rule rest allows, and has no severity: only \"off\" can be said of it"},
		{reason: "changes of nothing", main: "version: 1\nchanges: {a: off}\nrules: []\n", mistakes: `etc/p.yaml:2:10: changes are of the rules of another policy: name it under "extends"`},
		{reason: "an id of the shipped policy", main: "version: 1\nextends: default\nrules:\n" + rule("noisy", 1),
			mistakes: `etc/p.yaml:4:8: the id "noisy" is that of a rule of the policy default: choose another, or turn that one off under "changes"`},
		{reason: "an unknown set", main: "version: 1\nsets: {web: [80]}\nrules:\n- {id: a, verdict: allow, match: {port: $wed}}\n", mistakes: `etc/p.yaml:4:41: there is no set "wed", did you mean "web"?`},
		{reason: "a set of the wrong things", main: "version: 1\nsets: {web: [80, http]}\nrules:\n- {id: a, verdict: allow, match: {port: [22, $web]}}\n", mistakes: `etc/p.yaml:4:46: "http" is no port: a port is a whole number from 0 to 65535`},
		{reason: "a set twice, a name that is none, a set of later ones", main: "version: 1\nsets:\n  a: [1]\n  a: [2]\n  B: [3]\n  c: [$d]\n  d: [4]\nrules: []\n",
			mistakes: "etc/p.yaml:4:3: the set \"a\" is given already on line 3\netc/p.yaml:5:3: \"B\" is no name of a set: use lower-case letters, digits, - and _, with a letter first\netc/p.yaml:6:7: there is no set \"d\""},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			files := maps.Clone(tt.files)
			if files == nil {
				files = map[string]string{}
			}
			files["etc/p.yaml"] = tt.main
			p, err := Compile([]byte(tt.main), "etc/p.yaml", filesOf(files))
			switch {
			case tt.mistakes != "":
				if err == nil || strings.ReplaceAll(err.Error(), `\`, "/") != tt.mistakes { // paths are the system's
					t.Errorf("got\n%v\nwant\n%s", err, tt.mistakes)
				}
			case err != nil:
				t.Error(err)
			case orderOf(p) != tt.order:
				t.Errorf("order %q, want %q", orderOf(p), tt.order)
			}
		})
	}
}

// TestIncludeBounds: chains and sets that grow without end are refused soon.
func TestIncludeBounds(t *testing.T) {
	files := map[string]string{}
	for i := range 20 {
		files[fmt.Sprintf("%d.yaml", i)] = fmt.Sprintf("version: 1\ninclude: %d.yaml\n", i+1)
	}
	_, err := Compile([]byte(files["0.yaml"]), "0.yaml", filesOf(files))
	if err == nil || !strings.Contains(err.Error(), "more than 8 deep") {
		t.Errorf("a chain: %v", err)
	}
	text := "version: 1\nsets:\n  s0: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]\n"
	for i := range 12 {
		text += fmt.Sprintf("  s%d: [%s]\n", i+1, strings.Repeat(fmt.Sprintf("$s%d, ", i), 9)+fmt.Sprintf("$s%d", i))
	}
	start := time.Now()
	_, err = Parse([]byte(text+"rules:\n- {id: a, verdict: allow, match: {port: $s12}}\n"), "p")
	if err == nil || !strings.Contains(err.Error(), "sets stand for more than 100000 values") || time.Since(start) > 5*time.Second {
		t.Errorf("sets of sets: %v after %v", err, time.Since(start))
	}
}

func TestExtendedDefault(t *testing.T) {
	p, err := Compile([]byte("version: 1\nextends: default\nrules:\n- {id: a, verdict: allow, match: {port: 22}}\n"), "p", filesOf(nil))
	if err != nil {
		t.Fatal(err)
	}
	l := sshd()
	if d := p.Decide(l, time.Time{}); d.Verdict != Allow || d.Rule != "a" || !p.CommandLines {
		t.Errorf("%+v: an own allowance comes before the shipped alerts", d)
	}
	l.Owners[0].Deleted = Yes
	if d := p.Decide(l, time.Time{}); d.Rule != "gone" || len(d.Findings) != 1 {
		t.Errorf("%+v: no allowance silences what always counts", d)
	}
	l = sshd()
	l.Port = 80
	if d := p.Decide(l, time.Time{}); d.Rule != DefaultRule || d.Findings[0].Severity != Low {
		t.Errorf("%+v: the default is that of the shipped policy", d)
	}
}

// TestSets: a set stands for its values, with transports where they have some.
func TestSets(t *testing.T) {
	p := mustParse(t, "version: 1\ndefault: alert\nsets: {web: [80/tcp, 443/tcp, 8000-8100/udp], admins: [root, alice]}\nrules:\n"+
		"- {id: a, verdict: allow, match: {port: [$web, 22], user: $admins}}\n- {id: b, verdict: allow, match: {port: 80/tcp, user: alice}}\n")
	for at, want := range map[string]Verdict{"22/tcp": Allow, "22/udp": Allow, "80/tcp": Allow, "80/udp": Alert, "8050/udp": Allow, "8050/tcp": Alert} {
		r, err := parsePorts(at)
		if err != nil {
			t.Fatal(err)
		}
		l := sshd()
		l.Port, l.Transport = r.first, r.transport
		if d := p.Decide(l, time.Time{}); d.Verdict != want {
			t.Errorf("%s: %+v, want %v", at, d, want)
		}
	}
	if w := p.Warnings(time.Time{}); len(w) != 1 || !strings.Contains(w[0].Message, "rule b is never reached") {
		t.Errorf("warnings %v: rule a has all of rule b", w)
	}
	l := sshd()
	l.Port, l.Transport = 80, registry.UDP
	if got := p.Explain(l, time.Time{})[0].Failed; got != "port is 80/udp, not $web or 22" {
		t.Errorf("explained %q", got)
	}
}

func TestExpiry(t *testing.T) {
	day := func(text string) time.Time {
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	p := mustParse(t, "version: 1\ndefault: {verdict: alert, severity: low}\nrules:\n"+
		"- {id: a, verdict: allow, match: {port: 22}, owner: Operations, expires: 2027-03-31, tags: [pci-dss-1.2.5]}\n")
	tests := []struct{ reason, now, rules, failed string }{
		{"long before", "2027-01-01T00:00:00Z", "", ""},
		{"just before it is spoken of", "2027-03-17T23:59:59Z", "", ""},
		{"fourteen days before its end", "2027-03-18T00:00:00Z", "allowance-expiring", ""},
		{"on its last day, in UTC", "2027-04-01T00:59:59+01:00", "allowance-expiring", ""},
		{"after it", "2027-04-01T00:00:00Z", "default allowance-expired", "it ended on 2027-03-31"},
	}
	for _, tt := range tests {
		now := day(tt.now)
		var rules []string
		d := p.Decide(sshd(), now)
		for _, f := range d.Findings {
			rules = append(rules, f.Rule)
		}
		if got := strings.Join(rules, " "); got != tt.rules {
			t.Errorf("%s: found %q, want %q", tt.reason, got, tt.rules)
		}
		if got := p.Explain(sshd(), now)[0].Failed; got != tt.failed {
			t.Errorf("%s: explained %q, want %q", tt.reason, got, tt.failed)
		}
		if w := p.Warnings(now); (len(w) > 0) != (tt.rules != "") {
			t.Errorf("%s: warnings %v", tt.reason, w)
		}
	}
	f := p.Decide(sshd(), day("2027-03-20T00:00:00Z")).Findings[0]
	if !strings.Contains(f.Fix, "Ask Operations") || !slices.Equal(f.Tags, []string{"pci-dss-1.2.5"}) || !strings.Contains(f.Message, "until 2027-03-31") {
		t.Errorf("%+v", f)
	}
	for from, next := range map[string]string{
		"2027-01-01T00:00:00Z": "2027-03-18T00:00:00Z", "2027-03-18T00:00:00Z": "2027-04-01T00:00:00Z", "2027-04-01T00:00:00Z": "0001-01-01T00:00:00Z",
	} {
		if got := p.NextChange(day(from)); !got.Equal(day(next)) {
			t.Errorf("after %s the next change is at %v, want %s", from, got, next)
		}
	}
	for _, text := range []string{"tomorrow", "2027-02-30", "2027-03-31T18:00:00", "1", "~", "[2027-03-31]"} {
		if _, err := Parse([]byte("version: 1\nrules:\n- {id: a, verdict: allow, match: any, expires: "+text+"}\n"), "p"); err == nil {
			t.Errorf("%s is taken for a day", text)
		}
	}
}
