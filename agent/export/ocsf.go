package export

import (
	"cmp"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
)

// OCSFVersion is the version of the Open Cybersecurity Schema Framework that OCSF
// speaks.
const OCSFVersion = "1.7.0"

// OCSF returns the record e as one OCSF event, one line of JSON without its
// newline. hash is the SHA-256 of the record's line in hexadecimal, "" where that
// is not known. It fails for a record that has no JSON form (a year beyond 9999).
//
// The actor of a listener is its first owner; a finding has an evidence for each
// owner. All owners are in unmapped.portaudit.owners too.
func OCSF(e audit.Event, hash string) ([]byte, error) {
	e = audit.Clean(e)
	w, _ := wordOf(e.Event)
	d := ocsfEvent{
		ActivityID: w.ocsf.activity, ActivityName: w.ocsf.name,
		CategoryUID: int(w.ocsf.class) / 1000, ClassUID: int(w.ocsf.class), TypeUID: int(w.ocsf.class)*100 + w.ocsf.activity,
		SeverityID: cmp.Or(severityNumber(e.Severity), w.ocsf.severity), StatusID: w.ocsf.status,
		Time: e.Time.UnixMilli(), Message: e.Message, StatusDetail: strings.Join(e.Errors, "; "),
		StartTime: millis(e.FirstSeen), EndTime: millis(e.LastSeen),
		Metadata: ocsfMetadataOf(e), Device: ocsfDeviceOf(e), Unmapped: ocsfUnmapped{e},
	}
	if isHex(hash) {
		d.Hash = &ocsfFingerprint{ID: sha256ID, Value: hash}
	}
	switch w.ocsf.class {
	case networkActivity:
		if e.Change != "" {
			d.ActivityName = e.Change
		}
		d.Endpoint, d.Connection, d.Actor = ocsfEndpointOf(e), ocsfConnectionOf(e), ocsfActorOf(e)
	case complianceFind:
		d.addFinding(e)
	case entityManagement:
		d.Entity, d.Actor = ocsfPolicyOf(e), selfActor()
	case evidenceInfo:
		d.addCoverage(e)
	case appLifecycle:
		d.App, d.Actor = &ocsfProduct{Name: product, Vendor: product, Version: e.Program}, selfActor()
		if e.PID != 0 {
			d.Actor.Process = &ocsfProcess{PID: &e.PID, Name: product}
		}
	case eventLogActivity:
		d.LogName, d.LogProvider, d.Actor = "audit.jsonl", product, selfActor()
	}
	return marshal(d)
}

// ocsfEvent has the attributes of all classes that are used; each has some.
type ocsfEvent struct {
	ActivityID   int              `json:"activity_id"`
	ActivityName string           `json:"activity_name,omitempty"`
	CategoryUID  int              `json:"category_uid"`
	ClassUID     int              `json:"class_uid"`
	TypeUID      int              `json:"type_uid"`
	SeverityID   int              `json:"severity_id"`
	StatusID     int              `json:"status_id"`
	StatusDetail string           `json:"status_detail,omitempty"`
	Time         int64            `json:"time"`
	StartTime    *int64           `json:"start_time,omitempty"`
	EndTime      *int64           `json:"end_time,omitempty"`
	Message      string           `json:"message,omitempty"`
	Metadata     ocsfMetadata     `json:"metadata"`
	Device       ocsfDevice       `json:"device"`
	Actor        *ocsfActor       `json:"actor,omitempty"`
	Hash         *ocsfFingerprint `json:"raw_data_hash,omitempty"`

	Endpoint   *ocsfEndpoint   `json:"dst_endpoint,omitempty"`
	Connection *ocsfConnection `json:"connection_info,omitempty"`

	Finding     *ocsfFinding     `json:"finding_info,omitempty"`
	Compliance  *ocsfCompliance  `json:"compliance,omitempty"`
	Remediation *ocsfRemediation `json:"remediation,omitempty"`
	Resources   []ocsfResource   `json:"resources,omitempty"`
	Evidences   []ocsfEvidence   `json:"evidences,omitempty"`

	Entity *ocsfEntity `json:"entity,omitempty"`

	App *ocsfProduct `json:"app,omitempty"`

	LogName     string `json:"log_name,omitempty"`
	LogProvider string `json:"log_provider,omitempty"`

	QueryEvidence *ocsfQueryEvidence `json:"query_evidence,omitempty"`
	QueryResultID int                `json:"query_result_id,omitempty"`

	Unmapped ocsfUnmapped `json:"unmapped"`
}

