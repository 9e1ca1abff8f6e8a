package alert

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/portaudit/portaudit/agent/audit"
)

// aFinding is a finding as the log has it.
func aFinding() Message {
	at := time.Date(2026, 11, 23, 5, 12, 36, 307435805, time.UTC)
	pid, uid := 7, uint32(65534)
	return Message{
		Event: audit.Event{
			Version: 1, Seq: 4, Time: at, Event: audit.FindingRaised, Host: "web1", Boot: "f3489fb2-eb27-4094-bdfd-92400b3ec83f",
			Prev:     "c0d80cf58d2971f537eba5db5eb456d7fb282ea08c4164f1390d92ddbfab5182",
			Message:  "perl (pid 7, user nobody) listens on 0.0.0.0 port 8099/tcp (unassigned): rule reachable.",
			Listener: "71caf7997948f821", Transport: "tcp", Address: "0.0.0.0", Port: 8099, Namespace: "host", Scope: "wildcard", Reach: "network",
			Registry: &audit.Registry{Range: "registered", State: "unassigned", Names: []string{}, Description: "Unassigned"},
			Owners:   []audit.Owner{{PID: &pid, Executable: "/usr/bin/perl", Command: "perl", User: "nobody", UID: &uid, How: "process", Unit: "demo.service"}},
			Verdict:  "alert", ID: "3de43f23a5559228", Rule: "reachable", Severity: "medium",
			Why: "Other hosts can reach it.", Fix: "Bind it to a loopback address.",
		},
		Hash: "8c1d3a5d0f6e1b7f0f5d3f0a9c0d6c2b7a4e5f60718293a4b5c6d7e8f9012345",
	}
}

// itsEnd is its end, a minute later.
func itsEnd() Message {
	m := aFinding()
	m.Event.Seq, m.Event.Event, m.Event.Time = 5, audit.FindingCleared, m.Event.Time.Add(time.Minute)
	m.Event.Message = "no longer: " + m.Event.Message
	m.Hash = strings.Repeat("0f", 32)
	return m
}

// aSummary stands for 37 findings.
func aSummary() Message {
	at := time.Date(2026, 11, 23, 5, 12, 36, 0, time.UTC)
	return Message{
		Event: audit.Event{
			Event: Summarized, Time: at.Add(time.Minute), Host: "web1", Rule: "reachable", Severity: "medium",
			Message: "37 more records of rule reachable",
		},
		Summary: &Summary{
			Rule: "reachable", Kinds: map[string]uint64{audit.FindingRaised: 30, audit.FindingCleared: 7}, Severity: "medium", Count: 37,
			FirstSeq: 10, LastSeq: 46, First: at, Last: at.Add(time.Minute), Sample: "perl listens on 0.0.0.0 port 8136/tcp", Host: "web1",
		},
	}
}

// amFormat is the body that an Alertmanager gets of a message.
func amFormat(m Message) ([]byte, error) {
	m, err := harmless(m)
	if err != nil {
		return nil, err
	}
	a := &Alertmanager{now: time.Now, standing: map[string]amAlert{}}
	alerts, _ := a.step(m)
	return marshal(alerts)
}

// ownTemplate is the template of docs/outputs.md.
const ownTemplate = `{"title": {{ json .Text }}, "host": {{ json .Host }}, "level": "{{ .Priority }}"{{ if .Event.Port }}, "port": {{ .Event.Port }}{{ end }},
"owners": [{{ range $i, $o := .Event.Owners }}{{ if $i }}, {{ end }}{{ json $o.Command }}{{ end }}], "count": {{ .Summary.Count }}}`

func formats(t testing.TB) map[string]Format {
	t.Helper()
	own, err := ParseTemplate("own.tmpl", ownTemplate)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]Format{"json": JSON, "slack": Slack, "alertmanager": amFormat, "template": own}
}

