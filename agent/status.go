package agent

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
)

// Status is what the agent that works, or worked last, says of itself by its
// log and its state. Zero values are unknown.
type Status struct {
	Version   string // of the program
	Started   time.Time
	Stopped   bool          // it said that it stops
	Policy    *audit.Policy // in force
	Failure   string        // of the last audit, "" if it worked
	Records   uint64        // of the log
	Recorded  time.Time     // time of the last record
	Coverage  *audit.Coverage
	Listeners int // that were reported and not closed
	Findings  int // that were raised and not cleared
	// Changes is what became of what was told between audits, as of the last
	// time that the state was written.
	Changes Tally
	// LastAudit is the time of the last audit that the state accounts for: of a
	// running agent at most a minute behind.
	LastAudit time.Time
	// Problems are what is wrong with log, state or policy: damage, another
	// version, a log that cannot be written, a policy that was refused and not
	// mended since.
	Problems []string
}

// ReadStatus reads the state in stateDir, and of the log in logDir what the state
// does not account for: all of it if there is no state. What does not exist leaves
// its part of the status unknown; what is there and cannot be read is among the
// problems, but for a missing right, which is an error for
// errors.Is(err, fs.ErrPermission).
func ReadStatus(logDir, stateDir string) (Status, error) {
	var s Status
	left, problem := readState(stateDir)
	if errors.Is(problem, fs.ErrPermission) {
		return s, problem
	}
	if err := s.readLog(logDir, left); err != nil {
		return s, err
	}
	if problem != nil {
		s.Problems = append(s.Problems, audit.Visible(fmt.Sprintf("the state cannot be read: %v", problem)))
		return s, nil
	}
	if info, err := os.Stat(filepath.Join(stateDir, stateFile)); err == nil {
		s.LastAudit = lastAudit(info.ModTime(), time.Now())
	}
	s.count(left)
	return s, nil
}

// readLog reads what the log has from the last record on that the state accounts
// for. If it is not there, the state is another log's, and all is read.
func (s *Status) readLog(dir string, left state) error {
	if left.Self != nil && left.Seq > 0 {
		now := Status{}
		if err := now.read(dir, left.Seq-1, *left.Self); err != nil {
			return err
		}
		if now.Records > 0 {
			*s = now
			return nil
		}
	}
	return s.read(dir, 0, self{})
}

// read brings the status up to the end of the log, from what is known after some
// records.
func (s *Status) read(dir string, after uint64, known self) error {
	for l, err := range audit.Lines(dir, audit.Range{After: after}) {
		var e audit.Event
		if err == nil {
			e, err = ofAgent(l)
		}
		if errors.Is(err, fs.ErrPermission) {
			return err
		}
		if err != nil {
			// There may be none yet, or a record is being written.
			if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, io.ErrUnexpectedEOF) {
				s.Problems = append(s.Problems, audit.Visible(err.Error()))
			}
			break
		}
		s.Records, s.Recorded = l.Seq, l.Time
		known = known.after(e)
	}
	s.Version, s.Started, s.Stopped, s.Policy, s.Failure = known.Version, known.Started, known.Stopped, known.Policy, known.Failure
	for _, problem := range []string{known.Refused, known.Degraded, known.Damaged} {
		if problem != "" {
			s.Problems = append(s.Problems, problem)
		}
	}
	return nil
}

// self is what the records of a log say of the agent itself. The state keeps it,
// so that who asks for the status need not read the log.
type self struct {
	Version string        `json:"program"`
	Started time.Time     `json:"started,omitzero"`
	Stopped bool          `json:"stopped,omitempty"`
	Policy  *audit.Policy `json:"policy,omitempty"`
	Refused string        `json:"refused,omitempty"` // what was said of a policy that was not mended since
	Failure string        `json:"failure,omitempty"` // of the last audit
	// What the log says of itself: why it could not be written, until it could again,
	// and, since the agent started, why it is not what was signed.
	Degraded string `json:"degraded,omitempty"`
	Damaged  string `json:"damaged,omitempty"`
}

// ofAgent decodes a record if self has something of it. Of most, that they are there
// is enough.
func ofAgent(l audit.Line) (audit.Event, error) {
	switch l.Kind {
	case audit.AgentStarted, audit.PolicyLoaded, audit.PolicyRejected, audit.AuditFailed:
		return l.Event()
	}
	return audit.Event{Event: l.Kind}, nil
}

// after returns what is known after a record more, which may be known already.
func (s self) after(e audit.Event) self {
	switch e.Event {
	case audit.AgentStarted:
		return self{Version: e.Program, Started: e.Time, Policy: e.Policy, Refused: s.Refused, Degraded: s.Degraded}
	case audit.AgentStopped:
		s.Stopped = true
	case audit.PolicyLoaded:
		s.Policy, s.Refused = e.Policy, ""
	case audit.PolicyRejected:
		s.Refused = audit.Visible(strings.Join(append([]string{e.Message}, e.Errors...), "; "))
	case audit.AuditFailed:
		s.Failure = e.Message
	case audit.LogDegraded:
		s.Degraded = audit.Visible(e.Message)
	case audit.LogRestored:
		s.Degraded = ""
	case audit.LogDamaged:
		s.Damaged = audit.Visible(e.Message)
	case audit.CoverageChanged, audit.ListenerOpened, audit.ListenerChanged, audit.ListenerClosed:
		s.Failure = "" // only an audit that worked makes these, and the first one after a failure makes one
	}
	return s
}

// count takes over what the state says of listeners.
func (s *Status) count(state state) {
	s.Coverage, s.Changes = state.Coverage, state.Tally
	s.Findings = len(state.Suspects)
	for _, h := range state.Standing {
		if h.Raised {
			s.Findings++
		}
	}
	for _, t := range state.Tracks {
		if t.Confirmed {
			s.Listeners++
		}
		s.Findings += len(t.Raised)
	}
}
