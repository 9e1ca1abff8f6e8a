package agent

import (
	"context"
	"net/netip"

	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/agent/listen"
	"github.com/portaudit/portaudit/policy"
	"github.com/portaudit/portaudit/registry"
)

// ScanOptions is what one audit works with.
type ScanOptions struct {
	List    func(context.Context) (listen.Snapshot, error) // listen.List
	Catalog *registry.Catalog
	Policy  *policy.Policy
	Host    string
	// StateDir is where a running agent keeps what it remembers: the first
	// sight of each listener is taken from there if it can be read.
	StateDir string
}

// Scan makes one audit and changes nothing on the host.
func Scan(ctx context.Context, o ScanOptions) (Report, error) {
	snapshot, err := o.List(ctx)
	if err != nil {
		return Report{}, err
	}
	seen := observe(snapshot, o.Catalog, o.Policy)
	// No agent, or one of another user: this scan is then the first sight.
	if s, err := readState(o.StateDir); err == nil {
		for i, l := range seen.listeners {
			if t, known := s.Tracks[l.ID]; known {
				seen.listeners[i].FirstSeen = t.Listener.FirstSeen
			}
		}
	}
	return report(seen, o.Host, o.Policy), nil
}

// Explanation is a listener with what each rule of the policy says of it.
type Explanation struct {
	Listener
	Steps []Step `json:"steps"`
}

// Step is one rule of the policy, in its order.
type Step struct {
	Rule    string `json:"rule"`
	Verdict string `json:"verdict"`
	Outcome string `json:"outcome"` // matched, not matched, not reached
	Failed  string `json:"failed,omitempty"`
	Reason  string `json:"reason,omitempty"`
}

// Explain makes one audit and tells of each listener that asked selects how
// the policy came to its verdict.
func Explain(ctx context.Context, o ScanOptions, asked func(Listener) bool) ([]Explanation, audit.Coverage, error) {
	snapshot, err := o.List(ctx)
	if err != nil {
		return nil, audit.Coverage{}, err
	}
	rules := rulesOf(snapshot)
	explanations := []Explanation{}
	for _, s := range snapshot.Sockets {
		c := classify(s, rules[s.Namespace], o.Catalog.Describe(s.Port, s.Transport))
		l := listener(c, o.Policy.Decide(c.facts), snapshot.Time, o.Policy.CommandLines)
		if asked(l) {
			explanations = append(explanations, Explanation{Listener: l, Steps: steps(o.Policy.Explain(c.facts))})
		}
	}
	return explanations, coverageOf(snapshot.Coverage), nil
}

// Suppose tells what the policy would say of a listener that is not there: an
// unknown program that takes the port on all addresses.
func Suppose(o ScanOptions, port registry.Port, t registry.Transport) (policy.Decision, []Step) {
	s := listen.Socket{
		Transport: t, Address: netip.IPv6Unspecified(), Port: port,
		Namespace: listen.HostNamespace, Owners: []listen.Owner{{}},
	}
	c := classify(s, listen.Namespace{}, o.Catalog.Describe(port, t))
	return o.Policy.Decide(c.facts), steps(o.Policy.Explain(c.facts))
}

func steps(explained []policy.Step) []Step {
	list := []Step{}
	for _, e := range explained {
		list = append(list, Step{
			Rule: e.Rule, Verdict: e.Verdict.String(), Outcome: e.Outcome.String(), Failed: audit.Visible(e.Failed), Reason: audit.Visible(e.Reason),
		})
	}
	return list
}
