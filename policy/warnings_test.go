package policy

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/portaudit/portaudit/configs"
)

func TestWarnings(t *testing.T) {
	const alert = "{id: %s, verdict: alert, severity: low, match: %s}"
	const allow = "{id: %s, verdict: allow, match: %s}"
	a, b := func(match string) string { return fmt.Sprintf(allow, "a", match) }, func(match string) string { return fmt.Sprintf(allow, "b", match) }
	x := func(match string) string { return fmt.Sprintf(alert, "x", match) }
	tests := []struct {
		reason string
		rules  []string
		want   string // of the one warning; "": none
	}{
		{"each for itself", []string{a("{port: 22}"), b("{port: 80}"), x("{port: 22, transport: udp}")}, "rule x is never reached"},
		{"an alert first", []string{x("{port: 22}"), a("{port: 22}")}, ""},
		{"a port of a range", []string{a("{port: [1-100, 101-200]}"), x("{port: [50-150, 7]}")}, "rule x is never reached: whatever it matches, rule a on line 3 has allowed before"},
		{"a port beside it", []string{a("{port: [1-100, 102-200]}"), x("{port: 50-150}")}, ""},
		{"one condition more", []string{a("{port: 22, root: true}"), b("{port: 22, root: true, reachable: false}")}, "rule b is never reached"},
		{"one condition less", []string{a("{port: 22, root: true}"), b("{port: 22}")}, ""},
		{"an alert for one owner, where the allowance takes all", []string{a("{root: true}"), x("{root: true}")}, ""},
		{"a word of a list", []string{a("{scope: [loopback, private]}"), x("{scope: private}")}, "rule x is never reached"},
		{"a name in other letters", []string{a("{service: [SSH, http]}"), x("{service: ssh}")}, "rule x is never reached"},
		{"a path that a pattern fits", []string{a("{executable: /usr/**}"), b("{executable: [/usr/bin/a, /usr/b]}")}, "rule b is never reached"},
		{"a path that it does not", []string{a("{executable: /usr/*}"), b("{executable: [/usr/bin/a, /usr/b]}")}, ""},
		{"a pattern in a pattern is left alone", []string{a("{executable: /usr/**}"), b("{executable: /usr/bin/*}")}, ""},
		{"the same not", []string{a("{not: {port: 22}}"), x("{not: {port: 1-100}}")}, "rule x is never reached"},
		{"a wider not", []string{a("{not: {port: 1-100}}"), x("{not: {port: 22}}")}, ""},
		{"an address of a prefix", []string{a("{address: 192.0.2.0/24}"), b("{address: [192.0.2.7, 192.0.2.128/25]}")}, "rule b is never reached"},
		{"an address beside it", []string{a("{address: 192.0.2.0/24}"), b("{address: [192.0.2.7, 192.0.3.7]}")}, ""},
		{"a wider prefix", []string{a("{address: 192.0.2.0/24}"), b("{address: 192.0.0.0/16}")}, ""},
		{"one of any", []string{a("{any: [{port: 22}, {root: true}]}"), b("{root: true, scope: public}")}, "rule b is never reached"},
		{"all of any", []string{a("{port: 1-100}"), b("{any: [{port: 22}, {port: 80, root: true}]}")}, "rule b is never reached"},
		{"some of any", []string{a("{port: 1-100}"), b("{any: [{port: 22}, {port: 8080}]}")}, ""},
		{"all of all", []string{a("{port: 22, root: true}"), b("{all: [{port: 22}, {root: true}, {scope: public}]}")}, "rule b is never reached"},
		{"behind any", []string{x("{port: 22}"), a("any"), b("{port: 80}")}, "rule a allows every listener"},

		{"a port of a raw socket", []string{x("{transport: raw, port: 22}")}, "rule x can never match: port asks for a port, and a raw socket has none"},
		{"a port of some", []string{x("{transport: [raw, tcp], port: 22}")}, ""},
		{"a port out of range", []string{x("{port: [22, 80-100], range: [registered, dynamic]}")}, "rule x can never match: port 22 or 80-100 lies in no range"},
		{"a port range across two", []string{x("{port: 1000-1100, range: registered}")}, ""},
		{"loopback that is reachable", []string{x("{scope: loopback, reachable: true}")}, "rule x can never match: of scope loopback reachable is never true"},
		{"the network that is not", []string{x("{scope: [public, private], reachable: false}")}, "rule x can never match: of scope public or private"},
		{"both", []string{x("{scope: [public, loopback], reachable: false}")}, ""},
		{"a deleted program in memory", []string{x("{memory: true, deleted: true}")}, "rule x can never match: deleted is unknown"},
		{"a program of the kernel", []string{x("{owner: kernel, executable: /bin/x}")}, "rule x can never match: executable is unknown where the owner is kernel"},
		{"of the kernel or a process", []string{x("{owner: [kernel, process], executable: /bin/x}")}, ""},
		{"not takes all", []string{x("{port: 22, root: true, not: {port: 1-100}}")}, `rule x can never match: all that the other conditions leave, "not" takes away`},
		{"not takes some", []string{x("{port: 22, not: {port: 22, root: true}}")}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			p, err := Parse([]byte("version: 1\nrules:\n- "+strings.Join(tt.rules, "\n- ")+"\n"), "p.yaml")
			if err != nil {
				t.Fatal(err)
			}
			got := p.Warnings(time.Time{})
			switch {
			case tt.want == "" && len(got) > 0, tt.want != "" && len(got) == 0:
				t.Errorf("got %v, want %q", got, tt.want)
			case tt.want != "" && (!strings.HasPrefix(got[0].Message, tt.want) || got[0].Line < 3 || got[0].Column < 1):
				t.Errorf("got %v, want %q", got[0], tt.want)
			}
		})
	}
}

