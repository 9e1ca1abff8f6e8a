package agent

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/agent/listen"
	"github.com/portaudit/portaudit/policy"
)

// standing is a finding of the host and of no listener: of what is required and
// does not listen, and of a state of the host.
type standing struct {
	Finding Finding   `json:"finding"`
	Since   time.Time `json:"since"`
	Raised  bool      `json:"raised"` // false while its grace lasts
}

// demand is what one audit says of a require rule.
type demand struct {
	requirement policy.Requirement
	met         policy.Answer
}

// hostOf finds what the policy says of the host itself by one audit.
func hostOf(c audit.Coverage, s listen.Snapshot, p *policy.Policy) []policy.StateFinding {
	var states []policy.State
	if !c.Complete && len(c.Gaps) > 0 {
		detail := c.Gaps[0].Source + ": " + c.Gaps[0].Reason + ", which hides " + c.Gaps[0].Hides
		if more := len(c.Gaps) - 1; more > 0 {
			detail += fmt.Sprintf(" (and %d more)", more)
		}
		states = append(states, policy.State{Word: "coverage-degraded", Detail: detail})
	}
	for _, ns := range s.Namespaces {
		if ns.Label == listen.HostNamespace && ns.StartSet && ns.UnprivilegedStart < wellKnownEnd {
			states = append(states, policy.State{
				Word: "unprivileged-ports-lowered", Subject: ns.Label,
				Detail: fmt.Sprintf("every user may open ports from %d on (net.ipv4.ip_unprivileged_port_start)", ns.UnprivilegedStart),
			})
		}
	}
	for _, a := range s.Published {
		states = append(states, policy.State{
			Word: "published-without-socket", Subject: publishedText(a), Detail: publishedText(a) + " is handed on to " + targetText(a) +
				", where no listener was seen (" + a.Because + ")",
		})
	}
	return p.Judge(states)
}

// publishedText names what others connect to.
func publishedText(p listen.Publication) string {
	text := "port " + portsText(p.Ports)
	if p.Ports == (listen.PortRange{Last: 65535}) {
		text = "every port"
	}
	if p.Transport != 0 {
		text += "/" + p.Transport.String()
	}
	switch {
	case !p.First.IsValid() && p.To.Is6():
		text += " of every IPv6 address"
	case !p.First.IsValid():
		text += " of every IPv4 address"
	case p.First == p.Last:
		text += " of " + p.First.String()
	default:
		text += " of " + p.First.String() + " to " + p.Last.String()
	}
	if p.Interface != "" {
		text += " through " + p.Interface
	}
	return text
}

// targetText names what they get to.
func targetText(p listen.Publication) string {
	if p.ToPorts == (listen.PortRange{}) || p.ToPorts == p.Ports {
		return p.To.String()
	}
	return p.To.String() + " port " + portsText(p.ToPorts)
}

func portsText(r listen.PortRange) string {
	if r.First == r.Last {
		return r.First.String()
	}
	return r.First.String() + " to " + r.Last.String()
}

// wellKnownEnd is the first port that needs no privilege where nobody changed
// that (Linux PROT_SOCK).
const wellKnownEnd = 1024

// standings returns the findings of the host by one audit: of states as they are,
// of what is required only if it is certain to be missing. unsure holds the ids of
// those on which the audit has no word.
func (o observation) standings() (now map[string]standing, grace map[string]time.Duration, unsure map[string]bool) {
	now, grace, unsure = map[string]standing{}, map[string]time.Duration{}, map[string]bool{}
	add := func(f policy.Finding, subject string) string {
		found := Finding{
			ID: findingID(f.Rule, subject), Rule: f.Rule, Severity: f.Severity.String(),
			Message: audit.Visible(f.Message), Why: audit.Visible(f.Why), Fix: audit.Visible(f.Fix), Tags: f.Tags,
		}
		now[found.ID] = standing{Finding: found, Since: o.time}
		return found.ID
	}
	for _, f := range o.host {
		add(f.Finding, f.Subject)
	}
	for _, d := range o.demands {
		if d.met == policy.Yes {
			continue
		}
		id := add(d.requirement.Finding, "")
		grace[id] = d.requirement.Grace
		// Other namespaces than the host's may hide it too, but who waits until all of
		// them can be seen never says that anything is missing.
		if d.met == policy.Unknown || !o.read[listen.HostNamespace] {
			unsure[id] = true
		}
	}
	return now, grace, unsure
}

// standingDiff compares the findings of the host with what is remembered, and
// returns what to remember now, what to record, and when the next one's grace
// ends, zero if none waits.
func standingDiff(before map[string]standing, o observation) (after map[string]standing, events []audit.Event, next time.Time) {
	now, grace, unsure := o.standings()
	after = map[string]standing{}
	for _, id := range slices.Sorted(maps.Keys(now)) {
		s, known := before[id]
		switch {
		case !known && unsure[id]:
			continue
		case !known:
			s = now[id]
		}
		end := s.Since.Add(grace[id])
		switch {
		case s.Raised || unsure[id]:
		case o.time.Before(end):
			if next.IsZero() || end.Before(next) {
				next = end
			}
		default:
			s.Raised = true
			events = append(events, s.event(audit.FindingRaised, s.Finding.Message))
		}
		after[id] = s
	}
	for _, id := range slices.Sorted(maps.Keys(before)) {
		if _, here := after[id]; !here && before[id].Raised {
			events = append(events, before[id].event(audit.FindingCleared, "no longer: "+before[id].Finding.Message))
		}
	}
	return after, events, next
}

func (s standing) event(kind, message string) audit.Event {
	f := s.Finding
	return audit.Event{
		Event: kind, Message: message, ID: f.ID, Rule: f.Rule, Severity: f.Severity, Why: f.Why, Fix: f.Fix, Tags: f.Tags,
	}
}

// ofHost reports whether a record is of a finding of the host.
func ofHost(e audit.Event) bool {
	return (e.Event == audit.FindingRaised || e.Event == audit.FindingCleared) && e.Listener == "" && e.Transport == ""
}

// replayStanding brings what is remembered of the host up to a record.
func replayStanding(before map[string]standing, e audit.Event) map[string]standing {
	after := maps.Clone(before)
	if after == nil {
		after = map[string]standing{}
	}
	if e.Event == audit.FindingCleared {
		delete(after, e.ID)
		return after
	}
	after[e.ID] = standing{
		Finding: Finding{ID: e.ID, Rule: e.Rule, Severity: e.Severity, Message: e.Message, Why: e.Why, Fix: e.Fix, Tags: e.Tags},
		Since:   e.Time.UTC(), Raised: true,
	}
	return after
}

// withStandings returns the findings of a report with those of the host. What is
// missing is missing: a single look has no patience.
func withStandings(findings []ReportFinding, o observation) []ReportFinding {
	now, _, unsure := o.standings()
	for _, id := range slices.Sorted(maps.Keys(now)) {
		if !unsure[id] {
			findings = append(findings, ReportFinding{Finding: now[id].Finding, Listeners: []string{}})
		}
	}
	return findings
}
