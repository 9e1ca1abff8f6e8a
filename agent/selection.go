package agent

import (
	"bytes"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/policy"
	"github.com/portaudit/portaudit/registry"
)

// Selection says which records a question to the log is about: those of which all
// that it names is so. The zero value takes all.
type Selection struct {
	Since, Until time.Time // Since inclusive, Until exclusive
	After        uint64    // a sequence number
	Port         PortRange32
	Transport    string          // "" is any
	User         string          // name, number or SID of an owner's account
	Executable   string          // of an owner: path, pattern of one, or base name
	Rule         string          // that found something, or decided
	Severity     policy.Severity // this one and above
	Event        string          // a kind, or what stands before its point
	Container    string          // of an owner: name, or what its id begins with
	Unit         string          // of an owner
}

// PortRange32 is a range of ports, or of what stands in for them, both ends
// included. The zero value is none: no record has port 0.
type PortRange32 struct{ First, Last uint32 }

// ParsePorts reads 8080, 8080/tcp, 8000-8100, 8000-8100/udp, 0x88cc/packet.
func ParsePorts(text string) (ports PortRange32, transport string, err error) {
	numbers, transport, named := strings.Cut(text, "/")
	if named {
		t, err := registry.ParseSocketTransport(strings.ToLower(transport))
		if err != nil {
			return ports, "", err
		}
		transport = t.String()
	}
	first, last, ranged := strings.Cut(numbers, "-")
	if !ranged {
		last = first
	}
	low, errLow := parsePort(first)
	high, errHigh := parsePort(last)
	wide := transport == registry.VSOCK.String()
	switch {
	case errLow != nil || errHigh != nil || low == 0 || !wide && high > 65535:
		return ports, "", fmt.Errorf("%q is no port: write one like 8080, 8080/tcp, 8000-8100 or 0x88cc/packet", audit.Clip(text, 64))
	case high < low:
		return ports, "", fmt.Errorf("%q ends before it begins", text)
	}
	return PortRange32{low, high}, transport, nil
}

// parsePort reads a number in decimal or, as EtherTypes are written, hexadecimal.
func parsePort(text string) (uint32, error) {
	digits, base := strings.ToLower(text), 10
	if hex, ok := strings.CutPrefix(digits, "0x"); ok {
		digits, base = hex, 16
	}
	n, err := strconv.ParseUint(digits, base, 32)
	return uint32(n), err
}

// Range is what the log itself can bound.
func (s Selection) Range() audit.Range {
	return audit.Range{After: s.After, Since: s.Since, Until: s.Until}
}

// Takes reports whether a record is one of the selection.
func (s Selection) Takes(e audit.Event) bool {
	switch {
	case e.Seq <= s.After, !s.Since.IsZero() && e.Time.Before(s.Since), !s.Until.IsZero() && !e.Time.Before(s.Until):
		return false
	case !s.takesKind(e.Event), s.Rule != "" && e.Rule != s.Rule:
		return false
	case s.Transport != "" && e.Transport != s.Transport:
		return false
	case s.Port.First > 0 && (e.Port < s.Port.First || e.Port > s.Port.Last):
		return false
	case s.Severity > policy.None && !atLeast(e.Severity, s.Severity):
		return false
	}
	return s.User+s.Executable+s.Container+s.Unit == "" || slices.ContainsFunc(e.Owners, s.takesOwner)
}

func (s Selection) takesKind(kind string) bool {
	return s.Event == "" || kind == s.Event || strings.HasPrefix(kind, s.Event+".")
}

func atLeast(word string, least policy.Severity) bool {
	severity, err := policy.ParseSeverity(word)
	return err == nil && severity >= least
}

// takesOwner reports whether one owner has all that is asked of an owner.
func (s Selection) takesOwner(o audit.Owner) bool {
	switch {
	case s.User != "" && !hasAccount(o, s.User):
		return false
	case s.Executable != "" && !hasExecutable(o, s.Executable):
		return false
	case s.Container != "" && o.ContainerName != s.Container && (o.Container == "" || !strings.HasPrefix(o.Container, s.Container)):
		return false
	}
	return s.Unit == "" || o.Unit == s.Unit || slices.Contains(o.Services, s.Unit)
}

func hasAccount(o audit.Owner, account string) bool {
	if o.User == account || o.SID != "" && o.SID == account {
		return true
	}
	return o.UID != nil && strconv.FormatUint(uint64(*o.UID), 10) == account
}

