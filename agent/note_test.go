package agent

import (
	"errors"
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
