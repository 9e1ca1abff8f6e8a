package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/portaudit/portaudit/agent"
	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/policy"
	"github.com/portaudit/portaudit/registry"
)

func newExplain(s *settings) *cobra.Command {
	var asJSON, everyRule bool
	c := &cobra.Command{
		Use:   "explain PORT | PORT/TRANSPORT | NAME | ADDRESS:PORT | ID",
		Short: "Say everything that is known of a port or a listener, in sentences",
		Long: `Explain tells what a port is: its range, what IANA registered for it, what it
is commonly used for, who listens on it now, and which rule of the policy
decides on that listener, and why.

Ask by port, by service name, by the address that something listens on, or by
the id of a listener or finding from the output of scan --json.`,
		Example: `  portaudit explain 8080
  portaudit explain 53/udp
  portaudit explain ssh
  portaudit explain 127.0.0.1:631`,
		Args: oneArgument("a port, such as 22 or 53/udp, a service, an address with a port, or an id"),
		RunE: func(c *cobra.Command, args []string) error {
			resolved, err := s.resolve()
			if err != nil {
				return usage(err)
			}
			o, sockets, err := scanOptions(resolved, true)
			if err != nil {
				return err
			}
			q, err := parseQuestion(o.Catalog, args[0])
			if err != nil {
				return usage(errors.Join(err, sockets.Close()))
			}
			answer, err := explain(c, o, q)
			if err = errors.Join(err, sockets.Close()); err != nil {
				return failure(err)
			}
			if asJSON {
				return failure(printJSON(c.OutOrStdout(), answer))
			}
			return failure(writeAnswer(c.OutOrStdout(), screenOf(c.OutOrStdout()), answer, everyRule))
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON document (docs/json.md)")
	c.Flags().BoolVar(&everyRule, "rules", false, "say of every rule of the policy whether it matched, and why not")
	s.policyFlag(c)
	s.stateFlag(c)
	s.dataFlag(c)
	s.overlayFlag(c)
	return c
}

// question is what the user wants explained: ports, a live endpoint, a socket
// without a port of IANA's, or the id of a listener or finding.
type question struct {
	refs    []registry.Ref
	address string             // of a live endpoint, beside refs
	kind    registry.Transport // with number: of a socket that refs cannot name
	number  uint32
	id      string
}

// maxPorts bounds the ports of one question: each is told of in sentences.
const maxPorts = 100

// parseQuestion reads the argument of explain.
func parseQuestion(catalog *registry.Catalog, text string) (question, error) {
	if q, ok, err := parseSocket(text); ok {
		return q, err
	}
	refs, err := parseRefs(catalog, text)
	if err == nil {
		if refs[0].Last > refs[0].First && refs[0].Last-refs[0].First > maxPorts {
			return question{}, fmt.Errorf("%q are too many ports to explain: ask for %d or fewer, or use registry lookup", text, maxPorts)
		}
		return question{refs: refs}, nil
	}
	if host, port, splitErr := net.SplitHostPort(text); splitErr == nil {
		refs, err := parseRefs(catalog, port)
		return question{refs: refs, address: host}, err
	}
	if len(text) == 16 && strings.Trim(text, "0123456789abcdef") == "" {
		return question{id: text}, nil
	}
	return question{}, err
}

// parseSocket reads NUMBER/raw, NUMBER/packet and NUMBER/vsock, the number in
// decimal or, as EtherTypes are written, in hexadecimal. ok says that the text
// asks for such a socket.
func parseSocket(text string) (q question, ok bool, err error) {
	number, kind, _ := strings.Cut(text, "/")
	t, err := registry.ParseSocketTransport(strings.ToLower(kind))
	if err != nil || t.Assigned() != 0 {
		return question{}, false, nil
	}
	digits, base := number, 10
	if hex, ok := strings.CutPrefix(strings.ToLower(number), "0x"); ok {
		digits, base = hex, 16
	}
	n, err := strconv.ParseUint(digits, base, 32)
	if err != nil {
		return question{}, true, fmt.Errorf("%q is no number of a %s socket: write it like 1/raw, 0x88cc/packet or 1024/vsock", number, t)
	}
	return question{kind: t, number: uint32(n)}, true, nil
}

// about reports whether a listener is what was asked for.
func (q question) about(l agent.Listener) bool {
	switch {
	case q.id != "":
		return l.ID == q.id || slices.ContainsFunc(l.Findings, func(f agent.Finding) bool { return f.ID == q.id })
	case q.kind != 0:
		return l.Transport == q.kind.String() && l.Port == q.number
	case q.address != "" && l.Address != q.address && agent.AddressText(l) != q.address:
		return false
	}
	t, err := registry.ParseSocketTransport(l.Transport)
	return err == nil && slices.ContainsFunc(q.refs, func(r registry.Ref) bool {
		return r.Transport == t.Assigned() && uint32(r.First) <= l.Port && l.Port <= uint32(r.Last)
	})
}

// answer is what explain --json prints.
type answer struct {
	Schema    int                 `json:"schema"`
	Host      string              `json:"host"`
	Time      time.Time           `json:"time"`
	Policy    audit.Policy        `json:"policy"`
	Coverage  audit.Coverage      `json:"coverage"`
	Ports     []entry             `json:"ports"`
	Listeners []agent.Explanation `json:"listeners"`
	Supposed  *supposed           `json:"supposed,omitempty"`

	facts []registry.Facts
}

// supposed is what the policy would say of an unknown program, where nothing
// listens now.
type supposed struct {
	Verdict string       `json:"verdict"`
	Rule    string       `json:"rule"`
	Steps   []agent.Step `json:"steps"`
}

func explain(c *cobra.Command, o agent.ScanOptions, q question) (answer, error) {
	a := answer{
		Schema: 1, Host: audit.Visible(o.Host), Time: time.Now().UTC(), Ports: []entry{},
		Policy: audit.Policy{Source: audit.Visible(o.Policy.Source), SHA256: o.Policy.SHA256},
	}
	var err error
	if a.Listeners, a.Coverage, err = agent.Explain(c.Context(), o, q.about); err != nil {
		return a, err
	}
	if q.id != "" {
		for _, l := range a.Listeners {
			t, err := registry.ParseSocketTransport(l.Transport)
			if err != nil {
				return a, err
			}
			if port := registry.Port(l.Port); t.Assigned() != 0 { // of the others the registry knows nothing
				q.refs = append(q.refs, registry.Ref{First: port, Last: port, Transport: t.Assigned()})
			}
		}
	}
	err = facts(o.Catalog, q.refs, func(f registry.Facts) error {
		a.facts, a.Ports = append(a.facts, f), append(a.Ports, entryOf(f))
		return nil
	})
	if err == nil && len(a.Listeners) == 0 && len(q.refs) > 0 {
		l, _, err := agent.Suppose(c.Context(), o, agent.Supposed{Transport: q.refs[0].Transport, Port: q.refs[0].First, Facts: agent.UnknownProgram()})
		if err != nil {
			return a, err
		}
		a.Supposed = &supposed{Verdict: l.Verdict, Rule: l.Rule, Steps: l.Steps}
	}
	return a, err
}

// writeAnswer prints the explanation in sentences.
func writeAnswer(w io.Writer, s screen, a answer, everyRule bool) error {
	var b strings.Builder
	for i, f := range a.facts {
		if f.State == registry.NoStatement && f.Range != registry.Dynamic && len(a.facts) > 1 {
			continue // SCTP and DCCP, of which IANA says nothing here
		}
		if f.Range == registry.Dynamic && i > 0 && a.facts[i-1].Port == f.Port {
			continue // the same sentences for each transport
		}
		if i > 0 && sameAssignment(a.facts[i-1], f) {
			b.WriteString(s.wrap("", f.Port.String()+"/"+f.Transport.String()+" is assigned the same.") + "\n")
			continue // IANA's aim: the same for all transports, to the extent possible
		}
		writeFacts(&b, s, f)
	}
	if len(a.Listeners) == 0 {
		writeNobody(&b, s, a)
	}
	for _, l := range a.Listeners {
		writeListener(&b, s, l, everyRule, "--rules says of each why")
	}
	for _, g := range a.Coverage.Gaps {
		b.WriteString(s.wrap("", "Not everything could be seen: "+gapText(g)))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// sameAssignment reports whether two transports of a port are assigned to the
// same service.
func sameAssignment(a, b registry.Facts) bool {
	return a.Port == b.Port && a.State == registry.Assigned && b.State == registry.Assigned &&
		slices.Equal(a.IANA, b.IANA) && a.Note == b.Note && (b.Common == nil || a.Common != nil && *a.Common == *b.Common)
}

func writeFacts(b *strings.Builder, s screen, f registry.Facts) {
	port := f.Port.String() + "/" + f.Transport.String()
	text := s.paint("bold", port) + " is a " + rangeSentence(f)
	names := f.IANA
	switch f.State {
	case registry.Assigned:
		if len(names) == 0 {
			text += " IANA assigned it without a service name"
		} else {
			text += " IANA assigned it to " + names[0]
		}
		if len(names) > 1 {
			text += ", also called " + strings.Join(names[1:], ", ")
		}
	case registry.Reserved:
		text += " IANA has reserved it"
	case registry.Unassigned:
		text += " IANA has not assigned it"
	default:
		text += " IANA says nothing of it"
	}
	if f.Description != "" && f.State == registry.Assigned {
		text += " (" + strings.Join(strings.Fields(f.Description), " ") + ")"
	}
	text += "."
	if f.Site != nil {
		text += " At this site it is " + f.Site.Name
		if f.Site.Owner != "" {
			text += ", of " + f.Site.Owner
		}
		text += "."
	}
	if f.Common != nil {
		text += " It is commonly used by " + f.Common.Name + ". " + f.Common.Why
	}
	b.WriteString(s.wrap("", text))
	writeNotes(b, s, "", f)
	b.WriteString("\n")
}

func writeNobody(b *strings.Builder, s screen, a answer) {
	text := "Nothing listens there now"
	if !a.Coverage.Complete {
		text += ", as far as could be seen"
	}
	text += "."
	if a.Supposed != nil {
		text += " If an unknown program opened it on all addresses, rule " + a.Supposed.Rule +
			" of the " + a.Policy.Source + " would decide: " + a.Supposed.Verdict + "."
	}
	b.WriteString(s.wrap("", text))
}

func writeListener(b *strings.Builder, s screen, l agent.Explanation, everyRule bool, hint string) {
	b.WriteString(s.paint("bold", agent.EndpointText(l.Listener)) + "\n")
	for _, o := range l.Owners {
		b.WriteString(s.wrap("  ", "Owner: "+describeOwner(o)+"."))
	}
	if l.Interface != "" && l.Transport != registry.VSOCK.String() {
		b.WriteString(s.wrap("  ", "It is bound to the device "+l.Interface+"."))
	}
	b.WriteString(s.wrap("  ", reachSentence(l.Listener)))
	if text := privilegeSentence(l.Listener); text != "" {
		b.WriteString(s.wrap("  ", text))
	}
	verdict := s.paint(worst(l.Listener), l.Verdict)
	b.WriteString(s.wrap("  ", "Verdict: "+verdict+", by rule "+l.Rule+"."))
	writeRemedies(b, s, "    ", l.Findings)
	writeSteps(b, s, l.Steps, func(step agent.Step) bool { return everyRule || matched(step) }, hint)
	b.WriteString("\n")
}

func writeRemedies(b *strings.Builder, s screen, indent string, findings []agent.Finding) {
	for _, f := range findings {
		b.WriteString(s.wrap(indent, strings.ToUpper(f.Severity)+" "+f.Rule+": "+f.Message))
		if f.Why != "" {
			b.WriteString(s.wrap(indent, "Why: "+f.Why))
		}
		if f.Fix != "" {
			b.WriteString(s.wrap(indent, "Fix: "+f.Fix))
		}
	}
}

// stepText says what became of a rule.
func stepText(s agent.Step) string {
	text := s.Rule + " (" + s.Verdict + "): " + s.Outcome
	if s.Failed != "" {
		text += ": " + s.Failed
	}
	return text
}

func matched(s agent.Step) bool { return s.Outcome == policy.Matched.String() }

// writeSteps tells how the policy came to its verdict: of the rules that told
// selects what became of them. The hint says how to see the others.
func writeSteps(b *strings.Builder, s screen, steps []agent.Step, told func(agent.Step) bool, hint string) {
	if len(steps) == 0 {
		return
	}
	b.WriteString("  Rules of the policy, in order:\n")
	others := 0
	for _, step := range steps {
		if !told(step) {
			others++
			continue
		}
		text := stepText(step)
		if matched(step) && step.Reason != "" {
			text += ". Reason: " + step.Reason
		}
		b.WriteString(s.wrap("    ", text))
	}
	if others > 0 {
		b.WriteString(s.wrap("    ", counted(others, "other rule")+" did not match or were not reached; "+hint+"."))
	}
}
