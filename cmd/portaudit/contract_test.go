package main

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/portaudit/portaudit/policy"
)

// field is what the contract says of one field.
type field struct {
	known    bool // always
	optional bool // left out where it has no value
	null     bool // null where it is unknown
}

// goFields returns the fields that a Go type prints, by their path.
func goFields(typ reflect.Type) map[string]field {
	fields := map[string]field{}
	collectGo(fields, "", typ)
	return fields
}

func collectGo(fields map[string]field, path string, typ reflect.Type) {
	switch {
	case typ.Kind() == reflect.Pointer:
		collectGo(fields, path, typ.Elem())
	case typ.Kind() == reflect.Slice:
		collectGo(fields, path+"[]", typ.Elem())
	case typ.Kind() == reflect.Struct && typ != reflect.TypeFor[time.Time]():
		for f := range typ.Fields() {
			name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			switch {
			case f.Anonymous:
				collectGo(fields, path, f.Type)
			case f.IsExported():
				at := strings.TrimPrefix(path+"."+name, ".")
				optional := options == "omitempty" || options == "omitzero"
				fields[at] = field{true, optional, f.Type.Kind() == reflect.Pointer && !optional}
				collectGo(fields, at, f.Type)
			}
		}
	}
}

// collectSchema does what collectGo does, for a schema. Maps of Go, whose keys
// it cannot know, are in skip.
func collectSchema(fields map[string]field, path string, s *jsonschema.Schema, required []string) {
	if s == nil {
		return
	}
	required = slices.Concat(required, s.Required)
	collectSchema(fields, path, s.Ref, required)
	for _, one := range slices.Concat(s.OneOf, s.AnyOf) {
		collectSchema(fields, path, one, required)
	}
	collectSchema(fields, path+"[]", s.Items2020, nil)
	for name, p := range s.Properties {
		at := strings.TrimPrefix(path+"."+name, ".")
		fields[at] = field{true, !slices.Contains(required, name), p.Types != nil && slices.Contains(p.Types.ToStrings(), "null")}
		collectSchema(fields, at, p, nil)
	}
}

// schemaFields returns the fields of a schema by their path.
func schemaFields(s *jsonschema.Schema) map[string]field {
	fields := map[string]field{}
	collectSchema(fields, "", s, nil)
	return fields
}

// TestSchemasAreTheCode holds that a schema has the fields that the program
// prints, no more and no fewer, and the same of them optional and nullable.
func TestSchemasAreTheCode(t *testing.T) {
	for name, typ := range documents {
		code, contract := goFields(typ), schemaFields(schema(t, name))
		for path := range contract { // keys of Go's maps, which real output holds
			if parent := path[:max(0, strings.LastIndexByte(path, '.'))]; !code[path].known && slices.Contains([]string{
				"counts.verdicts", "counts.findings", "ports", "ports.tcp", "ports.udp", "ports.sctp", "ports.dccp",
			}, parent) {
				delete(contract, path)
			}
		}
		if name == "event" { // which of them are there depends on the kind
			for path, f := range contract {
				if code[path].optional {
					f.optional = true
					contract[path] = f
				}
			}
		}
		if diff := cmp.Diff(code, contract, cmp.AllowUnexported(field{})); diff != "" {
			t.Errorf("%s: the code (-) and the schema (+) differ:\n%s", name, diff)
		}
	}
}

// TestSchemaWords holds that the contract lists the words of the code.
func TestSchemaWords(t *testing.T) {
	listener := schema(t, "listener").Ref
	for name, test := range map[string]struct {
		s    *jsonschema.Schema
		want []string
	}{
		"how":       {listener.Properties["owners"].Items2020.Ref.Properties["how"].Ref, append(policy.Hows(), "")},
		"authority": {listener.Properties["authority"], policy.Authorities()},
	} {
		var listed []string
		for _, w := range test.s.Enum.Values {
			listed = append(listed, w.(string))
		}
		slices.Sort(listed)
		slices.Sort(test.want)
		if diff := cmp.Diff(test.want, listed); diff != "" {
			t.Errorf("%s: the code (-) and the schema (+) differ:\n%s", name, diff)
		}
	}
}

