package alert

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/template"
	"time"
	"unicode/utf8"

	"github.com/portaudit/portaudit/agent/audit"
)

// maxTemplated bounds what a template makes.
const maxTemplated = 256 << 10

// Templated is what a template is given.
type Templated struct {
	Kind     string // of event, or Summarized
	Time     time.Time
	Host     string
	Priority string // by the names of RFC 5424
	Text     string // for people
	Hash     string // "" without a record
	Event    audit.Event
	Summary  Summary // zero for a record
}

// ParseTemplate makes a Format of a template of text/template. Beside the
// functions of every template it has json, which writes any value as JSON, quotes
// and all:
//
//	{"title": {{ json .Text }}, "port": {{ .Event.Port }}}
//
// The template is tried at once on samples of every kind of message, in which each
// text has quotes: one that forgets json somewhere is refused here, before a
// process that names itself with quotes can write members of its own.
func ParseTemplate(name, text string) (Format, error) {
	t, err := template.New(name).Option("missingkey=error").Funcs(template.FuncMap{"json": quote}).Parse(text)
	if err != nil {
		return nil, errors.New(audit.Visible(err.Error()))
	}
	format := func(m Message) ([]byte, error) { return execute(t, m) }
	for _, m := range samples() {
		if _, err := format(m); err != nil {
			return nil, fmt.Errorf("%s: tried on %s: %w", name, m.Event.Event, err)
		}
	}
	return format, nil
}

func execute(t *template.Template, m Message) ([]byte, error) {
	m, err := harmless(m)
	if err != nil {
		return nil, err
	}
	given := Templated{
		Kind: m.Event.Event, Time: m.Event.Time, Host: m.Event.Host, Priority: m.Priority().String(),
		Text: audit.Clip(m.Text(), maxText), Hash: m.Hash, Event: m.Event,
	}
	if m.Summary != nil {
		given.Summary = *m.Summary
	}
	var out bytes.Buffer
	if err := t.Execute(&limited{&out, maxTemplated}, given); err != nil {
		return nil, fmt.Errorf("%w: %s", ErrRefused, audit.Visible(err.Error()))
	}
	body := bytes.TrimSpace(out.Bytes())
	if err := checkJSON(body); err != nil {
		return nil, fmt.Errorf("%w: the template makes no JSON of it: %v: write {{ json .Text }} without quotes around it", ErrRefused, err)
	}
	return bytes.Clone(body), nil
}

// checkJSON says what is wrong with a text that should be one JSON document.
func checkJSON(b []byte) error {
	if !utf8.Valid(b) {
		return errors.New("it is not UTF-8")
	}
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		return errors.New(audit.Visible(err.Error()))
	}
	return nil
}

// quote writes a value as JSON.
func quote(v any) (string, error) {
	b, err := marshal(v)
	return string(b), err
}

// limited refuses to write more than some bytes.
type limited struct {
	to   io.Writer
	left int
}

func (l *limited) Write(b []byte) (int, error) {
	if l.left -= len(b); l.left < 0 {
		return 0, fmt.Errorf("it makes more than %d bytes", maxTemplated)
	}
	return l.to.Write(b)
}

// samples are messages of every kind, and of findings every severity. Their texts,
// but for those that are words of ours, have quotes and a backslash.
func samples() []Message {
	const text = `a "quoted" \ text`
	at := time.Date(2026, 11, 23, 5, 12, 36, 0, time.UTC)
	pid, uid := 7, uint32(65534)
	owner := audit.Owner{
		PID: &pid, Started: &at, Executable: text, Command: text, User: text, UID: &uid, How: "process", Unit: text,
		Package: &audit.Package{Manager: "dpkg", Name: text, Version: text},
	}
	base := audit.Event{
		Version: audit.Version, Seq: 4, Time: at, Host: text, Boot: text, Message: text,
	}
	var all []Message
	add := func(kind string, change func(*audit.Event)) {
		e := base
		e.Event = kind
		change(&e)
		all = append(all, Message{Event: e, Hash: "c0d80cf58d2971f537eba5db5eb456d7fb282ea08c4164f1390d92ddbfab5182"})
	}
	for _, kind := range []string{audit.FindingRaised, audit.FindingCleared} {
		for _, severity := range []string{"low", "medium", "high", "critical"} {
			add(kind, func(e *audit.Event) { // of a listener
				e.Listener, e.Transport, e.Address, e.Port, e.Namespace, e.Scope, e.Reach = "71caf7997948f821", "tcp", "fe80::1%"+text, 8099, text, "wildcard", "network"
				e.Interface = text // any name but / and spaces is one, in a zone too
				e.Registry = &audit.Registry{Range: "registered", State: "assigned", Names: []string{text}, Description: text}
				e.Owners, e.Verdict, e.FirstSeen, e.LastSeen = []audit.Owner{owner}, "alert", &at, &at
				e.ID, e.Rule, e.Severity, e.Why, e.Fix, e.Tags = "3de43f23a5559228", text, severity, text, text, []string{text}
			})
		}
		add(kind, func(e *audit.Event) { e.ID, e.Rule, e.Severity = "3de43f23a5559228", text, "high" }) // of the host
	}
	for _, kind := range []string{audit.PolicyRejected, audit.AuditFailed, audit.CrossFailed, audit.ChangesLost, audit.LogDegraded, audit.LogRestored, audit.LogDamaged} {
		add(kind, func(e *audit.Event) { e.Errors = []string{text} })
	}
	add(audit.CoverageChanged, func(e *audit.Event) {
		e.Coverage = &audit.Coverage{Sources: []string{text}, Gaps: []audit.Gap{{Source: text, Reason: text, Hides: "owners", Fix: text}}}
	})
	for _, kind := range []string{audit.AgentStarted, audit.AgentStopped} {
		add(kind, func(e *audit.Event) { e.Program, e.PID = text, 812 })
	}
	summary := audit.Event{Event: Summarized, Time: at, Host: text, Rule: text, Severity: "high", Message: text}
	return append(all, Message{Event: summary, Summary: &Summary{
		Rule: text, Kinds: map[string]uint64{audit.FindingRaised: 37}, Severity: "high", Count: 37, FirstSeq: 4, LastSeq: 40, First: at, Last: at, Sample: text,
	}})
}
