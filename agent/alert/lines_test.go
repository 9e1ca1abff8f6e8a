package alert

import (
	"strings"
	"testing"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
)

func TestLines(t *testing.T) {
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		reason string
		event  audit.Event
		want   string
	}{
		{"a finding", audit.Event{Event: audit.FindingRaised, Severity: "high", Rule: "r", Message: "m"},
			"2026-11-23T12:00:00Z HIGH r: m\n"},
		{"its end", audit.Event{Event: audit.FindingCleared, Severity: "high", Rule: "r", Message: "no longer: m"},
			"2026-11-23T12:00:00Z cleared r: no longer: m\n"},
		{"reasons stand on the same line", audit.Event{Event: audit.PolicyRejected, Message: "m", Errors: []string{"a:1:2: x", "a:2:3: y"}},
			"2026-11-23T12:00:00Z policy.rejected: m; a:1:2: x; a:2:3: y\n"},
		{"a reason that the message tells is not told twice", audit.Event{Event: audit.AuditFailed, Message: "the audit failed: m", Errors: []string{"m"}},
			"2026-11-23T12:00:00Z audit.failed: the audit failed: m\n"},
		{"a checkpoint is for programs", audit.Event{Event: audit.LogCheckpoint, Message: "m"}, ""},
		{"a name cannot break the line or the terminal", audit.Event{Event: audit.FindingRaised, Severity: "low", Rule: "r", Message: "a\n\x1b[2J"},
			"2026-11-23T12:00:00Z LOW r: a\\n\\x1b[2J\n"},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			tt.event.Time = at
			var b strings.Builder
			if err := NewLines(&b).Send(t.Context(), Message{Event: tt.event}); err != nil || b.String() != tt.want {
				t.Errorf("wrote %q, %v, want %q", b.String(), err, tt.want)
			}
		})
	}
}
