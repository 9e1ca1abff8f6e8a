package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/portaudit/portaudit/agent"
	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/policy"
)

func newReplay(s *settings) *cobra.Command {
	var candidate, since string
	var asJSON bool
	c := &cobra.Command{
		Use:   "replay",
		Short: "Try a policy on the audit log before it is put in force",
		Long: `Replay runs a policy, the candidate, over the audit log, and shows which
findings it would have raised that today's policy does not, which would be
gone, and which both make. Both policies decide anew, by the facts that the
log holds; where the log itself said otherwise, or a decision hung on a fact
that it does not hold, it says so. It changes nothing.

Without --policy the candidate is today's policy: what is shown then is what
it finds on the past.

Exit codes: 0 the candidate raises nothing new; 1 the log could not be read,
or the output not be written; 2 a bad policy or a wrong call; 3 it raises
something that today's policy does not.`,
		Example: `  sudo portaudit policy replay --policy next.yaml
  sudo portaudit policy replay --since 7d --policy next.yaml --json
  portaudit policy replay --log-dir ./log --today old.yaml --policy new.yaml`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error { return runReplay(c, *s, candidate, since, asJSON) },
	}
	c.Flags().StringVar(&candidate, "policy", "", "the candidate: policy `FILE` to try (default today's)")
	c.Flags().StringVar(&s.policy, "today", "", "today's policy: `FILE` (default the one that \"portaudit run\" would use)")
	c.Flags().StringVar(&since, "since", "30d", "how far back: a `TIME`, such as 12h or 7d")
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON document (docs/json.md)")
	s.logFlag(c)
	s.dataFlag(c)
	s.overlayFlag(c)
	return c
}

// replayed is what policy replay --json prints.
type replayed struct {
	Schema    int                 `json:"schema"`
	Host      string              `json:"host"`
	Time      time.Time           `json:"time"`
	Since     time.Time           `json:"since"`
	Until     *time.Time          `json:"until"`
	Records   int                 `json:"records"`
	Listeners int                 `json:"listeners"`
	Today     audit.Policy        `json:"today"`
	Candidate audit.Policy        `json:"candidate"`
	Rules     []agent.TrialRule   `json:"rules"`
	Decisions int                 `json:"decisions"`
	Untried   int                 `json:"untried"`
	Hung      agent.Sides         `json:"hung"`
	Unsure    []agent.TrialUnsure `json:"unsure"`
	Recorded  agent.TrialRecorded `json:"recorded"`
}

func runReplay(c *cobra.Command, s settings, candidate, since string, asJSON bool) error {
	span, err := parseSpan("since", since)
	if err != nil {
		return usage(err)
	}
	if s, err = s.resolve(); err != nil {
		return usage(err)
	}
	today, err := loadPolicy(s.policy)
	if err != nil {
		return usage(err)
	}
	next, err := loadPolicy(cmp.Or(candidate, s.policy))
	if err != nil {
		return usage(err)
	}
	catalog, err := loadCatalog(s)
	if err != nil {
		return usage(err)
	}
	r, err := replay(agent.TrialOptions{LogDir: s.logDir, Since: time.Now().UTC().Add(-span), Catalog: catalog, Today: today, Candidate: next})
	if err != nil {
		return failure(withRemedy(err, "--log-dir"))
	}
	if asJSON {
		err = printJSON(c.OutOrStdout(), r)
	} else {
		err = writeReplay(c.OutOrStdout(), screenOf(c.OutOrStdout()), r)
	}
	if err == nil && r.has(agent.OutcomeRaised) {
		return exitError{code: exitFindings}
	}
	return failure(err)
}

func replay(o agent.TrialOptions) (replayed, error) {
	t, err := agent.Try(o)
	named := func(p *policy.Policy) audit.Policy {
		return audit.Policy{Source: audit.Visible(p.Source), SHA256: p.SHA256}
	}
	return replayed{
		Schema: 1, Host: audit.Visible(hostName()), Time: time.Now().UTC(), Since: o.Since, Until: known(t.Until),
		Records: t.Records, Listeners: t.Listeners, Today: named(o.Today), Candidate: named(o.Candidate),
		Rules: t.Rules, Decisions: t.Decisions, Untried: t.Untried, Hung: t.Hung, Unsure: t.Unsure, Recorded: t.Recorded,
	}, err
}

// has reports whether a rule has the outcome.
func (r replayed) has(outcome string) bool {
	for _, rule := range r.Rules {
		if rule.Outcome == outcome {
			return true
		}
	}
	return false
}

// Widths of the table's columns, which with what is between them fill 80.
const (
	replayRule     = 34
	replaySeverity = 14
)

