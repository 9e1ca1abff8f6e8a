package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/portaudit/portaudit/agent"
	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/policy"
)

// factFlag is the flag of a fact that people often suppose.
type factFlag struct{ name, fact, usage string }

func factFlags() []factFlag {
	return []factFlag{
		{"exe", "executable", "suppose the program `PATH`"},
		{"user", "user", "suppose the account `NAME`"},
		{"uid", "uid", "suppose the account of this `NUMBER`"},
		{"unit", "unit", "suppose the systemd unit or Windows service `NAME`"},
		{"container", "container", "suppose the container of this id or `NAME`"},
		{"interface", "interface", "suppose that it is bound to the device `NAME`"},
	}
}

func newExplainPolicy(s *settings) *cobra.Command {
	var asJSON, all bool
	var address string
	var others []string
	values := make([]string, len(factFlags()))
	c := &cobra.Command{
		Use:   "explain LISTENER",
		Short: "Go through the rules for a listener that is there, or might be",
		Long: `Explain tells of each rule of the policy, in order, whether it matches, and on
which condition it fails; then the verdict, with the reasons and remedies of
the rules that matched.

It explains what listens at that place. With flags that say what a listener
might be, or where nothing listens, it explains a supposed one, on all
addresses of this host unless another is given: without facts of an owner, one
of an unknown program; with some, all others are unknown. --fact takes any
condition of the policy language (docs/policy.md).`,
		Example: `  portaudit policy explain 22/tcp
  portaudit policy explain 0.0.0.0:22 --exe /usr/sbin/sshd --user root
  portaudit policy explain 8080/tcp --fact world_writable=true`,
		Args: oneArgument("a port, such as 22 or 53/udp, a service, an address with a port, or an id"),
		RunE: func(c *cobra.Command, args []string) error {
			facts, err := factsOf(c, values, others)
			if err != nil {
				return usage(err)
			}
			e, err := s.explainPolicy(c, args[0], address, facts)
			switch {
			case err != nil:
				return err
			case asJSON:
				return failure(printJSON(c.OutOrStdout(), e))
			}
			return failure(writeExplained(c.OutOrStdout(), screenOf(c.OutOrStdout()), e, all))
		},
	}
	for i, f := range factFlags() {
		c.Flags().StringVar(&values[i], f.name, "", f.usage)
	}
	c.Flags().StringVar(&address, "address", "", "suppose that it listens on `ADDRESS`")
	c.Flags().StringArrayVar(&others, "fact", nil, "suppose `FACT=VALUE`; may be given several times")
	c.Flags().BoolVarP(&all, "verbose", "v", false, "give the reasons and remedies of the rules that did not match, too")
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON document (docs/json.md)")
	s.policyFlag(c)
	s.stateFlag(c)
	s.dataFlag(c)
	s.overlayFlag(c)
	return c
}

// factsOf returns the facts that flags give.
func factsOf(c *cobra.Command, values, others []string) ([]policy.Fact, error) {
	var facts []policy.Fact
	for i, f := range factFlags() {
		if c.Flags().Changed(f.name) {
			facts = append(facts, policy.Fact{Name: f.fact, Value: values[i]})
		}
	}
	for _, text := range others {
		name, value, ok := strings.Cut(text, "=")
		if !ok {
			return nil, fmt.Errorf("--fact wants a condition and its value, such as deleted=true, not %q", text)
		}
		facts = append(facts, policy.Fact{Name: strings.ReplaceAll(name, "-", "_"), Value: value})
	}
	return facts, nil
}

// explained is what policy explain --json prints.
type explained struct {
	Schema    int                 `json:"schema"`
	Host      string              `json:"host"`
	Time      time.Time           `json:"time"`
	Policy    audit.Policy        `json:"policy"`
	Coverage  audit.Coverage      `json:"coverage"`
	Supposed  bool                `json:"supposed"`
	Listeners []agent.Explanation `json:"listeners"`

	nobody bool          // nothing listens there, and no fact was given
	facts  []policy.Fact // that were given
}

// explainPolicy reads what the settings name, and explains. Its errors have their
// exit codes.
func (s *settings) explainPolicy(c *cobra.Command, asked, address string, facts []policy.Fact) (explained, error) {
	resolved, err := s.resolve()
	if err != nil {
		return explained{}, usage(err)
	}
	o, sockets, err := scanOptions(resolved, true)
	if err != nil {
		return explained{}, err
	}
	e, err := explainPolicy(c, o, asked, address, facts)
	err = errors.Join(err, sockets.Close())
	var wrong exitError
	if errors.As(err, &wrong) {
		return e, wrong
	}
	return e, failure(err)
}

