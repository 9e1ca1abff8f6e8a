package policy

import (
	"errors"
	"maps"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/portaudit/portaudit/registry"
)

// today is a time at which nothing ends.
var today = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// expecting is a list of one expectation with the given listener.
func expecting(listener string) string {
	return "version: 1\nexpectations:\n- name: n\n  verdict: alert\n  rule: default\n  listener: " + listener + "\n"
}

// TestFactsOfExpectations holds what is read of a listener and what is derived.
func TestFactsOfExpectations(t *testing.T) {
	any4 := netip.IPv4Unspecified()
	ssh := Listener{Transport: registry.TCP, Port: 22, State: registry.Assigned, Names: []string{"ssh"}, Privileged: Yes}
	with := func(change func(*Listener)) Listener {
		l := ssh
		change(&l)
		return l
	}
	owned := func(owners ...Owner) Listener { return with(func(l *Listener) { l.Owners = owners }) }
	asRoot := func(l Listener) Listener { l.Authority = "root"; return l }
	tests := []struct {
		reason, listener string
		want             Listener
	}{
		{"the registry says what of a port nobody gave", "{transport: tcp, port: 22}", ssh},
		{"what is given goes before what is derived", `{transport: tcp, port: 22, state: reserved, service: [], privileged: unknown, risk: high}`, Listener{
			Transport: registry.TCP, Port: 22, State: registry.Reserved, Names: []string{}, Risk: High,
		}},
		{"an address has a scope, and IPv4 takes nothing else", "{transport: tcp, port: 22, address: 0.0.0.0}", with(func(l *Listener) {
			l.Address, l.Scope, l.DualStack = any4, Wildcard, No
		})},
		{"an IPv6 socket may take IPv4 or not", `{transport: tcp, port: 22, address: "::1", dual_stack: true}`, with(func(l *Listener) {
			l.Address, l.Scope, l.DualStack = netip.IPv6Loopback(), Loopback, Yes
		})},
		{"a scope that is given", "{transport: tcp, port: 22, address: 0.0.0.0, scope: unknown}", with(func(l *Listener) { l.Address, l.DualStack = any4, No })},
		{"a port that is abused and not privileged", "{transport: tcp, port: 6379}", Listener{
			Transport: registry.TCP, Port: 6379, State: registry.Assigned, Names: []string{"redis"}, Privileged: No, Risk: Critical,
		}},
		{"a socket without ports", "{transport: packet, interface: eth0}", Listener{Transport: registry.Packet, Interface: "eth0"}},
		{"all other facts", `{transport: tcp, port: 22, namespace: host, authority: root, reach: network, ephemeral: false}`, with(func(l *Listener) {
			l.Namespace, l.Authority, l.Reach, l.Ephemeral = "host", "root", "network", No
		})},
		{"what was seen before", "{transport: tcp, port: 22, new: true, changed: none, shadows: false}", with(func(l *Listener) { l.New, l.Changed, l.Shadows = Yes, "none", No })},
		{"rights of an owner", "{transport: tcp, port: 22, group: [], capabilities: [CAP_CHOWN, CAP_FOWNER], image: i, sha256: " + strings.Repeat("AB", 32) + "}",
			owned(Owner{How: "process", Groups: []string{}, Capabilities: Capabilities{9, true}, Image: "i", SHA256: strings.Repeat("ab", 32)})},
		{"no rights of an owner that is not known", "{transport: tcp, port: 22, owner: unknown, capabilities: []}", owned(Owner{Capabilities: Capabilities{Known: true}})},
		{"an owner among the facts", "{transport: tcp, port: 22, user: root, executable: /usr/sbin/sshd, unit: ssh.service}",
			asRoot(owned(Owner{How: "process", User: "root", Root: Yes, Executable: "/usr/sbin/sshd", Unit: "ssh.service"}))},
		{"the number of the account is surer than its name", "{transport: tcp, port: 22, user: toor, uid: 0}",
			asRoot(owned(Owner{How: "process", User: "toor", UID: UID{Known: true}, Root: Yes}))},
		{"root that is given", "{transport: tcp, port: 22, user: root, root: false}", owned(Owner{How: "process", User: "root", Root: No})},
		{"root of an account of Windows is not in its name", `{transport: tcp, port: 22, user: 'DESK\bob'}`, owned(Owner{How: "process", User: `DESK\bob`})},
		{"an authority that is given", "{transport: tcp, port: 22, authority: unexplained, owner: kernel}", func() Listener {
			l := owned(Owner{How: "kernel", Root: Yes})
			l.Authority = "unexplained"
			return l
		}()},
		{"the kernel is root", "{transport: tcp, port: 22, owner: kernel}", asRoot(owned(Owner{How: "kernel", Root: Yes}))},
		{"several owners, one of whom nothing is known", "{transport: tcp, port: 22, owners: [{user: bob, uid: 1001}, {}]}",
			owned(Owner{How: "process", User: "bob", UID: UID{1001, true}, Root: No}, Owner{})},
		{"everything of an owner", "{transport: tcp, port: 22, owners: [{command_line: a b, parent: sh, container: web, deleted: true, memory: false, concealed: false, world_writable: true}]}",
			owned(Owner{How: "process", CommandLine: "a b", Parent: "sh", Container: "web", Deleted: Yes, Memory: No, Concealed: No, WorldWritable: Yes})},
	}
	for _, test := range tests {
		e, err := ParseExpectations([]byte(expecting(test.listener)), "e.yaml")
		if err != nil {
			t.Errorf("%s: %v", test.reason, err)
			continue
		}
		if got := e.List[0].Listener; !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", test.reason, got, test.want)
		}
	}
}

