package alert

import (
	"bytes"
	"cmp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/portaudit/portaudit/agent/audit"
)

// An encoder of our own, for github.com/leodido/go-syslog/v4, whose parser the
// tests hold this against, has a builder that drops without an error what it does
// not like: a host name with a space, a whole value that is no UTF-8.

const (
	// DefaultEnterprise is the number that IANA keeps for documentation (RFC 5612).
	// Who has one of their own, configures it.
	DefaultEnterprise = 32473
	// LeastSyslogSize is what every receiver should take (RFC 5424, 6.1).
	LeastSyslogSize = 2 << 10
	// DefaultSyslogSize is what rsyslog takes by default.
	DefaultSyslogSize = 8 << 10
	// MostSyslogSize bounds what is kept in memory.
	MostSyslogSize = 256 << 10
)

// syslogName is the APP-NAME.
const syslogName = "portaudit"

// syslogEncoder makes messages of RFC 5424.
type syslogEncoder struct {
	facility   int
	enterprise int
	size       int                           // the most bytes of a message
	pid        int                           // of this process
	format     func(Message) ([]byte, error) // of MSG; nil: a sentence
}

// encode returns the message m. Nothing in it is a control character, a format
// character or no UTF-8, whoever made it, and it is never longer than its bound:
// what is cut ends in "…[+12 bytes]", and the parameter truncated says so.
func (s syslogEncoder) encode(m Message) []byte {
	var out bytes.Buffer
	s.head(&out, m)
	s.elements(&out, m)
	out.WriteByte(' ')
	body, whole := s.body(m, s.size-out.Len())
	if !whole {
		out.Truncate(out.Len() - 1)
		markCut(&out)
		out.WriteByte(' ')
		body = clip(body, s.size-out.Len())
	}
	out.Write(body)
	return out.Bytes()
}

// head writes the header, RFC 5424, 6.2: less than 512 bytes.
func (s syslogEncoder) head(out *bytes.Buffer, m Message) {
	e := m.Event
	out.WriteByte('<')
	out.WriteString(strconv.Itoa(s.facility*8 + int(m.Priority())))
	out.WriteString(">1 ")
	if year := e.Time.UTC().Year(); e.Time.IsZero() || year < 0 || year > 9999 {
		out.WriteByte('-')
	} else {
		out.WriteString(e.Time.UTC().Format("2006-01-02T15:04:05.000000Z07:00"))
	}
	for _, field := range []struct {
		text string
		most int
	}{{e.Host, 255}, {syslogName, 48}, {strconv.Itoa(s.pid), 128}, {e.Event, 32}} {
		out.WriteByte(' ')
		out.WriteString(printable(field.text, field.most))
	}
}

// printable returns a field of the header: printable ASCII without a space, or "-"
// for nothing. What is not, becomes "?".
func printable(text string, most int) string {
	if text == "" {
		return "-"
	}
	b := []byte(text[:min(len(text), most)])
	for i, c := range b {
		if c <= ' ' || c >= 0x7f {
			b[i] = '?'
		}
	}
	return string(b)
}

// elements writes the structured data, RFC 5424, 6.3, in at most half of what a
// message may have: a long text is cut, and what has no room is left out. A checkpoint
// is never cut: one of ours has less than 800 bytes, for which there is room in the
// least message.
func (s syslogEncoder) elements(out *bytes.Buffer, m Message) {
	out.WriteString(" [" + syslogName + "@" + strconv.Itoa(s.enterprise))
	most, cut, escaper := out.Len()+s.size/2, false, paramEscaper()
	for _, p := range fieldsOf(m) {
		limit := s.size / 16
		if p.name == checkpointField {
			limit = s.size / 2
		}
		value := audit.Visible(audit.Clip(p.value, limit)) // first, for a long one
		if len(p.value) > limit || len(value) > limit {
			value, cut = audit.Clip(value, limit), true
		}
		param := " " + p.name + `="` + escaper.Replace(value) + `"`
		if out.Len()+len(param) > most {
			cut = true
			continue
		}
		out.WriteString(param)
	}
	out.WriteByte(']')
	if cut {
		markCut(out)
	}
}

