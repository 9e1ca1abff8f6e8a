package agent

import (
	"context"
	"time"

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
	// CrossCheck compares the system's views of its sockets; nil: not asked for.
	CrossCheck func(context.Context) (listen.CrossReport, error)
}

// Scan makes one audit and changes nothing on the host.
func Scan(ctx context.Context, o ScanOptions) (Report, error) {
	snapshot, err := o.List(ctx)
	if err != nil {
		return Report{}, err
	}
	by, sights := o.classifier(snapshot)
	seen := observe(snapshot, by, o.Policy)
	for i := range seen.listeners {
		l := &seen.listeners[i]
		l.FirstSeen = sights(*l)
	}
	r := report(seen, o.Host, o.Policy)
	if o.CrossCheck == nil {
		return r, nil
	}
	return crossChecked(ctx, r, o.CrossCheck)
}

// classifier returns that of a snapshot, and when a listener was first seen: by
// the running agent if what it remembers can be read, else by this audit. There
// may be no agent, or one of another user.
func (o ScanOptions) classifier(snapshot listen.Snapshot) (classifier, func(Listener) time.Time) {
	by := newClassifier(snapshot, o.Catalog, o.Policy, true)
	s, err := readState(o.StateDir)
	if err == nil {
		by.past = pastOf(s.Tracks, s.Began)
	}
	return by, func(l Listener) time.Time {
		if t, known := s.Tracks[l.ID]; err == nil && known {
			return t.Listener.FirstSeen
		}
		return l.FirstSeen
	}
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

	Severity string `json:"severity,omitempty"` // of an alert rule
	Owner    string `json:"owner,omitempty"`    // who answers for the rule
	Fix      string `json:"fix,omitempty"`      // as the policy has it, with placeholders
}

// Explain makes one audit and tells of each listener that asked selects how
// the policy came to its verdict.
func Explain(ctx context.Context, o ScanOptions, asked func(Listener) bool) ([]Explanation, audit.Coverage, error) {
	snapshot, err := o.List(ctx)
	if err != nil {
		return nil, audit.Coverage{}, err
	}
	by, sights := o.classifier(snapshot)
	explanations := []Explanation{}
	for _, s := range snapshot.Sockets {
		c := by.remembered(by.classify(s), snapshot.Time)
		l := listener(c, o.Policy.Decide(c.facts, snapshot.Time), snapshot.Time)
		if asked(l) {
			l.FirstSeen = sights(l)
			explanations = append(explanations, Explanation{Listener: l, Steps: Steps(o.Policy.Explain(c.facts, snapshot.Time))})
		}
	}
	return explanations, coverageOf(snapshot.Coverage), nil
}

// Steps turns the steps of an explanation into those that documents have.
func Steps(explained []policy.Step) []Step {
	list := []Step{}
	for _, e := range explained {
		step := Step{
			Rule: e.Rule, Verdict: e.Verdict.String(), Outcome: e.Outcome.String(), Failed: audit.Visible(e.Failed), Reason: audit.Visible(e.Reason),
			Owner: audit.Visible(e.Owner), Fix: audit.Visible(e.Fix),
		}
		if e.Severity != policy.None {
			step.Severity = e.Severity.String()
		}
		list = append(list, step)
	}
	return list
}