// TestFactsAreConditions holds that an expectation can give what a rule can ask
// for, under the same name.
func TestFactsAreConditions(t *testing.T) {
	facts := slices.Sorted(maps.Keys(listenerFacts()))
	facts = slices.Concat(facts, slices.Collect(maps.Keys(ownerFacts())))
	slices.Sort(facts)
	if conditions := slices.Sorted(maps.Keys(conditionKeys())); !slices.Equal(facts, conditions) {
		t.Errorf("facts %q, conditions %q", facts, conditions)
	}
	for key, c := range conditionKeys() {
		if _, ofOwner := ownerFacts()[key]; ofOwner != c.owner {
			t.Errorf("%s is a fact of an owner: %t, and the condition asks for one: %t", key, ofOwner, c.owner)
		}
	}
}

func TestMistakesOfExpectations(t *testing.T) {
	one := func(rest string) string {
		return "version: 1\nexpectations:\n- {name: n, listener: {transport: tcp, port: 22}, " + rest + "}\n"
	}
	tests := []struct{ reason, text, want string }{
		{"nothing", "", "e.yaml: no list of expectations is in it: begin with \"version: 1\""},
		{"a policy", "version: 1\nrules: []\n", "e.yaml:2:1: unknown key \"rules\" in the expectations"},
		{"a second document", one("verdict: alert, rule: a") + "---\na: b\n", "e.yaml:4:1: a second document begins: a list of expectations is one document"},
		{"no version", "expectations: [{}]\n", "the version is missing"},
		{"another version", "version: 2\n", "this program reads version 1"},
		{"no list", "version: 1\nexpectations: []\n", "e.yaml:2:15: expectations wants a list"},
		{"missing keys", "version: 1\nexpectations:\n- name: n\n", "e.yaml:3:3: an expectation needs the key \"listener\""},
		{"a name given twice", "version: 1\nexpectations:\n- {name: n}\n- {name: n}\n", "e.yaml:4:10: \"n\" is already the name of the expectation on line 3"},
		{"a mistyped key", one("verdict: alert, rulee: a"), "unknown key \"rulee\" in an expectation, did you mean \"rule\"?"},
		{"a mistyped verdict", one("verdict: alow, rule: a"), "e.yaml:3:60: \"alow\" is not one of alert, allow, did you mean \"allow\"?"},
		{"no day", one("verdict: alert, rule: a, at: tomorrow"), "a day is wanted, such as 2027-03-31"},
		{"no id", one("verdict: alert, rule: A B"), "\"A B\" is no id of a rule"},
		{"an allowance has no severity", one("verdict: allow, rule: a, severity: low"), "nothing has a severity"},
		{"an allowance finds nothing", one("verdict: allow, rule: a, findings: [a]"), "nothing is found"},
		{"an alert finds something", one("verdict: alert, rule: a, findings: []"), "an alert has a finding"},
		{"a finding without a rule", one("verdict: alert, rule: a, findings: [{severity: low}]"), "a finding needs the key \"rule\""},
		{"a finding twice", one("verdict: alert, rule: a, findings: [a, {rule: a}]"), "\"a\" is expected twice"},
		{"findings that are no list", one("verdict: alert, rule: a, findings: a"), "findings wants a list"},
		{"no transport", expecting("{port: 22}"), "e.yaml:6:13: a listener needs the key \"transport\""},
		{"no port", expecting("{transport: udp}"), "e.yaml:6:13: a listener needs the key \"port\""},
		{"another tool's word", expecting("{transport: tcp, port: 22, exe: /x}"), "unknown key \"exe\" in a listener, did you mean \"executable\"?"},
		{"a fact that follows", expecting("{transport: tcp, port: 22, reachable: true}"), "e.yaml:6:51: this follows from scope or address: give that instead"},
		{"a range of ports is no port", expecting("{transport: tcp, port: 1-9}"), "\"1-9\" is no port"},
		{"a range of accounts is no account", expecting("{transport: tcp, port: 1, uid: 1-9}"), "\"1-9\" is no uid such as 33"},
		{"no address", expecting("{transport: tcp, port: 1, address: 10.0.0.0/8}"), "\"10.0.0.0/8\" is no address such as"},
		{"an owner in two places", expecting("{transport: tcp, port: 1, user: bob, owners: []}"), "put each into one of these"},
		{"owners that are no list", expecting("{transport: tcp, port: 1, owners: {user: bob}}"), "owners wants a list"},
		{"neither true nor false", expecting("{transport: tcp, port: 1, deleted: yes}"), "\"yes\" is neither true nor false"},
		{"an alias", "version: 1\nexpectations: [*a]\n", "unknown anchor"},
	}
	for _, test := range tests {
		e, err := ParseExpectations([]byte(test.text), "e.yaml")
		var list Errors
		if e != nil || !errors.As(err, &list) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %s", test.reason, err, test.want)
		}
	}
}

