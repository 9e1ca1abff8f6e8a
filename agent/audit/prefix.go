package audit

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"
	"unicode/utf8"
)

// prefix is what a record begins with, and all that is needed to find it and to
// check the chain.
type prefix struct {
	schema int
	seq    uint64
	time   time.Time
	kind   string
	prev   [32]byte
}

// parsePrefix reads the prefix of a line: in the order and form that encode
// writes in some hundred nanoseconds, else as any JSON.
func parsePrefix(line []byte) (prefix, error) {
	if p, ok := scanPrefix(line); ok {
		return p, nil
	}
	return readPrefix(line)
}

// readPrefix is parsePrefix for a line that is not as encode writes it.
func readPrefix(line []byte) (prefix, error) {
	// encoding/json would replace what is no UTF-8 and say nothing.
	if !utf8.Valid(line) {
		return prefix{}, errors.New("it is not UTF-8")
	}
	var v struct {
		Schema int       `json:"schema"`
		Seq    uint64    `json:"seq"`
		Time   time.Time `json:"time"`
		Event  string    `json:"event"`
		Prev   string    `json:"prev"`
	}
	if err := json.Unmarshal(line, &v); err != nil {
		// The error may quote the line, which may be anything.
		return prefix{}, fmt.Errorf("it is no record: %s", Visible(Clip(err.Error(), 256)))
	}
	p := prefix{schema: v.Schema, seq: v.Seq, time: v.Time, kind: v.Event}
	prev, err := hex.DecodeString(v.Prev)
	if p.schema < 1 || p.seq < 1 || err != nil || copy(p.prev[:], prev) != len(p.prev) || len(prev) != len(p.prev) {
		return prefix{}, errors.New("it is no record: schema, seq or prev is missing or malformed")
	}
	return p, nil
}

// scanPrefix reads a prefix as encode writes it, from a line or its beginning, and
// reports whether it is one. It allocates nothing: a log of a gigabyte has a
// million lines, most of which are none of those asked for.
func scanPrefix(line []byte) (p prefix, ok bool) {
	s := scanner{rest: line, ok: true}
	s.expect(`{"schema":`)
	schema := s.number()
	s.expect(`,"seq":`)
	p.seq = s.number()
	s.expect(`,"time":"`)
	at := s.quoted()
	s.expect(`,"event":"`)
	p.kind = kindOf(s.text())
	s.expect(`,"host":"`)
	s.text()
	s.expect(`,"boot":"`)
	s.text()
	s.expect(`,"prev":"`)
	prev := s.quoted()
	if !s.ok || schema < 1 || schema > math.MaxInt32 || p.seq < 1 || len(prev) != hex.EncodedLen(len(p.prev)) {
		return prefix{}, false
	}
	p.schema = int(schema)
	if _, err := hex.Decode(p.prev[:], prev); err != nil {
		return prefix{}, false
	}
	return p, p.time.UnmarshalText(at) == nil
}

// scanner takes a line apart. Once something was not as expected, ok is false and
// nothing more is taken.
type scanner struct {
	rest []byte
	ok   bool
}

// expect takes text.
func (s *scanner) expect(text string) {
	if !s.ok || len(s.rest) < len(text) || string(s.rest[:len(text)]) != text {
		s.ok = false
		return
	}
	s.rest = s.rest[len(text):]
}

// number takes a whole number without a sign.
func (s *scanner) number() (n uint64) {
	i := 0
	for ; i < len(s.rest) && '0' <= s.rest[i] && s.rest[i] <= '9'; i++ {
		n = n*10 + uint64(s.rest[i]-'0')
	}
	// JSON allows no zero in front; 19 digits cannot overflow.
	if s.ok = s.ok && 0 < i && i < 20 && (i == 1 || s.rest[0] != '0'); !s.ok {
		return 0
	}
	s.rest = s.rest[i:]
	return n
}

// text takes a string without escapes, whose first quote is taken. Of what JSON
// forbids in a string it sees no control character: who decodes the line does.
func (s *scanner) text() []byte {
	text := s.quoted()
	s.ok = s.ok && bytes.IndexByte(text, '\\') < 0 && utf8.Valid(text)
	return text
}

// quoted takes what is before the next quote, and that.
func (s *scanner) quoted() []byte {
	i := bytes.IndexByte(s.rest, '"')
	if s.ok = s.ok && i >= 0; !s.ok {
		return nil
	}
	text := s.rest[:i]
	s.rest = s.rest[i+1:]
	return text
}

// kindOf returns b as a string, for which the known kinds of event take no memory.
func kindOf(b []byte) string {
	switch string(b) {
	case ListenerOpened:
		return ListenerOpened
	case ListenerChanged:
		return ListenerChanged
	case ListenerClosed:
		return ListenerClosed
	case FindingRaised:
		return FindingRaised
	case FindingCleared:
		return FindingCleared
	case CoverageChanged:
		return CoverageChanged
	}
	return string(b)
}
