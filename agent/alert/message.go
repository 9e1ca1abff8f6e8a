package alert

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
)

// Summarized is the kind of the event that a summary has. It is no record of the
// log: it has no sequence number of its own.
const Summarized = "alert.summary"

// Message is what an output delivers: one record of the log, or a summary of
// many. It is shared by all outputs, and nobody changes it.
type Message struct {
	// Event is the record as it is in the log. Its Seq is 0 where the log could not
	// hold it (a full disk), and for a summary: that one has the kind Summarized, a
	// sentence in Message, the Rule, the highest Severity, and Time is the last of
	// those that it stands for.
	Event audit.Event

	// Hash is the SHA-256 of the record's line in hexadecimal, as the record behind
	// it has it in prev; "" without a record.
	Hash string

	// Summary has the numbers of a summary; nil for a record.
	Summary *Summary
}

// Summary stands for records of one rule, or where there is no rule of one kind
// of event, that were not delivered one by one.
type Summary struct {
	Rule     string            `json:"rule,omitempty"`     // "" for records without one
	Kinds    map[string]uint64 `json:"kinds"`              // how many records of which kind of event
	Severity string            `json:"severity,omitempty"` // the highest
	Count    uint64            `json:"count"`              // of all kinds: exact
	Unheld   uint64            `json:"unheld,omitempty"`   // of them, that the log could not hold: these have no number
	FirstSeq uint64            `json:"first_seq,omitempty"`
	LastSeq  uint64            `json:"last_seq,omitempty"`
	First    time.Time         `json:"first"`
	Last     time.Time         `json:"last"`
	Sample   string            `json:"sample"` // the message of the last
	Host     string            `json:"host"`
}

// Sender delivers messages to one receiver. A Sender is used by one goroutine.
type Sender interface {
	// Send returns nil when the receiver has the message, as far as its protocol
	// can tell. It connects if it must, keeps to ctx, and may be called again with
	// the same message after an error.
	//
	// An error that wraps ErrRefused is of this message: to try again is of no
	// use, and the next one may be taken. Every other is of the receiver, and Send
	// is called again later with the same message; a *LaterError says when.
	Send(ctx context.Context, m Message) error

	// Close ends the connection, if there is one.
	Close() error
}

// Tender is a Sender that has something to do between messages: to look whether a
// connection still is, and send anew what a broken one may have lost, or to say
// again what still holds. It is called by the same goroutine as Send.
type Tender interface {
	// Tend is called at the start, and after each time that it asks for; 0 is after
	// the next message that was delivered. An error is told, and counted.
	Tend(ctx context.Context) (again time.Duration, err error)
}

// Awaiter is a Sender whose receiver waits for certain records: these are delivered
// by themselves, whatever is selected and however many there are.
type Awaiter interface {
	Awaits(e audit.Event) bool
}

// Recaller is a Sender that remembers something over restarts, in a file that is its
// own. Recall is called once, before anything is sent; an error is told, and the
// Sender goes on without what it could not read.
type Recaller interface {
	Recall(path string) error
}

// ErrRefused is wrapped by an error of Send that another try cannot mend.
var ErrRefused = errors.New("refused")

// LaterError is an error of Send by a receiver that says when to try again.
type LaterError struct {
	After time.Duration
	Err   error
}

// Error tells both.
func (e *LaterError) Error() string { return fmt.Sprintf("%v (again after %v)", e.Err, e.After) }

// Unwrap returns what the receiver said.
func (e *LaterError) Unwrap() error { return e.Err }

// Priority is how urgent something is, by the numbers of RFC 5424, 6.2.1, that
// journald has too.
type Priority uint8

// The priorities that are used.
const (
	Critical Priority = 2
	Failure  Priority = 3 // "Error" in the RFC
	Warning  Priority = 4
	Notice   Priority = 5
	Info     Priority = 6
)

// Priority returns how urgent the message is: of a finding by its severity, of
// what hinders the audit as a failure or a warning. What ends is a notice.
func (m Message) Priority() Priority {
	switch kind := m.Event.Event; kind {
	case audit.FindingRaised, Summarized:
		if s := m.Summary; s != nil && s.Severity == "" {
			return s.priority()
		}
		return severityPriority(m.Event.Severity)
	default:
		return kindPriority(kind)
	}
}

func (s *Summary) priority() Priority {
	most := Info
	for kind := range s.Kinds {
		most = min(most, kindPriority(kind))
	}
	return most
}

func severityPriority(severity string) Priority {
	switch severity {
	case "critical":
		return Critical
	case "high":
		return Failure
	case "medium":
		return Warning
	default:
		return Notice
	}
}

func kindPriority(kind string) Priority {
	switch kind {
	case audit.LogDegraded, audit.LogDamaged:
		return Critical
	case audit.AuditFailed, audit.PolicyRejected:
		return Failure
	case audit.CrossFailed, audit.ChangesLost, audit.CoverageChanged:
		return Warning
	case audit.FindingCleared, audit.LogRestored:
		return Notice
	default:
		return Info
	}
}

// Text returns the message as one line for people, without its time. It is safe
// to print whatever a process calls itself.
func (m Message) Text() string {
	e := m.Event
	what := e.Event
	switch e.Event {
	case audit.FindingRaised:
		what = strings.ToUpper(e.Severity) + " " + e.Rule
	case audit.FindingCleared:
		what = "cleared " + e.Rule
	case Summarized:
		what = "summary"
		if e.Rule != "" {
			what += " " + e.Rule
		}
	}
	text := audit.Visible(e.Message)
	for _, reason := range e.Errors {
		if !strings.Contains(e.Message, reason) { // a single one is a part of it
			text += "; " + audit.Visible(reason)
		}
	}
	return audit.Visible(what) + ": " + text
}

// alerts reports whether a person should know of the kind of event. What merely
// changed about a listener is in the log alone.
func alerts(kind string) bool {
	switch kind {
	case audit.FindingRaised, audit.FindingCleared,
		audit.PolicyRejected, audit.AuditFailed, audit.CrossFailed, audit.ChangesLost, audit.CoverageChanged,
		audit.LogDegraded, audit.LogRestored, audit.LogDamaged, audit.LogCheckpoint:
		return true
	}
	return false
}
