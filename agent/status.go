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
	// version, a policy that was refused and not mended since.
	Problems []string
}

// ReadStatus reads the whole log in logDir, checking its chain, and the state
// in stateDir. What does not exist leaves its part of the status unknown; what
// is there and cannot be read is among the problems, but for a missing right,
// which is an error for errors.Is(err, fs.ErrPermission).
func ReadStatus(logDir, stateDir string) (Status, error) {
	var s Status
	err := s.readLog(logDir)
	if err == nil {
		err = s.readState(stateDir)
	}
	return s, err
}

func (s *Status) readLog(dir string) error {
	refused := "" // what was said of a policy that was not mended since
	defer func() {
		if refused != "" {
			s.Problems = append(s.Problems, refused)
		}
	}()
	for e, err := range audit.ReadFrom(dir, 0) {
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, io.ErrUnexpectedEOF): // none yet; a record that is being written
			return nil
		case errors.Is(err, fs.ErrPermission):
			return err
		case err != nil:
			s.Problems = append(s.Problems, audit.Visible(err.Error()))
			return nil
		}
		s.take(e)
		switch e.Event {
		case audit.PolicyRejected:
			refused = audit.Visible(strings.Join(append([]string{e.Message}, e.Errors...), "; "))
		case audit.PolicyLoaded:
			refused = ""
		}
	}
	return nil
}

// take brings the status up to a record.
func (s *Status) take(e audit.Event) {
	s.Records, s.Recorded = e.Seq, e.Time
	switch e.Event {
	case audit.AgentStarted:
		s.Version, s.Started, s.Stopped, s.Policy, s.Failure = e.Program, e.Time, false, e.Policy, ""
	case audit.AgentStopped:
		s.Stopped = true
	case audit.PolicyLoaded:
		s.Policy = e.Policy
	case audit.AuditFailed:
		s.Failure = e.Message
	case audit.CoverageChanged, audit.ListenerOpened, audit.ListenerChanged, audit.ListenerClosed:
		s.Failure = "" // only an audit that worked makes these, and the first one after a failure makes one
	}
}

func (s *Status) readState(dir string) error {
	state, err := readState(dir)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return err
	case err != nil:
		s.Problems = append(s.Problems, audit.Visible(fmt.Sprintf("the state cannot be read: %v", err)))
		return nil
	}
	if info, err := os.Stat(filepath.Join(dir, stateFile)); err == nil {
		s.LastAudit = lastAudit(info.ModTime(), time.Now())
	}
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
	return nil
}
