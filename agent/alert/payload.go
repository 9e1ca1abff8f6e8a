package alert

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
)

// A Format makes the body of a webhook of a message: always one JSON document in
// which no string holds what cannot be seen. It returns nil for a message that
// its receiver has no use for.
type Format func(Message) ([]byte, error)

// maxData bounds the event in a payload, as JSON: receivers of webhooks seldom
// take a megabyte, as a record of the log may have. The log keeps the rest.
const maxData = 64 << 10

// Payload is the body of a webhook in plain JSON. Its first members are those that
// the Standard Webhooks specification recommends: type says what Data is.
type Payload struct {
	Schema   int       `json:"schema"`
	Type     string    `json:"type"` // the kind of event, or Summarized
	Time     time.Time `json:"timestamp"`
	Host     string    `json:"host"`
	Priority string    `json:"priority"` // by the names of RFC 5424
	Text     string    `json:"text"`     // for people
	Data     any       `json:"data"`     // the record as it is in the log, or a Summary
	Hash     string    `json:"hash,omitempty"`
}

// payloadVersion grows only when a member changes its meaning.
const payloadVersion = 1

// JSON is the Format that tells everything, for programs of one's own.
func JSON(m Message) ([]byte, error) {
	m, err := harmless(m)
	if err != nil {
		return nil, err
	}
	p := Payload{
		Schema: payloadVersion, Type: m.Event.Event, Time: m.Event.Time, Host: m.Event.Host,
		Priority: m.Priority().String(), Text: audit.Clip(m.Text(), maxText), Data: m.Event, Hash: m.Hash,
	}
	if m.Summary != nil {
		p.Data = m.Summary
	}
	return marshal(p)
}

// maxText bounds a sentence for people, in bytes.
const maxText = 4 << 10

// harmless returns a message of which every string can be shown and is bounded,
// whoever made it.
func harmless(m Message) (Message, error) {
	var err error
	if m.Event, err = audit.Bounded(m.Event, maxData); err != nil {
		return m, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if m.Summary == nil {
		return m, nil
	}
	s := *m.Summary
	for _, text := range []*string{&s.Rule, &s.Severity, &s.Sample, &s.Host} {
		*text = audit.Visible(audit.Clip(*text, maxText))
	}
	s.First, s.Last = s.First.UTC(), s.Last.UTC()
	s.Kinds = make(map[string]uint64, len(m.Summary.Kinds))
	for kind, n := range m.Summary.Kinds {
		s.Kinds[audit.Visible(audit.Clip(kind, 64))] += n
	}
	m.Summary = &s
	return m, nil
}

// marshal returns v as JSON without a newline, and without the escapes for HTML
// that would make commands hard to read.
func marshal(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrRefused, err)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// String returns the name by which RFC 5424 knows the priority.
func (p Priority) String() string {
	switch p {
	case Critical:
		return "critical"
	case Failure:
		return "error"
	case Warning:
		return "warning"
	case Notice:
		return "notice"
	default:
		return "informational"
	}
}
