package alert

import (
	"context"
	"io"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
)

// Lines is an output of one line for each message, for people. Each line is made
// safe to print, whatever a process calls itself, and is one write, so that lines
// of several writers do not mix.
type Lines struct{ w io.Writer }

// NewLines returns the output of lines to w.
func NewLines(w io.Writer) Lines { return Lines{w} }

// Send writes the line. A checkpoint is none: it is for programs.
func (l Lines) Send(_ context.Context, m Message) error {
	if m.Event.Event == audit.LogCheckpoint {
		return nil
	}
	_, err := io.WriteString(l.w, m.Event.Time.UTC().Format(time.RFC3339)+" "+m.Text()+"\n")
	return err
}

// Close does nothing: the writer belongs to who made it.
func (Lines) Close() error { return nil }
