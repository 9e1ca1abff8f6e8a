package agent

import (
	"cmp"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/agent/listen"
	"github.com/portaudit/portaudit/policy"
	"github.com/portaudit/portaudit/registry"
)

// observation is one audit: every listener classified and decided on.
type observation struct {
	time       time.Time
	listeners  []Listener
	namespaces []Namespace
	coverage   audit.Coverage
	host       []policy.StateFinding // what the policy says of the host itself
	demands    []demand              // of what it requires
	// read are the network namespaces whose socket tables were all read;
	// blind says that there may be more namespaces than were found.
	read  map[string]bool
	blind bool
	// early says that a peek saw something new, so that what is new here was seen
	// twice, and that it is too soon to miss anything.
	early bool
}

// observe classifies and decides every socket of a snapshot.
func observe(s listen.Snapshot, by classifier, p *policy.Policy) observation {
	o := observation{
		time: s.Time.UTC(), coverage: coverageOf(s.Coverage),
		read: map[string]bool{}, blind: s.Coverage.Hidden(listen.HidesSockets),
	}
	o.namespaces = namespacesOf(s.Namespaces)
	for i, ns := range s.Namespaces {
		o.read[o.namespaces[i].Label] = ns.Complete
	}
	o.listeners, o.demands = listeners(s, by, p)
	o.host = hostOf(o.coverage, s, p)
	return o
}

// manySockets is from how many sockets on it pays to share the work.
const manySockets = 512

// listeners makes the documents of all sockets, and finds which of the policy's
// demands they meet: of many, each core makes a part. All goroutines have ended
// when it returns.
func listeners(s listen.Snapshot, by classifier, p *policy.Policy) ([]Listener, []demand) {
	all, required := make([]Listener, len(s.Sockets)), p.Requirements()
	parts := 1
	if len(all) >= manySockets {
		parts = runtime.GOMAXPROCS(0)
	}
	met := make([][]policy.Answer, parts)
	var wait sync.WaitGroup
	for i := range parts {
		met[i] = make([]policy.Answer, len(required))
		for k := range met[i] {
			met[i][k] = policy.No
		}
		wait.Go(func() {
			by := by.clone()
			for k := i * len(all) / parts; k < (i+1)*len(all)/parts; k++ {
				c := by.remembered(by.classify(s.Sockets[k]), s.Time)
				all[k] = listener(c, p.Decide(c.facts, s.Time), s.Time)
				p.Meets(met[i], c.facts, s.Time)
			}
		})
	}
	wait.Wait()
	demands := make([]demand, len(required))
	for k := range required {
		demands[k] = demand{required[k], policy.No}
		for i := range met {
			demands[k].met = either(demands[k].met, met[i][k])
		}
	}
	return all, demands
}

// either is true if one of two answers is.
func either(a, b policy.Answer) policy.Answer {
	switch {
	case a == policy.Yes || b == policy.Yes:
		return policy.Yes
	case a == policy.Unknown || b == policy.Unknown:
		return policy.Unknown
	}
	return policy.No
}

// listener makes the document of one decided socket.
func listener(c classified, d policy.Decision, at time.Time) Listener {
	s := c.socket
	l := Listener{
		Transport: s.Transport.String(), Address: addressOf(s.Address), Port: s.ID(), Interface: audit.Visible(s.Interface),
		Namespace: audit.Visible(s.Namespace), Scope: c.facts.Scope.String(), FirstSeen: at.UTC(),
		Service:  serviceName(c.registry),
		Registry: registryOf(c), Known: KnownOf(c.registry.Common), Site: SiteOf(c.registry.Site),
		Privileged: boolOf(c.facts.Privileged), Ephemeral: boolOf(c.facts.Ephemeral),
		DualStack: answerOf(s.DualStack), Multipath: answerOf(s.Multipath), Authority: c.facts.Authority,
		Exposure: exposureOf(s.Exposure), Queued: s.Queued, Backlog: s.Backlog,
		Owners: c.owners.documents, Verdict: d.Verdict.String(), Rule: d.Rule, Findings: []Finding{},
	}
	if s.Creator.Known {
		l.Creator = &s.Creator.ID
	}
	l.Escaped = escapedNames(s.Address, s.Interface, s.Namespace)
	l.ID = c.id()
	for _, f := range d.Findings {
		l.Findings = append(l.Findings, findingOf(f, l))
	}
	return l
}

