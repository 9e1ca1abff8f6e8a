package agent

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/agent/listen"
	"github.com/portaudit/portaudit/policy"
)

// CrossCheck is what came of comparing the system's views of its sockets. What
// was found is among the findings of the report.
type CrossCheck struct {
	Views  []string    `json:"views"`
	Probed int         `json:"probed"` // ports that were tried
	Gaps   []audit.Gap `json:"gaps"`
}

// suspect is a socket that a cross-check found.
type suspect struct {
	Finding   Finding       `json:"finding"`
	Transport string        `json:"transport"`
	Address   string        `json:"address,omitempty"` // "" where no view tells it
	Port      uint32        `json:"port"`
	Namespace string        `json:"namespace"`
	Owners    []audit.Owner `json:"owners,omitempty"`  // where they are known
	Escaped   []string      `json:"escaped,omitempty"` // as of a Listener
}

func suspectAt(e listen.Endpoint) suspect {
	return suspect{
		Transport: e.Transport.String(), Address: addressOf(e.Address), Port: uint32(e.Port), Namespace: audit.Visible(e.Namespace),
		Escaped: escapedNames(e.Address, "", e.Namespace),
	}
}

// endpoint is how it is written everywhere.
func (s suspect) endpoint() string {
	return EndpointText(Listener{Transport: s.Transport, Address: s.Address, Port: s.Port, Namespace: s.Namespace})
}

// identified returns the suspect with the id of its finding.
func (s suspect) identified() suspect {
	s.Finding.ID = findingID(s.Finding.Rule, s.endpoint())
	return s
}

// suspects returns what a cross-check found, each socket once a rule.
func suspects(r listen.CrossReport) []suspect {
	var list []suspect
	for _, d := range r.Discrepancies {
		s := suspectAt(d.Endpoint)
		s.Finding = Finding{
			Rule: policy.HiddenPort, Severity: policy.Critical.String(),
			Message: fmt.Sprintf("%s shows in %s and not in %s, three times in a row.",
				s.endpoint(), strings.Join(d.Shown, ", "), strings.Join(d.Missing, ", ")),
			Why: "All of these tell of the same sockets. What hides one from some of them is code that means to, in a library or in the kernel.",
			Fix: "Do not trust what this host says of itself: look at its traffic from outside, and at its disk from another system.",
		}
		list = append(list, s.identified())
	}
	for _, b := range r.Bound {
		s := suspectAt(b.Endpoint)
		for _, o := range b.Owners {
			s.Owners = append(s.Owners, ownerOf(o, false))
		}
		s.Finding = Finding{
			Rule: policy.BoundPort, Severity: policy.Low.String(),
			Message: fmt.Sprintf("%s is bound and does not listen. It is held by %s.", s.endpoint(), OwnersText(s.Owners, OwnerText)),
			Why:     "It can begin to listen at any moment, and keeps the port from others until then. Most tools do not show such a socket.",
			Fix:     "Find out what the program has the port for; end it if nobody knows.",
		}
		list = append(list, s.identified())
	}
	seen := map[string]bool{}
	return slices.DeleteFunc(list, func(s suspect) bool {
		again := seen[s.Finding.ID] // SO_REUSEPORT
		seen[s.Finding.ID] = true
		return again
	})
}

// crossChecked returns the report with what a cross-check came to.
func crossChecked(ctx context.Context, r Report, check func(context.Context) (listen.CrossReport, error)) (Report, error) {
	c, err := check(ctx)
	if err != nil {
		return Report{}, fmt.Errorf("cross-check: %w", err)
	}
	r.CrossCheck = &CrossCheck{
		Views: append([]string{}, c.Views...), Probed: c.Probed, Gaps: coverageOf(listen.Coverage{Gaps: c.Gaps}).Gaps,
	}
	r.Counts.Findings = maps.Clone(r.Counts.Findings)
	findings := slices.Clone(r.Findings)
	for _, s := range suspects(c) {
		findings = append(findings, ReportFinding{Finding: s.Finding, Listeners: []string{s.endpoint()}})
		r.Counts.Findings[s.Finding.Severity]++
	}
	r.Findings = inOrder(findings)
	return r, nil
}

// crossDiff compares what a cross-check found with what is remembered, by the
// ids of the findings, and returns what to remember now and what to record. A
// check that could not see everything clears nothing.
func crossDiff(before map[string]suspect, r listen.CrossReport) (map[string]suspect, []audit.Event) {
	after := map[string]suspect{}
	var events []audit.Event
	for _, s := range suspects(r) {
		after[s.Finding.ID] = s
		if _, known := before[s.Finding.ID]; !known {
			events = append(events, s.event(audit.FindingRaised, s.Finding.Message))
		}
	}
	for _, id := range slices.Sorted(maps.Keys(before)) {
		switch _, here := after[id]; {
		case here:
			after[id] = before[id] // as it was raised
		case slices.ContainsFunc(r.Gaps, func(g listen.Gap) bool { return g.Hides == listen.HidesSockets }):
			after[id] = before[id]
		default:
			events = append(events, before[id].event(audit.FindingCleared, "no longer: "+before[id].Finding.Message))
		}
	}
	return after, events
}

func (s suspect) event(kind, message string) audit.Event {
	return audit.Event{
		Event: kind, Message: message, Transport: s.Transport, Address: s.Address, Port: s.Port, Namespace: s.Namespace, Owners: s.Owners, Escaped: s.Escaped,
		ID: s.Finding.ID, Rule: s.Finding.Rule, Severity: s.Finding.Severity, Why: s.Finding.Why, Fix: s.Finding.Fix,
	}
}

// ofCrossCheck reports whether a record is of what a cross-check found.
func ofCrossCheck(e audit.Event) bool {
	return (e.Event == audit.FindingRaised || e.Event == audit.FindingCleared) && e.Listener == "" && e.Transport != ""
}

// replaySuspect brings what is remembered of cross-checks up to a record.
func replaySuspect(suspects map[string]suspect, e audit.Event) map[string]suspect {
	after := maps.Clone(suspects)
	if after == nil {
		after = map[string]suspect{}
	}
	if e.Event == audit.FindingCleared {
		delete(after, e.ID)
		return after
	}
	after[e.ID] = suspect{
		Finding:   Finding{ID: e.ID, Rule: e.Rule, Severity: e.Severity, Message: e.Message, Why: e.Why, Fix: e.Fix},
		Transport: e.Transport, Address: e.Address, Port: e.Port, Namespace: e.Namespace, Owners: e.EscapedOwners(), Escaped: escapedOf(e),
	}
	return after
}

// crossCheck compares the system's views and records what changed. A check
// that fails is recorded once for each reason in a row.
func (l *loop) crossCheck(ctx context.Context) error {
	began := time.Now()
	r, err := l.CrossCheck(ctx)
	switch {
	case ctx.Err() != nil:
		return nil // the caller stops next
	case err == nil:
		l.crossFailure = ""
	case err.Error() == l.crossFailure:
		return nil
	default:
		l.crossFailure = err.Error()
		return l.record([]audit.Event{{
			Event: audit.CrossFailed, Message: "the cross-check failed: " + err.Error(), Errors: []string{err.Error()},
		}})
	}
	for _, g := range r.Gaps {
		l.Logger.Debug("the cross-check cannot see everything", "source", g.Source, "reason", g.Reason)
	}
	after, events := crossDiff(l.state.Suspects, r)
	l.state.Suspects = after
	l.Logger.Debug("cross-checked", "views", r.Views, "probed", r.Probed, "changes", len(events), "took", time.Since(began))
	return l.record(events)
}