// writeReplay prints the trial for people.
func writeReplay(w io.Writer, s screen, r replayed) error {
	var b strings.Builder
	b.WriteString(s.wrap("", fmt.Sprintf("Since %s: %s about %s.", local(r.Since), counted(r.Records, "record"), counted(r.Listeners, "listener"))))
	b.WriteString(s.wrap("", fmt.Sprintf("Today: %s. Candidate: %s. Both decided anew, by the facts that the log holds.", r.Today.Source, r.Candidate.Source)))
	if !r.has(agent.OutcomeRaised) {
		b.WriteString("\n" + s.wrap("", "The candidate finds nothing that today's policy does not."))
	}
	if len(r.Rules) > 0 {
		fmt.Fprintf(&b, "\n%-*s  %-*s  %8s  %6s  %7s\n", replayRule, "RULE", replaySeverity, "SEVERITY", "FINDINGS", "RAISED", "CLEARED")
	}
	writeOutcome(&b, s, r, agent.OutcomeRaised, "New: found by the candidate alone")
	writeOutcome(&b, s, r, agent.OutcomeGone, "Gone: found by today's policy alone")
	writeOutcome(&b, s, r, agent.OutcomeSame, "Same: found by both")
	b.WriteString("\n" + s.wrap("", hungSentence(r)))
	if r.Untried > 0 {
		b.WriteString(s.wrap("", fmt.Sprintf("Not tried: %s of the candidate's that are about the host, or about what must listen.", counted(r.Untried, "rule"))))
	}
	b.WriteString(s.wrap("", recordedSentence(r.Recorded)))
	for _, e := range r.Recorded.Examples {
		b.WriteString(s.wrap("  ", audit.Visible(fmt.Sprintf("%s %s: %s by %s then, %s by %s now", local(e.Time), e.Endpoint, e.Recorded.Verdict, e.Recorded.Rule, e.Today.Verdict, e.Today.Rule))))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeOutcome prints the rules of one outcome, with examples.
func writeOutcome(b *strings.Builder, s screen, r replayed, outcome, title string) {
	if !r.has(outcome) {
		return
	}
	b.WriteString("\n" + s.paint("bold", title) + "\n")
	for _, rule := range r.Rules {
		if rule.Outcome != outcome {
			continue
		}
		name, severity := rule.Rule, rule.Severity
		if rule.Was != "" {
			severity += " (" + rule.Was + ")"
		}
		if len(name) > replayRule {
			b.WriteString(name + "\n")
			name = ""
		}
		fmt.Fprintf(b, "%-*s  %s%s  %8d  %6d  %7d\n", replayRule, name, s.paint(rule.Severity, severity), strings.Repeat(" ", max(0, replaySeverity-len(severity))), rule.Findings, rule.Raised, rule.Cleared)
		if outcome == agent.OutcomeSame && rule.Was == "" {
			continue // nothing changes
		}
		for _, e := range rule.Examples {
			b.WriteString(s.wrap("  ", audit.Visible(fmt.Sprintf("%s, %s, from %s", e.Endpoint, e.Owners, local(e.First)))))
		}
		if more := rule.Findings - len(rule.Examples); more > 0 {
			fmt.Fprintf(b, "  and %d more\n", more)
		}
	}
}

// hungSentence says how far the decisions can be trusted.
func hungSentence(r replayed) string {
	if r.Hung == (agent.Sides{}) {
		return fmt.Sprintf("%s by each policy, and none hung on a fact that the log does not hold.", counted(r.Decisions, "decision"))
	}
	text := fmt.Sprintf("Of %s each, %d of the candidate's and %d of today's hung on a fact that the log does not hold", counted(r.Decisions, "decision"), r.Hung.Candidate, r.Hung.Today)
	var rules []string
	for _, u := range r.Unsure {
		if u.Policy == "candidate" && len(rules) < 5 {
			rules = append(rules, fmt.Sprintf("%s %d", u.Rule, u.Decisions))
		}
	}
	if len(rules) > 0 {
		text += " (the candidate's by rule: " + strings.Join(rules, ", ") + ")"
	}
	return text + "."
}

// recordedSentence says where the log said otherwise than today's policy does.
func recordedSentence(c agent.TrialRecorded) string {
	if c.Otherwise == 0 {
		return fmt.Sprintf("The log itself says the same as today's policy: %s compared.", counted(c.Compared, "decision"))
	}
	return fmt.Sprintf("Of %s the log itself says otherwise than today's policy of %d, of these %d while another policy was in force:",
		counted(c.Compared, "decision"), c.Otherwise, c.OtherPolicy)
}
