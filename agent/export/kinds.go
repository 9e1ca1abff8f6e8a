package export

import "github.com/portaudit/portaudit/agent/audit"

// logCheckpoint is the kind of event of a signed checkpoint.
const logCheckpoint = "log.checkpoint"

// word is what the schemas call a kind of event.
type word struct {
	ecs  ecsWord
	ocsf ocsfWord
}

// ecsWord is the categorization of a kind of event in ECS:
// https://www.elastic.co/guide/en/ecs/current/ecs-category-field-values-reference.html
type ecsWord struct {
	kind, category, typ string
	outcome             string // "" where success and failure mean nothing
}

// ocsfWord is the class of a kind of event in OCSF, and what happened in it.
type ocsfWord struct {
	class    class
	activity int
	name     string // of the activity
	status   int
	severity int // where the event has none of its own
}

// class is the uid of an event class of OCSF; its category is the thousands.
type class int

const (
	baseEvent        class = 0
	eventLogActivity class = 1008
	complianceFind   class = 2003
	entityManagement class = 3004
	networkActivity  class = 4001
	evidenceInfo     class = 5040
	appLifecycle     class = 6002
	appError         class = 6008
)

// The status and the severities of OCSF that are used.
const (
	success       = 1
	failure       = 2
	informational = 1
	medium        = 3
	high          = 4
	critical      = 5
	other         = 99 // of an activity: what it is, its name says
)

// Of findings the status is another one, for the people who work on them.
const (
	findingNew      = 1
	findingResolved = 4
)

// wordOf returns what the schemas call a kind of event, and whether this version
// knows it. One that it does not know is an event that happened, and no more.
func wordOf(kind string) (word, bool) {
	switch kind {
	case audit.ListenerOpened:
		return word{ecsWord{"event", "network", "start", ""}, ocsfWord{networkActivity, 7, "Listen", success, informational}}, true
	case audit.ListenerClosed:
		return word{ecsWord{"event", "network", "end", ""}, ocsfWord{networkActivity, 2, "Close", success, informational}}, true
	case audit.ListenerChanged:
		return word{ecsWord{"event", "network", "info", ""}, ocsfWord{networkActivity, other, "Change", success, informational}}, true
	case audit.FindingRaised:
		return word{ecsWord{"alert", "network", "info", ""}, ocsfWord{complianceFind, 1, "Create", findingNew, 0}}, true
	case audit.FindingCleared:
		return word{ecsWord{"event", "network", "info", ""}, ocsfWord{complianceFind, 3, "Close", findingResolved, 0}}, true
	}
	return ownWord(kind)
}

// ownWord is wordOf for what portaudit says of itself.
func ownWord(kind string) (word, bool) {
	switch kind {
	case audit.AgentStarted:
		return word{ecsWord{"event", "process", "start", "success"}, ocsfWord{appLifecycle, 3, "Start", success, informational}}, true
	case audit.AgentStopped:
		return word{ecsWord{"event", "process", "end", "success"}, ocsfWord{appLifecycle, 4, "Stop", success, informational}}, true
	case audit.PolicyLoaded:
		return word{ecsWord{"event", "configuration", "change", "success"}, ocsfWord{entityManagement, 10, "Activate", success, informational}}, true
	case audit.PolicyRejected:
		return word{ecsWord{"event", "configuration", "change", "failure"}, ocsfWord{entityManagement, 10, "Activate", failure, medium}}, true
	case audit.AuditFailed, audit.CrossFailed:
		return word{ecsWord{"event", "host", "info", "failure"}, ocsfWord{appError, 1, "General Error", failure, medium}}, true
	case audit.ChangesLost:
		return word{ecsWord{"event", "host", "info", "failure"}, ocsfWord{appError, 1, "General Error", failure, medium}}, true
	case audit.CoverageChanged:
		return word{ecsWord{"event", "host", "change", ""}, ocsfWord{evidenceInfo, 1, "Query", success, informational}}, true
	case audit.LogSegment:
		return word{ecsWord{"event", "file", "creation", "success"}, ocsfWord{eventLogActivity, 5, "Rotate", success, informational}}, true
	case audit.LogPruned:
		return word{ecsWord{"event", "file", "deletion", "success"}, ocsfWord{eventLogActivity, 2, "Delete", success, informational}}, true
	case logCheckpoint:
		return word{ecsWord{"event", "file", "info", "success"}, ocsfWord{eventLogActivity, other, "Checkpoint", success, informational}}, true
	case audit.LogDegraded:
		return word{ecsWord{"event", "file", "info", "failure"}, ocsfWord{eventLogActivity, other, "Degrade", failure, high}}, true
	case audit.LogDamaged:
		return word{ecsWord{"alert", "file", "change", ""}, ocsfWord{eventLogActivity, other, "Damage", failure, critical}}, true
	case audit.LogRestored:
		return word{ecsWord{"event", "file", "info", "success"}, ocsfWord{eventLogActivity, other, "Restore", success, informational}}, true
	}
	return word{ecsWord{"event", "host", "info", ""}, ocsfWord{baseEvent, other, "Other", 0, 0}}, false
}
