package export

import (
	"go/ast"
	"go/parser"
	"go/token"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
)

// kinds returns every kind of event that event.go of package audit has a constant
// for: those are written "noun.what".
func kinds(t *testing.T) []string {
	t.Helper()
	var kinds []string
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join("..", "audit", "event.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 || !spec.Names[0].IsExported() {
			return true
		}
		if lit, ok := spec.Values[0].(*ast.BasicLit); ok && lit.Kind == token.STRING {
			text, err := strconv.Unquote(lit.Value)
			if err == nil && strings.Contains(text, ".") {
				kinds = append(kinds, text)
			}
		}
		return true
	})
	if len(kinds) < 13 || !slices.Contains(kinds, audit.FindingRaised) {
		t.Fatalf("only these kinds were found: %q", kinds)
	}
	return slices.Compact(slices.Sorted(slices.Values(append(kinds, logCheckpoint))))
}

// TestEveryKindHasAWord fails for a kind of event that was added to the log and
// not to the mappings.
func TestEveryKindHasAWord(t *testing.T) {
	for _, kind := range kinds(t) {
		if _, known := wordOf(kind); !known {
			t.Errorf("kind %q has no word in wordOf and ownWord: say what ECS and OCSF call it, and docs/export.md", kind)
		}
	}
	if _, known := wordOf("nothing.of.the.kind"); known {
		t.Error("a kind that nobody has heard of is known")
	}
}

func moments() (opened, seen time.Time) {
	opened = time.Date(2026, 11, 23, 5, 12, 36, 300853732, time.UTC)
	return opened, opened.Add(90 * time.Second)
}

func ptr[T any](v T) *T { return &v }

// record returns a record of a kind, with everything that this kind may have.
func record(kind string) audit.Event {
	opened, seen := moments()
	e := audit.Event{
		Version: 1, Seq: 4, Time: seen, Event: kind, Host: "web1", Boot: "f3489fb2-eb27-4094-bdfd-92400b3ec83f",
		Prev: "c0d80cf58d2971f537eba5db5eb456d7fb282ea08c4164f1390d92ddbfab5182", Message: "what happened",
	}
	policy := &audit.Policy{Source: "/etc/portaudit/policy.yaml", SHA256: strings.Repeat("ab", 32)}
	switch noun, _, _ := strings.Cut(kind, "."); noun {
	case "listener", "finding":
		e = ofListener(e)
	case "agent":
		e.Program, e.PID = "v0.3.0", 812
	case "audit", "crosscheck":
		e.Errors = []string{"no netlink", "no /proc"}
	case "coverage":
		e.Coverage = &audit.Coverage{Sources: []string{"sock_diag"}, Gaps: []audit.Gap{{Source: "owners", Reason: "not root", Hides: "owners", Count: 3, Fix: "run it as root"}}}
	}
	switch kind {
	case audit.AgentStarted, audit.PolicyLoaded:
		e.Policy = policy
	case audit.PolicyRejected:
		e.Refused, e.Errors = policy, []string{"policy.yaml:3: no such condition"}
	case audit.ListenerChanged:
		e.Change, e.Replaces = "replaced", "0011223344556677"
	case audit.FindingRaised, audit.FindingCleared:
		e.ID, e.Rule, e.Severity, e.Tags = "3de43f23a5559228", "reachable", "medium", []string{"cis"}
		e.Why, e.Fix = "Other hosts can reach it.", "Bind it to a loopback address."
	case audit.ListenerClosed:
		e.FirstSeen = &opened
	}
	return e
}

// ofListener adds a listener with two owners.
func ofListener(e audit.Event) audit.Event {
	opened, seen := moments()
	e.Listener, e.Transport, e.Address, e.Port = "71caf7997948f821", "tcp", "0.0.0.0", 8099
	e.Addresses, e.Interface = []string{"0.0.0.0", "192.0.2.7"}, "eth0"
	e.Namespace, e.Scope, e.Reach, e.Verdict, e.Rule = "host", "wildcard", "network", "alert", "default"
	e.Privileged, e.Ephemeral, e.FirstSeen, e.LastSeen = ptr(false), ptr(false), &opened, &seen
	e.Registry = &audit.Registry{Range: "registered", State: "unassigned", Names: []string{}, Description: "Unassigned"}
	e.Owners = []audit.Owner{
		{
			PID: ptr(7), Started: &opened, Executable: "/usr/bin/perl", Deleted: ptr(false), SHA256: strings.Repeat("9d", 32),
			Package: &audit.Package{Manager: "dpkg", Name: "perl-base", Version: "5.40.1-6"}, Command: "perl server.pl --port 8099",
			User: "nobody", UID: ptr(uint32(65534)), Root: ptr(false), How: "process", Parent: ptr(1), ParentName: "systemd", Unit: "demo.service",
		},
		{
			PID: ptr(9), Executable: "/usr/sbin/nginx", Command: "nginx", User: "root", UID: ptr(uint32(0)), Root: ptr(true), How: "process",
			Container: strings.Repeat("c", 64), ContainerName: "web", Image: "nginx:1.29",
		},
	}
	return e
}

// wild fills v with random values: nil and zero here and there, hostile strings,
// lists of several entries.
func wild(r *rand.Rand, v reflect.Value) {
	if _, ok := v.Interface().(time.Time); ok {
		if r.IntN(4) > 0 {
			v.Set(reflect.ValueOf(time.Unix(r.Int64N(4e9), r.Int64N(1e9)).UTC()))
		}
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(wildText(r))
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Int:
		v.SetInt(r.Int64N(1 << 31))
	case reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(r.Uint32()) >> r.IntN(32))
	case reflect.Int64:
		v.SetInt(r.Int64N(1 << 40))
	case reflect.Pointer:
		if r.IntN(3) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			wild(r, v.Elem())
		}
	case reflect.Slice:
		n := r.IntN(4)
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			wild(r, v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).Type != reflect.TypeFor[*audit.OwnerDetail]() {
				wild(r, v.Field(i))
			}
		}
	case reflect.Map: // none has to be
	default:
		panic("wild: " + v.Type().String())
	}
}

func wildText(r *rand.Rand) string {
	texts := []string{
		"", "", "a", "tcp", "TCP", "udp", "raw", "vsock", "0.0.0.0", "::", "fe80::1%eth0", "127.0.0.1", "not an address", "=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)",
		"a\nb", "\x1b[2J", "a\x00b", "\xff\xfe", "gpj.\u202eexe", `C:\new`, `"quoted" [1]`, "low", "critical", strings.Repeat("x\u202e", 1000), "\t=1", "; ; ", "{}", "</script>", strings.Repeat("0a", 32),
	}
	return texts[r.IntN(len(texts))]
}

// wilds calls try with many random records, of known kinds for the most.
func wilds(t *testing.T, try func(e audit.Event)) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	all := append(kinds(t), "unheard.of", "")
	for i := range 1000 {
		var e audit.Event
		if i >= len(all) { // before: zero but for the kind
			wild(r, reflect.ValueOf(&e).Elem())
		}
		e.Event = all[i%len(all)]
		try(e)
	}
}
