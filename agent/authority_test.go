package agent

import (
	"slices"
	"testing"

	"github.com/portaudit/portaudit/agent/listen"
	"github.com/portaudit/portaudit/policy"
	"github.com/portaudit/portaudit/registry"
)

func uid(n uint32) listen.UID { return listen.UID{ID: n, Known: true} }

// holder is a process of the host that opened its socket itself.
func holder(n uint32, capable listen.Answer) listen.Owner {
	return listen.Owner{
		How: listen.Process, PID: 9, UID: uid(n), BindCapability: capable, NamespaceOwner: listen.No, Inherits: listen.No,
	}
}

// heir is a process that has the socket of another owner.
func heir(n uint32) listen.Owner {
	o := holder(n, listen.No)
	o.Inherits = listen.Yes
	return o
}

// tenant is a process of the user namespace that owns the socket's.
func tenant(n uint32, capable listen.Answer) listen.Owner {
	o := holder(n, capable)
	o.NamespaceOwner = listen.Yes
	return o
}

func TestAuthority(t *testing.T) {
	owners := func(o ...listen.Owner) []listen.Owner { return o }
	usual := listen.Namespace{UnprivilegedStart: 1024, StartKnown: true}
	systemd := listen.Owner{How: listen.SocketUnit, PID: 1, UID: uid(0), BindCapability: listen.Yes}
	const yes, no, unknown = listen.Yes, listen.No, listen.Unknown
	tests := []struct {
		reason  string
		port    registry.Port
		ns      listen.Namespace
		creator listen.UID
		owners  []listen.Owner
		want    string
	}{
		{"the owner is root", 80, usual, uid(0), owners(holder(0, yes)), "root"},
		{"an owner is root, and how the other has the socket is not known", 80, usual, uid(0), owners(holder(0, yes), holder(33, no)), "root"},
		{"all owners are root, be they heirs", 80, usual, uid(0), owners(holder(0, yes), heir(0)), "root"},
		{"an heir that is root needs nobody", 80, usual, uid(0), owners(heir(0)), "root"},
		{"root, and one that could not be seen", 80, usual, uid(0), owners(holder(0, yes), listen.Owner{How: listen.Denied}), "root"},
		{"the kernel itself", 111, usual, uid(0), owners(listen.Owner{How: listen.Kernel}), "root"},

		{"root opened it and dropped its rights", 53, usual, uid(0), owners(holder(53, no)), "creator-root"},
		{"root opened it, and a child of the process that dropped its rights has it too", 53, usual, uid(0), owners(holder(53, no), heir(53)), "creator-root"},

		{"a capability, as setcap or systemd gives it", 443, usual, uid(33), owners(holder(33, yes)), "capability"},
		{"a capability, and a child without", 443, usual, uid(33), owners(holder(33, yes), heir(33)), "capability"},
		{"a capability of one of two that opened it", 443, usual, uid(33), owners(holder(33, yes), holder(34, no)), "capability"},

		{"the administrator lowered the limit", 81, listen.Namespace{UnprivilegedStart: 80, StartKnown: true}, uid(1000), owners(holder(1000, no)), "sysctl"},
		{"the administrator took it away, as container engines do", 81, listen.Namespace{StartKnown: true}, uid(1000), owners(holder(1000, no)), "sysctl"},
		{"that explains a port of root too", 81, listen.Namespace{StartKnown: true}, uid(0), owners(holder(0, yes)), "sysctl"},
		{"the limit is lower, and the port is below", 79, listen.Namespace{UnprivilegedStart: 80, StartKnown: true}, uid(1000), owners(holder(1000, no)), "unexplained"},

		{"root of a user namespace", 80, usual, uid(100000), owners(tenant(100000, yes)), "user namespace"},
		{"the same of an ordinary user's namespace", 80, usual, uid(1000), owners(tenant(1000, yes)), "user namespace"},
		{"another user of the namespace than the one that opened it", 80, usual, uid(100000), owners(tenant(100033, no)), "user namespace"},
		{"a user of the namespace that opened it without a right", 80, usual, uid(100033), owners(tenant(100033, no)), "unexplained"},
		{"a user namespace that does not own the network", 80, usual, uid(100000), owners(holder(100000, no)), "unexplained"},
		{"root of a user namespace, and its worker", 80, usual, uid(100000), owners(tenant(100000, yes), heir(100033)), "user namespace"},

		{"socket activation", 22, usual, uid(0), owners(systemd, heir(100)), "inherited"},
		{"the same where no more is known of the service", 22, usual, uid(0), owners(systemd, holder(100, no)), "inherited"},
		{"systemd waits for the first connection", 22, usual, uid(0), owners(systemd), "inherited"},
		{"a service manager of which nothing is known", 22, usual, uid(0), owners(listen.Owner{How: listen.SocketUnit}, holder(100, no)), "inherited"},
		{"a user's own service manager, which has no rights to pass on", 22, usual, uid(1000), owners(listen.Owner{How: listen.SocketUnit, PID: 9, UID: uid(1000), BindCapability: no}, heir(1000)), "unexplained"},
		{"root passed it to a child without rights", 80, usual, uid(0), owners(holder(0, yes), heir(33)), "inherited"},
		{"the one that passed it on is gone", 80, usual, uid(0), owners(heir(33)), "inherited"},

		{"nothing explains it", 81, usual, uid(1000), owners(holder(1000, no)), "unexplained"},
		{"nothing explains it, and a child explains nothing", 81, usual, uid(1000), owners(holder(1000, no), heir(1000)), "unexplained"},
		{"who opened it could not be seen", 81, usual, uid(1000), owners(listen.Owner{How: listen.Denied}, heir(1000)), ""},

		{"no privileged port at all", 8080, usual, uid(1000), owners(holder(1000, no)), ""},
		{"Windows has no privileged ports", 80, listen.Namespace{StartKnown: true}, listen.UID{}, owners(holder(1000, unknown)), ""},
		{"an owner that could not be seen is not guessed at", 81, usual, uid(1000), owners(listen.Owner{How: listen.Denied}), ""},
		{"one owner of two could not be seen", 81, usual, uid(1000), owners(holder(1000, no), listen.Owner{How: listen.Denied}), ""},
		{"of an owner only the user is known", 81, usual, uid(1000), owners(holder(1000, unknown)), ""},
		{"who opened it is not known", 81, usual, listen.UID{}, owners(holder(1000, no)), ""},
		{"no owner at all", 81, usual, uid(1000), nil, ""},
		{"an owner of which nothing is known", 81, usual, uid(0), owners(listen.Owner{}), ""},
		{"the namespace's rules are unknown", 81, listen.Namespace{}, uid(1000), owners(holder(1000, no)), ""},
		{"nothing is known at all", 0, listen.Namespace{}, listen.UID{}, nil, ""},
	}
	told := map[string]bool{"": true}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			s := listen.Socket{Transport: registry.TCP, Port: tt.port, Creator: tt.creator, Owners: tt.owners}
			if got := authority(s, tt.ns); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			slices.Reverse(tt.owners)
			if got := authority(s, tt.ns); got != tt.want {
				t.Errorf("with the owners turned around: got %q, want %q", got, tt.want)
			}
			s.Transport = registry.Packet
			if got := authority(s, tt.ns); got != "" {
				t.Errorf("of a packet socket, which has no port: got %q", got)
			}
		})
		told[tt.want] = true
	}
	for _, word := range policy.Authorities() {
		if !told[word] {
			t.Errorf("no row for %q", word)
		}
	}
	if len(told) != len(policy.Authorities())+1 {
		t.Errorf("%v are not all words of the policy language: %v", told, policy.Authorities())
	}
}

func TestRoot(t *testing.T) {
	tests := []struct {
		reason string
		owner  listen.Owner
		want   policy.Answer
	}{
		{"uid 0", listen.Owner{UID: uid(0)}, policy.Yes},
		{"another", listen.Owner{UID: uid(1000)}, policy.No},
		{"Windows' system account", listen.Owner{SID: "S-1-5-18"}, policy.Yes},
		{"an administrator with the full token", listen.Owner{SID: "S-1-5-21-1-2-3-500", Elevated: listen.Yes}, policy.Yes},
		{"another account of Windows", listen.Owner{SID: "S-1-5-20", Elevated: listen.No}, policy.No},
		{"the kernel", listen.Owner{How: listen.Kernel}, policy.Yes},
		{"nothing known", listen.Owner{}, policy.Unknown},
		{"not allowed to look", listen.Owner{How: listen.Denied}, policy.Unknown},
	}
	for _, tt := range tests {
		if got := root(tt.owner); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.reason, got, tt.want)
		}
	}
}
