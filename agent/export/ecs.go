package export

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
)

// ECSVersion is the version of the Elastic Common Schema that ECS speaks.
const ECSVersion = "9.3.0"

// ECS returns the record e as one ECS document, one line of JSON without its
// newline. hash is the SHA-256 of the record's line in hexadecimal, "" where that
// is not known. It fails for a record that has no JSON form (a year beyond 9999).
//
// ECS has one process, one container and one package for a document: those of
// the first owner. All owners are in portaudit.owners.
func ECS(e audit.Event, hash string) ([]byte, error) {
	e = audit.Clean(e)
	w, _ := wordOf(e.Event)
	d := ecsDocument{
		Timestamp: e.Time, Message: e.Message, Tags: distinct(nil, e.Tags...),
		Ecs: ecsSchema{ECSVersion}, Event: ecsEventOf(e, w.ecs, hash),
		Host:   ecsHost{Name: e.Host, Hostname: e.Host, Boot: ecsBoot{e.Boot}},
		Agent:  ecsAgent{Type: product, Version: e.Program},
		Rule:   ecsRuleOf(e),
		Error:  ecsError{strings.Join(e.Errors, "; ")},
		Record: e,
	}
	if e.Transport != "" {
		d.Server, d.Network = ecsServerOf(e), ecsNetworkOf(e)
	}
	if e.PID != 0 {
		d.Process = ecsProcess{PID: &e.PID, Name: product}
	}
	if len(e.Owners) > 0 {
		o := e.Owners[0]
		d.Process = ecsProcessOf(o)
		d.Service.Name = serviceName(o)
		d.Container = ecsContainer{ID: o.Container, Name: o.ContainerName, Image: ecsImage{o.Image}}
		if p := o.Package; p != nil {
			d.Package = ecsPackage{Name: p.Name, Version: p.Version, Type: p.Manager}
		}
	}
	d.Related = ecsRelatedOf(e)
	return marshal(d)
}

// ecsDocument has the fields of ECS that are used. Zero is absent.
type ecsDocument struct {
	Timestamp time.Time    `json:"@timestamp"`
	Message   string       `json:"message,omitempty"`
	Tags      []string     `json:"tags,omitempty"`
	Ecs       ecsSchema    `json:"ecs"`
	Event     ecsEvent     `json:"event"`
	Host      ecsHost      `json:"host,omitzero"`
	Agent     ecsAgent     `json:"agent"`
	Server    ecsServer    `json:"server,omitzero"`
	Network   ecsNetwork   `json:"network,omitzero"`
	Process   ecsProcess   `json:"process,omitzero"`
	Service   ecsService   `json:"service,omitzero"`
	Container ecsContainer `json:"container,omitzero"`
	Package   ecsPackage   `json:"package,omitzero"`
	Rule      ecsRule      `json:"rule,omitzero"`
	Error     ecsError     `json:"error,omitzero"`
	Related   *ecsRelated  `json:"related,omitempty"`
	Record    audit.Event  `json:"portaudit"`
}

type ecsSchema struct {
	Version string `json:"version"`
}

type ecsEvent struct {
	Kind     string    `json:"kind"`
	Category []string  `json:"category"`
	Type     []string  `json:"type"`
	Outcome  string    `json:"outcome,omitempty"`
	Action   string    `json:"action,omitempty"`
	Code     string    `json:"code,omitempty"`
	Module   string    `json:"module"`
	Dataset  string    `json:"dataset"`
	Provider string    `json:"provider"`
	ID       string    `json:"id"`
	Sequence uint64    `json:"sequence"`
	Severity int       `json:"severity,omitempty"`
	Hash     string    `json:"hash,omitempty"`
	Reason   string    `json:"reason,omitempty"`
	Start    time.Time `json:"start,omitzero"`
	End      time.Time `json:"end,omitzero"`
}

func ecsEventOf(e audit.Event, w ecsWord, hash string) ecsEvent {
	if e.Transport == "" && w.category == "network" {
		w.category = "host" // a finding of the host itself
	}
	action := e.Event
	if e.Change != "" {
		action += "." + e.Change
	}
	ev := ecsEvent{
		Kind: w.kind, Category: []string{w.category}, Type: []string{w.typ}, Outcome: w.outcome,
		Action: strings.ReplaceAll(action, ".", "-"), Code: e.Event,
		Module: product, Dataset: product + ".audit", Provider: product,
		ID: eventID(e), Sequence: e.Seq, Severity: severityNumber(e.Severity), Hash: hash, Reason: e.Why,
		Start: known(e.FirstSeen),
	}
	if e.Event == audit.ListenerClosed {
		ev.End = known(e.LastSeen)
	}
	return ev
}

// eventID names a record among those of all hosts: by the boot of the host, which
// has an id of its own, and the number of the record.
func eventID(e audit.Event) string {
	where := e.Boot
	if where == "" {
		where = e.Host
	}
	return where + "-" + strconv.FormatUint(e.Seq, 10)
}

