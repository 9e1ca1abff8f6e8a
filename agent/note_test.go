package agent

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
)

// TestNote holds that a note is in the log when it is answered.
func TestNote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		h := &host{}
		var answer error
		rotated := 0
		runFor(t, dir, h, mustPolicy(t, allowAll), 5*time.Second, func(o *Options) {
			notes := make(chan Note)
			o.Notes, o.Rotated = notes, func() { rotated++ }
			go func() { // it ends with the answer
				done := make(chan error, 1)
				notes <- Note{Event: audit.Event{Event: audit.LogPruned, Message: "m", Removed: []string{"f"}}, Done: done}
				if answer = <-done; answer == nil && o.Log.Seq() < 4 {
					answer = errors.New("it was answered before it was on disk")
				}
			}()
		})
		synctest.Wait()
		if answer != nil {
			t.Error(answer)
		}
		n := 0
		for _, word := range logged(t, dir) {
			if word == audit.LogPruned {
				n++
			}
		}
		if rotated != 1 { // by the header of the first file
			t.Errorf("%d new files are told", rotated)
		}
		if n != 1 {
			t.Errorf("there are %d such records", n)
		}
	})
}

// TestPrunedIsSigned holds that the log is signed before files of it are removed: what
// was signed before may be of nothing that is left.
func TestPrunedIsSigned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, h := t.TempDir(), &host{}
		var alerts []audit.Event
		var covered audit.Verified
		answer := errors.New("there was none")
		runFor(t, dir, h, mustPolicy(t, allowAll), 5*time.Second, func(o *Options) {
			signing(t, dir, 1000, time.Hour, &alerts)(o)
			notes := make(chan Note)
			o.Notes = notes
			go func() { // it ends with the answer
				time.Sleep(2 * time.Second)
				done := make(chan error, 1)
				notes <- Note{Event: audit.Event{Event: audit.LogPruned, Message: "m", Removed: []string{"f"}}, Done: done}
				answer = <-done
				var err error
				covered, err = audit.VerifyLog(o.LogDir, audit.VerifyOptions{})
				answer = errors.Join(answer, err)
			}()
		})
		synctest.Wait()
		if answer != nil || covered.Covered == 0 || covered.Covered != covered.Last {
			t.Errorf("%v, %+v", answer, covered)
		}
		kinds := logged(t, dir)
		i := slices.Index(kinds, audit.LogPruned)
		if i < 0 || kinds[i+1] != audit.LogCheckpoint {
			t.Errorf("the log has %v", kinds)
		}
	})
}

// TestNoteRefused holds that no note waits for a log that cannot be written.
func TestNoteRefused(t *testing.T) {
	l := &loop{degraded: true}
	done := make(chan error, 1)
	if err := l.note(Note{Done: done}); err != nil {
		t.Error(err)
	}
	if err := <-done; !errors.Is(err, audit.ErrDegraded) {
		t.Error(err)
	}
}
