package agent

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/agent/listen"
	"github.com/portaudit/portaudit/policy"
	"github.com/portaudit/portaudit/registry"
)

func policyOf(t testing.TB, rules string) *policy.Policy {
	t.Helper()
	p, err := policy.Parse([]byte("version: 1\ndefault: allow\nrules:\n"+rules), "p")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestRequired goes through the audits of a host on which something is required.
func TestRequired(t *testing.T) {
	p := policyOf(t, "- {id: web, verdict: require, severity: high, grace: 1m, match: {port: 80/tcp, user: web}, tags: [x]}\n")
	const there, missing, unknown, unread = "there", "missing", "unknown", "unread"
	type look struct {
		after time.Duration // since the first
		what  string
		want  string // events
	}
	tests := []struct {
		reason string
		looks  []look
	}{
		{"it is there", []look{{0, there, ""}, {time.Hour, there, ""}}},
		{"missing for less than its grace", []look{{0, missing, ""}, {59 * time.Second, missing, ""}, {70 * time.Second, there, ""}, {80 * time.Second, missing, ""}, {139 * time.Second, missing, ""}}},
		{"missing for longer, and back", []look{{0, missing, ""}, {time.Minute, missing, "finding.raised"}, {2 * time.Minute, missing, ""}, {3 * time.Minute, there, "finding.cleared"}}},
		{"who has it is unknown: it may be that", []look{{0, unknown, ""}, {time.Hour, unknown, ""}}},
		{"nor does what is unknown clear", []look{{0, missing, ""}, {time.Minute, missing, "finding.raised"}, {2 * time.Minute, unknown, ""}, {3 * time.Minute, missing, ""}}},
		{"who does not look misses nothing", []look{{0, unread, ""}, {time.Hour, unread, ""}}},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			var before map[string]standing
			begin := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
			for i, k := range tt.looks {
				s := listen.Snapshot{Time: begin.Add(k.after), Namespaces: []listen.Namespace{{Label: listen.HostNamespace, Complete: k.what != unread}}}
				if k.what == there || k.what == unknown {
					o := listen.Owner{How: listen.Process, User: "web"}
					if k.what == unknown {
						o = listen.Owner{How: listen.Denied}
					}
					s.Sockets = []listen.Socket{{Transport: registry.TCP, Port: 80, Namespace: listen.HostNamespace, Owners: []listen.Owner{o}}}
				}
				after, events, next := standingDiff(before, observe(s, newClassifier(s, &registry.Catalog{}, p, false), p))
				got := ""
				for _, e := range events {
					got += e.Event
					if !ofHost(e) || e.Rule != "web" || !slices.Equal(e.Tags, []string{"x"}) {
						t.Errorf("look %d: %+v", i, e)
					}
				}
				if got != k.want {
					t.Errorf("look %d: %q, want %q", i, got, k.want)
				}
				if waits := k.what == missing && len(after) == 1 && !slices.ContainsFunc([]standing{after[findingID("web", "")]}, func(s standing) bool { return s.Raised }); waits == next.IsZero() {
					t.Errorf("look %d: the next one is due at %v", i, next)
				}
				before = after
			}
		})
	}
}