// addressOf returns the text of an address, "" where there is none.
func addressOf(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	text := a.String() // the zone is a device, and those have any name
	if visible := audit.Visible(text); visible != text {
		return visible
	}
	// So that a backslash in an address is always that of an escape: some are
	// remembered without a word about that.
	return strings.ReplaceAll(text, `\`, `\\`)
}

// escapedNames returns the names of the texts of a socket that were escaped.
func escapedNames(a netip.Addr, device, namespace string) []string {
	var names []string
	for _, t := range []struct {
		name    string
		escaped bool
	}{
		{"address", strings.Contains(addressOf(a), `\`)},
		{"interface", audit.Visible(device) != device},
		{"namespace", audit.Visible(namespace) != namespace},
	} {
		if t.escaped {
			names = append(names, t.name)
		}
	}
	return names
}

func exposureOf(e listen.Exposure) Exposure {
	if e.Reach == listen.ReachUnknown && e.Sentence == "" {
		return Exposure{}
	}
	return Exposure{Reach: e.Reach.String(), Sentence: audit.Visible(e.Sentence)}
}

func namespacesOf(list []listen.Namespace) []Namespace {
	namespaces := []Namespace{}
	for _, ns := range list {
		n := Namespace{Label: audit.Visible(ns.Label), Container: audit.Visible(ns.Container), Complete: ns.Complete}
		if ns.StartKnown {
			n.UnprivilegedStart = &ns.UnprivilegedStart
		}
		if ns.EphemeralKnown {
			n.Ephemeral = &EphemeralRange{PortRange: portRange(ns.Ephemeral)}
			for _, r := range ns.Excluded {
				n.Ephemeral.Excluded = append(n.Ephemeral.Excluded, portRange(r))
			}
		}
		namespaces = append(namespaces, n)
	}
	return namespaces
}

func portRange(r listen.PortRange) PortRange {
	return PortRange{First: uint16(r.First), Last: uint16(r.Last)}
}

// registryOf makes the document of what IANA says of a port: of a transport
// whose ports IANA does not assign it says nothing, not even in which range.
func registryOf(c classified) audit.Registry {
	f := c.registry
	if !ported(c.socket.Transport) {
		return audit.Registry{Names: []string{}}
	}
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

func answerOf(a listen.Answer) *bool { return boolOf(policyAnswer(a)) }

func coverageOf(c listen.Coverage) audit.Coverage {
	coverage := audit.Coverage{
		Complete: len(c.Gaps) == 0, Sources: append([]string{}, c.Sources...), Gaps: []audit.Gap{}, Notes: []audit.Note{},
	}
	for _, n := range c.Notes {
		coverage.Notes = append(coverage.Notes, audit.Note{Source: audit.Visible(n.Source), Text: audit.Visible(n.Text)})
	}
	for _, g := range c.Gaps {
		coverage.Gaps = append(coverage.Gaps, audit.Gap{
			Source: audit.Visible(g.Source), Reason: audit.Visible(g.Reason), Hides: g.Hides.String(),
			Count: g.Count, Fix: audit.Visible(g.Fix),
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
		Message: fill(f.Message), Why: fill(f.Why), Fix: fill(f.Fix), Tags: f.Tags,
	}
}

// placeholder returns the text that stands for a placeholder of a rule.
func placeholder(name string, l Listener) string {
	switch name {
	case "address":
		return placeText(l)
	case "port":
		return PortText(l)
	case "endpoint":
		return endpointPhrase(l)
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
		return cmp.Or(l.Registry.State, "none")
	case "range":
		return cmp.Or(l.Registry.Range, "none")
	case "reach":
		return cmp.Or(l.Exposure.Reach, "unknown")
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

// inOrder returns the findings with the gravest first; equals by rule and
// listener.
func inOrder(findings []ReportFinding) []ReportFinding {
	type place struct {
		rank policy.Severity
		i    int
	}
	order := make([]place, len(findings))
	for i := range findings {
		rank, _ := policy.ParseSeverity(findings[i].Severity) // it was made by String
		order[i] = place{rank, i}
	}
	slices.SortFunc(order, func(a, b place) int {
		if a.rank != b.rank {
			return cmp.Compare(b.rank, a.rank)
		}
		f, g := &findings[a.i], &findings[b.i]
		return cmp.Or(cmp.Compare(f.Rule, g.Rule), slices.Compare(f.Listeners, g.Listeners), cmp.Compare(a.i, b.i))
	})
	sorted := make([]ReportFinding, len(findings))
	for i, p := range order {
		sorted[i] = findings[p.i]
	}
	return sorted
}
