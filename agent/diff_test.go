package agent

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/agent/listen"
)

var epoch = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// at is a listener for tests: "tcp 0.0.0.0 8080 wildcard /usr/bin/app 100".
func at(text string, findings ...string) Listener {
	f := strings.Fields(text)
	var port, pid int
	if _, err := fmt.Sscan(f[2], &port); err != nil {
		panic(err)
	}
	if _, err := fmt.Sscan(f[5], &pid); err != nil {
		panic(err)
	}
	started := epoch.Add(time.Duration(pid) * time.Second)
	l := Listener{
		Transport: f[0], Address: f[1], Port: uint32(port), Scope: f[3], Namespace: listen.HostNamespace,
		Owners: []audit.Owner{{PID: &pid, Started: &started, Executable: f[4], User: "app", How: listen.Process.String()}},
	}
	if f[4] == "?" {
		l.Owners = []audit.Owner{{How: listen.Denied.String()}}
	}
	l.ID = identify(l)
	for _, rule := range findings {
		l.Findings = append(l.Findings, Finding{ID: findingID(rule, l.ID), Rule: rule, Severity: "high", Message: rule})
	}
	return l
}

// play runs audits one second apart and returns what each reported.
func play(t *testing.T, limits Limits, audits ...observation) [][]string {
	t.Helper()
	var said [][]string
	tracks := map[string]track{}
	for i, o := range audits {
		o.time = epoch.Add(time.Duration(i) * time.Second)
		if o.read == nil {
			o.read = map[string]bool{listen.HostNamespace: true}
		}
		var changes []change
		tracks, changes = diff(tracks, o, limits)
		said = append(said, words(changes))
	}
	return said
}

func words(changes []change) []string {
	var all []string
	for _, c := range changes {
		word := strings.TrimPrefix(c.kind, "listener.")
		if c.word != "" {
			word = c.word
		}
		if c.finding.Rule != "" {
			word = strings.TrimPrefix(c.kind, "finding.") + " " + c.finding.Rule
		}
		all = append(all, word)
	}
	return all
}

func seen(listeners ...Listener) observation { return observation{listeners: listeners} }

