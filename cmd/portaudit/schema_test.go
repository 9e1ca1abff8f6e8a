package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/portaudit/portaudit/agent/audit"
)

const schemaID = "urn:portaudit:json:1"

// schema compiles a part of docs/schema/v1.json.
func schema(t *testing.T, name string) *jsonschema.Schema {
	t.Helper()
	f, err := os.Open(filepath.Join("..", "..", "docs", "schema", "v1.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	doc, err := jsonschema.UnmarshalJSON(f)
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource(schemaID, doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(schemaID + "#/$defs/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// output runs a command in this process and returns what it prints.
func output(ctx context.Context, t *testing.T, args ...string) []byte {
	t.Helper()
	config := filepath.Join(t.TempDir(), "none.yaml")
	if err := os.WriteFile(config, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	c := newRoot()
	c.SetOut(&out)
	c.SetArgs(append(args, "--config", config))
	if err := c.ExecuteContext(ctx); err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return out.Bytes()
}

func decode(t *testing.T, b []byte) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatalf("%v:\n%s", err, b)
	}
	return v
}

// holds checks a document against its schema, and the schema against changes
// of the document that it must refuse.
func holds(t *testing.T, name string, b []byte) {
	t.Helper()
	s := schema(t, name)
	if err := s.Validate(decode(t, b)); err != nil {
		t.Errorf("%s: %v\nin\n%s", name, err, b)
		return
	}
	object, ok := decode(t, b).(map[string]any)
	if !ok {
		return // an array: its elements are held by another call
	}
	object["unknown"] = true
	if s.Validate(object) == nil {
		t.Errorf("%s: the schema takes a field that is not documented", name)
	}
	delete(object, "unknown")
	for _, key := range s.Required {
		value := object[key]
		delete(object, key)
		if s.Validate(object) == nil {
			t.Errorf("%s: the schema does without %q", name, key)
		}
		object[key] = []any{map[string]any{"wrong": true}}
		if s.Validate(object) == nil {
			t.Errorf("%s: the schema takes anything for %q", name, key)
		}
		object[key] = value
	}
}

// alertPolicy finds something about every listener.
func alertPolicy(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "policy.yaml")
	text := "version: 1\ndefault: allow\ncommand_lines: true\nrules: [{id: all, verdict: alert, severity: low, match: any, why: w, fix: f}]\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// listenHere opens a listener and returns its port.
func listenHere(t *testing.T) (net.Listener, int) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, l.Addr().(*net.TCPAddr).Port
}

func TestJSONOfScan(t *testing.T) {
	_, port := listenHere(t)
	for _, policy := range [][]string{nil, {"--policy", alertPolicy(t)}} {
		holds(t, "scan", output(t.Context(), t, append([]string{"scan", "--json"}, policy...)...))
		lines := output(t.Context(), t, append([]string{"scan", "--jsonl"}, policy...)...)
		mine := fmt.Sprintf(`"address":"127.0.0.1","port":%d,`, port)
		if !bytes.Contains(lines, []byte(mine)) {
			t.Errorf("no line has %s:\n%s", mine, lines)
		}
		for line := range bytes.Lines(lines) {
			holds(t, "listener", line)
		}
	}
}

func TestJSONOfExplain(t *testing.T) {
	_, port := listenHere(t)
	live := output(t.Context(), t, "explain", fmt.Sprint(port), "--json")
	holds(t, "explain", live)
	var doc struct{ Listeners []json.RawMessage }
	if err := json.Unmarshal(live, &doc); err != nil || len(doc.Listeners) != 1 {
		t.Fatalf("%d listeners, %v, want the one of the test:\n%s", len(doc.Listeners), err, live)
	}
	holds(t, "explanation", doc.Listeners[0])
	holds(t, "explain", output(t.Context(), t, "explain", "1/tcp", "--json"))
}

func TestJSONOfRegistry(t *testing.T) {
	for _, asked := range []string{"22", "80/tcp", "0-1100", "6000-6063/udp", "ssh", "50000/tcp", "9200"} {
		b := output(t.Context(), t, "registry", "lookup", asked, "--json")
		holds(t, "lookup", b)
		var entries []json.RawMessage
		if err := json.Unmarshal(b, &entries); err != nil || len(entries) == 0 {
			t.Fatalf("%s: %d entries, %v", asked, len(entries), err)
		}
		holds(t, "entry", entries[0])
	}
	holds(t, "info", output(t.Context(), t, "registry", "info", "--json"))
}

// TestJSONOfTheLog lets the daemon work and holds each of its records.
func TestJSONOfTheLog(t *testing.T) {
	l, port := listenHere(t)
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	done := make(chan struct{})
	go func() { // ends with ctx, which this test cancels
		defer close(done)
		output(ctx, t, "run", "--policy", alertPolicy(t), "--log-dir", dir, "--state-dir", dir,
			"--interval", "1s", "--confirm", "1", "--gone", "1")
	}()
	mine := fmt.Sprintf(`"port":%d,`, port)
	waitForRecord(t, dir, audit.FindingRaised, mine)
	l.Close()
	waitForRecord(t, dir, audit.ListenerClosed, mine)
	cancel()
	<-done
	b, err := os.ReadFile(filepath.Join(dir, "audit.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for line := range bytes.Lines(b) {
		holds(t, "event", line)
		var e audit.Event
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, e.Event)
	}
	for _, kind := range []string{
		audit.AgentStarted, audit.PolicyLoaded, audit.ListenerOpened, audit.FindingRaised,
		audit.FindingCleared, audit.ListenerClosed, audit.AgentStopped,
	} {
		if !slices.Contains(kinds, kind) {
			t.Errorf("no record of %s among %v", kind, kinds)
		}
	}
}

// waitForRecord waits until the log has a record of a kind with a text.
func waitForRecord(t *testing.T, dir, kind, text string) {
	t.Helper()
	var b []byte
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		b, _ = os.ReadFile(filepath.Join(dir, "audit.jsonl")) // not there yet
		for line := range strings.Lines(string(b)) {
			if strings.Contains(line, `"event":"`+kind+`"`) && strings.Contains(line, text) {
				return
			}
		}
	}
	t.Fatalf("no record of %s with %s after %v:\n%s", kind, text, patience, b)
}
