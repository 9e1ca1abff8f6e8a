package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/portaudit/portaudit/agent"
	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/policy"
)

// here opens a TCP and a UDP listener and returns their ports. Under Wine, which
// lacks a call that Go makes for each UDP socket, there is no UDP listener and
// its port is 0.
func here(t *testing.T) (tcp net.Listener, tcpPort, udpPort int) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	tcpPort = l.Addr().(*net.TCPAddr).Port
	if os.Getenv("PORTAUDIT_TEST_WINE") != "" {
		return l, tcpPort, 0
	}
	u, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.Close() })
	return l, tcpPort, u.LocalAddr().(*net.UDPAddr).Port
}

// alertPolicy finds something about every listener.
func alertPolicy(t *testing.T) string {
	t.Helper()
	return file(t, "policy.yaml", "version: 1\ndefault: allow\ncommand_lines: true\n"+
		"rules: [{id: all, verdict: alert, severity: low, match: any, why: w, fix: f}]\n")
}

func TestJSONOfScan(t *testing.T) {
	_, tcp, udp := here(t)
	own := []string{"--state-dir", t.TempDir(), "--data-dir", t.TempDir()}
	whole, single := contractOf(t, "scan"), contractOf(t, "listener")
	overlay := file(t, "overlay.yaml", fmt.Sprintf("services: [{ports: %d, transport: tcp, name: mine, owner: us}]\n", tcp))
	for _, test := range []struct {
		name, site string
		options    []string
	}{
		{"default policy", "", nil},
		{"a finding each, a site's own name", "mine", []string{"--policy", alertPolicy(t), "--overlay", overlay}},
	} {
		t.Run(test.name, func(t *testing.T) {
			options := slices.Concat(own, test.options)
			whole.holds(t, printed(t, append([]string{"scan", "--json"}, options...)...))
			lines := printed(t, append([]string{"scan", "--jsonl"}, options...)...)
			var mine []string
			for line := range bytes.Lines(lines) {
				if err := single.schema.Validate(decode(t, line)); err != nil {
					t.Errorf("%v\nin\n%s", err, line)
				}
				var l agent.Listener
				if err := json.Unmarshal(line, &l); err != nil {
					t.Fatal(err)
				}
				if l.Address == "127.0.0.1" && (int(l.Port) == tcp && l.Transport == "tcp" && l.Service == test.site || int(l.Port) == udp && l.Transport == "udp") {
					mine = append(mine, l.Transport)
					single.holds(t, line) // of a listener each: a host may have thousands
				}
			}
			want := []string{"tcp", "udp"}
			if udp == 0 {
				want = want[:1]
			}
			if !slices.Equal(mine, want) {
				t.Errorf("of the listeners of this test %v, want %v:\n%s", mine, want, lines)
			}
		})
	}
}

func TestJSONOfExplain(t *testing.T) {
	_, port, _ := here(t)
	c := contractOf(t, "explain")
	live := printed(t, "explain", fmt.Sprintf("127.0.0.1:%d", port), "--json", "--policy", alertPolicy(t), "--data-dir", t.TempDir())
	c.holds(t, live)
	var doc struct{ Listeners []agent.Explanation }
	if err := json.Unmarshal(live, &doc); err != nil || len(doc.Listeners) != 1 || len(doc.Listeners[0].Steps) != 2 {
		t.Fatalf("%v, want the listener of this test, with the steps all and default:\n%s", err, live)
	}
	free := printed(t, "explain", "1/tcp", "--json", "--data-dir", t.TempDir())
	c.holds(t, free)
	if !bytes.Contains(free, []byte(`"supposed"`)) {
		t.Errorf("nothing is supposed of a port where nothing listens:\n%s", free)
	}
}

func TestJSONOfCheck(t *testing.T) {
	c := contractOf(t, "check")
	for _, text := range []string{
		"version: 1\nrules: []\n",
		"version: 1\ndefault: allow\nrules:\n- {id: a, verdict: allow, match: any}\n",
		"version: 1\nrules:\n- {id: a, verdict: alow}\n",
		"",
		"\x00",
	} {
		r, _ := checkPolicy("p.yaml", []byte(text), policyFiles(nil))
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		c.holds(t, b)
	}
	c.holds(t, printed(t, "policy", "check", "--json", "--config", file(t, "none.yaml", "")))
}

