package agent

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
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
	// Standing are the findings of the host itself, by id.
	Standing map[string]standing `json:"standing,omitempty"`
	Tally    Tally               `json:"changes"`
	Began    time.Time           `json:"began,omitzero"` // when the host was first audited
	Policy   string              `json:"policy"`         // SHA-256 of the one that the listeners were decided by
	// Self is what the log says of the agent itself; nil in a state of an older
	// version.
	Self *self `json:"agent,omitempty"`
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
	s, err := parseState(io.LimitReader(f, maxState))
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

// parseState reads the content of a state file, one listener after the other:
// a host may have ten thousand, which are tens of megabytes.
func parseState(r io.Reader) (state, error) {
	var s state
	d := json.NewDecoder(r)
	err := eachMember(d, func(key string) error {
		switch key {
		case "version":
			return d.Decode(&s.Version)
		case "seq":
			return d.Decode(&s.Seq)
		case "coverage":
			return d.Decode(&s.Coverage)
		case "policy":
			return d.Decode(&s.Policy)
		case "began":
			return d.Decode(&s.Began)
		case "changes":
			return d.Decode(&s.Tally)
		case "suspects":
			return d.Decode(&s.Suspects)
		case "standing":
			return d.Decode(&s.Standing)
		case "agent":
			return d.Decode(&s.Self)
		case "listeners":
			s.Tracks = map[string]track{}
			return eachMember(d, func(id string) error {
				var t track
				err := d.Decode(&t)
				s.Tracks[id] = t
				return err
			})
		default: // of a newer version
			return d.Decode(new(json.RawMessage))
		}
	})
	if err != nil {
		return state{}, err
	}
	if _, err := d.Token(); err != io.EOF {
		return state{}, errors.New("something stands behind the state")
	}
	if s.Version != stateVersion {
		return state{}, fmt.Errorf("version %d instead of %d", s.Version, stateVersion)
	}
	return s, nil
}

// eachMember reads an object, or null, and calls do at each of its members,
// which it must decode.
func eachMember(d *json.Decoder, do func(key string) error) error {
	begin, err := d.Token()
	if err != nil || begin == nil {
		return err
	}
	if begin != json.Delim('{') {
		return fmt.Errorf("%v where an object is wanted", begin)
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		if err := do(key.(string)); err != nil { // a key of an object is one, or Token has failed
			return err
		}
	}
	_, err = d.Token()
	return err
}

// write writes the content of a state file, as parseState reads it.
func (s state) write(file io.Writer) error {
	frame := s
	frame.Tracks = nil
	b, err := json.Marshal(frame)
	if err != nil {
		return err
	}
	before, after, _ := bytes.Cut(b, []byte(`"listeners":null`)) // in no string: there the quotes are escaped
	w := bufio.NewWriterSize(file, 64<<10)
	w.Write(before)                //nolint:errcheck // Flush tells
	w.WriteString(`"listeners":{`) //nolint:errcheck // Flush tells
	separator := ""
	for _, id := range slices.Sorted(maps.Keys(s.Tracks)) {
		member, err := json.Marshal(map[string]track{id: s.Tracks[id]})
		if err != nil {
			return err
		}
		w.WriteString(separator)           //nolint:errcheck // Flush tells
		w.Write(member[1 : len(member)-1]) //nolint:errcheck // Flush tells
		separator = ","
	}
	w.WriteByte('}') //nolint:errcheck // Flush tells
	w.Write(after)   //nolint:errcheck // Flush tells
	return w.Flush()
}

// save writes what is to be remembered, all or nothing.
func (s state) save(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return audit.WriteFileBy(filepath.Join(dir, stateFile), 0o600, s.write)
}

// account brings what is said of the agent up to a record. Where nothing was known,
// of a state that an older version left, the whole log is asked until the agent
// starts again and says all of it.
func (s *state) account(e audit.Event) {
	switch {
	case s.Self != nil:
		now := s.Self.after(e)
		s.Self = &now
	case s.Seq == 0 || e.Event == audit.AgentStarted:
		now := self{}.after(e)
		s.Self = &now
	}
}

// recall returns what was said before: the state on disk, and what the log in
// dir has beyond it. A state that cannot be read is made anew from the log
// alone, and reported as an error beside it.
//
// A log of years takes its time: when ctx is done it ends with the error of that.
func recall(ctx context.Context, stateDir, logDir string) (state, error) {
	s, problem := readState(stateDir)
	if problem != nil {
		s = state{Version: stateVersion}
	}
	if s.Tracks == nil {
		s.Tracks = map[string]track{}
	}
	for e, err := range audit.ReadFrom(logDir, s.Seq) {
		if err != nil {
			return s, errors.Join(problem, fmt.Errorf("read the log back: %w", err))
		}
		if err := ctx.Err(); err != nil {
			return s, err
		}
		if s.Began.IsZero() {
			s.Began = e.Time
		}
		replay(s.Tracks, e)
		s.account(e)
		s.Seq = e.Seq
		switch {
		case ofCrossCheck(e):
			s.Suspects = replaySuspect(s.Suspects, e)
		case ofHost(e):
			s.Standing = replayStanding(s.Standing, e)
		case e.Coverage != nil:
			s.Coverage = e.Coverage
		}
	}
	return s, problem
}
