package agent

import (
	"net/netip"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/agent/listen"
	"github.com/portaudit/portaudit/policy"
	"github.com/portaudit/portaudit/registry"
)

func TestPast(t *testing.T) {
	began := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	hours := func(n float64) time.Time { return began.Add(time.Duration(n * float64(time.Hour))) }
	tests := []struct {
		reason  string
		track   track
		at      time.Time
		isNew   policy.Answer
		changed string
	}{
		{"what was there at first", track{Listener: Listener{FirstSeen: began}}, hours(2), policy.No, "none"},
		{"what came while the host was learnt", track{Listener: Listener{FirstSeen: hours(0.9)}}, hours(2), policy.No, "none"},
		{"what came later", track{Listener: Listener{FirstSeen: hours(1)}}, hours(2), policy.Yes, "none"},
		{"is new for a day", track{Listener: Listener{FirstSeen: hours(10)}}, hours(33.9), policy.Yes, "none"},
		{"and no longer", track{Listener: Listener{FirstSeen: hours(10)}}, hours(34), policy.No, "none"},
		{"what nobody remembers comes now", track{}, hours(5), policy.Yes, "none"},
		{"or at the beginning", track{}, hours(0.5), policy.No, "none"},
		{"a change counts for a day", track{Listener: Listener{FirstSeen: began}, Change: "scope-widened", ChangedAt: hours(5)}, hours(28), policy.No, "scope-widened"},
		{"and no longer", track{Listener: Listener{FirstSeen: began}, Change: "scope-widened", ChangedAt: hours(5)}, hours(29), policy.No, "none"},
	}
	for _, tt := range tests {
		r := pastOf(map[string]track{"id": tt.track}, began)("id", tt.at)
		if r.isNew != tt.isNew || r.changed != tt.changed || r.firstSeen.IsZero() {
			t.Errorf("%s: %+v, want new %v and changed %s", tt.reason, r, tt.isNew, tt.changed)
		}
	}
	if pastOf(nil, time.Time{}) != nil {
		t.Error("a host that nobody watched has a past")
	}
}

func TestDecideAgain(t *testing.T) {
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	tracks := map[string]track{
		"a": {Listener: Listener{FirstSeen: now.Add(-5 * time.Minute)}},
		"b": {Listener: Listener{FirstSeen: now.Add(-30 * time.Hour)}, Change: "owner-changed", ChangedAt: now.Add(-23 * time.Hour)},
	}
	for rules, want := range map[string]time.Duration{
		"- {id: a, verdict: allow, match: {port: 22}}\n":                                   0,
		"- {id: a, verdict: allow, match: {older_than: 10m}}\n":                            5 * time.Minute,
		"- {id: a, verdict: allow, match: {not: {any: [{older_than: 31h}, {port: 1}]}}}\n": time.Hour,
		"- {id: a, verdict: allow, match: {new: true}}\n":                                  24*time.Hour - 5*time.Minute,
		"- {id: a, verdict: allow, match: {changed: owner-changed}}\n":                     time.Hour,
		"- {id: a, verdict: allow, match: any, expires: 2026-11-15T12:30:00Z}\n":           30 * time.Minute,
	} {
		got := decideAgain(policyOf(t, rules), tracks, now)
		if want == 0 && !got.IsZero() || want > 0 && !got.Equal(now.Add(want)) {
			t.Errorf("%s: at %v, want after %v", rules, got, want)
		}
	}
}

