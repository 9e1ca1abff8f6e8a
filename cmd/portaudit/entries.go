package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/portaudit/portaudit/registry"
)

// printEntries prints a JSON array, one line for each port and transport. It
// streams: the whole registry is a quarter of a million of them.
func printEntries(w io.Writer, catalog *registry.Catalog, refs []registry.Ref) error {
	out := bufio.NewWriter(w)
	var line bytes.Buffer
	encoder := json.NewEncoder(&line)
	encoder.SetEscapeHTML(false)
	separator := "[\n"
	err := facts(catalog, refs, func(f registry.Facts) error {
		line.Reset()
		if err := encoder.Encode(entryOf(f)); err != nil {
			return err
		}
		_, _ = out.WriteString(separator) // a bufio.Writer keeps its first error for Flush
		_, _ = out.Write(bytes.TrimSuffix(line.Bytes(), []byte("\n")))
		separator = ",\n"
		return nil
	})
	if err != nil {
		return err
	}
	_, _ = out.WriteString("\n]\n")
	return out.Flush()
}

// writeEntries prints what is registered for people: each port that says
// something on its own, a run of ports that say the same and nothing as one.
func writeEntries(w io.Writer, s screen, catalog *registry.Catalog, refs []registry.Ref) error {
	var b strings.Builder
	var silent silence
	detailed := len(refs) <= len(registry.Transports) && refs[0].First == refs[len(refs)-1].Last
	err := facts(catalog, refs, func(f registry.Facts) error {
		if f.State == registry.NoStatement && len(refs) > 1 && f.Range != registry.Dynamic && len(f.Names) == 0 {
			return nil // SCTP and DCCP of a port, which nobody asked for by name
		}
		if !detailed && f.State == registry.Unassigned && len(f.Names) == 0 && f.Common == nil {
			silent.add(&b, f)
			return nil
		}
		silent.flush(&b)
		writeEntry(&b, s, f, detailed)
		return nil
	})
	if err != nil {
		return err
	}
	silent.flush(&b)
	_, err = io.WriteString(w, b.String())
	return err
}

// silence is a run of ports that are unassigned for both TCP and UDP, or for one.
type silence struct {
	first, last registry.Port
	transports  []string
	open        bool
}

func (r *silence) add(b *strings.Builder, f registry.Facts) {
	if r.open && f.Port > r.last+1 {
		r.flush(b)
	}
	if !r.open {
		*r = silence{first: f.Port, open: true}
	}
	r.last = f.Port
	for _, t := range r.transports {
		if t == f.Transport.String() {
			return
		}
	}
	r.transports = append(r.transports, f.Transport.String())
}

func (r *silence) flush(b *strings.Builder) {
	if !r.open {
		return
	}
	ports := r.first.String()
	if r.last > r.first {
		ports += "-" + r.last.String()
	}
	fmt.Fprintf(b, "%-16s unassigned\n", ports+"/"+strings.Join(r.transports, ","))
	*r = silence{}
}

// writeEntry prints one port of one transport.
func writeEntry(b *strings.Builder, s screen, f registry.Facts, detailed bool) {
	const indent = "                 "
	line := f.State.String()
	if names := f.IANA; len(names) > 0 {
		line += "  " + s.paint("bold", names[0])
		if len(names) > 1 {
			line += " (also " + strings.Join(names[1:], ", ") + ")"
		}
	}
	if f.Description != "" && !strings.EqualFold(f.Description, f.State.String()) {
		line += "  " + strings.Join(strings.Fields(f.Description), " ")
	}
	b.WriteString(s.hang(fmt.Sprintf("%-*s", len(indent), f.Port.String()+"/"+f.Transport.String()), indent, line))
	if f.Site != nil {
		owner := ""
		if f.Site.Owner != "" {
			owner = ", of " + f.Site.Owner
		}
		b.WriteString(s.wrap(indent, "Here: "+f.Site.Name+owner))
	}
	if f.Common != nil {
		b.WriteString(s.wrap(indent, "Commonly "+f.Common.Name+". "+f.Common.Why))
	}
	if !detailed {
		return
	}
	b.WriteString(s.wrap(indent, rangeSentence(f)))
	writeNotes(b, s, indent, f)
}

// maxNote bounds a note on the screen, in bytes: a few of IANA's are pages long.
const maxNote = 240

// writeNotes prints IANA's notes of an assignment and of unauthorized use.
func writeNotes(b *strings.Builder, s screen, indent string, f registry.Facts) {
	for _, note := range []string{f.Note, f.Unauthorized} {
		for line := range strings.Lines(note) {
			if len(line) > maxNote {
				line = strings.ToValidUTF8(line[:maxNote], "") + "… (the whole is in --json)"
			}
			b.WriteString(s.wrap(indent, "IANA notes: "+line))
		}
	}
}

// rangeSentence says which of the three ranges a port lies in.
func rangeSentence(f registry.Facts) string {
	var text string
	switch f.Range {
	case registry.WellKnown:
		text = "Well Known Port (RFC 6335: System Port, 0-1023), which on most systems only privileged processes can open"
	case registry.Registered:
		text = "Registered Port (RFC 6335: User Port, 1024-49151)"
	default:
		text = "Dynamic and/or Private Port (49152-65535): never assigned to a service"
	}
	if f.Historic {
		text += "; it is one of the first 256, once the whole range of assignments"
	}
	return text + "."
}
