package export

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
)

// ecsField is a row of testdata/ecs-9.3.0.tsv.
type ecsField struct {
	typ             string
	array, required bool
	allowed         []string
}

// ecsTable is what ECS documents are judged by.
type ecsTable struct {
	fields     map[string]ecsField
	categories map[string][]string // the types that go with each
}

func loadECS(t testing.TB) ecsTable {
	t.Helper()
	table := ecsTable{map[string]ecsField{}, map[string][]string{}}
	for _, row := range tsv(t, "ecs-"+ECSVersion+".tsv") {
		row = append(row, "", "", "", "")
		table.fields[row[0]] = ecsField{row[1], row[2] == "array", row[3] == "required", strings.Fields(row[4])}
	}
	for _, row := range tsv(t, "ecs-categories.tsv") {
		table.categories[row[0]] = strings.Fields(row[1])
	}
	return table
}

func tsv(t testing.TB, name string) [][]string {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var rows [][]string
	for s := bufio.NewScanner(f); s.Scan(); {
		if !strings.HasPrefix(s.Text(), "#") {
			rows = append(rows, strings.Split(s.Text(), "\t"))
		}
	}
	if len(rows) < 10 {
		t.Fatalf("%s has %d rows", name, len(rows))
	}
	return rows
}

// check returns what is wrong with a document.
func (table ecsTable) check(doc []byte) (wrong []string) {
	var tree map[string]any
	if err := json.Unmarshal(doc, &tree); err != nil {
		return []string{err.Error()}
	}
	flat := map[string]any{}
	flatten("", tree, flat)
	for name, v := range flat {
		if name == "portaudit" || strings.HasPrefix(name, "portaudit.") {
			continue // a namespace of our own, as ECS recommends
		}
		f, known := table.fields[name]
		if !known {
			wrong = append(wrong, name+" is no field of ECS")
			continue
		}
		if why := f.check(v); why != "" {
			wrong = append(wrong, fmt.Sprintf("%s is %v: %s", name, v, why))
		}
	}
	for name, f := range table.fields {
		if _, has := flat[name]; f.required && !has {
			wrong = append(wrong, name+" is required")
		}
	}
	return append(wrong, table.checkCategory(flat)...)
}

// checkCategory checks that the category has the type.
func (table ecsTable) checkCategory(flat map[string]any) (wrong []string) {
	categories, _ := flat["event.category"].([]any)
	types, _ := flat["event.type"].([]any)
	if len(categories) != 1 || len(types) != 1 || flat["event.kind"] == nil {
		return []string{"it is not categorized"}
	}
	if c, typ := fmt.Sprint(categories[0]), fmt.Sprint(types[0]); !slices.Contains(table.categories[c], typ) {
		wrong = append(wrong, fmt.Sprintf("type %s does not go with category %s", typ, c))
	}
	return wrong
}

// flatten writes the leaves of tree to flat, by their path.
func flatten(path string, tree map[string]any, flat map[string]any) {
	for key, v := range tree {
		at := strings.TrimPrefix(path+"."+key, ".")
		if inner, ok := v.(map[string]any); ok {
			flatten(at, inner, flat)
			continue
		}
		flat[at] = v
	}
}

func (f ecsField) check(v any) string {
	all, isArray := v.([]any)
	switch {
	case isArray != f.array:
		return fmt.Sprintf("array: %v", f.array)
	case !isArray:
		all = []any{v}
	case len(all) == 0:
		return "an empty array says nothing"
	}
	for _, v := range all {
		if why := f.checkOne(v); why != "" {
			return why
		}
	}
	return ""
}

func (f ecsField) checkOne(v any) string {
	text, isText := v.(string)
	number, isNumber := v.(float64)
	ok := false
	switch f.typ {
	case "keyword", "wildcard", "match_only_text":
		ok = isText && text != ""
	case "long":
		ok = isNumber && number == float64(int64(number))
	case "float":
		ok = isNumber
	case "boolean":
		_, ok = v.(bool)
	case "date":
		_, err := time.Parse(time.RFC3339Nano, text)
		ok = err == nil
	case "ip":
		a, err := netip.ParseAddr(text)
		ok = err == nil && a.Zone() == "" // Elasticsearch refuses a zone
	}
	if !ok {
		return "it is no " + f.typ
	}
	if len(f.allowed) > 0 && !slices.Contains(f.allowed, text) {
		return fmt.Sprintf("allowed are %v", f.allowed)
	}
	return ""
}

func TestECSOfEachKind(t *testing.T) {
	table := loadECS(t)
	for _, kind := range kinds(t) {
		t.Run(kind, func(t *testing.T) {
			b, err := ECS(record(kind), strings.Repeat("1f", 32))
			if err != nil {
				t.Fatal(err)
			}
			for _, why := range table.check(b) {
				t.Error(why)
			}
			golden(t, "ecs", kind, b)
		})
	}
}

func TestECSOfAnything(t *testing.T) {
	table := loadECS(t)
	wilds(t, func(e audit.Event) {
		b, err := ECS(e, "")
		if err != nil {
			t.Fatalf("%v of %+v", err, e)
		}
		if wrong := table.check(b); len(wrong) > 0 {
			t.Fatalf("%s\nin %.2000s", strings.Join(wrong, "\n"), b)
		}
		checkVisible(t, b)
	})
}

// TestECSTableCanRefuse holds the judge itself.
func TestECSTableCanRefuse(t *testing.T) {
	table := loadECS(t)
	good, err := ECS(record(audit.FindingRaised), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ reason, old, new string }{
		{"a field that ECS does not have", `"server":{`, `"server":{"listener":"x",`},
		{"a number as a string", `"port":8099},"network"`, `"port":"8099"},"network"`},
		{"a value that is not allowed", `"kind":"alert"`, `"kind":"alarm"`},
		{"a type of another category", `"type":["info"]`, `"type":["installation"]`},
		{"one where an array must be", `"type":["info"]`, `"type":"info"`},
		{"an address that is none", `"ip":"0.0.0.0"`, `"ip":"any"`},
		{"no version", `"ecs":{"version":"9.3.0"},`, ``},
		{"no time", `"@timestamp"`, `"@tags"`},
	} {
		bad := strings.Replace(string(good), tt.old, tt.new, 1)
		if bad == string(good) || len(table.check([]byte(bad))) == 0 {
			t.Errorf("%s is taken (changed: %v)", tt.reason, bad != string(good))
		}
	}
}

func TestECSRefusesYears(t *testing.T) {
	e := record(audit.AgentStopped)
	e.Time = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	if b, err := ECS(e, ""); err == nil {
		t.Errorf("a time that JSON has no form for made %s", b)
	}
}