func TestJSONOfTest(t *testing.T) {
	c := contractOf(t, "test")
	p := file(t, "p.yaml", "version: 1\nrules: [{id: a, verdict: allow, match: {port: 22}, reason: r}, {id: b, verdict: alert, severity: low, match: {port: 23}}]\n")
	for _, expected := range []string{
		"verdict: allow, rule: a",
		"verdict: allow, rule: a, findings: [], meets: []",
		"verdict: alert, rule: b, severity: low, findings: [default, {rule: b, severity: low}]",
	} {
		e := file(t, "e.yaml", "version: 1\nexpectations: [{name: n, listener: {transport: tcp, port: 22}, "+expected+"}]\n")
		r, err := testPolicies([]string{e, e}, p)
		if err != nil || len(r.Expectations) != 2 || len(r.Coverage) != 1 || r.Passed == strings.Contains(expected, "rule: b") {
			t.Fatalf("%s: %v, %+v", expected, err, r)
		}
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		c.holds(t, b)
	}
}

func TestJSONOfPolicyExplain(t *testing.T) {
	_, port, _ := here(t)
	c, p := contractOf(t, "rules"), alertPolicy(t)
	at := fmt.Sprintf("127.0.0.1:%d", port)
	for _, test := range []struct {
		reason   string
		options  []string
		supposed bool
		user     string
	}{
		{"what listens there", []string{at}, false, ""},
		{"something else there", []string{at, "--user", "nobody@here", "--exe", "/x", "--uid", "7", "--unit", "x.service"}, true, "nobody@here"},
		{"nothing listens there", []string{"1/tcp"}, true, ""},
		{"a socket without a port", []string{"0x4305/packet", "--user", "nobody@here"}, true, "nobody@here"},
		{"an address and nothing else", []string{at, "--address", "192.0.2.1"}, true, ""},
	} {
		b := printed(t, append([]string{"policy", "explain", "--json", "--policy", p, "--data-dir", t.TempDir()}, test.options...)...)
		c.holds(t, b)
		var doc explained
		if err := json.Unmarshal(b, &doc); err != nil || doc.Supposed != test.supposed || len(doc.Listeners) != 1 || len(doc.Listeners[0].Steps) != 2 {
			t.Fatalf("%s: %v\n%s", test.reason, err, b)
		}
		owners := doc.Listeners[0].Owners
		if test.supposed && (len(owners) != 1 || owners[0].User != test.user) || !test.supposed && (len(owners) == 0 || owners[0].PID == nil) {
			t.Errorf("%s: owners %+v", test.reason, owners)
		}
	}
}

func TestJSONOfRegistry(t *testing.T) {
	none, lookup, information := t.TempDir(), contractOf(t, "lookup"), contractOf(t, "info")
	overlay := file(t, "overlay.yaml", "services: [{ports: 22, transport: tcp, name: mine, owner: us}]\n")
	for _, test := range []struct {
		asked string
		want  int // objects
	}{
		{"22", 4},
		{"80/tcp", 1},
		{"0-1100", 4 * 1101},
		{"6000-6063/udp", 64}, // one assignment of IANA's for all of them
		{"ssh", 3},
		{"50000/tcp", 1},
		{"9200", 4}, // commonly used by another service
	} {
		b := printed(t, "registry", "lookup", test.asked, "--json", "--data-dir", none, "--overlay", overlay)
		lookup.holds(t, b)
		if n := len(decode(t, b).([]any)); n != test.want {
			t.Errorf("%s: %d objects, want %d", test.asked, n, test.want)
		}
	}
	information.holds(t, printed(t, "registry", "info", "--json", "--data-dir", none))
	imported := printed(t, "registry", "import", largeRegistry(t), "--json", "--data-dir", none)
	information.holds(t, imported)
	if again := printed(t, "registry", "info", "--json", "--data-dir", none); !bytes.Equal(imported, again) {
		t.Errorf("import says\n%s\ninfo says\n%s", imported, again)
	}
}

// largeRegistry is a file as IANA publishes it, long enough to be believed.
func largeRegistry(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString(`<registry xmlns="http://www.iana.org/assignments" id="service-names-port-numbers"><updated>2026-11-23</updated>`)
	for port := 1; port <= 6000; port++ {
		for _, transport := range []string{"tcp", "udp"} {
			fmt.Fprintf(&b, "<record><name>p%d</name><protocol>%s</protocol><description>d</description><number>%d</number></record>\n", port, transport, port)
		}
	}
	b.WriteString("</registry>")
	return file(t, "registry.xml", b.String())
}

