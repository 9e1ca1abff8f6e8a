package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Bounded returns e with every string harmless and bounded, as a record of the
// log has them, and of at most size bytes as JSON: for receivers that take less
// than the log does. What e points to is never changed.
//
// It fails for an event that has no JSON form (a year beyond 9999), or none as
// small as that: a few kilobytes always suffice.
func Bounded(e Event, size int) (Event, error) {
	for l := fullLimits(); l.text > 0; l = l.half() {
		clean := sanitize(e, l)
		var buf bytes.Buffer
		enc := json.NewEncoder(&buf)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(clean); err != nil {
			return Event{}, err
		}
		if buf.Len() <= size {
			return clean, nil
		}
	}
	return Event{}, fmt.Errorf("event %s: it does not fit into %d bytes", Visible(Clip(e.Event, 64)), size)
}
