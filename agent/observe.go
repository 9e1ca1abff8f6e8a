package agent

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/agent/listen"
	"github.com/portaudit/portaudit/policy"
	"github.com/portaudit/portaudit/registry"
)

// observation is one audit: every listener classified and decided on.
type observation struct {
	time      time.Time
	listeners []Listener
	coverage  audit.Coverage
	// read are the network namespaces whose socket tables were all read;
	// blind says that there may be more namespaces than were found.
	read  map[string]bool
	blind bool
}

// observe classifies and decides every socket of a snapshot.
func observe(s listen.Snapshot, catalog *registry.Catalog, p *policy.Policy) observation {
	o := observation{
		time: s.Time.UTC(), listeners: []Listener{}, coverage: coverageOf(s.Coverage),
		read: map[string]bool{}, blind: s.Coverage.Hidden(listen.HidesSockets),
	}
	rules := rulesOf(s)
	for _, ns := range s.Namespaces {
		o.read[ns.Label] = ns.Complete
	}
	for _, socket := range s.Sockets {
		c := classify(socket, rules[socket.Namespace], catalog.Describe(socket.Port, socket.Transport))
		o.listeners = append(o.listeners, listener(c, p.Decide(c.facts), s.Time, p.CommandLines))
	}
	return o
}

// rulesOf returns the namespaces of a snapshot by label.
func rulesOf(s listen.Snapshot) map[string]listen.Namespace {
	rules := map[string]listen.Namespace{}
	for _, ns := range s.Namespaces {
		rules[ns.Label] = ns
	}
	return rules
}

// listener makes the document of one decided socket.
func listener(c classified, d policy.Decision, at time.Time, commandLines bool) Listener {
	s := c.socket
	l := Listener{
		Transport: s.Transport.String(), Address: s.Address.String(), Port: uint16(s.Port),
		Namespace: audit.Visible(s.Namespace), Scope: c.facts.Scope.String(), FirstSeen: at.UTC(),
		Service:  serviceName(c.registry),
		Registry: registryOf(c.registry), Known: KnownOf(c.registry.Common), Site: SiteOf(c.registry.Site),
		Privileged: boolOf(c.facts.Privileged), Ephemeral: boolOf(c.facts.Ephemeral),
		DualStack: boolOf(policyAnswer(s.DualStack)), Authority: c.facts.Authority,
		Owners: []audit.Owner{}, Verdict: d.Verdict.String(), Rule: d.Rule, Findings: []Finding{},
	}
	if s.Creator.Known {
		l.Creator = &s.Creator.ID
	}
	for _, o := range s.Owners {
		l.Owners = append(l.Owners, ownerOf(o, commandLines))
	}
	l.ID = identify(l)
	for _, f := range d.Findings {
		l.Findings = append(l.Findings, findingOf(f, l))
	}
	return l
}

func registryOf(f registry.Facts) audit.Registry {
	return audit.Registry{
		Range: f.Range.String(), State: f.State.String(),
		Names: f.IANA, Description: f.Description,
	}
}

// serviceName is the highest-ranking name of a port: the site's own, IANA's, or
// the one of the system's services file.
func serviceName(f registry.Facts) string {
	if len(f.Names) == 0 {
		return ""
	}
	return audit.Visible(f.Names[0])
}

// KnownOf makes the document of a common use; nil where there is none.
func KnownOf(u *registry.Use) *Known {
	if u == nil {
		return nil
	}
	return &Known{Name: u.Name, Class: u.Class, Severity: u.Severity, Why: u.Why, Source: u.Source}
}

// SiteOf makes the document of what an overlay says; nil where it says nothing.
func SiteOf(s *registry.Site) *Site {
	if s == nil {
		return nil
	}
	return &Site{Name: audit.Visible(s.Name), Owner: audit.Visible(s.Owner)}
}

// boolOf returns nil for an unknown fact, which JSON shows as null.
func boolOf(a policy.Answer) *bool {
	if a == policy.Unknown {
		return nil
	}
	yes := a == policy.Yes
	return &yes
}

// ownerOf makes the document of an owner. Every string of it comes from
// outside: a process may call itself anything.
func ownerOf(o listen.Owner, commandLines bool) audit.Owner {
	owner := audit.Owner{
		Executable: audit.Visible(o.Executable), Command: audit.Visible(o.Command),
		Deleted: boolOf(policyAnswer(o.Deleted)), User: audit.Visible(o.User), SID: o.SID,
		How: o.How.String(), Unit: audit.Visible(o.Unit), Container: o.Container,
	}
	if commandLines && len(o.Arguments) > 0 {
		owner.Command = audit.Visible(redact(o.Arguments))
	}
	if o.Deleted == listen.Yes {
		owner.Replaced = boolOf(policyAnswer(o.Replaced))
	}
	if o.PID != 0 {
		owner.PID = &o.PID
	}
	if o.Parent != 0 {
		owner.Parent = &o.Parent
	}
	if !o.Started.IsZero() {
		started := o.Started.UTC()
		owner.Started = &started
	}
	if o.UID.Known {
		owner.UID = &o.UID.ID
	}
	return owner
}

func coverageOf(c listen.Coverage) audit.Coverage {
	coverage := audit.Coverage{
		Complete: len(c.Gaps) == 0, Sources: append([]string{}, c.Sources...), Gaps: []audit.Gap{},
	}
	for _, g := range c.Gaps {
		coverage.Gaps = append(coverage.Gaps, audit.Gap{
			Source: audit.Visible(g.Source), Reason: audit.Visible(g.Reason), Hides: g.Hides.String(),
			Count: g.Count, Fix: g.Fix,
		})
	}
	return coverage
}

// findingOf makes the document of what a rule found, its texts filled in.
func findingOf(f policy.Finding, l Listener) Finding {
	fill := func(text string) string {
		return audit.Visible(policy.Expand(text, func(name string) string { return placeholder(name, l) }))
	}
	return Finding{
		ID: findingID(f.Rule, l.ID), Rule: f.Rule, Severity: f.Severity.String(),
		Message: fill(f.Message), Why: fill(f.Why), Fix: fill(f.Fix),
	}
}

// placeholder returns the text that stands for a placeholder of a rule.
func placeholder(name string, l Listener) string {
	switch name {
	case "address":
		return l.Address
	case "port":
		return strconv.Itoa(int(l.Port))
	case "transport":
		return l.Transport
	case "service":
		return ServiceText(l)
	case "program":
		return OwnersText(l.Owners, ProgramText)
	case "executable":
		return OwnersText(l.Owners, func(o audit.Owner) string { return o.Executable })
	case "user":
		return OwnersText(l.Owners, func(o audit.Owner) string { return o.User })
	case "owners":
		return OwnersText(l.Owners, OwnerText)
	case "state":
		return l.Registry.State
	case "range":
		return l.Registry.Range
	case "scope":
		return l.Scope
	case "authority":
		return l.Authority
	}
	if l.Known == nil {
		return "unknown"
	}
	switch name {
	case "risk_name":
		return l.Known.Name
	case "risk_why":
		return l.Known.Why
	}
	return ""
}

// sortFindings puts the gravest first; equals by rule and listener.
func sortFindings(findings []ReportFinding) {
	rank := func(f ReportFinding) policy.Severity {
		s, _ := policy.ParseSeverity(f.Severity) // it was made by String
		return s
	}
	slices.SortStableFunc(findings, func(a, b ReportFinding) int {
		return cmp.Or(cmp.Compare(rank(b), rank(a)), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Listeners[0], b.Listeners[0]))
	})
}