func TestShadows(t *testing.T) {
	at := func(address, program string, change ...func(*listen.Socket)) listen.Socket {
		s := listen.Socket{
			Transport: registry.TCP, Port: 80, Namespace: listen.HostNamespace, Address: netip.MustParseAddr(address), DualStack: listen.No,
			Owners: []listen.Owner{{How: listen.Process, Executable: program, User: "u"}},
		}
		for _, c := range change {
			c(&s)
		}
		return s
	}
	dual := func(s *listen.Socket) { s.DualStack = listen.Yes }
	tests := []struct {
		reason string
		wide   listen.Socket
		narrow listen.Socket
		want   policy.Answer
	}{
		{"another program", at("0.0.0.0", "/a"), at("10.0.0.1", "/b"), policy.Yes},
		{"the same", at("0.0.0.0", "/a"), at("10.0.0.1", "/a"), policy.No},
		{"the same as another user", at("0.0.0.0", "/a"), at("10.0.0.1", "/a", func(s *listen.Socket) { s.Owners = []listen.Owner{{Executable: "/a", User: "v"}} }), policy.Yes},
		{"a program that is not seen", at("0.0.0.0", ""), at("10.0.0.1", "/b"), policy.Unknown},
		{"another port", at("0.0.0.0", "/a"), at("10.0.0.1", "/b", func(s *listen.Socket) { s.Port = 81 }), policy.No},
		{"another namespace", at("0.0.0.0", "/a"), at("10.0.0.1", "/b", func(s *listen.Socket) { s.Namespace = "netns:x" }), policy.No},
		{"IPv6 alone covers no IPv4", at("::", "/a"), at("10.0.0.1", "/b"), policy.No},
		{"a dual stack does", at("::", "/a", dual), at("10.0.0.1", "/b"), policy.Yes},
		{"IPv4 covers no IPv6", at("0.0.0.0", "/a"), at("fd00::1", "/b"), policy.No},
		{"the same address, by SO_REUSEPORT", at("10.0.0.1", "/a"), at("10.0.0.1", "/b"), policy.Yes},
		{"the same address and program", at("10.0.0.1", "/a"), at("10.0.0.1", "/a"), policy.No},
		{"a program that is not seen at the same address", at("10.0.0.1", ""), at("10.0.0.1", ""), policy.No},
		{"a group of several", at("224.0.0.251", "/a"), at("224.0.0.251", "/b"), policy.No},
		{"two programs of a service", at("0.0.0.0", "/a", func(s *listen.Socket) { s.Owners[0].Unit = "x.service" }), at("10.0.0.1", "/b", func(s *listen.Socket) { s.Owners[0].Unit = "x.service" }), policy.No},
		{"on another device", at("0.0.0.0", "/a", func(s *listen.Socket) { s.Interface = "eth1" }), at("10.0.0.1", "/b"), policy.No},
	}
	for _, tt := range tests {
		s := shadowsOf([]listen.Socket{tt.wide, tt.narrow})
		if got := s.by(&tt.narrow); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.reason, got, tt.want)
		}
		if got := s.by(&tt.wide); got != policy.No && tt.wide.Address != tt.narrow.Address {
			t.Errorf("%s: the wide one shadows: %v", tt.reason, got)
		}
	}
}

// TestTimeAlone lets a host be as it is for weeks: what the policy says of time
// happens by itself, once, without a reload, and survives a restart.
func TestTimeAlone(t *testing.T) {
	const text = "version: 1\ndefault: {verdict: alert, severity: high}\nrules:\n" +
		"- {id: stays, verdict: alert, severity: low, match: {older_than: 7d}}\n" +
		"- {id: mail, verdict: require, severity: high, grace: 3h, match: {port: 25}}\n" +
		"- {id: app, verdict: allow, match: {port: 8080}, expires: 2000-01-20}\n"
	synctest.Test(t, func(t *testing.T) {
		dir, h, p := t.TempDir(), &host{snapshot: listening(8080)}, mustPolicy(t, text)
		h.snapshot.Generation = 1 // and the same for ever
		every := func(o *Options) { o.Interval = 10 * time.Minute }
		runFor(t, dir, h, p, 9*24*time.Hour, every)
		runFor(t, dir, h, p, 13*24*time.Hour, every)
		at := map[string]time.Duration{}
		for e, err := range audit.ReadFrom(filepath.Join(dir, "log"), 0) {
			if err != nil {
				t.Fatal(err)
			}
			if e.Event == audit.FindingRaised || e.Event == audit.FindingCleared {
				key := e.Event + " " + e.Rule
				if _, twice := at[key]; twice {
					t.Errorf("%s is recorded twice", key)
				}
				at[key] = e.Time.Sub(bubbleStart())
			}
		}
		const day = 24 * time.Hour
		for key, want := range map[string]time.Duration{
			"finding.raised mail":                3 * time.Hour,
			"finding.raised allowance-expiring":  6 * day,
			"finding.raised stays":               7 * day,
			"finding.cleared allowance-expiring": 20 * day,
			"finding.raised allowance-expired":   20 * day,
			"finding.raised default":             20 * day,
		} {
			got, recorded := at[key]
			if !recorded || got < want || got > want+11*time.Minute {
				t.Errorf("%s: recorded %v, after %v, want after %v", key, recorded, got, want)
			}
			delete(at, key)
		}
		if len(at) > 0 {
			t.Errorf("recorded too: %v", at)
		}
	})
}
