package alert

import (
	"bytes"
	"encoding/json"
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