// TestWarningsOfNothing: a policy that finds nothing is odd, whatever its rules.
func TestWarningsOfNothing(t *testing.T) {
	for text, want := range map[string]int{
		"version: 1\ndefault: allow\nrules: []\n": 1,
		"version: 1\nrules: []\n":                 0,
	} {
		p, err := Parse([]byte(text), "p.yaml")
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Warnings(time.Time{}); len(got) != want {
			t.Errorf("%q: %v, want %d warnings", text, got, want)
		}
	}
}

// TestWarningsOfDefault: the shipped policy is nothing to wonder at.
func TestWarningsOfDefault(t *testing.T) {
	p, err := Parse(configs.Policy(), "policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Warnings(time.Time{}); len(got) > 0 {
		t.Error(got)
	}
}

// TestWarningsAreTrue makes policies at random, of few words so that they often
// meet: a rule of which it is said that it decides nothing decides nothing.
func TestWarningsAreTrue(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	pick := func(list ...string) string { return list[random.IntN(len(list))] }
	conditions := func() string {
		all := map[string]string{}
		for range 1 + random.IntN(3) {
			switch random.IntN(14) {
			case 0:
				all["port"] = pick("22", "[22, 80]", "1-1000", "40000", "[0-21, 23-65535]")
			case 1:
				all["scope"] = pick("loopback", "private", "[loopback, wildcard]")
			case 2:
				all["root"] = pick("true", "false")
			case 3:
				all["executable"] = pick("/usr/sbin/sshd", "/usr/**", "\"**/x\"", "[/tmp/x, /usr/sbin/*]")
			case 4:
				all["transport"] = pick("tcp", "udp", "raw", "[tcp, raw]")
			case 5:
				all["reachable"] = pick("true", "false")
			case 6:
				all["owner"] = pick("process", "kernel", "[denied, process]")
			case 7:
				all["range"] = pick("well-known", "dynamic", "[registered, dynamic]")
			case 9:
				all["any"] = pick("[{port: 22}, {root: true}]", "[{port: 1-1000, root: false}]", "[{any: [{scope: loopback}]}, {transport: tcp}]")
			case 10:
				all["all"] = pick("[{port: 1-1000}, {port: 22}]", "[{scope: loopback}, {any: [{root: true}, {port: 80}]}]")
			case 11:
				all["program"] = pick("sshd", "\"*\"", "[x, sshd]", "\"s*\"")
			case 12:
				all["address"] = pick("127.0.0.0/8", "127.0.0.1", "[\"::/0\", 10.0.0.0/8]", "10.1.2.0/24")
			case 13:
				all["shared"] = pick("true", "false")
			case 8:
				all["not"] = pick("{port: 22}", "{root: true}", "{port: 1-1000, root: true}", "{not: {port: 22}}")
			}
		}
		var parts []string
		for key, value := range all {
			parts = append(parts, key+": "+value)
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	listeners, said := fuzzListeners(), 0
	for range 5_000 {
		var b strings.Builder
		b.WriteString("version: 1\nrules:\n")
		for i := range 4 {
			fmt.Fprintf(&b, "- {id: r%d, verdict: %s, match: %s}\n", i, pick("allow", "allow", "alert, severity: low"), conditions())
		}
		p, err := Parse([]byte(b.String()), "p.yaml")
		if err != nil {
			t.Fatal(err)
		}
		said += len(p.Warnings(time.Time{}))
		for _, l := range listeners {
			checkDecision(t, p, l)
		}
		if t.Failed() {
			t.Fatal(b.String())
		}
	}
	if said < 500 {
		t.Errorf("only %d warnings: these policies try nothing", said)
	}
	t.Logf("%d warnings", said)
}
