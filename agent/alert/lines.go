package alert

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
)

// Lines returns an output that writes one line for each event that a person
// should know of: findings, a refused policy, a failed audit, lost coverage.
// What merely changed about a listener is in the log alone.
//
// Each line is made safe to print, whatever a process calls itself, and is one
// write, so that lines of several writers do not mix.
func Lines(w io.Writer) func(audit.Event) error {
	return func(e audit.Event) error {
		line, ok := line(e)
		if !ok {
			return nil
		}
		_, err := io.WriteString(w, line)
		return err
	}
}

func line(e audit.Event) (string, bool) {
	var what string
	switch e.Event {
	case audit.FindingRaised:
		what = strings.ToUpper(e.Severity) + " " + e.Rule
	case audit.FindingCleared:
		what = "cleared " + e.Rule
	case audit.PolicyRejected, audit.AuditFailed, audit.CrossFailed, audit.ChangesLost, audit.CoverageChanged:
		what = e.Event
	default:
		return "", false
	}
	text := audit.Visible(e.Message)
	for _, reason := range e.Errors {
		if !strings.Contains(e.Message, reason) { // a single one is a part of it
			text += "; " + audit.Visible(reason)
		}
	}
	return fmt.Sprintf("%s %s: %s\n", e.Time.UTC().Format(time.RFC3339), audit.Visible(what), text), true
}