// TestHostileStrings holds that nothing that a process, a host or a policy calls
// itself reaches a receiver raw, whatever the format.
func TestHostileStrings(t *testing.T) {
	hostile := map[string]string{
		"a newline": "a\nb\r\n", "ESC": "\x1b]0;x\x07\x1b[2J", "NUL": "a\x00b", "no UTF-8": "a\xff\xfeb\xc3", "U+202E": "a\u202eexe.txt",
		"a zero-width and a line separator": "a\u200bb\u2028c", "2 MB": strings.Repeat("x", 2<<20), "2 MB of what is escaped": strings.Repeat("\x1b\u202e", 1<<19),
		"quotes and brackets": `"}],"admin":true,"x":[{"'\`, "a call of all": "<!channel> @channel @here &lt;!here&gt; <@U1|x> <http://evil.example|here> [x](http://evil.example) `a` *b*",
		"a template": `{{ .Event }} {{ json "x" }} %s %d`, "C1": "\u009b2J", "a tag": "\U000e0041", "a lone mark": "\u0301",
	}
	for reason, text := range hostile {
		for name, format := range formats(t) {
			t.Run(reason+" in "+name, func(t *testing.T) {
				for _, m := range []Message{aFinding(), itsEnd(), aSummary()} {
					body, err := format(spoil(m, text))
					if err != nil {
						t.Fatal(err)
					}
					if len(body) > 128<<10 {
						t.Errorf("%d bytes", len(body))
					}
					checkBody(t, name, body)
				}
			})
		}
	}
}

// spoil puts a text into every place of a message that others choose.
func spoil(m Message, text string) Message {
	e := &m.Event
	for _, s := range []*string{&e.Host, &e.Message, &e.Rule, &e.ID, &e.Severity, &e.Why, &e.Fix, &e.Namespace, &e.Transport, &e.Address} {
		*s = text
	}
	e.Owners = []audit.Owner{{Command: text, Executable: text, User: text, Unit: text}, {Command: text + "2", How: text}}
	e.Registry = &audit.Registry{Names: []string{text}, Description: text}
	e.Errors, e.Tags = []string{text, text}, []string{text}
	if m.Summary != nil {
		s := *m.Summary
		s.Rule, s.Severity, s.Sample, s.Host, s.Kinds = text, text, text, text, map[string]uint64{text: 2}
		m.Summary = &s
	}
	return m
}

// checkBody holds one body to what every receiver is promised.
func checkBody(t testing.TB, name string, body []byte) {
	t.Helper()
	if !utf8.Valid(body) {
		t.Fatalf("%s: it is not UTF-8: %.200q", name, body)
	}
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		t.Fatalf("%s: %v: %.200q", name, err, body)
	}
	for _, s := range stringsOf(v) {
		if plain := strings.ReplaceAll(s, `\`, "/"); audit.Visible(plain) != plain {
			t.Errorf("%s: %.300q has what cannot be seen", name, s)
		}
		if name != "slack" {
			continue
		}
		for _, sign := range []string{"@", "<", ">"} {
			if strings.Contains(s, sign) {
				t.Errorf("slack: %q has %s", s, sign)
			}
		}
		if strings.Count(s, "`")%2 != 0 {
			t.Errorf("slack: %q opens what it does not close", s)
		}
	}
}

// stringsOf returns every string in a JSON value, names too.
func stringsOf(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		var all []string
		for _, one := range v {
			all = append(all, stringsOf(one)...)
		}
		return all
	case map[string]any:
		var all []string
		for name, one := range v {
			all = append(append(all, name), stringsOf(one)...)
		}
		return all
	}
	return nil
}

// slackLimits are Slack's own words about a message (docs.slack.dev, "Legacy
// secondary message attachments" and "chat.postMessage"): what each member is, and
// how long it may be. Mattermost (16,383 characters a message) and Rocket.Chat
// (5,000 of text) know the same members.
var slackLimits = map[string]struct {
	kind string // as JSON has it
	most int    // characters
}{
	"text": {"string", 4000}, "parse": {"string", 8}, "link_names": {"bool", 0}, "unfurl_links": {"bool", 0}, "unfurl_media": {"bool", 0},
	"parseUrls": {"bool", 0}, "attachments": {"[]interface {}", 20},
	"attachments.fallback": {"string", 4000}, "attachments.color": {"string", 7}, "attachments.text": {"string", 8000},
	"attachments.fields": {"[]interface {}", 12}, "attachments.mrkdwn_in": {"[]interface {}", 3},
	"attachments.fields.title": {"string", 100}, "attachments.fields.value": {"string", 3000}, "attachments.fields.short": {"bool", 0},
}

func TestSlackMembers(t *testing.T) {
	for _, m := range append(samples(), spoil(aFinding(), strings.Repeat("&", 1<<20))) {
		body, err := Slack(m)
		if err != nil {
			t.Fatal(err)
		}
		var v map[string]any
		if err := json.Unmarshal(body, &v); err != nil {
			t.Fatal(err)
		}
		checkMembers(t, "", v)
		for _, name := range []string{"text", "attachments"} {
			if v[name] == nil {
				t.Errorf("it has no %s: %s", name, body)
			}
		}
	}
}

func checkMembers(t *testing.T, prefix string, v map[string]any) {
	t.Helper()
	for name, value := range v {
		limit, known := slackLimits[prefix+name]
		if kind := fmt.Sprintf("%T", value); !known || kind != limit.kind {
			t.Errorf("%s%s is a %s, want %q", prefix, name, kind, limit.kind)
		}
		switch value := value.(type) {
		case string:
			if n := utf8.RuneCountInString(value); n > limit.most {
				t.Errorf("%s%s has %d characters", prefix, name, n)
			}
		case []any:
			if len(value) > limit.most {
				t.Errorf("%s%s has %d entries", prefix, name, len(value))
			}
			for _, one := range value {
				if inner, ok := one.(map[string]any); ok {
					checkMembers(t, prefix+name+".", inner)
				}
			}
		}
	}
}

