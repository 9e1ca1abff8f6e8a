package policy

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestMistakes holds the whole report of a file full of mistakes.
func TestMistakes(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", "mistakes.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := Parse(data, "mistakes.yaml")
	if p != nil || err == nil {
		t.Fatalf("accepted: %v", err)
	}
	golden := filepath.Join("testdata", "mistakes.txt")
	if *update {
		if err := os.WriteFile(golden, []byte(err.Error()+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, readErr := os.ReadFile(golden)
	if readErr != nil {
		t.Fatal(readErr)
	}
	if got, want := err.Error()+"\n", strings.ReplaceAll(string(want), "\r\n", "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	var list Errors
	if !errors.As(err, &list) || len(list) < 10 {
		t.Errorf("%T of %d mistakes, want Errors of 10 or more", err, len(list))
	}
	for i := 1; i < len(list); i++ {
		if a, b := list[i-1], list[i]; a.Line > b.Line || a.Line == b.Line && a.Column > b.Column {
			t.Errorf("%v stands before %v", a, b)
		}
	}
}

// withMatch wraps a match into the smallest policy; it begins at 4:11.
func withMatch(match string) string {
	return "version: 1\nrules:\n- {id: r, verdict: allow,\n   match: " + match + "}\n"
}

func TestParseRefuses(t *testing.T) {
	tests := []struct{ reason, data, want string }{
		{"empty", "", `p: no policy is in it: begin with "version: 1"`},
		{"comments alone", "# nothing\n", `p: no policy is in it: begin with "version: 1"`},
		{"a mark of byte order alone", "\ufeff", `p: no policy is in it: begin with "version: 1"`},
		{"nothing but the version", "version: 1\n", `p:1:1: there are no rules: add "rules:" with a list, or "rules: []" for the default alone`},
		{"no version", "rules: []\n", `p:1:1: the version is missing: begin with "version: 1"`},
		{"version in quotes", "version: \"1\"\nrules: []\n", `p:1:10: "1" is in quotes: write it without`},
		{"version null", "version:\nrules: []\n", `p:1:9: a version is wanted: write "version: 1"`},
		{"version 01, which yaml.v3 takes for 1", "version: 01\nrules: []\n", `p:1:10: version "01" is not known: this program reads version 1`},
		{"a list", "- a\n", "p:1:1: the policy wants keys and values: version, extends, changes, default, command_lines, include, sets, rules"},
		{"rules as a mapping", "version: 1\nrules: {a: b}\n", `p:2:8: rules wants a list, each rule begun by "- id: …"`},
		{"a rule that is a word", "version: 1\nrules: [a]\n", "p:2:9: a rule wants keys and values: id, verdict, severity, always, match, when, grace, reason, owner, expires, tags, message, why, fix"},
		{"a second document", "version: 1\nrules: []\n---\n", `p:3:1: a second document begins: a policy is one document, remove the "---"`},
		{"a second document that is no YAML", "version: 1\nrules: []\n---\n}\n", "p:4:1: no YAML: did not find expected node content (see to indentation, quotes and brackets)"},
		{"a key twice", "version: 1\nrules: []\nrules: []\n", `p:3:1: "rules" is given twice in the policy`},
		{"a list as a key", "version: 1\nrules: []\n? [rules]\n: 1\n", "p:3:3: a key of the policy is a single word, not a list or mapping"},

		{"Latin-1", "version: 1\n# caf\xe9\nrules: []\n", "p:2:6: not UTF-8: save the file in that encoding"},
		{"UTF-16 with its mark", "\xff\xfev\x00", "p:1:1: not UTF-8: save the file in that encoding"},
		{"UTF-16 without", "v\x00e\x00", "p:1:2: a NUL byte: this is no text file"},
		{"too large", strings.Repeat(" ", maxBytes+1), "p: 1048577 bytes are too many for a policy: the limit is 1048576"},

		{"a tab", "version: 1\nrules:\n\t- a\n", "p:3:1: a tab in the indentation: YAML is indented by spaces"},
		{"a tab within braces is no indentation, the one below is", withMatch("\n \t{port: 22}") + "\tx", "p:6:1: a tab in the indentation: YAML is indented by spaces"},
		{"a tab within quotes, and another mistake", "version: 1\nrules: 'x\n\ty' z\n", "p:3:2: no YAML: did not find expected key (see to indentation, quotes and brackets)"},
		{"an indentation too small", "version: 1\nrules:\n  - id: x\n    verdict: alert\n   match: any\n", "p:5:4: no YAML: did not find expected '-' indicator (see to indentation, quotes and brackets)"},
		{"a value in a value, on the first line", "a: b: c\n", "p:1:1: no YAML: mapping values are not allowed in this context (see to indentation, quotes and brackets)"},
		{"a quote left open", "version: 1\nrules:\n- id: \"x\n\nmatch: any\n", "p:3:1: no YAML: found unexpected end of stream (see to indentation, quotes and brackets)"},
		{"a control character", "version: 1\nrules: [\x01]\n", "p:2:9: the control character U+0001: remove it"},
		{"a control character of ISO 6429", "version: 1\nrules: []  # é\u009b\n", "p:2:15: the control character U+009B: remove it"},
		{"an alias to nothing", "version: 1\nrules: *no\n", "p:2:1: no YAML: unknown anchor 'no' referenced (see to indentation, quotes and brackets)"},

		{"an alias", "version: &v 1\nrules: [*v]\n", "p:1:10: an anchor (&v): write the value out where it is wanted\np:2:9: an alias (*v): write the value out"},
		{"a merge", "version: 1\nrules: []\n<<: {default: allow}\n", "p:3:1: a merge key (<<): write the keys out"},
		{"a tag, with the other mistakes beside it", "version: !!int 1\nrules: []\nx: 1\n", "p:1:10: a tag (\"!!int\"): write the value without it\np:3:1: unknown key \"x\" in the policy"},
		{"a tag that hides a control character", "version: !x%1b[31m 1\nrules: []\n", `p:1:10: a tag ("!x\x1b[31m"): write the value without it`},
		{"nesting", "version: 1\nrules: " + strings.Repeat("[", 40) + strings.Repeat("]", 40) + "\n", "p:2:24: nested more than 16 levels deep"},

		{"an empty default", "version: 1\nrules: []\ndefault: {}\n", `p:3:10: default needs the key "verdict"`},
		{"a missing default", "version: 1\nrules: []\ndefault:\n", `p:3:9: a value is missing`},
		{"the id of what no rule finds", "version: 1\nrules: [{id: hidden-port, verdict: alert, severity: low, match: any}]\n", `p:2:14: the id "hidden-port" belongs to the findings of cross-checks: choose another`},
		{"the id of the default", "version: 1\nrules: [{id: default, verdict: alert, severity: low, match: any}]\n", `p:2:14: the id "default" belongs to the default verdict: choose another`},
		{"a default of both kinds", "version: 1\nrules: []\ndefault: {verdict: allow, severity: low}\n", "p:3:10: a severity belongs to an alert: remove it, or make the verdict alert"},
		{"a default that is no finding", "version: 1\nrules: []\ndefault: {verdict: alert, severity: none}\n", `p:3:37: "none" is not one of low, medium, high, critical`},
		{"a date as an id", "version: 1\nrules:\n- {id: 2024-01-01, verdict: allow, match: any}\n", `p:3:8: "2024-01-01" is not taken for a text: put it in quotes`},
		{"an id three times", "version: 1\nrules:\n- {id: a, verdict: allow, match: any}\n- {id: a, verdict: allow, match: any}\n- {id: a, verdict: allow, match: any}\n",
			"p:4:8: the id \"a\" is already that of the rule on line 3\np:5:8: the id \"a\" is already that of the rule on line 3"},
		{"texts of an allowance", "version: 1\nrules:\n- {id: a, verdict: allow, match: any,\n   why: x,\n   message: y}\n",
			"p:4:4: an allow rule has no why: it raises nothing; say why it is allowed under \"reason\"\np:5:4: an allow rule has no message: it raises nothing; say why it is allowed under \"reason\""},
		{"an alert without severity", "version: 1\nrules:\n- {id: a, verdict: alert, match: any}\n", "p:3:3: an alert rule needs a severity: low, medium, high or critical"},
		{"a severity null", "version: 1\nrules:\n- {id: a, verdict: alert, match: any, severity: ~}\n", "p:3:49: a value is missing"},
		{"a placeholder in capitals", "version: 1\nrules:\n- {id: a, verdict: alert, severity: low, match: any, fix: \"{Port}\"}\n", `p:3:59: unknown placeholder {Port}, did you mean "port"?`},
		{"placeholders with a hyphen and a digit", "version: 1\nrules:\n- {id: a, verdict: alert, severity: low, match: any, fix: \"{risk-name} {port1}\"}\n",
			"p:3:59: unknown placeholder {risk-name}, did you mean \"risk_name\"?\np:3:59: unknown placeholder {port1}, did you mean \"port\"?"},
		{"a list as a text", "version: 1\nrules:\n- {id: a, verdict: allow, match: any, reason: [x]}\n", "p:3:47: a single value is wanted, not a list or mapping"},

		{"match null", withMatch(""), "p:4:11: match wants keys and values: " + allKeys()},
		{"any in capitals", withMatch("Any"), "p:4:11: match wants keys and values: " + allKeys()},
		{"no condition", withMatch("{}"), `p:4:11: no condition: write "match: any" if every listener is meant`},
		{"not, of nothing", withMatch("{not: {}}"), "p:4:17: no condition: nothing is left that could match"},
		{"not, of everything", withMatch("{not: any}"), "p:4:17: not wants keys and values: " + allKeys()},
		{"a mistake in a not in a not", withMatch("{not: {not: {prot: 1}}}"), `p:4:24: unknown key "prot" in not, did you mean "port"?`},
		{"an empty list", withMatch("{port: []}"), "p:4:18: an empty list can never match: remove the condition or fill the list"},
		{"a list in a list", withMatch("{port: [[22]]}"), "p:4:19: a single value is wanted, not a list or mapping"},
		{"a network with a host", withMatch("{address: 192.0.2.1/24}"), `p:4:21: "192.0.2.1/24" is an address within a prefix: write 192.0.2.0/24, or the address alone`},
		{"half an address", withMatch("{address: 192.0.2}"), `p:4:21: "192.0.2" is no address such as 192.0.2.1, 2001:db8::1 or 192.0.2.0/24`},
		{"an address with a zone", withMatch("{address: 'fe80::1%eth0'}"), `p:4:21: "fe80::1%eth0" is no address such as 192.0.2.1, 2001:db8::1 or 192.0.2.0/24`},
		{"too long a prefix", withMatch("{address: 192.0.2.0/33}"), `p:4:21: "192.0.2.0/33" is no prefix such as 192.0.2.0/24 or 2001:db8::/32`},
		{"a name as a uid", withMatch("{uid: root}"), `p:4:17: "root" is no uid such as 33, and no range such as 1000-60000`},
		{"a uid too large", withMatch("{uid: 4294967296}"), `p:4:17: "4294967296" is no uid such as 33, and no range such as 1000-60000`},
		{"an octal uid", withMatch("{uid: 010}"), `p:4:17: "010" is no uid such as 33, and no range such as 1000-60000`},
		{"uids backwards", withMatch("{uid: 2-1}"), `p:4:17: the range "2-1" runs backwards: write 1-2`},
		{"a path as a program", withMatch("{program: /bin/x}"), `p:4:21: "/bin/x" is a path, and can never match a name: ask for "executable"`},
		{"another tool's key", withMatch("{exe: /bin/x}"), `p:4:12: unknown key "exe" in match, did you mean "executable"?`},
		{"another tool's value", withMatch("{scope: Localhost}"), `p:4:19: "Localhost" is no scope: use loopback, link-local, private, public or wildcard, did you mean "loopback"?`},
		{"a firewall's verdict", "version: 1\nrules:\n- {id: a, verdict: deny, match: any}\n", `p:3:20: "deny" is not one of alert, allow, require, did you mean "alert"?`},
		{"a word that is none here", withMatch("{transport: proto}"), `p:4:23: "proto" is no transport: use tcp, udp, sctp, dccp, udplite, raw, packet, vsock`},
		{"any of nothing", withMatch("{any: []}"), `p:4:17: any wants a list of conditions, such as "any: [{port: 22}, {service: http}]"`},
		{"any of one", withMatch("{any: {port: 22}}"), `p:4:17: any wants a list of conditions, such as "any: [{port: 22}, {service: http}]"`},
		{"any of words", withMatch("{any: [tcp]}"), `p:4:18: an item of any wants keys and values: ` + allKeys()},
		{"all of an empty one", withMatch("{all: [{port: 22}, {}]}"), "p:4:30: no condition: fill it, or remove it from the list"},
		{"a mistake in any", withMatch("{any: [{port: 22}, {prot: 22}]}"), `p:4:31: unknown key "prot" in an item of any, did you mean "port"?`},
		{"a mapping", withMatch("{port: {a: b}}"), "p:4:18: a value or a list of values is wanted"},
		{"~", withMatch("{port: ~}"), "p:4:18: a value is missing"},
		{"a fraction", withMatch("{port: 22.5}"), `p:4:18: "22.5" is no port: a port is a whole number from 0 to 65535`},
		{"an octal number", withMatch("{port: 022}"), `p:4:18: "022" is no port: a port is a whole number from 0 to 65535`},
		{"a hexadecimal number", withMatch("{port: 0x16}"), `p:4:18: "0x16" is no port: a port is a whole number from 0 to 65535`},
		{"an underscore", withMatch("{port: 1_000}"), `p:4:18: "1_000" is no port: a port is a whole number from 0 to 65535`},
		{"an exponent", withMatch("{port: 1e3}"), `p:4:18: "1e3" is no port: a port is a whole number from 0 to 65535`},
		{"beyond the ports", withMatch("{port: 65536}"), `p:4:18: "65536" is no port: a port is a whole number from 0 to 65535`},
		{"below the ports", withMatch("{port: -1}"), `p:4:18: "-1" is no range of ports such as 8000-8100: a port is a whole number from 0 to 65535`},
		{"a range backwards", withMatch("{port: 9-8}"), `p:4:18: the range "9-8" runs backwards: write 8-9`},
		{"a range with spaces", withMatch("{port: 8 - 9}"), `p:4:18: "8 - 9" is no range of ports such as 8000-8100: a port is a whole number from 0 to 65535`},
		{"a service for a port", withMatch("{port: ssh}"), `p:4:18: "ssh" is no port: a port is a whole number from 0 to 65535`},
		{"a transport in capitals", withMatch("{transport: TCP}"), `p:4:23: "TCP" is no transport: use tcp, udp, sctp, dccp, udplite, raw, packet, vsock, did you mean "tcp"?`},
		{"a mistyped scope", withMatch("{scope: [loopback, link_local]}"), `p:4:30: "link_local" is no scope: use loopback, link-local, private, public or wildcard, did you mean "link-local"?`},
		{"a scope that is none", withMatch("{scope: unknown}"), `p:4:19: "unknown" is no scope: use loopback, link-local, private, public or wildcard`},
		{"yes", withMatch("{root: yes}"), `p:4:18: "yes" is neither true nor false`},
		{"True", withMatch("{root: True}"), `p:4:18: "True" is neither true nor false`},
		{"true in quotes", withMatch("{root: 'true'}"), `p:4:18: "true" is in quotes: write it without`},
		{"a list of truths", withMatch("{root: [true]}"), "p:4:18: true or false is wanted"},
		{"no truth", withMatch("{root: }"), "p:4:18: true or false is wanted"},
		{"a truth as a user", withMatch("{user: true}"), `p:4:18: "true" is not taken for a text: put it in quotes`},
		{"blanks as a user", withMatch("{user: '  '}"), "p:4:18: a value is missing"},
		{"a mistyped how", withMatch("{owner: kernal}"), `p:4:19: "kernal" is not one of process, socket unit, kernel, container proxy, other pid namespace, denied, raced, io_uring, unheld, unknown, did you mean "kernel"?`},
		{"a program without its directory", withMatch("{executable: nginx}"), `p:4:24: "nginx" can never match: write the whole path, or **/nginx for any directory`},
		{"one directory", withMatch("{executable: ./bin/nginx}"), `p:4:24: "./bin/nginx" can never match: write the whole path, or **/bin/nginx for any directory`},
		{"a brace in a brace", withMatch(`{unit: "{a,{b}}"}`), `p:4:18: "{a,{b}}" has a brace inside a brace`},
		{"a brace left open", withMatch(`{executable: 'C:\{A'}`), `p:4:24: "C:\\{A" opens a brace and does not close it`},
		{"every wrong item of a list of ports", withMatch("{port: [~, 22, true, x]}"), "p:4:19: a value is missing\np:4:26: \"true\" is not taken for a text: put it in quotes\np:4:32: \"x\" is no port: a port is a whole number from 0 to 65535"},
		{"every wrong item of a list of patterns", withMatch("{executable: [~, a, '/{', b]}"), "p:4:25: a value is missing\np:4:28: \"a\" can never match: write the whole path, or **/a for any directory\n" +
			"p:4:31: \"/{\" opens a brace and does not close it\np:4:37: \"b\" can never match: write the whole path, or **/b for any directory"},
		{"a long text", withMatch("{user: " + strings.Repeat("a", 5000) + "}"), "p:4:18: a text of more than 4096 bytes"},
		{"a long word is not repeated whole", withMatch("{state: " + strings.Repeat("a", 4000) + "}"),
			`p:4:19: "` + strings.Repeat("a", 64) + `…" is no state: use assigned, unassigned, reserved or no statement`},
		{"the error of Windows line ends", "version: 1\r\nrules: []\r\nx: 1\r\n", `p:3:1: unknown key "x" in the policy`},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			p, err := Parse([]byte(test.data), "p")
			if err == nil || p != nil {
				t.Fatal("accepted")
			}
			if got := err.Error(); got != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

func allKeys() string {
	return "address, authority, capabilities, changed, command_line, concealed, container, deleted, dual_stack, ephemeral, executable, group, image, interface, memory, namespace, new, older_than, " +
		"owner, parent, port, privileged, program, range, reach, reachable, risk, root, scope, service, sha256, shadows, shared, state, transport, uid, unit, user, " +
		"world_writable, not, any, all"
}

func TestParseAccepts(t *testing.T) {
	tests := []struct{ reason, data string }{
		{"the smallest policy", "version: 1\nrules: []\n"},
		{"a mark of byte order", "\ufeffversion: 1\nrules: []\n"},
		{"line ends of Windows", "version: 1\r\nrules: []\r\n"},
		{"an end of document", "---\nversion: 1\nrules: []\n...\n"},
		{"every key", "version: 1\ndefault: {verdict: alert, severity: high}\ncommand_lines: true\nrules:\n- {id: a.b-1, verdict: alert, severity: low, match: any, reason: r, message: \"{port}\", why: w, fix: f}\n"},
		{"keys in quotes", `{"version": 1, "rules": []}`},
		{"a text as long as may be", withMatch("{user: " + strings.Repeat("a", maxText) + "}")},
		{"port 0, the ends of the range, and the same twice", withMatch("{port: [0, 0, 1-65535, 7-7]}")},
		{"a user whose name is a number", withMatch("{user: 010}")},
		{"a user called no", withMatch("{user: no}")},
		{"not in not", withMatch("{not: {not: {port: 1}}}")},
		{"any program whose name is known", withMatch(`{executable: "**"}`)},
		{"directories in a brace", withMatch(`{executable: "{/usr,}/sbin/nginx"}`)},
		{"a drive left open", withMatch(`{executable: '?:\nginx.exe'}`)},
		{"a share", withMatch(`{executable: '\\server\share\a.exe'}`)},
		{"a command with braces that are no placeholder", "version: 1\nrules:\n- {id: a, verdict: alert, severity: low, match: any, fix: 'find {} {a b} {1}'}\n"},
	}
	for _, test := range tests {
		if p, err := Parse([]byte(test.data), "p"); err != nil {
			t.Errorf("%s: %v", test.reason, err)
		} else if p.Source != "p" || len(p.SHA256) != 64 {
			t.Errorf("%s: source %q, sum %q", test.reason, p.Source, p.SHA256)
		}
	}
}

// TestParseBounds holds the time of what is meant to take long.
func TestParseBounds(t *testing.T) {
	var rules strings.Builder
	rules.WriteString("version: 1\nrules:\n")
	for i := range maxRules {
		fmt.Fprintf(&rules, "- {id: r%d, verdict: allow, match: {port: %d, executable: \"/**/x%d\"}}\n", i, i, i)
	}
	tests := []struct{ reason, data, want string }{
		{"as many rules as may be", rules.String(), ""},
		{"one more", rules.String() + "- {id: x, verdict: allow, match: any}\n", "p:3:1: 10001 rules are too many: the limit is 10000"},
		{"more patterns than may be", withMatch("{executable: [" + strings.Repeat("/*,", maxGlobs+1) + "]}"), "p:4:30025: more than 10000 patterns: let one stand for several"},
		{"brackets", strings.Repeat("[", maxBytes), "p:1:1: no YAML: exceeded max depth of 10000 (see to indentation, quotes and brackets)"},
		{"indentation", strings.Repeat("- ", maxBytes/2), "p:1:1: no YAML: exceeded max depth of 10000 (see to indentation, quotes and brackets)"},
		{"a bomb of aliases", "a: &a [x,x,x]\nb: &b [*a,*a,*a]\nc: &c [*b,*b,*b]\n", "p:1:1: unknown key \"a\" in the policy"},
		{"a mistake on every line", strings.Repeat("abcdef:\n", maxBytes/8), "p: 130074 more mistakes: mend these first"},
		{"an error in YAML at the end, which takes a number of attempts to find", strings.Repeat("abcdef:\n", maxBytes/64-1) + "}", "p:16384:1: no YAML: did not find expected node content (see to indentation, quotes and brackets)"},
	}
	for _, test := range tests {
		start := time.Now()
		_, err := Parse([]byte(test.data), "p")
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("%s took %v", test.reason, took)
		}
		if err == nil || test.want == "" {
			if err != nil || test.want != "" {
				t.Errorf("%s: %v, want %q", test.reason, err, test.want)
			}
			continue
		}
		if lines := strings.Split(err.Error(), "\n"); lines[0] != test.want && lines[len(lines)-1] != test.want {
			t.Errorf("%s: %s … %s, want %q", test.reason, lines[0], lines[len(lines)-1], test.want)
		}
	}
}

func TestSuggest(t *testing.T) {
	known := []string{"port", "user", "unit", "not"}
	tests := []struct{ word, want, reason string }{
		{"prot", `, did you mean "port"?`, "letters exchanged"},
		{"PORT", `, did you mean "port"?`, "capitals"},
		{"ports", `, did you mean "port"?`, "a letter too many"},
		{"usr", `, did you mean "user"?`, "a letter too few"},
		{"executable", "", "another word"},
		{"", "", "nothing"},
		{strings.Repeat("x", 1000), "", "long"},
	}
	for _, test := range tests {
		if got := suggest(test.word, known); got != test.want {
			t.Errorf("%.20q: %q, want %q (%s)", test.word, got, test.want, test.reason)
		}
	}
}
