package alert

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/agent/export"
)

// Document returns the record as it is in the log, one JSON object. That of a
// summary has its numbers in the member summary.
func Document(m Message) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false) // nobody shows it as HTML, and < and & are frequent in commands
	var v any = m.Event
	if m.Summary != nil {
		v = struct {
			Event   string   `json:"event"`
			Message string   `json:"message"`
			Summary *Summary `json:"summary"`
		}{m.Event.Event, m.Event.Message, m.Summary}
	}
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// ECS returns the message as a document of the Elastic Common Schema, as "portaudit log
// export" makes it of a record. A summary is an event of its own kind, whose message
// has the numbers.
func ECS(m Message) ([]byte, error) { return exported(m, export.ECS) }

// OCSF returns the message as an event of the Open Cybersecurity Schema Framework, as
// ECS does.
func OCSF(m Message) ([]byte, error) { return exported(m, export.OCSF) }

func exported(m Message, by func(e audit.Event, hash string) ([]byte, error)) ([]byte, error) {
	m, err := harmless(m)
	if err != nil {
		return nil, err
	}
	b, err := by(m.Event, m.Hash)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return b, nil
}
