package policy

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/portaudit/portaudit/registry"
)

// rulesOf makes a policy of lines "id verdict-or-severity match".
func rulesOf(fallback string, lines ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "version: 1\ndefault: %s\nrules:\n", fallback)
	if len(lines) == 0 {
		b.WriteString("  []\n")
	}
	for _, line := range lines {
		f := strings.SplitN(line, " ", 3)
		verdict := "alert, severity: " + f[1]
		if f[1] == "allow" {
			verdict = "allow"
		}
		fmt.Fprintf(&b, "- {id: %s, verdict: %s, match: %s}\n", f[0], verdict, f[2])
	}
	return b.String()
}

func TestDecide(t *testing.T) {
	tests := []struct {
		reason   string
		policy   string
		verdict  Verdict
		rule     string
		findings string // rule and severity of each
	}{
		{"no rules", "version: 1\nrules: []\n", Alert, "default", "default medium"},
		{"no rules, all allowed", rulesOf("allow"), Allow, "default", ""},
		{"the default's severity", rulesOf("{verdict: alert, severity: critical}"), Alert, "default", "default critical"},
		{"a default without severity", rulesOf("{verdict: alert}"), Alert, "default", "default medium"},
		{"a default of few words", rulesOf("{verdict: allow}"), Allow, "default", ""},
		{"allowed", rulesOf("alert", "a allow {port: 22}"), Allow, "a", ""},
		{"the first allowance counts", rulesOf("alert", "a allow {port: 23}", "b allow any", "c allow any"), Allow, "b", ""},
		{"an alert behind the allowance is not reached", rulesOf("alert", "a allow any", "b high any"), Allow, "a", ""},
		{"an alert before the allowance stays", rulesOf("alert", "a low any", "b allow any"), Alert, "a", "a low"},
		{"what nothing allows meets the default too", rulesOf("alert", "a low any"), Alert, "default", "a low, default medium"},
		{"but not where the default allows", rulesOf("allow", "a low any"), Alert, "a", "a low"},
		{"the gravest finding names the verdict", rulesOf("alert", "a low any", "b critical any", "c high any"), Alert, "b", "a low, b critical, c high, default medium"},
		{"the first of equals does", rulesOf("alert", "a medium any", "b medium any"), Alert, "a", "a medium, b medium, default medium"},
		{"an unknown fact alerts nobody", rulesOf("allow", "a high {unit: x.service}"), Allow, "default", ""},
		{"and allows nothing", rulesOf("alert", "a allow {not: {unit: x.service}}"), Alert, "default", "default medium"},
	}
	for _, test := range tests {
		l := sshd()
		l.Owners[0].Unit = ""
		d := mustParse(t, test.policy).Decide(l, time.Time{})
		var findings []string
		for _, f := range d.Findings {
			findings = append(findings, f.Rule+" "+f.Severity.String())
		}
		if got := strings.Join(findings, ", "); d.Verdict != test.verdict || d.Rule != test.rule || got != test.findings {
			t.Errorf("%s: %v by %s with %q, want %v by %s with %q", test.reason, d.Verdict, d.Rule, got, test.verdict, test.rule, test.findings)
		}
	}
}