// TestJSONOfTheLog lets the daemon work and holds each of its records.
func TestJSONOfTheLog(t *testing.T) {
	l, port, _ := here(t)
	dir, config, rules := t.TempDir(), file(t, "none.yaml", ""), alertPolicy(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ended := make(chan error, 1)
	go func() { // ends with ctx, which this test cancels
		_, err := output(ctx, config, "run", "--policy", rules, "--log-dir", dir, "--state-dir", dir,
			"--data-dir", dir, "--interval", "1s", "--confirm", "1", "--gone", "1")
		ended <- err
	}()
	path, mine := filepath.Join(dir, "audit.jsonl"), fmt.Sprintf(`"port":%d,`, port)
	waitForRecord(t, path, audit.FindingRaised, mine)
	holdsStatus(t, config, dir, true)
	l.Close()
	waitForRecord(t, path, audit.ListenerClosed, mine)
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	holdsStatus(t, config, dir, false)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	seen, c := map[string]bool{}, contractOf(t, "event")
	for line := range bytes.Lines(b) {
		c.holds(t, line)
		var e audit.Event
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatal(err)
		}
		seen[e.Event] = true
	}
	for _, kind := range kinds {
		here := !slices.Contains([]string{audit.PolicyRejected, audit.ListenerChanged, audit.AuditFailed, audit.CrossFailed, audit.ChangesLost, audit.LogPruned, audit.LogDegraded, audit.LogRestored, audit.LogDamaged, audit.CoverageChanged}, kind)
		if here && !seen[kind] {
			t.Errorf("no record of %s:\n%s", kind, b)
		}
	}
}

// holdsStatus holds the status of a daemon of this process, or of none. What
// was recorded is in the log before it is in the state.
func holdsStatus(t *testing.T, config, dir string, running bool) {
	t.Helper()
	c := contractOf(t, "status")
	var b []byte
	var s status
	for deadline := time.Now().Add(patience); s.Coverage == nil && time.Now().Before(deadline); {
		var err error
		b, err = output(t.Context(), config, "status", "--json", "--log-dir", dir, "--state-dir", dir)
		if e := (exitError{}); err != nil && (!errors.As(err, &e) || e.err != nil) {
			t.Fatal(err)
		}
		c.holds(t, b)
		if err := json.Unmarshal(b, &s); err != nil {
			t.Fatal(err)
		}
	}
	if s.Running != running || s.Stopped == running || (s.PID != nil && *s.PID == os.Getpid()) != running || s.Coverage == nil {
		t.Errorf("running is %t, and the status says\n%s", running, b)
	}
}

// TestStatusExit holds what each exit code of status stands for.
func TestStatusExit(t *testing.T) {
	whole, partly := &audit.Coverage{Complete: true}, &audit.Coverage{}
	for _, test := range []struct {
		reason string
		status status
		want   int
	}{
		{"works and sees everything", status{Running: true, Coverage: whole}, exitOK},
		{"does not work", status{Coverage: whole}, exitFailed},
		{"nothing is known", status{}, exitFailed},
		{"sees a part", status{Running: true, Coverage: partly}, exitFindings},
		{"has not audited yet", status{Running: true}, exitFindings},
		{"fails", status{Running: true, Coverage: whole, Failure: "no"}, exitFindings},
		{"has a damaged log", status{Running: true, Coverage: whole, Problems: []string{"p"}}, exitFindings},
	} {
		var e exitError
		if errors.As(test.status.exit(), &e); e.code != test.want {
			t.Errorf("%s: exit code %d, want %d", test.reason, e.code, test.want)
		}
	}
}

// waitForRecord waits until the log has a record of a kind with a text.
func waitForRecord(t *testing.T, path, kind, text string) {
	t.Helper()
	var b []byte
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		b, _ = os.ReadFile(path) // not there yet
		for line := range strings.Lines(string(b)) {
			if strings.Contains(line, `"event":"`+kind+`"`) && strings.Contains(line, text) {
				return
			}
		}
	}
	t.Fatalf("no record of %s with %s after %v:\n%s", kind, text, patience, b)
}