// TestRun holds when an expectation fails, and what is said of it.
func TestRun(t *testing.T) {
	p := mustParse(t, `
version: 1
default: {verdict: alert, severity: medium}
rules:
- {id: writable, verdict: alert, severity: high, match: {world_writable: true}}
- {id: ssh, verdict: allow, match: {port: 22, user: root}}
- {id: never, verdict: allow, match: {port: 23}}
- {id: old, verdict: alert, severity: low, match: {older_than: 7d}}
- {id: dns, verdict: require, severity: high, match: {port: 53}}
- {id: trial, verdict: allow, match: {port: 8080}, expires: 2027-03-31}
`)
	const sshd, other = "{transport: tcp, port: 22, user: root}", "{transport: tcp, port: 22, user: bob, world_writable: true}"
	tests := []struct{ reason, listener, expected, came string }{ // came: "" if it passes
		{"as expected", sshd, "verdict: allow, rule: ssh", ""},
		{"nothing found", sshd, "verdict: allow, rule: ssh, findings: []", ""},
		{"another rule", sshd, "verdict: allow, rule: never", "allow by rule ssh"},
		{"another verdict", sshd, "verdict: alert, rule: ssh", "allow by rule ssh"},
		{"the gravest finding alone", other, "verdict: alert, rule: writable, severity: high", ""},
		{"another severity", other, "verdict: alert, rule: writable, severity: low", "alert by rule writable, severity high, findings writable (high), default (medium)"},
		{"all findings, in any order", other, "verdict: alert, rule: writable, findings: [default, {rule: writable, severity: high}]", ""},
		{"one finding too few", other, "verdict: alert, rule: writable, findings: [writable]", "alert by rule writable, severity high, findings writable (high), default (medium)"},
		{"one finding too many", "{transport: udp, port: 1}", "verdict: alert, rule: default, findings: [writable, default]", "alert by rule default, severity medium, findings default (medium)"},
		{"what is required", "{transport: udp, port: 53}", "verdict: alert, rule: default, meets: [dns]", ""},
		{"nothing that is required", sshd, "verdict: allow, rule: ssh, meets: []", ""},
		{"not what is required", sshd, "verdict: allow, rule: ssh, meets: dns", "allow by rule ssh, meets nothing"},
		{"more than what is required", "{transport: udp, port: 53}", "verdict: alert, rule: default, meets: []", "alert by rule default, severity medium, meets dns"},
		{"old enough", "{transport: tcp, port: 9, older_than: 7d}", "verdict: alert, rule: default, findings: [old, default]", ""},
		{"not old enough", "{transport: tcp, port: 9, older_than: 6d}", "verdict: alert, rule: default, findings: [default]", ""},
		{"an allowance before its end", "{transport: tcp, port: 8080}", "verdict: allow, rule: trial, at: 2027-01-01", ""},
		{"an allowance that is about to end", "{transport: tcp, port: 8080}", "verdict: alert, rule: allowance-expiring, at: 2027-03-31", ""},
		{"an allowance after its end", "{transport: tcp, port: 8080}", "verdict: alert, rule: default, findings: [default, allowance-expired], at: 2027-04-01T00:00:00Z", ""},
		{"an allowance today", "{transport: tcp, port: 8080}", "verdict: alert, rule: default", "allow by rule trial"},
		{"a finding of another severity", other, "verdict: alert, rule: writable, findings: [default, {rule: writable, severity: low}]", "alert by rule writable, severity high, findings writable (high), default (medium)"},
	}
	for _, test := range tests {
		e, err := ParseExpectations([]byte("version: 1\nexpectations:\n- {name: n, listener: "+test.listener+", "+test.expected+"}\n"), "e.yaml")
		if err != nil {
			t.Fatalf("%s: %v", test.reason, err)
		}
		results, coverage, err := Run(p, e, today)
		if err != nil || len(results) != 1 {
			t.Fatalf("%s: %v", test.reason, err)
		}
		r := results[0]
		if r.Passed != (test.came == "") || !r.Passed && r.Came() != test.came {
			t.Errorf("%s: passed %t, came %q, want %q", test.reason, r.Passed, r.Came(), test.came)
		}
		if n := len(coverage.Matched) + len(coverage.Unmatched); n != 7 || !slices.Contains(coverage.Unmatched, "never") {
			t.Errorf("%s: coverage %+v", test.reason, coverage)
		}
	}
}