func TestFindingTexts(t *testing.T) {
	p := mustParse(t, "version: 1\nrules:\n"+
		"- {id: own, verdict: alert, severity: low, match: any, message: 'A\n\n  {port}.', why: B, fix: 'C\n  D'}\n"+
		"- {id: none, verdict: alert, severity: high, match: any}\n")
	want := []Finding{
		{Rule: "own", Severity: Low, Message: "A {port}.", Why: "B", Fix: "C D"},
		{Rule: "none", Severity: High, Message: "{owners} listens on {endpoint} ({service}): rule none."},
		{Rule: "default", Severity: Medium, Message: fallbackMessage, Why: fallbackWhy, Fix: fallbackFix},
	}
	if got := p.Decide(sshd(), time.Time{}).Findings; !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestExplain(t *testing.T) {
	two := func(l *Listener) {
		l.Owners = append(l.Owners, Owner{How: "process", User: "bob", Root: No, Executable: "/home/bob/x"})
	}
	tests := []struct {
		rule   string
		change func(*Listener)
		want   string // outcome, and what failed
	}{
		{"a allow {port: 22}", nil, "matched"},
		{"a allow {port: [80, 8000-8100]}", nil, "not matched: port is 22, not 80 or 8000-8100"},
		{"a allow {port: 22, transport: udp, range: dynamic}", nil, "not matched: transport is tcp, not udp"},
		{"a allow {service: [http, www]}", nil, "not matched: service is ssh, secure-shell, not http or www"},
		{"a allow {service: http}", func(l *Listener) { l.Names = nil }, "not matched: service is unnamed, not http"},
		{"a allow {reachable: false}", nil, "not matched: reachable is true, not false"},
		{"a allow {privileged: false}", func(l *Listener) { l.Privileged = Unknown }, "not matched: privileged is unknown"},
		{"a allow {unit: cron.service, port: 22}", func(l *Listener) { l.Owners = nil }, "not matched: unit is unknown"},
		{"a allow {unit: cron.service, port: 23}", func(l *Listener) { l.Owners = nil }, "not matched: port is 22, not 23"},
		{"a allow {executable: /usr/sbin/sshd}", two, "not matched: executable is /home/bob/x, not /usr/sbin/sshd"},
		{"a high {user: alice}", two, "not matched: user is root, not alice"},
		{"a high {user: bob}", two, "matched"},
		{"a allow {not: {port: 22, root: true}}", nil, "not matched: left out by not: port is 22 and root is true"},
		{"a allow {not: {not: {port: [23, 24], risk: low}}}", nil, "not matched: left out by not: not so: port 23 or 24 and risk low"},
		{"a allow {not: {not: {not: {not: {port: 23}}}}}", nil, "not matched: left out by not: not so: not (not (port 23))"},
		{"a allow {not: {port: 22, root: true}}", func(l *Listener) { l.Owners = nil }, "not matched: root is unknown"},
		{"a high {not: {port: 1-99, not: {executable: '**'}}}", nil, "matched"},
		{"a high {not: {port: 1-99, not: {executable: '**'}}}", func(l *Listener) { l.Owners = nil }, "not matched: executable is unknown"},
		{"a high {not: {port: 80-99, not: {executable: '**'}}}", func(l *Listener) { l.Owners = nil }, "matched"},
		{"a allow {command_line: x}", nil, "not matched: command_line is (not shown), not x"},
		{"a allow {interface: eth0}", nil, "not matched: interface is any, not eth0"},
		{"a allow {address: 192.0.2.0/24}", nil, "not matched: address is ::, not 192.0.2.0/24"},
		{"a allow {any: [{port: 80}, {port: 22, root: true}]}", nil, "matched"},
		{"a allow {any: [{port: 80}, {port: 22, root: false}]}", nil, "not matched: none of any: port is 22, not 80; root is true, not false"},
		{"a allow {any: [{port: 80}, {unit: x}]}", func(l *Listener) { l.Owners = nil }, "not matched: none of any for certain: port is 22, not 80; unit is unknown"},
		{"a allow {any: [{port: 22}, {unit: x}]}", func(l *Listener) { l.Owners = nil }, "matched"},
		{"a allow {any: [{user: root}, {user: bob}]}", two, "matched"},
		{"a allow {all: [{port: 22}, {any: [{port: 1-99}, {risk: low}]}]}", nil, "matched"},
		{"a allow {all: [{port: 1-99}, {port: 80-99}]}", nil, "not matched: port is 22, not 80-99"},
		{"a allow {not: {any: [{port: 80}, {port: 22}]}}", nil, "not matched: left out by not: port is 22"},
		{"a allow {not: {not: {any: [{port: 80}, {port: 23, root: true}]}}}", nil, "not matched: left out by not: not so: any of (port 80; port 23 and root true)"},
		{"a allow {not: {not: {user: root}}}", func(l *Listener) { l.Owners = nil }, "not matched: user is unknown"},
	}
	for _, test := range tests {
		l := sshd()
		if test.change != nil {
			test.change(&l)
		}
		s := mustParse(t, rulesOf("alert", test.rule)).Explain(l, time.Time{})[0]
		got := s.Outcome.String()
		if s.Failed != "" {
			got += ": " + s.Failed
		}
		if got != test.want {
			t.Errorf("%s\ngot  %s\nwant %s", test.rule, got, test.want)
		}
	}
}

// TestExplainRequirements: whether a listener fulfils what is required is told,
// and has no part in the verdict.
func TestExplainRequirements(t *testing.T) {
	p := mustParse(t, "version: 1\nrules:\n- {id: ssh, verdict: require, severity: high, match: {port: 22}}\n"+
		"- {id: a, verdict: allow, match: any}\n- {id: web, verdict: require, severity: low, match: {port: 80}}\n")
	var got []string
	for _, s := range p.Explain(sshd(), time.Time{}) {
		got = append(got, strings.TrimSpace(fmt.Sprint(s.Rule, " ", s.Verdict, " ", s.Outcome, " ", s.Failed)))
	}
	want := []string{"a allow matched", "ssh require matched", "web require not matched port is 22, not 80", "default alert not reached"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if d := p.Decide(sshd(), time.Time{}); d.Verdict != Allow || d.Rule != "a" {
		t.Errorf("%+v", d)
	}
}

func TestExplainOrder(t *testing.T) {
	p := mustParse(t, rulesOf("{verdict: alert, severity: low}", "a high any", "b allow {port: 23}", "c allow any", "d high any"))
	want := []Step{
		{Rule: "a", Verdict: Alert, Severity: High, Outcome: Matched},
		{Rule: "b", Verdict: Allow, Outcome: NotMatched, Failed: "port is 22, not 23"},
		{Rule: "c", Verdict: Allow, Outcome: Matched},
		{Rule: "d", Verdict: Alert, Severity: High, Outcome: NotReached},
		{Rule: "default", Verdict: Alert, Severity: Low, Outcome: NotReached},
	}
	if got := p.Explain(sshd(), time.Time{}); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	last := mustParse(t, rulesOf("allow", "a high {port: 23}")).Explain(sshd(), time.Time{})[1]
	if last != (Step{Rule: "default", Verdict: Allow, Outcome: Matched}) {
		t.Errorf("%+v", last)
	}
}

// BenchmarkDecide decides on a listener that the last of many rules allows. Most
// of them ask for a port, as those of policies do; the others are looked at one by
// one.
func BenchmarkDecide(b *testing.B) {
	for _, n := range []int{20, 200, 2000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			p, l := mustParse(b, rulesOf("alert", manyRules(n)...)), sshd()
			if d := p.Decide(l, time.Time{}); d.Rule != "last" || !slices.Equal(l.Names, sshd().Names) || l.Transport != registry.TCP {
				b.Fatalf("%+v", d)
			}
			b.ReportAllocs()
			for b.Loop() {
				p.Decide(l, time.Time{})
			}
		})
	}
}