// TestHostStates: what is so of the host is found, once, and cleared; and a log
// makes of it what a state file would.
func TestHostStates(t *testing.T) {
	p := policyOf(t, "- {id: low, verdict: alert, severity: low, when: unprivileged-ports-lowered, message: 'So it is: {detail}.'}\n"+
		"- {id: blind, verdict: alert, severity: medium, when: coverage-degraded}\n")
	look := func(start uint32, gaps ...listen.Gap) observation {
		s := listen.Snapshot{
			Time:       time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC),
			Namespaces: []listen.Namespace{{Label: listen.HostNamespace, StartKnown: true, StartSet: true, UnprivilegedStart: start}, {Label: "netns:c", StartKnown: true, StartSet: true}},
			Coverage:   listen.Coverage{Gaps: gaps},
		}
		return observe(s, newClassifier(s, &registry.Catalog{}, p, false), p)
	}
	healthy := look(1024)
	if found := hostOf(audit.Coverage{Complete: true}, listen.Snapshot{Namespaces: []listen.Namespace{{Label: listen.HostNamespace, StartKnown: true}}}, p); len(found) > 0 {
		t.Errorf("a system where no port ever takes a privilege, as Windows: %+v", found)
	}
	lowered := look(80, listen.Gap{Source: "a", Reason: "b", Hides: listen.HidesOwners}, listen.Gap{Source: "c", Reason: "d"})
	after, events, _ := standingDiff(nil, healthy)
	if len(after) > 0 || len(events) > 0 {
		t.Errorf("a healthy host: %v", events)
	}
	after, events, _ = standingDiff(after, lowered)
	if len(events) != 2 {
		t.Fatalf("%+v", events)
	}
	replayed := map[string]standing{}
	for _, e := range events {
		replayed = replayStanding(replayed, e)
		want := map[string]string{"low": "So it is: every user may open ports from 80 on (net.ipv4.ip_unprivileged_port_start).", "blind": "a: b, which hides owners (and 1 more)"}[e.Rule]
		if e.Message != want {
			t.Errorf("%s says %q, want %q", e.Rule, e.Message, want)
		}
	}
	if _, again, _ := standingDiff(replayed, lowered); len(again) > 0 {
		t.Errorf("after a restart from the log: %+v", again)
	}
	if _, again, _ := standingDiff(after, lowered); len(again) > 0 {
		t.Errorf("again: %+v", again)
	}
	rest, events, _ := standingDiff(after, healthy)
	if len(rest) > 0 || len(events) != 2 || events[0].Event != audit.FindingCleared {
		t.Errorf("healthy again: %v, %+v", rest, events)
	}
	if r := report(lowered, "h", p); len(r.Findings) != 2 || r.Counts.Findings["medium"] != 1 || r.Findings[0].Listeners == nil {
		t.Errorf("report %+v", r.Findings)
	}
}

// TestPublishedWithoutSocket: each port that is handed on is a finding of its own,
// that stays the same when it leads elsewhere.
func TestPublishedWithoutSocket(t *testing.T) {
	p := policyOf(t, "- {id: nat, verdict: alert, severity: medium, when: published-without-socket, message: \"{detail}.\"}\n")
	ip := netip.MustParseAddr
	port := func(first, last registry.Port) listen.PortRange { return listen.PortRange{First: first, Last: last} }
	tests := []struct {
		reason string
		of     listen.Publication
		want   string
	}{
		{"a port", listen.Publication{Transport: registry.TCP, Ports: port(8080, 8080), To: ip("10.0.0.2"), ToPorts: port(80, 80), Because: "rule 3"},
			"port 8080/tcp of every IPv4 address is handed on to 10.0.0.2 port 80, where no listener was seen (rule 3)."},
		{"a range of one address", listen.Publication{Transport: registry.UDP, First: ip("2001:db8::1"), Last: ip("2001:db8::1"), Ports: port(5000, 5010), Interface: "eth*", To: ip("fd00::2"), Because: "r"},
			"port 5000 to 5010/udp of 2001:db8::1 through eth* is handed on to fd00::2, where no listener was seen (r)."},
		{"everything of several", listen.Publication{First: ip("192.0.2.0"), Last: ip("192.0.2.15"), Ports: port(0, 65535), To: ip("10.0.0.2"), Because: "r"},
			"every port of 192.0.2.0 to 192.0.2.15 is handed on to 10.0.0.2, where no listener was seen (r)."},
	}
	for _, tt := range tests {
		found := hostOf(audit.Coverage{Complete: true}, listen.Snapshot{Published: []listen.Publication{tt.of}}, p)
		if len(found) != 1 || found[0].Message != tt.want {
			t.Errorf("%s: %+v, want %q", tt.reason, found, tt.want)
			continue
		}
		moved := tt.of
		moved.To = tt.of.To.Next()
		if again := hostOf(audit.Coverage{Complete: true}, listen.Snapshot{Published: []listen.Publication{moved}}, p); again[0].Subject != found[0].Subject {
			t.Errorf("%s: it is another finding when it leads elsewhere: %q, %q", tt.reason, again[0].Subject, found[0].Subject)
		}
	}
}