// TestRunUnknownRule holds that a rule that does not exist is a mistake with a
// place, wherever it is named.
func TestRunUnknownRule(t *testing.T) {
	p := mustParse(t, "version: 1\nrules:\n- {id: ssh, verdict: allow, match: {port: 22}}\n")
	e, err := ParseExpectations([]byte(`version: 1
expectations:
- name: n
  listener: {transport: tcp, port: 1}
  verdict: alert
  rule: shh
  findings: [default, telnet]
`), "e.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = Run(p, e, today)
	const want = "e.yaml:6:9: no rule of p.yaml is called \"shh\", did you mean \"ssh\"?\n" +
		"e.yaml:7:23: no rule of p.yaml is called \"telnet\""
	if err == nil || err.Error() != strings.ReplaceAll(want, "p.yaml", p.Source) {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func FuzzExpectations(f *testing.F) {
	f.Add([]byte(expecting("{transport: tcp, port: 22, address: '::', owners: [{user: bob, uid: 1001}]}")))
	f.Add([]byte("version: 1\npolicy: p.yaml\nexpectations:\n- {name: n, listener: {transport: raw}, verdict: allow, rule: a, findings: []}\n"))
	f.Add([]byte("version: 1\nexpectations: [{findings: [{rule: a, severity: low}, b]}]\n---\n"))
	text, err := os.ReadFile("../configs/policy.yaml")
	if err != nil {
		f.Fatal(err)
	}
	p, err := Parse(text, "p.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := ParseExpectations(data, "f.yaml")
		if err != nil {
			checkErrors(t, err, len(data))
			return
		}
		results, coverage, err := Run(p, e, today)
		if err != nil {
			checkErrors(t, err, len(data))
			return
		}
		if n := len(coverage.Matched) + len(coverage.Unmatched); len(results) != len(e.List) || n != len(p.rules)+1 {
			t.Errorf("%d results of %d, %d rules of %d", len(results), len(e.List), n, len(p.rules)+1)
		}
		for _, r := range results {
			checkDecision(t, p, r.Listener)
			if !r.Passed && r.Wanted() == r.Came() {
				t.Errorf("it fails, and what came is what was wanted: %s", r.Wanted())
			}
		}
	})
}

// TestCoverageOfExtended holds that the rules of a policy that is extended are
// not counted, and may be expected.
func TestCoverageOfExtended(t *testing.T) {
	base := "version: 1\nrules: [{id: theirs, verdict: allow, match: {port: 23}}]\n"
	p, err := Compile([]byte("version: 1\nextends: default\nrules: [{id: ours, verdict: allow, match: {port: 22}}]\n"), "p", Files{Shipped: map[string][]byte{"default": []byte(base)}})
	if err != nil {
		t.Fatal(err)
	}
	e, err := ParseExpectations([]byte("version: 1\nexpectations: [{name: n, listener: {transport: tcp, port: 23}, verdict: allow, rule: theirs}]\n"), "e.yaml")
	if err != nil {
		t.Fatal(err)
	}
	results, c, err := Run(p, e, today)
	if err != nil || !results[0].Passed || c.Matched != nil || !slices.Equal(c.Unmatched, []string{"ours", "default"}) {
		t.Errorf("%v, %+v, %+v", err, results, c)
	}
}

// TestSuppose holds what facts make of a listener.
func TestSuppose(t *testing.T) {
	ssh := Listener{Transport: registry.TCP, Port: 22, Scope: Wildcard, Names: []string{"ssh"}, Privileged: Yes, Ephemeral: No, Namespace: "host"}
	with := func(change func(*Listener)) Listener {
		l := ssh
		change(&l)
		return l
	}
	tests := []struct {
		reason string
		facts  []Fact
		want   Listener
	}{
		{"nothing", nil, ssh},
		{"an owner", []Fact{{"executable", "/x"}, {"user", "bob"}}, with(func(l *Listener) {
			l.Owners = []Owner{{How: "process", Executable: "/x", User: "bob", Root: No}}
		})},
		{"root holds it as root", []Fact{{"uid", "0"}}, with(func(l *Listener) {
			l.Owners, l.Authority = []Owner{{How: "process", UID: UID{Known: true}, Root: Yes}}, "root"
		})},
		{"lists and answers", []Fact{{"service", "[a, b]"}, {"group", "[]"}, {"deleted", "true"}, {"privileged", "unknown"}}, with(func(l *Listener) {
			l.Names, l.Privileged = []string{"a", "b"}, Unknown
			l.Owners = []Owner{{How: "process", Groups: []string{}, Deleted: Yes}}
		})},
		{"an age", []Fact{{"older_than", "1h"}}, with(func(l *Listener) { l.FirstSeen = today.Add(-time.Hour) })},
	}
	for _, test := range tests {
		if got, err := Suppose(ssh, test.facts, today); err != nil || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %v\ngot  %+v\nwant %+v", test.reason, err, got, test.want)
		}
	}
	for want, facts := range map[string][]Fact{
		"usr: no condition asks for it, did you mean \"user\"?": {{"usr", "x"}},
		"user: a value is missing":                              {{"user", ""}},
		"user: a single value is wanted":                        {{"user", "[a]"}},
		"uid: it is given twice":                                {{"uid", "1"}, {"uid", "2"}},
		"port: it is a part of what is asked for":               {{"port", "1"}},
		"deleted: \"yes\" is neither true nor false":            {{"deleted", "yes"}},
		"program: this follows from executable":                 {{"program", "x"}},
	} {
		if _, err := Suppose(ssh, facts, today); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v: %v, want %s", facts, err, want)
		}
	}
}
