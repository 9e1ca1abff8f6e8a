package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
)

// Sum returns the hash of the line that holds a record, which is what the record
// behind it has in Prev. e must be as Append returned it or as it was read from a
// log that this version wrote: a field that this version does not know is not in
// an Event, and so not in its Sum.
func Sum(e Event) (string, error) {
	var line bytes.Buffer
	enc := json.NewEncoder(&line)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		return "", err
	}
	sum := sha256.Sum256(bytes.TrimSuffix(line.Bytes(), []byte("\n")))
	return hex.EncodeToString(sum[:]), nil
}
