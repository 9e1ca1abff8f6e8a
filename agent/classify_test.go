package agent

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/portaudit/portaudit/agent/listen"
	"github.com/portaudit/portaudit/policy"
	"github.com/portaudit/portaudit/registry"
)

// TestWordsAgree: listen and policy do not know each other, and must still
// call the same thing the same.
func TestWordsAgree(t *testing.T) {
	var words []string
	for h := listen.Process; h <= listen.Unheld; h++ {
		words = append(words, h.String())
	}
	if !slices.Equal(words, policy.Hows()) {
		t.Errorf("listen says %q, policy %q", words, policy.Hows())
	}
	words = nil
	for r := listen.ReachNone; r <= listen.ReachNetwork; r++ {
		words = append(words, r.String())
	}
	if !slices.Equal(words, policy.Reaches()) {
		t.Errorf("listen says %q, policy %q", words, policy.Reaches())
	}
	for _, u := range []registry.Transport{registry.TCP, registry.UDP} {
		for p := range 65536 {
			f := registry.Catalog{}.Describe(registry.Port(p), u)
			if f.Common == nil || f.Common.Severity == "none" {
				continue
			}
			if _, err := policy.ParseSeverity(f.Common.Severity); err != nil {
				t.Errorf("%d/%v: %v", p, u, err)
			}
		}
	}
}

func TestClassifyKeepsFactsApart(t *testing.T) {
	catalog := registry.Catalog{}
	ns := listen.Namespace{Label: listen.HostNamespace, UnprivilegedStart: 1024, StartKnown: true,
		Ephemeral: listen.PortRange{First: 32768, Last: 60999}, EphemeralKnown: true}
	port := func(p registry.Port) policy.Listener {
		s := listen.Socket{Namespace: ns.Label, Transport: registry.TCP, Port: p, Address: netip.MustParseAddr("10.0.0.1")}
		by := newClassifier(listen.Snapshot{Namespaces: []listen.Namespace{ns}}, &catalog, &policy.Policy{}, false)
		return by.classify(s).facts
	}
	if l := port(40000); l.State != registry.Assigned || l.Ephemeral != policy.Yes {
		t.Errorf("40000 is registered and in this host's range for automatic binds, both: %+v", l)
	}
	if l := port(9200); l.Names[0] != "wap-wsp" || l.Risk != policy.Critical {
		t.Errorf("9200 is registered as wap-wsp, and dangerous as Elasticsearch: %+v", l)
	}
	if l := port(10250); l.State != registry.Unassigned || l.Risk != policy.Critical {
		t.Errorf("10250 is unassigned, and dangerous as the kubelet: %+v", l)
	}
	if l := port(22); l.Privileged != policy.Yes || l.Scope != policy.Private {
		t.Errorf("22 on 10.0.0.1 is privileged and private: %+v", l)
	}
}

// TestProgramInMemoryHasNoFile: what never was a file was not deleted, and a
// rule that trusts files on disk must not take it for one.
func TestProgramInMemoryHasNoFile(t *testing.T) {
	if o := policyOwner(listen.Owner{Memory: listen.Yes}); o.Memory != policy.Yes || o.Deleted != policy.Unknown {
		t.Errorf("memory %v, deleted %v, want memory alone", o.Memory, o.Deleted)
	}
}

// TestOwnersFacts: what a policy is told of an owner, and that what is unknown
// stays so.
func TestOwnersFacts(t *testing.T) {
	tests := []struct {
		reason string
		owner  listen.Owner
		want   policy.Owner
	}{
		{"nothing is known", listen.Owner{}, policy.Owner{}},
		{"a container", listen.Owner{Container: "c", ContainerName: "web", Image: "nginx:1.29"}, policy.Owner{Container: "c", Image: "nginx:1.29"}},
		{"groups by name", listen.Owner{Groups: []listen.Group{{ID: 33, Name: "www-data"}, {ID: 998, Name: "998"}}}, policy.Owner{Groups: []string{"www-data", "998"}}},
		{"a digest", listen.Owner{SHA256: [32]byte{0xab}}, policy.Owner{SHA256: "ab" + strings.Repeat("0", 62)}},
		{"capabilities", listen.Owner{Effective: 1 << 13, Permitted: 1 << 12, BindCapability: listen.No}, policy.Owner{Capabilities: policy.Capabilities{Set: 1 << 13, Known: true}}},
		{"no capabilities, which is a fact", listen.Owner{BindCapability: listen.No}, policy.Owner{Capabilities: policy.Capabilities{Known: true}}},
	}
	for _, tt := range tests {
		got := policyOwner(tt.owner)
		got.Root = tt.want.Root // authority_test.go
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: want (-), got (+):\n%s", tt.reason, diff)
		}
	}
}

func TestUpgradedProgramIsNotDeleted(t *testing.T) {
	o := policyOwner(listen.Owner{Deleted: listen.Yes, Replaced: listen.Yes})
	if o.Deleted != policy.No {
		t.Errorf("a program whose file an upgrade replaced counts as deleted: %v", o.Deleted)
	}
	if o := policyOwner(listen.Owner{Deleted: listen.Yes, Replaced: listen.No}); o.Deleted != policy.Yes {
		t.Errorf("a program whose file is gone does not count as deleted: %v", o.Deleted)
	}
}
