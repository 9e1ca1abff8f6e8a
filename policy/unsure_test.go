package policy

import (
	"slices"
	"testing"
	"time"
)

// TestUnsure holds of which rules an unknown fact leaves open whether they match.
func TestUnsure(t *testing.T) {
	p := mustParse(t, `
version: 1
rules:
  - {id: root, verdict: alert, severity: low, match: {root: true}}
  - {id: not-sshd, verdict: alert, severity: low, match: {port: 22, not: {executable: /usr/sbin/sshd}}}
  - {id: ssh, verdict: allow, match: {port: 22, user: root}}
  - {id: after, verdict: allow, match: {parent: systemd}}
`)
	tests := []struct {
		reason string
		change func(*Listener)
		want   []string
	}{
		{"everything is known", func(*Listener) {}, nil},
		{"a fact that no rule is left to ask for", func(l *Listener) { l.Owners[0].Parent = "" }, nil},
		{"the program", func(l *Listener) { l.Owners[0].Executable = "" }, []string{"not-sshd"}},
		{"the program, on a port for which it does not matter", func(l *Listener) { l.Owners[0].Executable, l.Port = "", 23 }, nil},
		{"nobody was seen", func(l *Listener) { l.Owners = nil }, []string{"root", "not-sshd", "ssh", "after"}},
	}
	for _, tt := range tests {
		l := sshd()
		tt.change(&l)
		if got := p.Unsure(l, time.Time{}); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.reason, got, tt.want)
		}
	}
}
