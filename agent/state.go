package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
)

// stateFile is the file in the state directory, stateVersion the version of
// its format.
const (
	stateFile    = "state.json"
	stateVersion = 1
)

// maxState bounds the file: a listener takes about 2 KB, a host has thousands
// at the most.
const maxState = 64 << 20

// state is what the agent remembers over restarts.
type state struct {
	Version int `json:"version"`
	// Seq is the last record of the log that the rest accounts for.
	Seq      uint64           `json:"seq"`
	Tracks   map[string]track `json:"listeners"`
	Coverage *audit.Coverage  `json:"coverage"` // as last reported
	// Suspects are what cross-checks found, by the id of the finding.
	Suspects map[string]suspect `json:"suspects,omitempty"`
	Policy   string             `json:"policy"` // SHA-256 of the one last reported
}

// readState reads what was remembered; nothing if there is no file yet.
func readState(dir string) (state, error) {
	f, err := os.Open(filepath.Join(dir, stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return state{Version: stateVersion}, nil
	}
	if err != nil {
		return state{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return state{}, err
	}
	if info.Size() > maxState {
		return state{}, fmt.Errorf("%s has %d bytes, more than %d", f.Name(), info.Size(), maxState)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxState))
	if err != nil {
		return state{}, err
	}
	s, err := parseState(b)
	if err != nil {
		return state{}, fmt.Errorf("%s: %w", f.Name(), err)
	}
	s.Tracks = seenAgain(s.Tracks, lastAudit(info.ModTime(), time.Now()))
	return s, nil
}

// lastAudit returns the time of the last audit that the state accounts for, by
// the time of its file. One from the future is of a clock that was set back, or
// of a file that was copied, and says nothing.
func lastAudit(written, now time.Time) time.Time {
	if written.After(now) {
		return time.Time{}
	}
	return written.UTC()
}

// touch notes that an audit at the time found all as the state file tells it.
func touch(dir string, at time.Time) error {
	return os.Chtimes(filepath.Join(dir, stateFile), time.Time{}, at)
}

// parseState reads the content of a state file.
func parseState(b []byte) (state, error) {
	var s state
	if err := json.Unmarshal(b, &s); err != nil {
		return state{}, err
	}
	if s.Version != stateVersion {
		return state{}, fmt.Errorf("version %d instead of %d", s.Version, stateVersion)
	}
	return s, nil
}

// save writes what is to be remembered, all or nothing.
func (s state) save(dir string) error {
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return audit.WriteFile(filepath.Join(dir, stateFile), b, 0o600)
}

// recall returns what was said before: the state on disk, and what the log in
// dir has beyond it. A state that cannot be read is made anew from the log
// alone, and reported as an error beside it.
func recall(stateDir, logDir string) (state, error) {
	s, problem := readState(stateDir)
	if problem != nil {
		s = state{Version: stateVersion}
	}
	for e, err := range audit.ReadFrom(logDir, s.Seq) {
		if err != nil {
			return s, errors.Join(problem, fmt.Errorf("read the log back: %w", err))
		}
		s.Tracks = replay(s.Tracks, e)
		s.Seq = e.Seq
		switch {
		case ofCrossCheck(e):
			s.Suspects = replaySuspect(s.Suspects, e)
		case e.Coverage != nil:
			s.Coverage = e.Coverage
		case e.Event == audit.PolicyLoaded && e.Policy != nil:
			s.Policy = e.Policy.SHA256
		}
	}
	return s, problem
}