// ocsfUnmapped keeps the record itself.
type ocsfUnmapped struct {
	Record audit.Event `json:"portaudit"`
}

// millis is a time of OCSF; nil is unknown.
func millis(t *time.Time) *int64 {
	if t == nil {
		return nil
	}
	ms := t.UnixMilli()
	return &ms
}

type ocsfMetadata struct {
	Version  string      `json:"version"`
	Product  ocsfProduct `json:"product"`
	Profiles []string    `json:"profiles"`
	Code     string      `json:"event_code,omitempty"`
	UID      string      `json:"uid"`
	Sequence uint64      `json:"sequence"`
	LogName  string      `json:"log_name"`
	Labels   []string    `json:"labels,omitempty"`
}

func ocsfMetadataOf(e audit.Event) ocsfMetadata {
	m := ocsfMetadata{
		Version: OCSFVersion, Product: ocsfProduct{Name: product, Vendor: product, Version: e.Program},
		Profiles: []string{"host"}, Code: e.Event, UID: eventID(e), Sequence: e.Seq, LogName: "audit.jsonl", Labels: distinct(nil, e.Tags...),
	}
	for _, o := range e.Owners {
		if o.Container != "" || o.ContainerName != "" {
			m.Profiles = append(m.Profiles, "container")
			break
		}
	}
	return m
}

type ocsfProduct struct {
	Name    string `json:"name"`
	Vendor  string `json:"vendor_name"`
	Version string `json:"version,omitempty"`
}

type ocsfDevice struct {
	TypeID   int    `json:"type_id"` // a record does not tell servers from desktops: 0, unknown
	Hostname string `json:"hostname"`
	Boot     string `json:"boot_uid,omitempty"`
}

// ocsfDeviceOf names the host. A class may ask for its name, so an empty one is
// given too.
func ocsfDeviceOf(e audit.Event) ocsfDevice { return ocsfDevice{Hostname: e.Host, Boot: e.Boot} }

type ocsfActor struct {
	AppName string       `json:"app_name,omitempty"`
	Process *ocsfProcess `json:"process,omitempty"`
	User    *ocsfUser    `json:"user,omitempty"`
}

// selfActor is portaudit, which loads policies and writes the log.
func selfActor() *ocsfActor { return &ocsfActor{AppName: product} }

// ocsfActorOf is the first owner, nil if nothing is known of it.
func ocsfActorOf(e audit.Event) *ocsfActor {
	if len(e.Owners) == 0 {
		return nil
	}
	a := ocsfActor{AppName: serviceName(e.Owners[0]), Process: ocsfProcessOf(e.Owners[0]), User: ocsfUserOf(e.Owners[0])}
	if a == (ocsfActor{}) {
		return nil
	}
	return &a
}

type ocsfProcess struct {
	PID       *int           `json:"pid,omitempty"`
	Name      string         `json:"name,omitempty"`
	Path      string         `json:"path,omitempty"`
	Command   string         `json:"cmd_line,omitempty"`
	Created   *int64         `json:"created_time,omitempty"`
	File      *ocsfFile      `json:"file,omitempty"`
	User      *ocsfUser      `json:"user,omitempty"`
	Parent    *ocsfProcess   `json:"parent_process,omitempty"`
	Container *ocsfContainer `json:"container,omitempty"`
}

// ocsfProcessOf returns the process of an owner, nil if it has no pid: OCSF
// wants one of each process.
func ocsfProcessOf(o audit.Owner) *ocsfProcess {
	if o.PID == nil {
		return nil
	}
	p := ocsfProcess{
		PID: o.PID, Name: processName(o), Path: o.Executable, Command: commandLine(o), Created: millis(o.Started),
		File: ocsfFileOf(o), User: ocsfUserOf(o), Container: ocsfContainerOf(o),
	}
	if o.Parent != nil {
		p.Parent = &ocsfProcess{PID: o.Parent, Name: o.ParentName}
	}
	return &p
}

type ocsfFile struct {
	Name   string            `json:"name"`
	Path   string            `json:"path"`
	TypeID int               `json:"type_id"`
	Hashes []ocsfFingerprint `json:"hashes,omitempty"`
}