func TestSlackTitle(t *testing.T) {
	tests := []struct {
		reason string
		m      Message
		want   string
	}{
		{"a finding", aFinding(), "`MEDIUM` finding of rule `reachable` on `web1`"},
		{"its end", itsEnd(), "Cleared: finding of rule `reachable` on `web1`"},
		{"a summary says how many", aSummary(), "Summary: 37 alerts that were not sent one by one, of rule `reachable` on `web1`"},
		{"what is no finding", Message{Event: audit.Event{Event: audit.AuditFailed, Host: "web1"}}, "`audit.failed` on `web1`"},
	}
	for _, tt := range tests {
		if got := slackTitle(tt.m); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.reason, got, tt.want)
		}
	}
}

func TestJSONData(t *testing.T) {
	for _, m := range []Message{aFinding(), aSummary()} {
		body, err := JSON(m)
		if err != nil {
			t.Fatal(err)
		}
		var p struct {
			Payload
			Data json.RawMessage `json:"data"`
		}
		if err := json.Unmarshal(body, &p); err != nil {
			t.Fatal(err)
		}
		if p.Schema != 1 || p.Type != m.Event.Event || p.Host != "web1" || !p.Time.Equal(m.Event.Time) || p.Priority != "warning" || p.Hash != m.Hash {
			t.Errorf("%+v of %+v", p.Payload, m.Event)
		}
		var s Summary
		var e audit.Event
		if err := errors.Join(json.Unmarshal(p.Data, &s), json.Unmarshal(p.Data, &e)); err != nil {
			t.Fatal(err)
		}
		if m.Summary != nil && (s.Count != 37 || s.Kinds[audit.FindingCleared] != 7 || s.LastSeq != 46) {
			t.Errorf("a summary of %s", p.Data)
		}
		if m.Summary == nil && (e.Seq != 4 || e.Prev != m.Event.Prev || e.Owners[0].Unit != "demo.service") {
			t.Errorf("a record of %s", p.Data)
		}
	}
	if _, err := JSON(Message{Event: audit.Event{Time: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}}); !errors.Is(err, ErrRefused) {
		t.Errorf("of a year that JSON cannot have: %v", err)
	}
}

func TestParseTemplate(t *testing.T) {
	tests := []struct{ reason, text, want string }{
		{"the one of the documentation", ownTemplate, ""},
		{"a word of ours needs no quoting", `{"s": "{{ .Event.Severity }}", "k": "{{ .Kind }}"}`, ""},
		{"a text without json", `{"s": "{{ .Text }}"}`, "finding.raised: refused: the template makes no JSON"},
		{"a text without json, of a rare kind alone", `{"s": 1 {{ if .Event.Coverage }}, "x": "{{ (index .Event.Coverage.Gaps 0).Reason }}"{{ end }}}`, "coverage.changed"},
		{"a text without json, of high severities alone", `{"s": 1 {{ if eq .Event.Severity "critical" }}, "x": "{{ .Host }}"{{ end }}}`, "finding.raised"},
		{"an address has the name of an interface in it", `{"s": "{{ .Event.Address }}"}`, "finding.raised"},
		{"a name that nothing has", `{"s": {{ json .Event.Portt }}}`, "Portt"},
		{"what only a summary has", `{"s": {{ json .Summary.Sample }}}`, ""},
		{"no template", `{{ if }}`, "missing value for if"},
		{"no JSON", `hello`, "makes no JSON"},
		{"two documents", `{} {}`, "makes no JSON"},
		{"nothing", ``, "makes no JSON"},
		{"no UTF-8", "\"\xff\"", "not UTF-8"},
		{"one that grows", `[{{ range .Event.Owners }}{{ printf "%0300000d" 1 }}{{ end }}]`, "more than 262144 bytes"},
		{"one that calls itself", `{{ define "a" }}{{ template "a" }}{{ end }}{{ template "a" }}`, "exceeded maximum template depth"},
	}
	for _, tt := range tests {
		_, err := ParseTemplate("own.tmpl", tt.text)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", tt.reason, err, tt.want)
		}
	}
}

// FuzzFormats gives every format any texts. Each body must be one JSON document in
// which everything can be seen.
func FuzzFormats(f *testing.F) {
	f.Add("a", "b", uint16(8099), uint64(3))
	f.Add("\x1b\u202e\xff", "\"}]<!channel>@here`", uint16(0), uint64(0))
	f.Add(strings.Repeat("\x00", 5000), "`", uint16(1), uint64(1<<63))
	all := formats(f)
	f.Fuzz(func(t *testing.T, text, other string, port uint16, count uint64) {
		for _, m := range []Message{aFinding(), itsEnd(), aSummary()} {
			m = spoil(m, text)
			m.Event.Port, m.Event.Why, m.Event.Owners[0].User = uint32(port), other, other
			if m.Summary != nil {
				m.Summary.Count, m.Summary.Sample = count, other
			}
			for name, format := range all {
				body, err := format(m)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				checkBody(t, name, body)
			}
		}
	})
}
