package policy

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"

	"github.com/portaudit/portaudit/configs"
)

// policySchema compiles the schema that is made of the language.
func policySchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	text, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("policy.json", document); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("policy.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// valid reports what the schema says of a policy, read as editors read YAML.
func valid(s *jsonschema.Schema, text string) error {
	var document any
	if err := yaml.Unmarshal([]byte(text), &document); err != nil {
		return err
	}
	return s.Validate(dates(document))
}

// dates turns the days that yaml.v3 has recognised back into texts, which they are
// in JSON.
func dates(v any) any {
	switch v := v.(type) {
	case time.Time:
		return v.Format(time.DateOnly)
	case map[string]any:
		for key, one := range v {
			v[key] = dates(one)
		}
	case []any:
		for i, one := range v {
			v[i] = dates(one)
		}
	}
	return v
}

// TestSchemaIsCheckedIn holds the committed schema to the language.
func TestSchemaIsCheckedIn(t *testing.T) {
	path := filepath.Join("..", "docs", "schema", "policy.schema.json")
	want, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(path, append(want, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.ReplaceAll(string(got), "\r\n", "\n") != string(want)+"\n" {
		t.Errorf("%s is not what the language is now: go test ./policy -run SchemaIsCheckedIn -update", path)
	}
}

func TestSchemaKnowsEveryKey(t *testing.T) {
	want := []string{}
	for key := range conditionKeys() {
		want = append(want, key)
	}
	slices.Sort(want)
	if got := keysOf(conditionSchemas()); !slices.Equal(got, want) {
		t.Errorf("conditions %q, want %q", got, want)
	}
	properties := func(o object) []string { return keysOf(o["properties"].(object)) }
	rule := slices.Sorted(slices.Values(ruleKeys()))
	if got := properties(ruleSchema()); !slices.Equal(got, rule) {
		t.Errorf("keys of a rule %q, want %q", got, rule)
	}
	_, all := policyKeys()
	if got := properties(schema()); !slices.Equal(got, slices.Sorted(slices.Values(all))) {
		t.Errorf("keys of a policy %q, want %q", got, all)
	}
}

// TestSchemaTakes holds that the schema takes whatever Parse takes, of what is
// shipped and documented.
func TestSchemaTakes(t *testing.T) {
	s := policySchema(t)
	for name, text := range configs.Policies() {
		if err := valid(s, string(text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	docs, _ := documentation(t)
	for i, block := range strings.Split(docs, "```yaml\n")[1:] {
		text, _, _ := strings.Cut(block, "```")
		if err := valid(s, text); err != nil {
			t.Errorf("example %d: %v", i+1, err)
		}
	}
	for _, match := range []string{
		"any", "{port: 22}", "{port: [22, 8000-8100, 53/udp, $web]}", "{uid: [0, 1000-60000]}", "{user: 1000}", "{owner: [unknown, socket unit]}",
		"{not: {any: [{root: true}, {all: [{scope: $s}]}]}}", "{older_than: 7d}", "{older_than: 1h30m}", "{capabilities: [CAP_BPF]}",
	} {
		if err := valid(s, withMatch(match)); err != nil {
			t.Errorf("%s: %v", match, err)
		}
	}
}

// TestSchemaRefuses holds that the schema shows the mistakes that people make, and
// that Parse refuses them too.
func TestSchemaRefuses(t *testing.T) {
	s := policySchema(t)
	rule := func(text string) string { return "version: 1\nrules:\n- " + text + "\n" }
	for _, text := range []string{
		"version: 2\nrules: []\n", "rules: []\n", "version: 1\nrule: []\n", "version: 1\nrules: []\ndefault: deny\n",
		rule("{id: A, verdict: allow, match: any}"), rule("{id: a, verdict: alow, match: any}"), rule("{id: a, verdict: alert, match: any}"),
		rule("{id: a, verdict: allow, severity: low, match: any}"), rule("{id: a, verdict: allow}"), rule("{id: a, verdict: require, match: any}"),
		rule("{id: a, verdict: alert, severity: low, match: any, when: coverage-degraded}"), rule("{id: a, verdict: alert, severity: low, when: x}"),
		rule("{id: a, verdict: allow, match: any, expires: tomorrow}"), rule("{id: a, verdict: alert, severity: low, match: any, expires: '2026-11-30'}"),
		rule("{id: a, verdict: allow, match: any, tags: [PCI]}"), rule("{verdict: allow, match: any}"),
		withMatch("{prot: 22}"), withMatch("{port: 65536}"), withMatch("{port: http}"), withMatch("{transport: tpc}"), withMatch("{root: yes please}"),
		withMatch("{}"), withMatch("{not: {}}"), withMatch("{any: []}"), withMatch("{any: {port: 22}}"), withMatch("{port: []}"), withMatch("all"),
		withMatch("{older_than: soon}"), withMatch("{sha256: abc}"), withMatch("{capabilities: CAP_ROOT}"),
	} {
		if valid(s, text) == nil {
			t.Errorf("the schema takes %q", text)
		}
		if _, err := Parse([]byte(text), "p"); err == nil {
			t.Errorf("the language takes %q", text)
		}
	}
}