// documentation returns the sections of docs/json.md by their heading.
func documentation(t *testing.T) map[string]string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "docs", "json.md"))
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{}
	heading := regexp.MustCompile(`(?m)^###? (.+)\n`)
	text := strings.ReplaceAll(string(b), "\r\n", "\n")
	places := heading.FindAllStringSubmatchIndex(text, -1)
	for i, at := range places {
		end := len(text)
		if i+1 < len(places) {
			end = places[i+1][0]
		}
		sections[text[at[2]:at[3]]] = text[at[1]:end]
	}
	return sections
}

// rowsOf returns the cells of the rows of a section that begin with a name
// in backquotes, by that name.
func rowsOf(section string) map[string][]string {
	rows := map[string][]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|.*\\|$").FindAllStringSubmatch(section, -1) {
		rows[m[1]] = strings.Split(strings.Trim(m[0], "|"), "|")
	}
	return rows
}

// names returns what stands in backquotes.
func names(text string) []string {
	var all []string
	for _, m := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	return all
}

// TestDocumentation holds docs/json.md to the schemas: a row for each field,
// which says when it is null and when it is absent, and no row for anything
// else; and examples that are valid.
func TestDocumentation(t *testing.T) {
	sections := documentation(t)
	for name, test := range map[string]struct {
		heading   string
		elsewhere string // fields that the section describes by a link, or by the row of their object
	}{
		"scan":     {"scan", `^listeners\[\]\.|^cross_check\.gaps\[\]\.|^counts\.(verdicts|findings)\.|^namespaces\[\]\.ephemeral\.excluded\[\]\.`},
		"listener": {"listener", `^$`},
		"explain":  {"explain", `^(policy|coverage)\.|^ports\[\]\.|^supposed\.steps\[\]|^listeners\[\]\.(id|transport|address|port|interface|namespace|scope|first_seen|service|registry|known|site|privileged|ephemeral|dual_stack|multipath|authority|creator_uid|exposure|queued|backlog|owners|verdict|rule|findings|escaped)\b`},
		"lookup":   {"registry lookup", `^$`},
		"info":     {"registry info", `^ports\.`},
		"status":   {"status", `^(policy|coverage)\.`},
		"check":    {"policy check", `^$`},
		"rules":    {"policy explain", `^(policy|coverage)\.|^listeners\[\]\.`},
		"test":     {"policy test", `^expectations\[\]\.steps\[\]`},
		"replay":   {"policy replay", `^(today|candidate)\.`},
		"verify":   {"log verify", `^$`},
		"proven":   {"log verify --proof", `^$`},
		"at":       {"log at", `^(policy|coverage)\.|^listeners\[\]\.(id|transport|address|port|interface|namespace|scope|first_seen|service|registry|known|site|privileged|ephemeral|dual_stack|multipath|authority|creator_uid|exposure|queued|backlog|owners|verdict|rule|findings|escaped)\b|^findings\[\]`},
		"history":  {"log history", `^$`},
		"stats":    {"log stats", `^$`},
		"event":    {"Fields of a record", `^(policy|refused|coverage|registry)\.|^owners\[\]`},
	} {
		rows, elsewhere := rowsOf(sections[test.heading]), regexp.MustCompile(test.elsewhere)
		for path, f := range schemaFields(schema(t, name)) {
			path = strings.TrimPrefix(path, "[].")
			cells := rows[path]
			switch delete(rows, path); {
			case len(cells) == 0 && !elsewhere.MatchString(path):
				t.Errorf("%s: no row for %s", test.heading, path)
			case len(cells) == 4 && (strings.Contains(cells[3], "absent") != f.optional || strings.Contains(cells[3], "`null`") != f.null):
				t.Errorf("%s: %s is optional: %t, nullable: %t, and the row says %q", test.heading, path, f.optional, f.null, cells[3])
			}
		}
		for path := range rows {
			t.Errorf("%s: a row for %s, which the schema does not have", test.heading, path)
		}
		if name == "event" {
			test.heading = "The audit log"
		}
		_, example, _ := strings.Cut(sections[test.heading], "\n```json "+name+"\n")
		example, _, ended := strings.Cut(example, "\n```\n")
		if !ended {
			t.Fatalf("%s has no example", test.heading)
		}
		contractOf(t, name).holds(t, []byte(example))
	}
}