// everyField is an event with a value in each field.
func everyField() audit.Event {
	at, pid, uid, no := time.Date(2026, 11, 23, 4, 0, 0, 0, time.UTC), 7, uint32(0), false
	lost := uint64(3)
	const id = "0123456789abcdef"
	return audit.Event{
		Message: "m", Listener: id, Change: "replaced", Replaces: id, Transport: "udp", Address: "fe80::1%eth0",
		Addresses: []string{"fe80::1%eth0", "fe80::2%eth0"}, Port: 53, Interface: "eth0", Namespace: "net:[4026531840]", Scope: "link-local", Reach: "restricted",
		Privileged: &no, Ephemeral: &no, DualStack: &no, Authority: "root",
		FirstSeen: &at, LastSeen: &at, Verdict: "alert", ID: id, Rule: "r", Severity: "high", Why: "w", Fix: "f",
		Registry: &audit.Registry{Range: "well-known", State: "assigned", Names: []string{"domain"}, Description: "d"},
		Owners: []audit.Owner{{
			PID: &pid, Started: &at, Executable: "/bin/x", Deleted: &no, Replaced: &no, Command: "x", User: "u", UID: &uid,
			SID: "S-1-5-18", Root: &no, Writable: &no, How: "process", Parent: &pid, ParentName: "sh", Unit: "x.service", Services: []string{"x"}, Container: "c", ContainerName: "n", Image: "i",
			Memory: true, Concealed: true, SHA256: strings.Repeat("0", 64), Package: &audit.Package{Manager: "dpkg", Name: "x", Version: "1"},
		}},
		Policy:   &audit.Policy{Source: "p", SHA256: strings.Repeat("0", 64)},
		Refused:  &audit.Policy{Source: "p", SHA256: strings.Repeat("1", 64)},
		Coverage: &audit.Coverage{Sources: []string{"s"}, Gaps: []audit.Gap{{Source: "s", Reason: "r", Hides: "owners", Count: 1, Fix: "f"}}, Notes: []audit.Note{{Source: "s", Text: "t"}}},
		Lost:     &lost,
		Errors:   []string{"e"}, Removed: []string{"f"}, Through: 7, Tree: []string{strings.Repeat("0", 64)},
		Checkpoint: "web1/portaudit\n7\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n— web1/portaudit AAAAAAAA\n", Program: "v1", PID: 7, Tags: []string{"t"},
		Escaped: []string{"message"}, Clipped: []string{"message"},
	}
}

// kinds of event, in the order of docs/json.md.
var kinds = []string{
	audit.AgentStarted, audit.AgentStopped, audit.PolicyLoaded, audit.PolicyRejected,
	audit.ListenerOpened, audit.ListenerChanged, audit.ListenerClosed,
	audit.FindingRaised, audit.FindingCleared, audit.AuditFailed, audit.CrossFailed, audit.ChangesLost, audit.LogPruned,
	audit.LogSegment, audit.LogCheckpoint, audit.LogDegraded, audit.LogRestored, audit.LogDamaged, audit.CoverageChanged,
}

// TestJSONOfEveryEvent holds the schema to what docs/json.md says of each kind
// of event: it needs some fields, takes others, and refuses those of all other
// kinds.
func TestJSONOfEveryEvent(t *testing.T) {
	section := documentation(t)["Kinds of record"]
	c, rows := contractOf(t, "event"), rowsOf(section)
	header := names(section[:strings.Index(section, "Beside these")])
	listener, endpoint := names(between(section, "LISTENER is", "ENDPOINT is")), names(between(section, "ENDPOINT is", "\n\n"))
	for _, kind := range kinds {
		cells := rows[kind]
		if len(cells) != 4 {
			t.Fatalf("docs/json.md has no row for %s with four cells, but %q", kind, cells)
		}
		need, may := slices.Concat(header, names(cells[2])), names(cells[3])
		if strings.Contains(cells[2], "LISTENER") {
			need = append(need, listener...)
		}
		if strings.Contains(cells[3], "ENDPOINT") {
			may = append(may, endpoint...)
		}
		e := everyField()
		e.Event = kind
		holdsFields(t, c, e, need, may)
	}
	need, may, _ := strings.Cut(between(documentation(t)["Findings of a cross-check"], "They always have", "\n\n"), "where that is known")
	for _, kind := range []string{audit.FindingRaised, audit.FindingCleared} {
		e := everyField()
		e.Event, e.Rule = kind, policy.HiddenPort
		holdsFields(t, c, e, slices.Concat(header, names(need)), names(may))
	}
	need, may, _ = strings.Cut(between(documentation(t)["Findings of the host"], "it has", "neither"), "where the policy")
	for _, kind := range []string{audit.FindingRaised, audit.FindingCleared} {
		e := everyField()
		e.Event = kind
		holdsFields(t, c, e, slices.Concat(header, names(need)), names(may))
	}
}