// hasExecutable compares as the system of the owner does: on Windows without regard
// to case. A base name is also that of a program whose path is unknown.
func hasExecutable(o audit.Owner, asked string) bool {
	file := o.Executable
	if file == "" {
		file, _, _ = strings.Cut(o.Command, " ")
	}
	if isWindows(file) && strings.Contains(file, `\`) {
		file = strings.ToLower(strings.ReplaceAll(file, `\`, "/"))
		asked = strings.ToLower(strings.ReplaceAll(asked, `\`, "/"))
	}
	if !strings.Contains(asked, "/") {
		file = path.Base(file)
	}
	if file == asked {
		return true
	}
	match, err := path.Match(asked, file)
	return err == nil && match
}

// Check refuses what can never be so.
func (s Selection) Check() error {
	if _, err := path.Match(s.Executable, ""); err != nil {
		return fmt.Errorf("%q is no pattern: a [ wants a ]", s.Executable)
	}
	if !slices.ContainsFunc(audit.Kinds(), s.takesKind) {
		return fmt.Errorf("%q is no kind of record: known are %s, and what stands before a point, such as finding",
			audit.Clip(s.Event, 64), strings.Join(slices.Sorted(slices.Values(audit.Kinds())), ", "))
	}
	if !s.Since.IsZero() && !s.Until.IsZero() && !s.Since.Before(s.Until) {
		return fmt.Errorf("no time lies between %s and %s: since comes first", s.Since.Format(time.RFC3339), s.Until.Format(time.RFC3339))
	}
	return nil
}

// A Filter leaves out lines that are certainly not of a selection, by looking at
// their bytes: most records need not be decoded.
type Filter struct {
	selection Selection
	texts     []needle // each must be in the line
	grave     [][]byte // one of these must be in the line
	exact     bool     // no record need be decoded
}

// needle is a text that a line of the selection has, unless it is written with an
// escape: of letters and digits alone, only as \u0061 can be.
type needle struct{ text, escape []byte }

func needleOf(text string) needle {
	escape := `\u`
	if strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") != "" {
		escape = `\`
	}
	return needle{[]byte(text), []byte(escape)}
}

func (n needle) mayBeIn(line []byte) bool {
	return bytes.Contains(line, n.text) || bytes.Contains(line, n.escape)
}

// Filter makes the filter of a selection.
func (s Selection) Filter() Filter {
	rest := s
	rest.Since, rest.Until, rest.After, rest.Event = time.Time{}, time.Time{}, 0, ""
	f := Filter{selection: s, exact: rest == Selection{}}
	for _, text := range []string{s.Rule, s.Transport, s.Container, s.Unit, s.User} {
		if text != "" {
			f.texts = append(f.texts, needleOf(text))
		}
	}
	if text := literal(s.Executable); text != "" {
		// A path of Windows, where the case of letters says nothing, has a backslash.
		f.texts = append(f.texts, needle{[]byte(text), []byte(`\`)})
	}
	if p := s.Port; p.First > 0 && p.First == p.Last {
		digits := strconv.AppendUint(nil, uint64(p.First), 10)
		f.texts = append(f.texts, needle{digits, digits}) // a number has no escapes
	}
	for level := s.Severity; level > policy.None && level <= policy.Critical; level++ {
		f.grave = append(f.grave, []byte(level.String()))
	}
	return f
}

// literal is the longest part of a pattern that what matches it must contain.
func literal(pattern string) string {
	longest := ""
	for _, part := range strings.FieldsFunc(pattern, func(r rune) bool { return strings.ContainsRune(`*?\`, r) }) {
		part, _, class := strings.Cut(part, "[")
		if len(part) > len(longest) {
			longest = part
		}
		if class {
			break // what follows may belong to it
		}
	}
	return longest
}

// MayTake reports whether the line may be one of the selection, which its record
// then says.
func (f Filter) MayTake(l audit.Line) bool {
	s := f.selection
	if l.Seq <= s.After || !s.Since.IsZero() && l.Time.Before(s.Since) || !s.Until.IsZero() && !l.Time.Before(s.Until) {
		return false
	}
	if !s.takesKind(l.Kind) || !f.mayBeGrave(l.Raw) {
		return false
	}
	for _, n := range f.texts {
		if !n.mayBeIn(l.Raw) {
			return false
		}
	}
	return f.selection.Port.First == 0 || f.mayHavePort(l.Raw)
}

func (f Filter) mayBeGrave(line []byte) bool {
	has := func(text []byte) bool { return bytes.Contains(line, text) }
	return len(f.grave) == 0 || slices.ContainsFunc(f.grave, has) || bytes.Contains(line, []byte(`\u`))
}

// mayHavePort looks for the port where a record has it.
func (f Filter) mayHavePort(line []byte) bool {
	has := false
	clear := members(line, func(key, value []byte) bool {
		if string(key) != "port" {
			return true
		}
		n, ok := plainNumber(value)
		has = has || !ok || n >= uint64(f.selection.Port.First) && n <= uint64(f.selection.Port.Last)
		return true
	})
	return has || !clear
}

// Takes reports whether the line is one of the selection.
func (f Filter) Takes(l audit.Line) (bool, error) {
	if f.exact {
		return f.MayTake(l), nil
	}
	_, taken, err := f.Select(l)
	return taken, err
}

// Select returns the record of a line if it is one of the selection.
func (f Filter) Select(l audit.Line) (e audit.Event, taken bool, err error) {
	if !f.MayTake(l) {
		return audit.Event{}, false, nil
	}
	e, err = l.Event()
	return e, err == nil && f.selection.Takes(e), err
}