func TestDiff(t *testing.T) {
	limits := Limits{Confirm: 2, Gone: 3}
	app := at("tcp 0.0.0.0 8080 wildcard /usr/bin/app 100", "r")
	restarted := at("tcp 0.0.0.0 8080 wildcard /usr/bin/app 200", "r")
	withDigest := func(l Listener) Listener {
		l.Owners = slices.Clone(l.Owners)
		l.Owners[0].SHA256 = strings.Repeat("ab", 32)
		return l
	}
	summed, summedAnew := withDigest(app), withDigest(restarted)
	other := at("tcp 0.0.0.0 8080 wildcard /tmp/evil 300", "r")
	narrow := at("tcp 127.0.0.1 8080 loopback /usr/bin/app 100")
	nowhere := at("tcp 0.0.0.0 8080 wildcard ? 0", "other")
	hidden, raced := at("tcp 0.0.0.0 8080 wildcard ? 0"), at("tcp 0.0.0.0 8080 wildcard ? 0")
	raced.Owners[0].How = listen.Raced.String()
	quiet := at("tcp 0.0.0.0 8080 wildcard /usr/bin/app 100")
	six := at("tcp :: 8080 wildcard /usr/bin/app 100", "r")
	tests := []struct {
		reason string
		audits []observation
		want   [][]string
	}{
		{"confirmed at the second audit, with its finding",
			[]observation{seen(app), seen(app), seen(app)},
			[][]string{nil, {"opened", "raised r"}, nil}},
		{"gone after the third audit without it, its finding first",
			[]observation{seen(app), seen(app), seen(), seen(), seen()},
			[][]string{nil, {"opened", "raised r"}, nil, nil, {"cleared r", "closed"}}},
		{"seen once only: the log still tells of it, exactly once",
			[]observation{seen(app), seen(), seen(), seen(), seen()},
			[][]string{nil, nil, nil, {"opened", "raised r", "cleared r", "closed"}, nil}},
		{"a flapping port is one listener",
			[]observation{seen(app), seen(), seen(app), seen(), seen(app), seen()},
			[][]string{nil, nil, {"opened", "raised r"}, nil, nil, nil}},
		{"a restart is one event and no alarm",
			[]observation{seen(app), seen(app), seen(), seen(restarted), seen(restarted)},
			[][]string{nil, {"opened", "raised r"}, nil, {"replaced"}, nil}},
		{"another program at the same place",
			[]observation{seen(app), seen(app), seen(other), seen(other)},
			[][]string{nil, {"opened", "raised r"}, nil, {"cleared r", "owner-changed", "raised r"}}},
		{"from loopback to all addresses",
			[]observation{seen(narrow), seen(narrow), seen(app), seen(app)},
			[][]string{nil, {"opened"}, nil, {"scope-widened", "raised r"}}},
		{"all addresses beside loopback",
			[]observation{seen(narrow), seen(narrow), seen(narrow, app), seen(narrow, app)},
			[][]string{nil, {"opened"}, nil, {"scope-widened", "raised r"}}},
		{"loopback and all addresses from the start, as ntpd does",
			[]observation{seen(narrow, app), seen(narrow, app)},
			[][]string{nil, {"opened", "raised r", "opened"}}},
		{"back to loopback",
			[]observation{seen(app), seen(app), seen(narrow), seen(narrow)},
			[][]string{nil, {"opened", "raised r"}, nil, {"cleared r", "scope-moved"}}},
		{"a mended finding is cleared at once",
			[]observation{seen(app), seen(app), seen(quiet)},
			[][]string{nil, {"opened", "raised r"}, {"cleared r"}}},
		{"owners that cannot be seen clear nothing and change nothing",
			[]observation{seen(app), seen(app), seen(nowhere), seen(nowhere), seen(app)},
			[][]string{nil, {"opened", "raised r"}, nil, nil, nil}},
		{"owners that could never be seen: what is found without them changes",
			[]observation{seen(nowhere), seen(nowhere), seen(hidden), seen(nowhere)},
			[][]string{nil, {"opened", "raised other"}, {"cleared other"}, {"raised other"}}},
		{"owners that cannot be seen in another way clear nothing",
			[]observation{seen(nowhere), seen(nowhere), seen(raced), seen(nowhere)},
			[][]string{nil, {"opened", "raised other"}, nil, nil}},
		{"owners that can be seen at last",
			[]observation{seen(nowhere), seen(nowhere), seen(app), seen(app)},
			[][]string{nil, {"opened", "raised other"}, nil, {"cleared other", "owner-resolved", "raised r"}}},
		{"owners that can be seen before it is reported",
			[]observation{seen(nowhere), seen(app), seen(app), seen(app), seen(app)},
			[][]string{nil, {"opened", "raised r"}, nil, nil, nil}},
		{"two addresses of one scope are one listener with one finding",
			[]observation{seen(app, six), seen(app, six)},
			[][]string{nil, {"opened", "raised r"}}},
		{"a second address is a change, not a new listener",
			[]observation{seen(app), seen(app), seen(app, six)},
			[][]string{nil, {"opened", "raised r"}, {"addresses"}}},
		{"a program whose digest is known at last",
			[]observation{seen(app), seen(app), seen(summed), seen(summed), seen(app), seen(summed)},
			[][]string{nil, {"opened", "raised r"}, {"hashed"}, nil, nil, {"hashed"}}},
		{"another program with a digest is a change of the program",
			[]observation{seen(app), seen(app), seen(), seen(summedAnew), seen(summedAnew)},
			[][]string{nil, {"opened", "raised r"}, nil, {"replaced"}, nil}},
		{"a namespace that was not read loses nothing",
			[]observation{seen(app), seen(app), {read: map[string]bool{listen.HostNamespace: false}}, {read: map[string]bool{listen.HostNamespace: false}}, {read: map[string]bool{listen.HostNamespace: false}}},
			[][]string{nil, {"opened", "raised r"}, nil, nil, nil}},
		{"a namespace that was not found while audits are blind loses nothing",
			[]observation{seen(app), seen(app), {read: map[string]bool{}, blind: true}, {read: map[string]bool{}, blind: true}, {read: map[string]bool{}, blind: true}},
			[][]string{nil, {"opened", "raised r"}, nil, nil, nil}},
		{"a namespace that is gone closes its listeners",
			[]observation{seen(app), seen(app), {read: map[string]bool{"x": true}}, {read: map[string]bool{"x": true}}, {read: map[string]bool{"x": true}}},
			[][]string{nil, {"opened", "raised r"}, nil, nil, {"cleared r", "closed"}}},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			if d := cmp.Diff(tt.want, play(t, limits, tt.audits...)); d != "" {
				t.Errorf("reported (-want +got):\n%s", d)
			}
		})
	}
}

func TestDiffKeepsFirstAndLastSight(t *testing.T) {
	app := at("tcp 0.0.0.0 8080 wildcard /usr/bin/app 100")
	tracks := map[string]track{}
	var all []change
	for i, o := range []observation{seen(app), seen(app), seen(app), seen(), seen(), seen()} {
		o.time, o.read = epoch.Add(time.Duration(i)*time.Minute), map[string]bool{listen.HostNamespace: true}
		var changes []change
		tracks, changes = diff(tracks, o, Limits{Confirm: 2, Gone: 3})
		all = append(all, changes...)
	}
	if len(all) != 2 {
		t.Fatalf("got %v, want opened and closed", words(all))
	}
	if got := all[0].listener.FirstSeen; !got.Equal(epoch) {
		t.Errorf("first seen %v, want the first audit %v, not the one that confirmed it", got, epoch)
	}
	if got, want := all[1].lastSeen, epoch.Add(2*time.Minute); !got.Equal(want) {
		t.Errorf("last seen %v, want the last audit that saw it %v, not the one that gave it up", got, want)
	}
}