// holdsFields holds that a record of the kind of e needs some fields, may have
// others, and has none of the rest of e.
func holdsFields(t *testing.T, c contract, e audit.Event, need, may []string) {
	t.Helper()
	s, kind := c.schema, e.Event
	may = slices.Concat(may, []string{"escaped", "clipped"}) // as any record
	full := decode(t, logged(t, e)).(map[string]any)
	if s.Validate(full) == nil {
		t.Errorf("%s: the schema takes the fields of all other kinds", kind)
	}
	doc := maps.Clone(full)
	maps.DeleteFunc(doc, func(key string, _ any) bool { return !slices.Contains(need, key) && !slices.Contains(may, key) })
	if err := s.Validate(doc); err != nil || len(doc) != len(need)+len(may) {
		t.Errorf("%s: of %v and %v there are %d: %v", kind, need, may, len(doc), err)
		return
	}
	b, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	c.holds(t, b)
	for key, value := range full {
		other := maps.Clone(doc) // with the field if doc has it not, else without
		if delete(other, key); len(other) == len(doc) {
			other[key] = value
		}
		if err := s.Validate(other); (err == nil) != slices.Contains(may, key) {
			t.Errorf("%s: with %s there or not, as it should not be: %v", kind, key, err)
		}
	}
}

// between returns what of a text stands between two others.
func between(text, after, before string) string {
	_, text, _ = strings.Cut(text, after)
	text, _, _ = strings.Cut(text, before)
	return text
}

// logged returns the line of a log that an event becomes.
func logged(t *testing.T, e audit.Event) []byte {
	t.Helper()
	dir := t.TempDir()
	log, err := audit.Open(dir, audit.Options{Host: "h", Boot: "b"})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if _, err := log.Append(e); err != nil {
		t.Fatal(err)
	}
	if _, err := log.Sync(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "audit.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	_, b, _ = bytes.Cut(b, []byte("\n")) // behind the header
	return b
}

// TestJSONOfBounds holds what the log makes of more than it keeps.
func TestJSONOfBounds(t *testing.T) {
	e := everyField()
	e.Event, e.Change, e.Replaces, e.Policy, e.Refused, e.Coverage, e.Errors, e.Program, e.PID = audit.FindingRaised, "", "", nil, nil, nil, nil, "", 0
	e.Removed, e.Lost, e.Through, e.Tree, e.Checkpoint = nil, nil, 0, nil, ""
	e.Owners = slices.Repeat(e.Owners, 300)
	line := logged(t, e)
	if err := schema(t, "event").Validate(decode(t, line)); err != nil || !bytes.Contains(line, []byte("…[+44 more]")) {
		t.Errorf("300 owners: %v\n%s", err, line)
	}
}

// TestUnknownIsNull holds that a fact nobody knows is neither false nor 0, of a
// listener that has every other fact.
func TestUnknownIsNull(t *testing.T) {
	at := time.Date(2026, 11, 23, 4, 0, 0, 0, time.UTC)
	b, err := json.Marshal(agent.Listener{
		ID: "0123456789abcdef", Transport: "tcp", Address: "::", Port: 1, Namespace: "host", Scope: "wildcard", FirstSeen: at,
		Registry: audit.Registry{Range: "well-known", State: "assigned", Names: []string{}},
		Known:    &agent.Known{Name: "n", Class: "legacy", Severity: "none"}, Site: &agent.Site{Name: "s", Owner: "o"},
		Owners: []audit.Owner{{}}, Authority: "sysctl", Verdict: "alert", Rule: "r",
		Findings: []agent.Finding{{ID: "0123456789abcdef", Rule: "r", Severity: "high", Message: "m"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	contractOf(t, "listener").holds(t, b)
	doc := decode(t, b).(map[string]any)
	owner := doc["owners"].([]any)[0].(map[string]any)
	for _, field := range []struct {
		of   map[string]any
		name string
	}{
		{doc, "privileged"}, {doc, "ephemeral"}, {doc, "dual_stack"},
		{owner, "pid"}, {owner, "started"}, {owner, "deleted"}, {owner, "uid"},
	} {
		if value, has := field.of[field.name]; !has || value != nil {
			t.Errorf("%s is %v (%t), want null", field.name, value, has)
		}
	}
	s := schema(t, "listener")
	for name, value := range map[string]any{"pid": 0, "started": "", "deleted": "", "uid": -1} {
		owner[name] = value
		if s.Validate(doc) == nil {
			t.Errorf("the schema takes %v for an unknown %s", value, name)
		}
		owner[name] = nil
	}
}
