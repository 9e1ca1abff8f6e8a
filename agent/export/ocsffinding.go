package export

import (
	"cmp"

	"github.com/portaudit/portaudit/agent/audit"
)

type ocsfFinding struct {
	UID       string       `json:"uid"`
	Title     string       `json:"title,omitempty"`
	Desc      string       `json:"desc,omitempty"`
	Types     []string     `json:"types,omitempty"`
	FirstSeen *int64       `json:"first_seen_time,omitempty"`
	LastSeen  *int64       `json:"last_seen_time,omitempty"`
	Analytic  ocsfAnalytic `json:"analytic"`
}

type ocsfAnalytic struct {
	TypeID int    `json:"type_id"`
	Name   string `json:"name"`
	UID    string `json:"uid"`
}

// ruleAnalytic is a type of analytic of OCSF.
const ruleAnalytic = 1

type ocsfCompliance struct {
	Control   string   `json:"control"`
	Standards []string `json:"standards"`
	StatusID  int      `json:"status_id"`
}

// The results of a check of OCSF that are used.
const (
	checkPassed = 1
	checkFailed = 3
)

type ocsfRemediation struct {
	Desc string `json:"desc"`
}

type ocsfResource struct {
	UID       string `json:"uid,omitempty"`
	Name      string `json:"name"`
	Type      string `json:"type"`
	Hostname  string `json:"hostname"`
	Namespace string `json:"namespace,omitempty"`
}

// ocsfEvidence is what the finding was made from, of one owner each.
type ocsfEvidence struct {
	Endpoint   *ocsfEndpoint   `json:"dst_endpoint,omitempty"`
	Connection *ocsfConnection `json:"connection_info,omitempty"`
	Process    *ocsfProcess    `json:"process,omitempty"`
	User       *ocsfUser       `json:"user,omitempty"`
	Container  *ocsfContainer  `json:"container,omitempty"`
}

// addFinding tells of a finding, with an evidence for each owner; where the
// owners are not known, with one of the socket alone.
func (d *ocsfEvent) addFinding(e audit.Event) {
	rule := cmp.Or(e.Rule, "unknown")
	d.Finding = &ocsfFinding{
		UID: cmp.Or(e.ID, eventID(e)), Title: rule, Desc: cmp.Or(e.Why, e.Message), Types: distinct(nil, e.Tags...),
		FirstSeen: millis(e.FirstSeen), LastSeen: millis(e.LastSeen),
		Analytic: ocsfAnalytic{TypeID: ruleAnalytic, Name: rule, UID: rule},
	}
	d.Compliance = &ocsfCompliance{Control: rule, Standards: []string{"portaudit policy"}, StatusID: checkFailed}
	if e.Event == audit.FindingCleared {
		d.Compliance.StatusID = checkPassed
	}
	if e.Fix != "" {
		d.Remediation = &ocsfRemediation{Desc: e.Fix}
	}
	if e.Transport == "" { // of the host itself
		d.Resources = []ocsfResource{{Name: cmp.Or(e.Host, "host"), Type: "host", Hostname: e.Host}}
		return
	}
	d.Resources = []ocsfResource{{UID: e.Listener, Name: placeOf(e), Type: "listener", Hostname: e.Host, Namespace: e.Namespace}}
	of := ocsfEvidence{Endpoint: ocsfEndpointOf(e), Connection: ocsfConnectionOf(e)}
	for _, o := range e.Owners {
		v := of
		v.Process, v.User, v.Container = ocsfProcessOf(o), ocsfUserOf(o), ocsfContainerOf(o)
		d.Evidences = append(d.Evidences, v)
	}
	if len(e.Owners) == 0 {
		d.Evidences = []ocsfEvidence{of}
	}
}

type ocsfEntity struct {
	TypeID int         `json:"type_id"`
	Type   string      `json:"type"`
	Name   string      `json:"name"`
	UID    string      `json:"uid,omitempty"`
	Policy *ocsfPolicy `json:"policy,omitempty"`
}

type ocsfPolicy struct {
	Name    string `json:"name"`
	UID     string `json:"uid,omitempty"`
	Applied bool   `json:"is_applied"`
}

// policyEntity is a type of managed entity of OCSF.
const policyEntity = 5

// ocsfPolicyOf is the policy that was loaded, or refused.
func ocsfPolicyOf(e audit.Event) *ocsfEntity {
	p, applied := e.Policy, true
	if e.Event == audit.PolicyRejected {
		p, applied = e.Refused, false
	}
	if p == nil {
		p = &audit.Policy{}
	}
	name := cmp.Or(p.Source, "policy")
	return &ocsfEntity{
		TypeID: policyEntity, Type: "Policy", Name: name, UID: p.SHA256,
		Policy: &ocsfPolicy{Name: name, UID: p.SHA256, Applied: applied},
	}
}

type ocsfQueryEvidence struct {
	TypeID     int             `json:"query_type_id"`
	Connection *ocsfConnection `json:"connection_info"`
}

// What was asked, and how it was answered, in OCSF's numbers.
const (
	connectionQuery = 7
	found           = 1
	partlyFound     = 2
)

// addCoverage tells what an audit could see: it asked for what listens, and had
// an answer in full or in part.
func (d *ocsfEvent) addCoverage(e audit.Event) {
	d.QueryEvidence = &ocsfQueryEvidence{TypeID: connectionQuery, Connection: &ocsfConnection{DirectionID: inbound}}
	d.QueryResultID = found
	if e.Coverage != nil && !e.Coverage.Complete {
		d.QueryResultID = partlyFound
	}
}