// executableFile is a type of file of OCSF.
const executableFile = 8

func ocsfFileOf(o audit.Owner) *ocsfFile {
	if o.Executable == "" {
		return nil
	}
	f := ocsfFile{Name: base(o.Executable), Path: o.Executable, TypeID: executableFile}
	if isHex(o.SHA256) {
		f.Hashes = []ocsfFingerprint{{ID: sha256ID, Value: o.SHA256}}
	}
	return &f
}

// isHex reports whether OCSF takes text for a fingerprint.
func isHex(text string) bool {
	return text != "" && strings.Trim(text, "0123456789abcdefABCDEF") == ""
}

// sha256ID is an algorithm of OCSF.
const sha256ID = 3

type ocsfFingerprint struct {
	ID    int    `json:"algorithm_id"`
	Value string `json:"value"`
}

type ocsfUser struct {
	Name   string `json:"name,omitempty"`
	UID    string `json:"uid,omitempty"`
	TypeID int    `json:"type_id,omitempty"`
}

// adminUser is a type of user of OCSF, for root and his like.
const adminUser = 2

func ocsfUserOf(o audit.Owner) *ocsfUser {
	u := ocsfUser{Name: o.User, UID: userID(o)}
	if u == (ocsfUser{}) {
		return nil
	}
	if o.Root != nil && *o.Root {
		u.TypeID = adminUser
	}
	return &u
}

type ocsfContainer struct {
	UID   string     `json:"uid,omitempty"`
	Name  string     `json:"name,omitempty"`
	Image *ocsfImage `json:"image,omitempty"`
}

// ocsfImage wants an id. A record has only the reference that the container was
// made of, which is name and id alike here.
type ocsfImage struct {
	Name string `json:"name"`
	UID  string `json:"uid"`
}

func ocsfContainerOf(o audit.Owner) *ocsfContainer {
	if o.Container == "" && o.ContainerName == "" {
		return nil
	}
	c := ocsfContainer{UID: o.Container, Name: o.ContainerName}
	if o.Image != "" {
		c.Image = &ocsfImage{Name: o.Image, UID: o.Image}
	}
	return &c
}

type ocsfEndpoint struct {
	Hostname  string     `json:"hostname"`
	IP        netip.Addr `json:"ip,omitzero"`
	Port      uint32     `json:"port,omitempty"`
	Interface string     `json:"interface_name,omitempty"`
	Service   string     `json:"svc_name,omitempty"`
}

// ocsfEndpointOf is the listener: the end of a connection that responds.
func ocsfEndpointOf(e audit.Event) *ocsfEndpoint {
	p := ocsfEndpoint{Hostname: e.Host, IP: addrOf(e.Address), Interface: e.Interface}
	if ported(e) {
		p.Port = e.Port
	}
	if len(e.Owners) > 0 {
		p.Service = serviceName(e.Owners[0])
	}
	return &p
}

type ocsfConnection struct {
	DirectionID int    `json:"direction_id"`
	Protocol    string `json:"protocol_name,omitempty"`
	Number      int    `json:"protocol_num,omitempty"`
	VersionID   int    `json:"protocol_ver_id,omitempty"`
}

// The directions of OCSF that are used: what a listener takes comes in, of one on
// a loopback address from the host itself.
const (
	inbound = 1
	local   = 4
)

func ocsfConnectionOf(e audit.Event) *ocsfConnection {
	c := ocsfConnection{DirectionID: inbound, Protocol: strings.ToLower(e.Transport), Number: protocolNumber(e)}
	a := addrOf(e.Address)
	if a.IsLoopback() {
		c.DirectionID = local
	}
	switch {
	case a.Is4():
		c.VersionID = 4
	case a.Is6():
		c.VersionID = 6
	}
	return &c
}

// placeOf is the listener for people, such as "tcp 127.0.0.1:80".
func placeOf(e audit.Event) string {
	where := e.Address
	if a, err := netip.ParseAddr(e.Address); err == nil && a.Is6() {
		where = "[" + where + "]"
	}
	if e.Port != 0 {
		where += ":" + strconv.FormatUint(uint64(e.Port), 10)
	}
	return strings.TrimSpace(e.Transport + " " + where)
}
