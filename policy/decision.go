package policy

import "fmt"

// Severity ranks findings. The zero value, None, is below every finding.
type Severity uint8

// The severities.
const (
	None Severity = iota
	Low
	Medium
	High
	Critical
)

var severityNames = [...]string{"none", "low", "medium", "high", "critical"}

// ParseSeverity reads the severity of a finding: low, medium, high or critical.
func ParseSeverity(s string) (Severity, error) {
	for i, name := range severityNames {
		if name == s && i > 0 {
			return Severity(i), nil
		}
	}
	return None, fmt.Errorf("%q is no severity: use low, medium, high or critical", s)
}

// String returns the lower-case name.
func (s Severity) String() string {
	if int(s) >= len(severityNames) {
		return fmt.Sprintf("Severity(%d)", uint8(s))
	}
	return severityNames[s]
}

// Verdict is what a policy says of a listener. The zero value is Alert: what
// nothing allowed is reported.
type Verdict uint8

// The verdicts.
const (
	Alert Verdict = iota
	Allow
	Require // of rules alone: some listener must match
)

// String returns "alert", "allow" or "require".
func (v Verdict) String() string {
	switch v {
	case Allow:
		return "allow"
	case Require:
		return "require"
	}
	return "alert"
}

// Decision is what a policy says of one listener.
type Decision struct {
	// Verdict is Alert if there is any finding, else Allow.
	Verdict Verdict
	// Rule is the id of the rule behind the verdict: the alert rule of the
	// gravest finding (the first of equals), else the rule that allowed, else
	// DefaultRule.
	Rule string
	// Findings are the alert rules that matched, in the order of the policy, then
	// the default's, then that of an allowance that has ended or is about to.
	Findings []Finding
}

// Severity returns that of the gravest finding, None if there is none.
func (d Decision) Severity() Severity {
	worst := None
	for _, f := range d.Findings {
		worst = max(worst, f.Severity)
	}
	return worst
}

// DefaultRule is the rule id of the policy's default verdict.
const DefaultRule = "default"

// The ids of what is found of allowances that end (see docs/policy.md), which no
// rule may have.
const (
	ExpiringRule = "allowance-expiring"
	ExpiredRule  = "allowance-expired"
)

// The ids of what cross-checks find, which no rule of a policy may have: no
// policy makes these findings, and none silences them.
const (
	HiddenPort = "hidden-port" // some views of the system show a socket, and others do not
	BoundPort  = "bound-port"  // a TCP socket that has a port and does not listen
)

// Finding is one alert rule that matched a listener. Its texts are the rule's
// own, with placeholders not yet expanded (see Expand).
type Finding struct {
	Rule     string
	Severity Severity
	Message  string // what was found
	Why      string // why it matters
	Fix      string // what to do
	Tags     []string
}