// explainPolicy explains what listens at a place, or what is supposed to.
func explainPolicy(c *cobra.Command, o agent.ScanOptions, asked, address string, facts []policy.Fact) (explained, error) {
	e := explained{
		Schema: 1, Host: audit.Visible(o.Host), Time: time.Now().UTC(),
		Policy: audit.Policy{Source: audit.Visible(o.Policy.Source), SHA256: o.Policy.SHA256}, facts: facts,
	}
	q, err := parseQuestion(o.Catalog, asked)
	if err != nil {
		return e, usage(err)
	}
	if len(facts) == 0 && address == "" {
		if e.Listeners, e.Coverage, err = agent.Explain(c.Context(), o, q.about); err != nil || len(e.Listeners) > 0 {
			return e, err
		}
		if q.id != "" {
			return e, usage(fmt.Errorf("no listener has the id %s, and of an id nothing can be supposed: ask by port", q.id))
		}
		e.nobody = true
	}
	s, err := q.supposed(address)
	if err != nil {
		return e, usage(err)
	}
	if s.Facts = facts; !slices.ContainsFunc(facts, func(f policy.Fact) bool { return policy.OfOwner(f.Name) }) {
		s.Facts = append(agent.UnknownProgram(), facts...)
	}
	l, coverage, err := agent.Suppose(c.Context(), o, s)
	var mistakes policy.Errors
	if errors.As(err, &mistakes) {
		return e, usage(fmt.Errorf("suppose %v", mistakes[0])) // no file of a policy's, whose places editors know
	}
	e.Supposed, e.Coverage, e.Listeners = true, coverage, []agent.Explanation{l}
	return e, err
}

// supposed returns the place that a question is about.
func (q question) supposed(address string) (agent.Supposed, error) {
	var s agent.Supposed
	if address == "" {
		address = q.address
	}
	if address != "" && address != "*" {
		a, err := netip.ParseAddr(strings.Trim(address, "[]"))
		if err != nil {
			return s, fmt.Errorf("%q is no address to suppose a listener on: write one such as :: or 192.0.2.1", address)
		}
		s.Address = a
	}
	switch {
	case q.id != "":
		return s, errors.New("an id is that of a listener that is there: ask by port to suppose another")
	case q.kind != 0:
		s.Transport, s.Number = q.kind, q.number
		return s, nil
	case q.refs[0].First != q.refs[0].Last:
		return s, errors.New("a listener is supposed on one port: ask for one of them")
	}
	s.Transport, s.Port = q.refs[0].Transport, q.refs[0].First
	return s, nil
}

// writeExplained prints each rule, and what came of them all.
func writeExplained(w io.Writer, s screen, e explained, all bool) error {
	var b strings.Builder
	for _, l := range e.Listeners {
		switch place := s.paint("bold", agent.EndpointText(l.Listener)); {
		case e.nobody:
			text := "Nothing listens there now"
			if !e.Coverage.Complete {
				text += ", as far as could be seen"
			}
			b.WriteString(s.wrap("", text+". Supposed: "+place+", of an unknown program."))
		case e.Supposed:
			b.WriteString(s.wrap("", "Supposed: "+place+", "+factsText(e.facts)+", whatever listens there now."))
		default:
			b.WriteString(s.wrap("", place+" listens now."))
			for _, o := range l.Owners {
				b.WriteString(s.wrap("  ", "Owner: "+describeOwner(o)+"."))
			}
		}
		writeRules(&b, s, l, all)
		verdict := s.paint(worst(l.Listener), l.Verdict)
		b.WriteString(s.wrap("", "Verdict: "+verdict+", by rule "+l.Rule+" of "+policyText(e.Policy.Source)+"."))
		writeRemedies(&b, s, "  ", l.Findings)
		b.WriteString("\n")
	}
	for _, g := range e.Coverage.Gaps {
		if !e.Supposed || e.nobody {
			b.WriteString(s.wrap("", "Not everything could be seen: "+gapText(g)))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeRules tells of every rule, in order. What a rule found is told behind the
// verdict, where its texts are filled in.
func writeRules(b *strings.Builder, s screen, l agent.Explanation, all bool) {
	for _, step := range l.Steps {
		text := stepText(step)
		if matched(step) {
			text = s.paint("bold", text)
		}
		b.WriteString(s.wrap("  ", text))
		if !all && !matched(step) {
			continue
		}
		if step.Reason != "" {
			b.WriteString(s.wrap("    ", "Reason: "+step.Reason))
		}
		if step.Owner != "" {
			b.WriteString(s.wrap("    ", "Answers for it: "+step.Owner))
		}
		if step.Fix != "" && !matched(step) {
			b.WriteString(s.wrap("    ", "Fix: "+step.Fix))
		}
	}
}

// policyText is how a sentence speaks of a policy.
func policyText(source string) string {
	if source == builtInPolicy {
		return "the " + source
	}
	return source
}

// factsText says what is supposed.
func factsText(facts []policy.Fact) string {
	var parts []string
	if !slices.ContainsFunc(facts, func(f policy.Fact) bool { return policy.OfOwner(f.Name) }) {
		parts = append(parts, "of an unknown program")
	}
	for _, f := range facts {
		parts = append(parts, "with "+f.Name+" "+audit.Visible(f.Value))
	}
	return strings.Join(parts, ", ")
}