func manyRules(n int) []string {
	var lines []string
	for i := range n - 1 {
		switch i % 10 {
		case 0:
			lines = append(lines, fmt.Sprintf("r%d high {risk: critical, reachable: true}", i))
		case 1:
			lines = append(lines, fmt.Sprintf("r%d allow {transport: udp, range: dynamic}", i))
		case 2:
			lines = append(lines, fmt.Sprintf("r%d high {deleted: true}", i))
		default:
			lines = append(lines, fmt.Sprintf("r%d allow {port: %d, user: root, executable: \"/usr/**/x%d\"}", i, 1000+i, i))
		}
	}
	return append(lines, "last allow {port: 22, executable: \"**/sshd\"}")
}

// TestDecideAllocates holds that a decision without a finding takes no memory.
func TestDecideAllocates(t *testing.T) {
	p, l := mustParse(t, rulesOf("alert", manyRules(200)...)), sshd()
	if n := testing.AllocsPerRun(1000, func() { p.Decide(l, time.Time{}) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestIndex holds that the index leaves out no rule that matches: a policy decides
// as one whose rules are all tried in turn.
func TestIndex(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		var lines []string
		for i := range 1 + random.IntN(30) {
			match := "{root: true}"
			switch random.IntN(9) {
			case 4:
				match = "{risk: [low, high], reachable: true}"
			case 5:
				match = "{scope: [loopback, wildcard], ephemeral: false}"
			case 6:
				match = "{not: {transport: udp}, transport: [raw, udp, tcp]}"
			case 7:
				match = "{any: [{privileged: true}, {dual_stack: false}], shadows: false}"
			case 0:
				match = fmt.Sprintf("{port: [%d, %d/udp]}", random.IntN(65536), random.IntN(65536))
			case 1:
				first := random.IntN(65536)
				match = fmt.Sprintf("{port: %d-%d}", first, first+random.IntN(65536-first))
			case 2:
				match = "{port: [0-21, 23-65535]}"
			case 3:
				match = fmt.Sprintf("{not: {port: %d}}", random.IntN(65536))
			}
			lines = append(lines, fmt.Sprintf("r%d %s %s", i, []string{"low", "allow", "high"}[random.IntN(3)], match))
		}
		p := mustParse(t, rulesOf("alert", lines...))
		plain := *p
		plain.index, plain.facets = index{}, nil
		for i := range p.rules {
			plain.index.general = append(plain.index.general, candidate{i, ^fingerprint(0)})
		}
		for range 50 {
			l := sshd()
			l.Risk, l.Scope, l.Ephemeral = Severity(random.IntN(6)), Scope(random.IntN(7)), Answer(random.IntN(3))
			l.Privileged, l.DualStack, l.Shadows = Answer(random.IntN(3)), Answer(random.IntN(3)), Answer(random.IntN(3))
			l.Port, l.Transport = registry.Port(random.IntN(65536)), []registry.Transport{registry.TCP, registry.UDP, registry.Raw, 0}[random.IntN(4)]
			if got, want := p.Decide(l, time.Time{}), plain.Decide(l, time.Time{}); !reflect.DeepEqual(got, want) {
				t.Fatalf("%v %d: %+v, want %+v by\n%s", l.Transport, l.Port, got, want, strings.Join(lines, "\n"))
			}
		}
	}
}