// TestWorkersAreNoChange: workers of a pre-forking server come and go.
func TestWorkersAreNoChange(t *testing.T) {
	master := at("tcp 0.0.0.0 80 wildcard /usr/sbin/httpd 100")
	with := func(pids ...int) Listener {
		l := master
		l.Owners = slices.Clone(master.Owners)
		for _, pid := range pids {
			l.Owners = append(l.Owners, audit.Owner{PID: &pid, Executable: "/usr/sbin/httpd", User: "www", How: "process"})
		}
		return l
	}
	got := play(t, Limits{1, 1}, seen(with(101, 102)), seen(with(102, 103)), seen(with()), seen(with(104)))
	want := [][]string{{"opened"}, nil, nil, nil}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("reported (-want +got):\n%s", d)
	}
}

// TestReplayIsTheSame: what the log says must bring back what diff remembered.
func TestReplay(t *testing.T) {
	app := at("tcp 0.0.0.0 8080 wildcard /usr/bin/app 100", "r", "s")
	mended := at("tcp 0.0.0.0 8080 wildcard /usr/bin/app 100", "s")
	other := at("tcp 0.0.0.0 8080 wildcard /tmp/evil 300", "r")
	for name, audits := range map[string][]observation{
		"opened":        {seen(app)},
		"cleared":       {seen(app), seen(mended)},
		"closed":        {seen(app), seen()},
		"owner changed": {seen(app), seen(other)},
	} {
		t.Run(name, func(t *testing.T) {
			remembered, recalled := map[string]track{}, map[string]track{}
			for i, o := range audits {
				o.time, o.read = epoch.Add(time.Duration(i)*time.Second), map[string]bool{listen.HostNamespace: true}
				var changes []change
				remembered, changes = diff(remembered, o, Limits{Confirm: 1, Gone: 1})
				for _, c := range changes {
					replay(recalled, event(c))
				}
			}
			if d := cmp.Diff(raisedIDs(remembered), raisedIDs(recalled)); d != "" {
				t.Errorf("raised findings by listener (-remembered +recalled from the log):\n%s", d)
			}
			// And so the next audit says nothing anew.
			last := audits[len(audits)-1]
			last.time, last.read = epoch.Add(time.Hour), map[string]bool{listen.HostNamespace: true}
			if _, changes := diff(recalled, last, Limits{Confirm: 1, Gone: 1}); len(changes) > 0 {
				t.Errorf("after a recall from the log the same audit reports %v", words(changes))
			}
		})
	}
}

func raisedIDs(tracks map[string]track) map[string][]string {
	ids := map[string][]string{}
	for id, t := range tracks {
		ids[id] = []string{}
		for f := range t.Raised {
			ids[id] = append(ids[id], f)
		}
		slices.Sort(ids[id])
	}
	return ids
}

func TestIdentity(t *testing.T) {
	base := at("tcp 0.0.0.0 8080 wildcard /usr/bin/app 100")
	same := map[string]Listener{
		"another pid":                   at("tcp 0.0.0.0 8080 wildcard /usr/bin/app 999"),
		"another address of the scope":  at("tcp :: 8080 wildcard /usr/bin/app 100"),
		"a worker of the same program":  withOwner(base, audit.Owner{Executable: "/usr/bin/app", How: "process", User: "www"}),
		"the service manager holds too": withOwner(base, audit.Owner{Executable: "/lib/systemd/systemd", How: "socket unit"}),
	}
	for reason, l := range same {
		if identify(l) != base.ID {
			t.Errorf("%s gave another identity", reason)
		}
	}
	different := map[string]Listener{
		"another port":         at("tcp 0.0.0.0 8081 wildcard /usr/bin/app 100"),
		"another transport":    at("udp 0.0.0.0 8080 wildcard /usr/bin/app 100"),
		"another scope":        at("tcp 127.0.0.1 8080 loopback /usr/bin/app 100"),
		"another program":      at("tcp 0.0.0.0 8080 wildcard /usr/bin/other 100"),
		"a second program too": withOwner(base, audit.Owner{Executable: "/usr/bin/other", How: "process"}),
	}
	for reason, l := range different {
		if identify(l) == base.ID {
			t.Errorf("%s gave the same identity", reason)
		}
	}
}

func withOwner(l Listener, o audit.Owner) Listener {
	l.Owners = append(slices.Clone(l.Owners), o)
	return l
}
