package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/portaudit/portaudit/agent"
	"github.com/portaudit/portaudit/agent/audit"
)

// documents are the JSON documents that docs/json.md promises, by the name of
// their schema in docs/schema, with the Go type that is printed.
var documents = map[string]reflect.Type{
	"scan":     reflect.TypeFor[agent.Report](),
	"listener": reflect.TypeFor[agent.Listener](),
	"explain":  reflect.TypeFor[answer](),
	"lookup":   reflect.TypeFor[[]entry](),
	"info":     reflect.TypeFor[info](),
	"event":    reflect.TypeFor[audit.Event](),
	"status":   reflect.TypeFor[status](),
	"check":    reflect.TypeFor[checked](),
	"rules":    reflect.TypeFor[explained](),
	"test":     reflect.TypeFor[tested](),
	"replay":   reflect.TypeFor[replayed](),
	"verify":   reflect.TypeFor[verifiedLog](),
	"proven":   reflect.TypeFor[provenRecord](),
	"at":       reflect.TypeFor[moment](),
	"history":  reflect.TypeFor[history](),
	"stats":    reflect.TypeFor[stats](),
}

// schema compiles a schema of docs/schema.
func schema(t *testing.T, name string) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	var id string
	for file := range documents {
		b, err := os.ReadFile(filepath.Join("..", "..", "docs", "schema", file+".schema.json"))
		if err != nil {
			t.Fatal(err)
		}
		doc := decode(t, b)
		url := doc.(map[string]any)["$id"].(string)
		if err := c.AddResource(url, doc); err != nil {
			t.Fatal(err)
		}
		if file == name {
			id = url
		}
	}
	s, err := c.Compile(id)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func decode(t *testing.T, b []byte) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatalf("%v:\n%s", err, b)
	}
	return v
}

// output runs a command in this process and returns what it prints. Nothing
// that is installed on the host is read.
func output(ctx context.Context, config string, args ...string) ([]byte, error) {
	var out bytes.Buffer
	c := newRoot()
	c.SetOut(&out)
	c.SetArgs(append(args, "--config", config))
	err := c.ExecuteContext(ctx)
	if err != nil {
		err = fmt.Errorf("portaudit %s: %w", strings.Join(args, " "), err)
	}
	return out.Bytes(), err
}

// printed is output of a command that must work.
func printed(t *testing.T, args ...string) []byte {
	t.Helper()
	b, err := output(t.Context(), file(t, "none.yaml", ""), args...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// file makes a file for this test.
func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// contract is what is promised of a document.
type contract struct {
	name     string
	schema   *jsonschema.Schema
	optional map[string]bool // names of the fields that may be left out
}

func contractOf(t *testing.T, name string) contract {
	t.Helper()
	c := contract{name, schema(t, name), map[string]bool{}}
	for path, f := range goFields(documents[name]) {
		if f.optional {
			c.optional[path[strings.LastIndexByte(path, '.')+1:]] = true
		}
	}
	return c
}

// holds checks a document against its schema, and the schema against changes
// of the document that it must refuse.
func (c contract) holds(t *testing.T, b []byte) {
	t.Helper()
	doc := decode(t, b)
	if err := c.schema.Validate(doc); err != nil {
		t.Errorf("%s: %v\nin\n%s", c.name, err, b)
		return
	}
	doc, tried := shorten(doc), 0
	spoil(c.name, doc, c.optional, func(how string) {
		tried++
		if c.schema.Validate(doc) == nil {
			t.Errorf("the schema takes %s", how)
		}
	})
	if err := c.schema.Validate(doc); tried < 10 || err != nil {
		t.Errorf("%s: %d ways to spoil it tried, and afterwards %v", c.name, tried, err)
	}
}

// shorten leaves of each array a few elements: the schema has the same of all,
// and a host may have thousands of listeners.
func shorten(v any) any {
	const few = 8
	switch v := v.(type) {
	case []any:
		v = v[:min(few, len(v))]
		for i := range v {
			v[i] = shorten(v[i])
		}
		return v
	case map[string]any:
		for key := range v {
			v[key] = shorten(v[key])
		}
	}
	return v
}

// wrong are values of the right type that fields must not have.
func wrong(key string) (value any, has bool) {
	switch key {
	case "transport", "scope", "range", "state", "verdict", "severity", "how",
		"event", "change", "hides", "outcome", "authority", "class", "unhashed":
		return "nonsense", true // these fields have their words listed
	case "time", "started", "first_seen", "last_seen", "last_audit", "last":
		return "2026-13-45T00:00:00Z", true
	case "date":
		return "2026-13-45", true
	case "id", "sha256", "prev":
		return "0", true
	case "schema":
		return json.Number("2"), true
	case "port":
		return json.Number("65536"), true
	}
	return nil, false
}

// spoil calls try with the document in every state that breaks the contract at
// one place: of arrays it spoils the first element alone.
func spoil(path string, v any, optional map[string]bool, try func(how string)) {
	switch v := v.(type) {
	case []any:
		if len(v) > 0 {
			spoil(path+"[]", v[0], optional, try)
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			at, old := path+"."+key, v[key]
			v[key] = []any{map[string]any{"of another": "type"}}
			try(at + " of another type")
			if value, has := wrong(key); has && reflect.TypeOf(old) == reflect.TypeOf(value) {
				v[key] = value
				try(fmt.Sprintf("%s of %v", at, value))
			}
			if !optional[key] {
				delete(v, key)
				try(at + " left out")
			}
			v[key] = old
			spoil(at, old, optional, try)
		}
		v["undocumented"] = "?"
		try(path + " with a field that is not documented")
		delete(v, "undocumented")
	}
}
