package agent

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/agent/listen"
	"github.com/portaudit/portaudit/policy"
	"github.com/portaudit/portaudit/registry"
)

func tcpAt(address string, port registry.Port) listen.Endpoint {
	e := listen.Endpoint{Namespace: listen.HostNamespace, Transport: registry.TCP, Port: port}
	if address != "" {
		e.Address = netip.MustParseAddr(address)
	}
	return e
}

func hidden(endpoints ...listen.Endpoint) listen.CrossReport {
	r := listen.CrossReport{Views: []string{"a", "b"}}
	for _, e := range endpoints {
		r.Discrepancies = append(r.Discrepancies, listen.Discrepancy{Endpoint: e, Shown: []string{"a"}, Missing: []string{"b"}})
	}
	return r
}

func TestCrossChecked(t *testing.T) {
	checked := hidden(tcpAt("", 53))
	checked.Probed, checked.Gaps = 3, []listen.Gap{{Source: "bind tcp", Reason: "denied"}}
	checked.Bound = []listen.Bound{
		{Endpoint: tcpAt("::1", 80), Owners: []listen.Owner{{How: listen.Process, PID: 7, Executable: "/bin/x", User: "u"}}},
		{Endpoint: tcpAt("::1", 80)}, // SO_REUSEPORT
		{Endpoint: listen.Endpoint{Namespace: "net:[7]", Transport: registry.TCP, Address: netip.MustParseAddr("10.0.0.1"), Port: 9}},
	}
	check := func(context.Context) (listen.CrossReport, error) { return checked, nil }
	r, err := crossChecked(t.Context(), report(observation{}, "h", mustPolicy(t, allowAll)), check)
	if err != nil {
		t.Fatal(err)
	}
	if c := r.CrossCheck; c.Probed != 3 || len(c.Gaps) != 1 || !slices.Equal(c.Views, []string{"a", "b"}) {
		t.Errorf("cross-check is %+v", c)
	}
	var found []string
	for _, f := range r.Findings {
		found = append(found, f.Severity+" "+f.Rule+" "+f.Listeners[0]+": "+f.Message)
	}
	want := []string{
		"critical hidden-port tcp *:53: tcp *:53 shows in a and not in b, three times in a row.",
		"low bound-port net:[7] tcp 10.0.0.1:9: net:[7] tcp 10.0.0.1:9 is bound and does not listen. It is held by unknown.",
		"low bound-port tcp [::1]:80: tcp [::1]:80 is bound and does not listen. It is held by x (pid 7, user u).",
	}
	if !slices.Equal(found, want) {
		t.Errorf("findings are\n%s\nwant\n%s", strings.Join(found, "\n"), strings.Join(want, "\n"))
	}
	if r.Worst() != policy.Critical || r.Counts.Findings["critical"] != 1 || r.Counts.Findings["low"] != 2 {
		t.Errorf("counts are %v", r.Counts)
	}
	wrong := errors.New("wrong")
	if _, err := crossChecked(t.Context(), Report{}, func(context.Context) (listen.CrossReport, error) {
		return listen.CrossReport{}, wrong
	}); !errors.Is(err, wrong) {
		t.Errorf("error is %v", err)
	}
}

func TestCrossDiff(t *testing.T) {
	partly := hidden()
	partly.Gaps = []listen.Gap{{Source: "b"}}
	tests := []struct {
		reason        string
		before, after listen.CrossReport
		events        []string
		remembered    int
	}{
		{"nothing to begin with", hidden(), hidden(), nil, 0},
		{"what is new is raised", hidden(tcpAt("::", 1)), hidden(tcpAt("::", 1), tcpAt("::", 2)), []string{"finding.raised 2"}, 2},
		{"what stays is not raised again", hidden(tcpAt("::", 1)), hidden(tcpAt("::", 1)), nil, 1},
		{"what is gone is cleared", hidden(tcpAt("::", 1), tcpAt("", 2)), hidden(tcpAt("", 2)), []string{"finding.cleared 1"}, 1},
		{"a check that sees less clears nothing", hidden(tcpAt("::", 1)), partly, nil, 1},
	}
	for _, tt := range tests {
		before, _ := crossDiff(nil, tt.before)
		kept := maps.Clone(before)
		after, events := crossDiff(before, tt.after)
		var words []string
		for _, e := range events {
			words = append(words, e.Event+" "+PortText(Listener{Port: e.Port}))
		}
		if !slices.Equal(words, tt.events) || len(after) != tt.remembered {
			t.Errorf("%s: %v and %d remembered, want %v and %d", tt.reason, words, len(after), tt.events, tt.remembered)
		}
		if len(before) != len(kept) {
			t.Errorf("%s: what was remembered before is not as it was", tt.reason)
		}
	}
}

// TestRunCrossChecks lets the agent check every hour, over restarts.
func TestRunCrossChecks(t *testing.T) {
	ways := map[string]func(t *testing.T, dir string){
		"stopped and started": func(*testing.T, string) {},
		"the state file is lost": func(t *testing.T, dir string) {
			if err := os.RemoveAll(filepath.Join(dir, "state")); err != nil {
				t.Fatal(err)
			}
		},
	}
	for way, between := range ways {
		t.Run(way, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var result listen.CrossReport
				var problem error
				checks, dir := 0, t.TempDir()
				run := func(d time.Duration) {
					runFor(t, dir, &host{}, mustPolicy(t, allowAll), d, func(o *Options) {
						o.CrossEvery = time.Hour
						o.CrossCheck = func(context.Context) (listen.CrossReport, error) {
							checks++
							return result, problem
						}
					})
				}
				result = hidden(tcpAt("::1", 80))
				run(30 * time.Minute) // at the start
				between(t, dir)
				run(150 * time.Minute) // at the start, after one hour, and after two
				if checks != 4 {
					t.Errorf("%d checks, want 4", checks)
				}
				if s, err := ReadStatus(filepath.Join(dir, "log"), filepath.Join(dir, "state")); err != nil || s.Findings != 1 {
					t.Errorf("status has %d findings, %v, want 1", s.Findings, err)
				}
				problem = errors.New("the kernel is busy")
				run(150 * time.Minute)
				problem, result = nil, hidden()
				run(time.Minute)
				wantLogged(t, dir,
					"agent.started", "policy.loaded", "finding.raised hidden-port", "agent.stopped",
					"agent.started", "policy.loaded", "agent.stopped",
					"agent.started", "policy.loaded", "crosscheck.failed", "agent.stopped",
					"agent.started", "policy.loaded", "finding.cleared hidden-port", "agent.stopped")
			})
		})
	}
}

// TestReplaySuspect brings an empty memory up to what a check recorded.
func TestReplaySuspect(t *testing.T) {
	want, events := crossDiff(nil, hidden(tcpAt("::1", 80), tcpAt("", 81)))
	var got map[string]suspect
	for _, e := range events {
		tracks := map[string]track{}
		if replay(tracks, e); !ofCrossCheck(e) || len(tracks) != 0 {
			t.Errorf("%s is taken for a listener's", e.Message)
		}
		got = replaySuspect(got, e)
	}
	for id, s := range want {
		if !reflect.DeepEqual(got[id].Finding, s.Finding) || got[id].endpoint() != s.endpoint() {
			t.Errorf("replayed as %+v, was %+v", got[id], s)
		}
		got = replaySuspect(got, s.event(audit.FindingCleared, "m"))
	}
	if len(got) != 0 {
		t.Errorf("after all is cleared there is %v", got)
	}
}
