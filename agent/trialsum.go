package agent

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/portaudit/portaudit/policy"
)

// sum makes the result.
func (r *trial) sum() Trial {
	result := r.result
	result.Listeners, result.Rules, result.Unsure = len(r.ids), r.rules(), []TrialUnsure{}
	result.Untried = r.Candidate.Len() - (len(r.Candidate.Explain(policy.Listener{}, time.Time{})) - 1) // the default is a step, too
	for u, n := range r.unsure {
		u.Decisions = n
		result.Unsure = append(result.Unsure, u)
	}
	slices.SortFunc(result.Unsure, func(a, b TrialUnsure) int {
		return cmp.Or(strings.Compare(b.Policy, a.Policy), b.Decisions-a.Decisions, strings.Compare(a.Rule, b.Rule))
	})
	result.Recorded.Examples = append([]TrialOtherwise{}, result.Recorded.Examples...)
	return result
}

// rules puts the findings together that are of one rule and have one outcome.
func (r *trial) rules() []TrialRule {
	type group struct{ rule, outcome string }
	rules, severities := map[group]*TrialRule{}, map[group]graded{}
	keys := slices.SortedFunc(maps.Keys(r.findings), func(a, b findingKey) int {
		return cmp.Or(r.findings[a].example.First.Compare(r.findings[b].example.First), strings.Compare(a.listener, b.listener), strings.Compare(a.rule, b.rule))
	})
	for _, key := range keys {
		f := r.findings[key]
		outcome, times := f.outcome()
		in := group{key.rule, outcome}
		rule := rules[in]
		if rule == nil {
			rule = &TrialRule{Rule: key.rule, Outcome: outcome, Examples: []TrialExample{}}
			rules[in] = rule
		}
		severities[in] = graded{max(severities[in].today, f.graded.today), max(severities[in].candidate, f.graded.candidate)}
		rule.Findings, rule.Raised, rule.Cleared = rule.Findings+1, rule.Raised+times.raised, rule.Cleared+times.cleared
		if len(rule.Examples) < maxExamples {
			rule.Examples = append(rule.Examples, f.example)
		}
	}
	all := []TrialRule{}
	for in, rule := range rules {
		g := severities[in]
		rule.Severity = cmp.Or(g.candidate, g.today).String()
		if in.outcome == OutcomeSame && g.today != g.candidate {
			rule.Was = g.today.String()
		}
		all = append(all, *rule)
	}
	slices.SortFunc(all, compareTrialRules)
	return all
}

// outcome says which of the policies makes the finding, and how often the one
// that counts raised and cleared it.
func (f *trialFinding) outcome() (string, trialTimes) {
	switch {
	case f.candidate.raised == 0:
		return OutcomeGone, f.today
	case f.today.raised == 0:
		return OutcomeRaised, f.candidate
	}
	return OutcomeSame, f.candidate
}

// compareTrialRules puts what is raised first, and of each outcome the gravest.
func compareTrialRules(a, b TrialRule) int {
	order := []string{OutcomeRaised, OutcomeGone, OutcomeSame}
	x, _ := policy.ParseSeverity(a.Severity) // they were made by String
	y, _ := policy.ParseSeverity(b.Severity)
	return cmp.Or(slices.Index(order, a.Outcome)-slices.Index(order, b.Outcome), cmp.Compare(y, x), strings.Compare(a.Rule, b.Rule))
}
