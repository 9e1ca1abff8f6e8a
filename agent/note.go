package agent

import (
	"fmt"

	"github.com/portaudit/portaudit/agent/audit"
)

// Note is a record that another than the loop has for the log, such as of files of
// the log that are to be removed.
type Note struct {
	Event audit.Event
	// Done takes nil when the record is on disk, or why it is not. It must have room.
	Done chan<- error
}

// note records what another has to say. While the log cannot be written it is
// refused, for it need not be kept until then: who has it can ask again.
func (l *loop) note(n Note) error {
	if l.degraded {
		n.Done <- audit.ErrDegraded
		return nil
	}
	err := l.record([]audit.Event{n.Event})
	if err == nil && n.Event.Event == audit.LogPruned {
		// The last checkpoint has to be of records that stay: one from before what is
		// left can be held against nothing.
		err = l.sign()
	}
	answer := err
	if answer == nil && l.degraded {
		answer = fmt.Errorf("%w: it is recorded later", audit.ErrDegraded)
	}
	n.Done <- answer
	return err
}
