package registry

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// Row is one row of IANA's registry that carries a port, as published: nothing
// in it is resolved against other rows yet.
type Row struct {
	First, Last Port      // the same for a single port
	Transport   Transport // zero where the row states none
	Name        string    // empty where the row has none

	Description  string
	Note         string // IANA's assignment notes
	Unauthorized string // IANA's note of unauthorized use
}

// Limits of what one row may hold; IANA's longest name has 15 bytes (RFC 6335
// section 5.1) and its longest note of 2026 has 1,532.
const (
	maxName = 64
	maxText = 8 << 10
)

// check reports the first thing in r that IANA's registry cannot hold.
func (r Row) check() error {
	switch {
	case r.First > r.Last:
		return fmt.Errorf("the range %d-%d runs backwards", r.First, r.Last)
	case r.Last >= FirstDynamic:
		return fmt.Errorf("port %d lies in the dynamic range, in which IANA assigns nothing (RFC 6335 section 6)", r.Last)
	case int(r.Transport) >= len(transportNames):
		return errors.New("no such transport")
	case r.Name == "" && r.Description == "":
		return errors.New("neither a name nor a description says what the port is")
	case r.Name != "" && !isName(r.Name):
		return fmt.Errorf("%.80q is no service name: a name is 1 to %d printable ASCII characters without a space", r.Name, maxName)
	case len(r.Description) > maxText || len(r.Note) > maxText || len(r.Unauthorized) > maxText:
		return fmt.Errorf("a text is longer than %d bytes", maxText)
	}
	return nil
}

// isName is wider than RFC 6335 section 5.1, because older rows hold names such
// as "EtherNet/IP-2", "whois++" and "matip_type_b".
func isName(s string) bool {
	if s == "" || len(s) > maxName {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// widespread is how IANA marks a row that is no assignment, such as cddbp on
// 888/tcp, which stands beside the assigned accessbuilder.
const widespread = "unassigned but widespread use"

// State returns what the row by itself says of its ports, going by its wording:
// the registry has no column for it. Notes are not asked, save for the one of
// widespread use: "port 3121 previously noted Removed" withdraws nothing.
func (r Row) State() State {
	if strings.Contains(r.Note, widespread) {
		return Unassigned
	}
	words := stateWords(r.Description)
	switch {
	case len(words) == 0:
		return Assigned
	case r.Name != "" && len(words) > 1:
		// "RemoteWare Unassigned" and "Reserved for a future enhancement of
		// STUN-BEHAVIOR" describe a service: only a description which holds
		// nothing but the state, as that of sua on 14001/udp, takes it away.
		return Assigned
	case words[0] == "iana" && len(words) == 2:
		return wordState(words[1])
	default:
		return wordState(words[0])
	}
}

// stateWords splits a description into lower-case words without punctuation, so
// that "De-Commissioned Port" and "(unassigned)" begin with a known word.
func stateWords(description string) []string {
	s := strings.ReplaceAll(strings.ToLower(description), "-", "")
	return strings.FieldsFunc(s, func(c rune) bool { return !unicode.IsLetter(c) && !unicode.IsDigit(c) })
}

func wordState(word string) State {
	switch word {
	case "unassigned":
		return Unassigned
	case "reserved", "deregistered", "removed", "deprecated", "decommissioned", "decomissioned", "deassigned":
		return Reserved
	default:
		return Assigned
	}
}

// tidy returns s on one line: every run of white space and of characters that
// no terminal should be sent becomes a single space.
func tidy(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(c rune) bool {
		return unicode.IsSpace(c) || !unicode.IsPrint(c) || c == unicode.ReplacementChar
	}), " ")
}
