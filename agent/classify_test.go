package agent

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/portaudit/portaudit/agent/listen"
	"github.com/portaudit/portaudit/policy"
	"github.com/portaudit/portaudit/registry"
)

func TestAuthority(t *testing.T) {
	uid := func(n uint32) listen.UID { return listen.UID{ID: n, Known: true} }
	owner := func(n uint32, capable listen.Answer) listen.Owner {
		return listen.Owner{How: listen.Process, PID: 9, UID: uid(n), BindCapability: capable}
	}
	usual := listen.Namespace{UnprivilegedStart: 1024, StartKnown: true}
	tests := []struct {
		reason  string
		port    registry.Port
		ns      listen.Namespace
		creator listen.UID
		owners  []listen.Owner
		want    string
	}{
		{"an owner is root", 80, usual, uid(0), []listen.Owner{owner(0, listen.Yes), owner(33, listen.No)}, "root"},
		{"root opened it and dropped its rights", 53, usual, uid(0), []listen.Owner{owner(53, listen.No)}, "creator-root"},
		{"a capability, as setcap or systemd gives it", 443, usual, uid(33), []listen.Owner{owner(33, listen.Yes)}, "capability"},
		{"socket activation", 22, usual, uid(0), []listen.Owner{{How: listen.SocketUnit, PID: 1, UID: uid(0), BindCapability: listen.Yes}, owner(100, listen.No)}, "inherited"},
		{"nothing explains it", 81, usual, uid(1000), []listen.Owner{owner(1000, listen.No)}, "unexplained"},
		{"the administrator lowered the limit", 81, listen.Namespace{UnprivilegedStart: 80, StartKnown: true}, uid(1000), []listen.Owner{owner(1000, listen.No)}, "sysctl"},
		{"no privileged port at all", 8080, usual, uid(1000), []listen.Owner{owner(1000, listen.No)}, ""},
		{"Windows has no privileged ports", 80, listen.Namespace{StartKnown: true}, listen.UID{}, []listen.Owner{owner(1000, listen.Unknown)}, ""},
		{"an owner that could not be seen is not guessed at", 81, usual, uid(1000), []listen.Owner{{How: listen.Denied}}, ""},
		{"one owner of two could not be seen", 81, usual, uid(1000), []listen.Owner{owner(1000, listen.No), {How: listen.Denied}}, ""},
		{"no owner at all", 81, usual, uid(1000), nil, ""},
		{"the namespace's rules are unknown", 81, listen.Namespace{}, uid(1000), []listen.Owner{owner(1000, listen.No)}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			s := listen.Socket{Port: tt.port, Creator: tt.creator, Owners: tt.owners}
			if got := authority(s, tt.ns); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			slices.Reverse(tt.owners)
			if got := authority(s, tt.ns); got != tt.want {
				t.Errorf("with the owners turned around: got %q, want %q", got, tt.want)
			}
			if tt.want != "" && !slices.Contains(policy.Authorities(), tt.want) {
				t.Errorf("%q is no word of the policy language", tt.want)
			}
		})
	}
}

// TestWordsAgree: listen and policy do not know each other, and must still
// call the same thing the same.
func TestWordsAgree(t *testing.T) {
	var words []string
	for h := listen.Process; h <= listen.Raced; h++ {
		words = append(words, h.String())
	}
	if !slices.Equal(words, policy.Hows()) {
		t.Errorf("listen says %q, policy %q", words, policy.Hows())
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
		s := listen.Socket{Transport: registry.TCP, Port: p, Address: netip.MustParseAddr("10.0.0.1")}
		return classify(s, ns, catalog.Describe(p, registry.TCP)).facts
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

func TestUpgradedProgramIsNotDeleted(t *testing.T) {
	o := policyOwner(listen.Owner{Deleted: listen.Yes, Replaced: listen.Yes})
	if o.Deleted != policy.No {
		t.Errorf("a program whose file an upgrade replaced counts as deleted: %v", o.Deleted)
	}
	if o := policyOwner(listen.Owner{Deleted: listen.Yes, Replaced: listen.No}); o.Deleted != policy.Yes {
		t.Errorf("a program whose file is gone does not count as deleted: %v", o.Deleted)
	}
}
