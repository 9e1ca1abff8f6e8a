package export

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// page is docs/export.md.
func page(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "docs", "export.md"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(b), "\r\n", "\n")
}

// TestDocumentedKinds holds the tables of docs/export.md to the mappings.
func TestDocumentedKinds(t *testing.T) {
	ecs, ocsf, _ := strings.Cut(page(t), "\n## OCSF\n")
	for _, kind := range kinds(t) {
		w, _ := wordOf(kind)
		outcome := ""
		if w.ecs.outcome != "" {
			outcome = "`" + w.ecs.outcome + "`"
		}
		row := strings.ReplaceAll(fmt.Sprintf("| `%s` | `%s` | `%s` | `%s` | %s |", kind, w.ecs.kind, w.ecs.category, w.ecs.typ, outcome), "|  |", "| |")
		if !strings.Contains(ecs, "\n"+row+"\n") {
			t.Errorf("ECS has no row %s", row)
		}
		pattern := fmt.Sprintf("\n\\| `%s` \\| %d [A-Z][A-Za-z ]+ \\| %d [A-Z][^|]+ \\| %d \\|\n", regexp.QuoteMeta(kind), w.ocsf.class, w.ocsf.activity, int(w.ocsf.class)*100+w.ocsf.activity)
		if !regexp.MustCompile(pattern).MatchString(ocsf) {
			t.Errorf("OCSF has no row %q", pattern)
		}
	}
	rows := regexp.MustCompile("(?m)^\\| `([a-z]+\\.[a-z]+)` \\|").FindAllStringSubmatch(page(t), -1)
	for _, m := range rows {
		if _, known := wordOf(m[1]); !known && !strings.Contains(m[1], "_") && slices.Contains([]string{"listener", "finding", "agent", "policy", "audit", "log"}, strings.Split(m[1], ".")[0]) {
			t.Errorf("a row for %s, which is no kind", m[1])
		}
	}
	if len(rows) < 2*len(kinds(t)) {
		t.Errorf("only %d rows", len(rows))
	}
}

// TestDocumentedFields holds the fields of the ECS table to the schema, and to what
// is emitted.
func TestDocumentedFields(t *testing.T) {
	table := loadECS(t)
	_, ecs, _ := strings.Cut(page(t), "\n## ECS\n")
	ecs, _, _ = strings.Cut(ecs, "\n## OCSF\n")
	_, ecs, _ = strings.Cut(ecs, "| field | from the record |")
	documented := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^\| ([^|]+) \|`).FindAllStringSubmatch(ecs, -1) {
		for _, name := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(m[1], -1) {
			documented[name[1]] = true
			if _, known := table.fields[name[1]]; !known {
				t.Errorf("%s is documented, and no field of ECS", name[1])
			}
		}
	}
	for _, kind := range kinds(t) {
		b, err := ECS(record(kind), "1f")
		var tree map[string]any
		if err == nil {
			err = json.Unmarshal(b, &tree)
		}
		if err != nil {
			t.Fatal(err)
		}
		flat := map[string]any{}
		flatten("", tree, flat)
		for name := range flat {
			switch {
			case strings.HasPrefix(name, "portaudit."), documented[name]:
			case slices.Contains([]string{"ecs.version", "event.kind", "event.category", "event.type", "event.outcome"}, name): // above that table
			default:
				t.Errorf("%s of %s is not documented", name, kind)
			}
		}
	}
}

// TestDocumentedExamples holds the examples of docs/export.md to the field tables.
func TestDocumentedExamples(t *testing.T) {
	for name, check := range map[string]func([]byte) []string{"ecs": loadECS(t).check, "ocsf": loadOCSF(t).check} {
		_, example, _ := strings.Cut(page(t), "\n```json "+name+"\n")
		example, _, ended := strings.Cut(example, "\n```\n")
		if !ended {
			t.Fatalf("there is no example of %s", name)
		}
		for _, why := range check([]byte(example)) {
			t.Errorf("the example of %s: %s", name, why)
		}
	}
	for _, column := range Columns() {
		if !strings.Contains(page(t), "`"+column+"`") {
			t.Errorf("column %s is not documented", column)
		}
	}
}
