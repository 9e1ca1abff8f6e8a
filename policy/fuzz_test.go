package policy

import (
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/portaudit/portaudit/registry"
)

// fuzzListeners are as different as listeners can be in few.
func fuzzListeners() []Listener {
	root := Owner{How: "process", User: "root", Root: Yes, Executable: "/usr/sbin/sshd", Deleted: No, WorldWritable: No, Unit: "ssh.service"}
	user := Owner{How: "process", User: "bob", Root: No, Executable: "/tmp/x", Deleted: Yes, WorldWritable: Yes}
	windows := Owner{How: "process", User: `NT AUTHORITY\SYSTEM`, Root: Yes, Executable: `C:\Windows\System32\svchost.exe`, Unit: "RpcSs"}
	denied := Owner{How: "denied"}
	return []Listener{
		{},
		{Transport: registry.TCP, Port: 22, Address: netip.IPv6Unspecified(), Scope: Wildcard, State: registry.Assigned, Names: []string{"ssh"}, Privileged: Yes, Ephemeral: No, Authority: "root", Owners: []Owner{root}},
		{Transport: registry.TCP, Port: 80, Address: netip.MustParseAddr("127.0.0.1"), Scope: Loopback, State: registry.Assigned, Names: []string{"http", "www"}, Privileged: Yes, Ephemeral: No, Authority: "root", Owners: []Owner{root, user, denied}},
		{Transport: registry.UDP, Port: 40000, Address: netip.MustParseAddr("10.1.2.3"), Scope: Private, State: registry.Unassigned, Risk: Critical, Privileged: No, Ephemeral: Yes, Owners: []Owner{denied, user}},
		{Transport: registry.TCP, Port: 65535, Scope: LinkLocal, State: registry.Reserved, Risk: Low, Privileged: No, Ephemeral: Yes, Owners: []Owner{windows, user}},
		{Transport: registry.SCTP, Port: 0, Scope: Public, Risk: High},
	}
}

func FuzzParse(f *testing.F) {
	// Small seeds: the fuzzer spends its time on making large ones small.
	f.Add([]byte(withMatch(`{port: [22, 8000-8100], user: [root, bob], not: {executable: "**/x", not: {root: true}}}`)))
	f.Add([]byte(withMatch(`{any: [{address: "10.0.0.0/8", uid: 1-9}, {program: "s*"}], all: [{shared: true}]}`)))
	f.Add([]byte("version: 1\ndefault: {verdict: alert, severity: high}\nrules: []\n---\n"))
	f.Add([]byte("a: &a [*a]\n? [x]\n: !!str y\n"))
	f.Add([]byte("version: 1\nrules:\n- {id: a, verdict: alert, severity: low, match: {risk: high, scope: public}, fix: '{port}'}\n"))
	f.Add([]byte("version: 1\nextends: default\nchanges: {noisy: off}\ninclude: d/\nsets: {t: [$s, 1-9]}\nrules:\n- {id: a, verdict: allow, match: {port: $t}, expires: 2026-11-30}\n"))
	f.Add([]byte(withMatch("{group: x, capabilities: CAP_BPF, older_than: 7d, changed: owner-changed, owner: unknown, image: 'a*'}")))
	f.Add([]byte("\ufeff%YAML 1.1\n--- \"\\u0085\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Compile(data, "f.yaml", filesOf(map[string]string{"d/a.yaml": "version: 1\nsets: {s: [22, 23/udp]}\n"}))
		if err != nil {
			checkErrors(t, err, len(data))
			return
		}
		for _, l := range fuzzListeners() {
			checkDecision(t, p, l)
		}
	})
}

// checkErrors fails where a refusal is not a list of mistakes with their places,
// in order.
func checkErrors(t *testing.T, err error, size int) {
	var list Errors
	if !errors.As(err, &list) || len(list) == 0 {
		t.Fatalf("%T: %v", err, err)
	}
	for i, e := range list {
		if !slices.Contains([]string{"f.yaml", "d/a.yaml"}, e.File) || e.Message == "" || e.Line < 0 || e.Line > size+1 || (e.Line == 0) != (e.Column == 0) {
			t.Errorf("%+v", e)
		}
		if e.Line == 0 && !strings.Contains(e.Message, "is in it: begin") && !strings.Contains(e.Message, "more mistakes") && size <= maxBytes {
			t.Errorf("%q has no place", e.Message)
		}
		if i > 0 && e.Line > 0 && list[i-1].File == e.File && (list[i-1].Line > e.Line || list[i-1].Line == e.Line && list[i-1].Column > e.Column) {
			t.Errorf("%v stands behind %v", e, list[i-1])
		}
	}
}

// checkDecision fails where a decision is not what it promises to be.
func checkDecision(t *testing.T, p *Policy, l Listener) {
	d := p.Decide(l, time.Time{})
	if again := p.Decide(l, time.Time{}); !reflect.DeepEqual(d, again) {
		t.Errorf("%+v, then %+v", d, again)
	}
	turned := l
	turned.Owners = slices.Clone(l.Owners)
	slices.Reverse(turned.Owners)
	if other := p.Decide(turned, time.Time{}); !reflect.DeepEqual(d, other) {
		t.Errorf("%+v, with the owners turned round %+v", d, other)
	}
	if (d.Verdict == Alert) != (len(d.Findings) > 0) || d.Rule == "" {
		t.Errorf("%+v", d)
	}
	var found, explained []string
	for _, f := range d.Findings {
		found = append(found, f.Rule)
		if f.Severity == None || f.Message == "" {
			t.Errorf("finding %+v", f)
		}
	}
	ended := ""
	for i, s := range p.Explain(l, time.Time{}) {
		if i < len(p.rules) && s.Outcome == Matched {
			if text, idle := p.odd(i); idle {
				t.Errorf("rule %s matches %+v, and %s", s.Rule, l, text)
			}
		}
		if (s.Outcome == NotMatched) != (s.Failed != "") || s.Verdict != Require && (ended == "") == (s.Outcome == NotReached) {
			t.Errorf("step %+v, ended by %q", s, ended)
		}
		switch {
		case s.Verdict == Require:
		case s.Outcome == Matched && s.Verdict == Alert:
			explained = append(explained, s.Rule)
		case s.Outcome == Matched:
			ended = s.Rule
		}
	}
	if !slices.Equal(found, explained) || d.Verdict == Allow && d.Rule != ended {
		t.Errorf("decided %+v, explained %q, allowed by %q", d, explained, ended)
	}
}
