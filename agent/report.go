package agent

import (
	"time"

	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/policy"
)

// ReportVersion is the version of the Report format (docs/json.md).
const ReportVersion = 1

// Report is one audit of a host, the document that scan --json prints.
type Report struct {
	Schema   int            `json:"schema"`
	Host     string         `json:"host"`
	Time     time.Time      `json:"time"`
	Policy   audit.Policy   `json:"policy"`
	Coverage audit.Coverage `json:"coverage"`
	// Namespaces are the network namespaces that were read.
	Namespaces []Namespace     `json:"namespaces"`
	Listeners  []Listener      `json:"listeners"`
	Findings   []ReportFinding `json:"findings"`
	Counts     Counts          `json:"counts"`
	CrossCheck *CrossCheck     `json:"cross_check,omitempty"`
}

// Namespace is a network namespace with its rules for ports.
type Namespace struct {
	Label     string `json:"label"`
	Container string `json:"container,omitempty"`
	// UnprivilegedStart is the first port that needs no privilege; it and
	// Ephemeral are null where they could not be read.
	UnprivilegedStart *uint32         `json:"unprivileged_start"`
	Ephemeral         *EphemeralRange `json:"ephemeral"`
	Complete          bool            `json:"complete"`
}

// PortRange is a range of ports, both ends included.
type PortRange struct {
	First uint16 `json:"first"`
	Last  uint16 `json:"last"`
}

// EphemeralRange is the range for automatic binds, with the ranges in it that
// are never given out.
type EphemeralRange struct {
	PortRange
	Excluded []PortRange `json:"excluded,omitempty"`
}

// Listener is one listening endpoint with everything that was found out.
type Listener struct {
	ID        string `json:"id"` // stable: equal for all addresses of one identity
	Transport string `json:"transport"`
	Address   string `json:"address"` // "" where the transport has none
	// Port is the port, or what stands in for it: the IP protocol of a raw
	// socket, the EtherType of a packet socket.
	Port      uint32         `json:"port"`
	Interface string         `json:"interface,omitempty"`
	Namespace string         `json:"namespace"`
	Scope     string         `json:"scope"`
	FirstSeen time.Time      `json:"first_seen"`
	Service   string         `json:"service"` // the highest-ranking name: site, IANA, services file
	Registry  audit.Registry `json:"registry"`
	Known     *Known         `json:"known,omitempty"`
	Site      *Site          `json:"site,omitempty"`
	// Privileged and Ephemeral are null where the host's rules are unknown.
	Privileged *bool    `json:"privileged"`
	Ephemeral  *bool    `json:"ephemeral"`
	DualStack  *bool    `json:"dual_stack"`
	Multipath  *bool    `json:"multipath,omitempty"`
	Authority  string   `json:"authority,omitempty"`
	Creator    *uint32  `json:"creator_uid,omitempty"`
	Exposure   Exposure `json:"exposure,omitzero"`
	// Queued and Backlog are connections that wait and that may; of a socket
	// without connections, bytes that wait to be read, and 0.
	Queued   uint32        `json:"queued,omitempty"`
	Backlog  uint32        `json:"backlog,omitempty"`
	Owners   []audit.Owner `json:"owners"`
	Verdict  string        `json:"verdict"`
	Rule     string        `json:"rule"`
	Findings []Finding     `json:"findings"`

	// Escaped are the names of the texts that were escaped to be visible, beside
	// those of the owners, which say it themselves.
	Escaped []string `json:"escaped,omitempty"`
}

// Exposure says from where a listener can be reached in effect, as far as that
// was evaluated. The zero value says that it was not.
type Exposure struct {
	Reach    string `json:"reach"`
	Sentence string `json:"sentence"`
}

// Known is what the port is commonly used for, whatever IANA says.
type Known struct {
	Name     string `json:"name"`
	Class    string `json:"class"`
	Severity string `json:"severity"`
	Why      string `json:"why"`
	Source   string `json:"source"`
}

// Site is what the site's own overlay says of the port.
type Site struct {
	Name  string `json:"name"`
	Owner string `json:"owner,omitempty"`
}

// Finding is what one rule found of a listener.
type Finding struct {
	ID       string   `json:"id"` // stable over restarts
	Rule     string   `json:"rule"`
	Severity string   `json:"severity"`
	Message  string   `json:"message"`
	Why      string   `json:"why,omitempty"`
	Fix      string   `json:"fix,omitempty"`
	Tags     []string `json:"tags,omitempty"` // of the rule
}

// ReportFinding is a finding once for the whole report, with the ids of the
// listeners' endpoints that it was made of.
type ReportFinding struct {
	Finding
	Listeners []string `json:"listeners"` // "transport address:port"
}

// Counts sums a report up.
type Counts struct {
	Listeners int            `json:"listeners"`
	Verdicts  map[string]int `json:"verdicts"`
	Findings  map[string]int `json:"findings"` // by severity, every severity present
}

// Worst returns the gravest severity among the findings.
func (r Report) Worst() policy.Severity {
	worst := policy.None
	for _, f := range r.Findings {
		if s, err := policy.ParseSeverity(f.Severity); err == nil {
			worst = max(worst, s)
		}
	}
	return worst
}

// report makes the document of one audit.
func report(a observation, host string, p *policy.Policy) Report {
	r := Report{
		Schema: ReportVersion, Host: audit.Visible(host), Time: a.time,
		Policy:   audit.Policy{Source: audit.Visible(p.Source), SHA256: p.SHA256},
		Coverage: a.coverage, Namespaces: a.namespaces, Listeners: a.listeners, Findings: []ReportFinding{},
		Counts: Counts{Listeners: len(a.listeners), Verdicts: map[string]int{}, Findings: map[string]int{}},
	}
	for _, v := range []policy.Verdict{policy.Alert, policy.Allow} {
		r.Counts.Verdicts[v.String()] = 0
	}
	for s := policy.Low; s <= policy.Critical; s++ {
		r.Counts.Findings[s.String()] = 0
	}
	index := map[string]int{}
	for i := range a.listeners {
		l := &a.listeners[i]
		r.Counts.Verdicts[l.Verdict]++
		for _, f := range l.Findings {
			i, seen := index[f.ID]
			if !seen {
				i = len(r.Findings)
				index[f.ID] = i
				r.Findings = append(r.Findings, ReportFinding{Finding: f})
				r.Counts.Findings[f.Severity]++
			}
			r.Findings[i].Listeners = append(r.Findings[i].Listeners, EndpointText(*l))
		}
	}
	all := withStandings(r.Findings, a)
	for _, f := range all[len(r.Findings):] {
		r.Counts.Findings[f.Severity]++
	}
	r.Findings = inOrder(all)
	return r
}