// paramEscaper escapes a PARAM-VALUE: of what is visible, only these three need it
// (RFC 5424, 6.3.3).
func paramEscaper() *strings.Replacer { return strings.NewReplacer(`"`, `\"`, `\`, `\\`, `]`, `\]`) }

// markCut notes in the structured data that the message was cut.
func markCut(out *bytes.Buffer) {
	const mark = ` truncated="1"]`
	if b := out.Bytes(); len(b) > 0 && b[len(b)-1] == ']' && !bytes.HasSuffix(b, []byte(mark)) {
		out.Truncate(len(b) - 1)
		out.WriteString(mark)
	}
}

// body returns MSG, of at most size bytes if it can be made so, and whether it is
// the whole. A document is made of an event that is bounded, not cut in the middle.
func (s syslogEncoder) body(m Message, size int) (body []byte, whole bool) {
	if s.format != nil {
		for limit := size; limit >= 512; limit /= 2 {
			small, err := audit.Bounded(m.Event, limit)
			if err != nil {
				break
			}
			document := m
			document.Event = small
			b, err := s.format(document)
			if err == nil && len(b) <= size {
				return oneLine(b), limit == size
			}
		}
	}
	m.Event.Message = audit.Clip(m.Event.Message, 2*size) // a long one is not made visible in vain
	text := []byte(m.Text())
	return text, s.format == nil && len(text) <= size
}

// oneLine returns a document in which nothing ends a line.
func oneLine(b []byte) []byte {
	if utf8.Valid(b) && bytes.IndexFunc(b, func(r rune) bool { return r < ' ' || r == 0x7f }) < 0 {
		return b
	}
	return []byte(audit.Visible(string(b)))
}

// clip bounds a text that is visible so that it still is.
func clip(b []byte, size int) []byte {
	if len(b) <= size {
		return b
	}
	return []byte(audit.Clip(string(b), size))
}

// checkpointField is the signed note of a checkpoint, which is of no use unless it is
// whole: syslog has it on one line, the journal with its newlines.
const checkpointField = "checkpoint"

// field is one fact of a message, by the name that it has in syslog's structured
// data and, as PORTAUDIT_NAME, in the journal.
type field struct{ name, value string }

// fieldsOf returns the facts of a message that a receiver may want to search by; the
// record has more. Those that it does not have are left out.
func fieldsOf(m Message) []field {
	e := m.Event
	all := []field{
		{"seq", count(e.Seq)}, {checkpointField, e.Checkpoint}, {"hash", m.Hash}, {"prev", e.Prev}, {"boot", e.Boot},
		{"rule", e.Rule}, {"severity", e.Severity}, {"finding", e.ID}, {"verdict", e.Verdict},
		{"listener", e.Listener}, {"change", e.Change}, {"transport", e.Transport}, {"address", e.Address},
		{"port", count(uint64(e.Port))}, {"interface", e.Interface}, {"namespace", e.Namespace}, {"scope", e.Scope}, {"reach", e.Reach},
	}
	if e.Registry != nil {
		all = append(all, field{"service", strings.Join(e.Registry.Names, " ")})
	}
	all = append(all, ownerFields(e.Owners)...)
	if e.Policy != nil {
		all = append(all, field{"policy", e.Policy.Source}, field{"policy_sha256", e.Policy.SHA256})
	}
	if s := m.Summary; s != nil {
		all = append(all,
			field{"count", strconv.FormatUint(s.Count, 10)}, field{"first_seq", count(s.FirstSeq)}, field{"last_seq", count(s.LastSeq)},
			field{"first", moment(s.First)}, field{"last", moment(s.Last)})
	}
	given := all[:0]
	for _, f := range all {
		if f.value != "" {
			given = append(given, f)
		}
	}
	return given
}

// ownerFields are of the first owner, and say how many there are.
func ownerFields(owners []audit.Owner) []field {
	if len(owners) == 0 {
		return nil
	}
	o := owners[0]
	all := []field{
		{"owners", strconv.Itoa(len(owners))}, {"exe", o.Executable}, {"command", o.Command}, {"user", cmp.Or(o.User, o.SID)},
		{"sha256", o.SHA256}, {"unit", o.Unit}, {"container", cmp.Or(o.ContainerName, o.Container)},
	}
	if o.PID != nil {
		all = append(all, field{"pid", strconv.Itoa(*o.PID)})
	}
	if o.UID != nil {
		all = append(all, field{"uid", strconv.FormatUint(uint64(*o.UID), 10)})
	}
	if p := o.Package; p != nil {
		all = append(all, field{"package", p.Name + " " + p.Version})
	}
	return all
}

// count is "" for 0, which no such number has.
func count(n uint64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatUint(n, 10)
}

func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}