type ecsHost struct {
	Name     string  `json:"name,omitempty"`
	Hostname string  `json:"hostname,omitempty"`
	Boot     ecsBoot `json:"boot,omitzero"`
}

type ecsBoot struct {
	ID string `json:"id"`
}

type ecsAgent struct {
	Type    string `json:"type"`
	Version string `json:"version,omitempty"`
}

// ecsServer is the listener: in ECS, source and destination are the ends of a
// connection, and there is none yet; the server is the side that responds.
type ecsServer struct {
	Address string     `json:"address,omitempty"`
	IP      netip.Addr `json:"ip,omitzero"`
	Port    uint32     `json:"port,omitempty"`
}

func ecsServerOf(e audit.Event) ecsServer {
	s := ecsServer{Address: e.Address, IP: addrOf(e.Address)}
	if ported(e) {
		s.Port = e.Port
	}
	return s
}

type ecsNetwork struct {
	Transport string `json:"transport,omitempty"`
	Type      string `json:"type,omitempty"`
	Number    string `json:"iana_number,omitempty"`
	Direction string `json:"direction,omitempty"`
}

// ecsNetworkOf has the host's point of view, as ECS asks of what watches on a
// host: what a listener takes comes in.
func ecsNetworkOf(e audit.Event) ecsNetwork {
	n := ecsNetwork{Transport: strings.ToLower(e.Transport), Direction: "ingress"}
	if number := protocolNumber(e); number != 0 {
		n.Number = strconv.Itoa(number)
	}
	switch a := addrOf(e.Address); {
	case a.Is4():
		n.Type = "ipv4"
	case a.Is6():
		n.Type = "ipv6"
	}
	return n
}

type ecsProcess struct {
	PID         *int       `json:"pid,omitempty"`
	Start       time.Time  `json:"start,omitzero"`
	Name        string     `json:"name,omitempty"`
	Executable  string     `json:"executable,omitempty"`
	CommandLine string     `json:"command_line,omitempty"`
	Hash        ecsHash    `json:"hash,omitzero"`
	Parent      *ecsParent `json:"parent,omitempty"`
	User        ecsUser    `json:"user,omitzero"`
}

type ecsHash struct {
	SHA256 string `json:"sha256"`
}

type ecsParent struct {
	PID  *int   `json:"pid,omitempty"`
	Name string `json:"name,omitempty"`
}

type ecsUser struct {
	ID   string `json:"id,omitempty"`
	Name string `json:"name,omitempty"`
}

func ecsProcessOf(o audit.Owner) ecsProcess {
	p := ecsProcess{
		PID: o.PID, Start: known(o.Started), Name: processName(o), Executable: o.Executable,
		CommandLine: commandLine(o), Hash: ecsHash{o.SHA256}, User: ecsUser{ID: userID(o), Name: o.User},
	}
	if o.Parent != nil || o.ParentName != "" {
		p.Parent = &ecsParent{PID: o.Parent, Name: o.ParentName}
	}
	return p
}

// userID is the number of an owner's account, or what Windows has instead.
func userID(o audit.Owner) string {
	if o.UID != nil {
		return strconv.FormatUint(uint64(*o.UID), 10)
	}
	return o.SID
}

type ecsService struct {
	Name string `json:"name"`
}

type ecsContainer struct {
	ID    string   `json:"id,omitempty"`
	Name  string   `json:"name,omitempty"`
	Image ecsImage `json:"image,omitzero"`
}

type ecsImage struct {
	Name string `json:"name"`
}

type ecsPackage struct {
	Name    string `json:"name,omitempty"`
	Version string `json:"version,omitempty"`
	Type    string `json:"type,omitempty"`
}

type ecsRule struct {
	ID      string `json:"id,omitempty"`
	Name    string `json:"name,omitempty"`
	Ruleset string `json:"ruleset,omitempty"`
}

func ecsRuleOf(e audit.Event) ecsRule {
	r := ecsRule{ID: e.Rule, Name: e.Rule}
	if e.Policy != nil {
		r.Ruleset = e.Policy.Source
	}
	return r
}

type ecsError struct {
	Message string `json:"message"`
}

// ecsRelated gathers, for pivoting, what all owners of the record have.
type ecsRelated struct {
	IP    []netip.Addr `json:"ip,omitempty"`
	User  []string     `json:"user,omitempty"`
	Hash  []string     `json:"hash,omitempty"`
	Hosts []string     `json:"hosts,omitempty"`
}

func ecsRelatedOf(e audit.Event) *ecsRelated {
	r := ecsRelated{Hosts: distinct(nil, e.Host)}
	for _, text := range distinct([]string{e.Address}, e.Addresses...) {
		if a := addrOf(text); a.IsValid() && !a.IsUnspecified() {
			r.IP = append(r.IP, a)
		}
	}
	for _, o := range e.Owners {
		r.User, r.Hash = distinct(r.User, o.User), distinct(r.Hash, o.SHA256)
	}
	if len(r.IP)+len(r.User)+len(r.Hash)+len(r.Hosts) == 0 {
		return nil
	}
	return &r
}
