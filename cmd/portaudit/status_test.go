package main

import (
	"strings"
	"testing"

	"github.com/portaudit/portaudit/agent"
)

// TestStatusTellsOfChanges: what became of changes is told where there were any.
func TestStatusTellsOfChanges(t *testing.T) {
	tests := []struct {
		reason string
		counts agent.Tally
		want   string
	}{
		{"the system tells of none", agent.Tally{}, ""},
		{"all is well", agent.Tally{Told: 310, Brief: 1}, "Between audits: 310 changes heard of, 0 lost; 1 socket too brief for an audit."},
		{"an audit disagrees", agent.Tally{Told: 1, Unsettled: 1}, "Between audits: 1 change heard of, 0 lost; 0 sockets too brief for an audit, 1 that the next one did not find."},
		{"all that it could tell was lost", agent.Tally{Lost: 7}, "Between audits: 0 changes heard of, 7 lost; 0 sockets too brief for an audit."},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			var b strings.Builder
			if err := writeStatus(&b, screen{}, status{Changes: tt.counts}); err != nil {
				t.Fatal(err)
			}
			text := strings.ReplaceAll(b.String(), "\n", " ")
			if tt.want == "" && strings.Contains(text, "Between audits") || !strings.Contains(text, tt.want) {
				t.Errorf("it says %q, want %q", text, tt.want)
			}
		})
	}
}
