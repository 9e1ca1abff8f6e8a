package agent

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/portaudit/portaudit/agent/listen"
	"github.com/portaudit/portaudit/policy"
	"github.com/portaudit/portaudit/registry"
)

// TestSuppose holds that a supposed listener is classified by the rules of this
// host, and what is said of it.
func TestSuppose(t *testing.T) {
	p, err := policy.Parse([]byte(`version: 1
rules:
- {id: held, verdict: allow, match: {privileged: true, authority: root, service: ssh, namespace: host}}
- {id: given-out, verdict: allow, match: {ephemeral: true, user: bob}}
- {id: inner, verdict: alert, severity: low, match: {address: 10.0.0.0/8, dual_stack: false}, message: "{program} on {address}"}
`), "p")
	if err != nil {
		t.Fatal(err)
	}
	o := ScanOptions{Catalog: &registry.Catalog{}, Policy: p, List: func(context.Context) (listen.Snapshot, error) {
		return listen.Snapshot{Time: time.Now(), Namespaces: []listen.Namespace{{
			Label: listen.HostNamespace, UnprivilegedStart: 1024, StartKnown: true,
			Ephemeral: listen.PortRange{First: 32768, Last: 60999}, EphemeralKnown: true,
		}}}, nil
	}}
	tests := []struct {
		reason   string
		supposed Supposed
		rule     string
		message  string // of the first finding
	}{
		{"root on a privileged port", Supposed{Transport: registry.TCP, Port: 22, Facts: []policy.Fact{{Name: "user", Value: "root"}}}, "held", ""},
		{"an unknown program there", Supposed{Transport: registry.TCP, Port: 22, Facts: UnknownProgram()}, policy.DefaultRule, "program listens on :: port 22/tcp (ssh), and no rule of the policy allows it."},
		{"a port that the host gives out", Supposed{Transport: registry.UDP, Port: 40000, Facts: []policy.Fact{{Name: "user", Value: "bob"}}}, "given-out", ""},
		{"the same, said not to be", Supposed{Transport: registry.UDP, Port: 40000, Facts: []policy.Fact{{Name: "user", Value: "bob"}, {Name: "ephemeral", Value: "false"}}}, policy.DefaultRule, "unknown (process) listens on :: port 40000/udp (safetynetp), and no rule of the policy allows it."},
		{"an address", Supposed{Transport: registry.TCP, Port: 8080, Address: netip.MustParseAddr("10.1.2.3"), Facts: []policy.Fact{{Name: "executable", Value: "/usr/bin/x"}}}, policy.DefaultRule, "x on 10.1.2.3"},
	}
	for _, test := range tests {
		l, _, err := Suppose(t.Context(), o, test.supposed)
		if err != nil || l.Rule != test.rule || len(l.Steps) != 4 {
			t.Errorf("%s: %v, by rule %s, want %s: %+v", test.reason, err, l.Rule, test.rule, l.Steps)
			continue
		}
		message := ""
		if len(l.Findings) > 0 {
			message = l.Findings[0].Message
		}
		if message != test.message {
			t.Errorf("%s: found %q, want %q", test.reason, message, test.message)
		}
	}
	var mistakes policy.Errors
	if _, _, err := Suppose(t.Context(), o, Supposed{Transport: registry.TCP, Facts: []policy.Fact{{Name: "usr", Value: "x"}}}); !errors.As(err, &mistakes) {
		t.Errorf("a fact that nobody knows: %v", err)
	}
}
