package agent

import (
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/agent/listen"
)

// randomPast is a random history: what audits saw every ten seconds, what the loop
// remembered after each, and what it recorded.
type randomPast struct {
	at      []time.Time        // of the audits
	tracks  []map[string]track // after each
	records []audit.Event
	upTo    []int // how many of the records there were after each audit
}

// recordAfter is how long after an audit its records are written.
const recordAfter = 5 * time.Millisecond

// randomHistory makes one of a few programs on a few ports. Some have owners that
// cannot be seen if unseen is true.
func randomHistory(random *rand.Rand, audits int, unseen bool) randomPast {
	var p randomPast
	record := func(at time.Time, e audit.Event) {
		e.Time, e.Seq = at, uint64(len(p.records)+1)
		p.records = append(p.records, e)
	}
	record(epoch, audit.Event{Event: audit.AgentStarted, Host: "h", Policy: &audit.Policy{Source: "p", SHA256: "s"}})
	tracks := map[string]track{}
	present := map[string]Listener{}
	for i := range audits {
		for range random.IntN(3) {
			l := randomListener(random, unseen)
			key := l.ID + l.Address
			if _, here := present[key]; here {
				delete(present, key)
			} else {
				present[key] = l
			}
		}
		o := observation{time: epoch.Add(time.Duration(i+1) * 10 * time.Second), read: map[string]bool{listen.HostNamespace: true}}
		for _, key := range slices.Sorted(maps.Keys(present)) {
			if random.IntN(10) > 0 { // else it is missed once
				o.listeners = append(o.listeners, present[key])
			}
		}
		var changes []change
		tracks, changes = diff(tracks, o, Limits{Confirm: 2, Gone: 3})
		for _, c := range changes {
			e := event(c)
			e.Host = "h"
			record(o.time.Add(recordAfter), e)
		}
		p.at, p.tracks, p.upTo = append(p.at, o.time), append(p.tracks, tracks), append(p.upTo, len(p.records))
	}
	return p
}

func randomListener(random *rand.Rand, unseen bool) Listener {
	address := []string{"0.0.0.0 8080 wildcard", ":: 8080 wildcard", "127.0.0.1 8080 loopback", "0.0.0.0 22 wildcard", "127.0.0.1 25 loopback"}[random.IntN(5)]
	program := []string{"/usr/bin/app", "/usr/bin/other", "/tmp/evil"}[random.IntN(3)]
	if unseen && random.IntN(5) == 0 {
		program = "?"
	}
	fields := strings.Fields(address)
	var rules []string
	for _, rule := range []string{"r", "s"} {
		if random.IntN(2) == 0 {
			rules = append(rules, rule)
		}
	}
	return at(fmt.Sprintf("tcp %s %s %s %s %d", fields[0], fields[1], fields[2], program, 100+random.IntN(3)), rules...)
}

// linesOf are records as lines of a log.
func linesOf(t testing.TB, records []audit.Event) []audit.Line {
	var lines []audit.Line
	for _, e := range records {
		lines = append(lines, lineOf(t, e))
	}
	return lines
}

// reading is the reading of lines.
func reading(lines []audit.Line) iter.Seq2[audit.Line, error] {
	return func(yield func(audit.Line, error) bool) {
		for _, l := range lines {
			if !yield(l, nil) {
				return
			}
		}
	}
}

// toldBy is what a moment tells of each listener: its findings.
func toldBy(m Moment, want func(ThenListener) bool) map[string][]string {
	all := map[string][]string{}
	for _, l := range m.Listeners {
		if !want(l) {
			continue
		}
		all[l.ID] = []string{}
		for _, f := range l.Findings {
			all[l.ID] = append(all[l.ID], f.ID)
		}
	}
	return all
}

func everyone(ThenListener) bool { return true }

// TestThenIsWhatWasRemembered: by the records alone, a moment has exactly the
// listeners and findings that the loop had reported by then, whatever happened, and
// what replay makes of the same records, owners and all.
func TestThenIsWhatWasRemembered(t *testing.T) {
	for seed := range uint64(12) {
		p := randomHistory(rand.New(rand.NewPCG(seed, 1)), 60, true)
		lines := linesOf(t, p.records)
		for i := range p.at {
			records := p.records[:p.upTo[i]]
			m := Then(reading(lines[:p.upTo[i]]), p.at[i].Add(time.Second), epoch.Add(time.Hour), true)
			if m.Err != nil {
				t.Fatal(m.Err)
			}
			remembered, replayed := map[string][]string{}, map[string]track{}
			for id, tr := range p.tracks[i] {
				if tr.Confirmed {
					remembered[id] = append([]string{}, slices.Sorted(maps.Keys(tr.Raised))...)
				}
			}
			if d := cmp.Diff(remembered, toldBy(m, everyone)); d != "" {
				t.Fatalf("seed %d, after audit %d, findings by listener (-remembered +told):\n%s", seed, i, d)
			}
			for _, e := range records {
				replay(replayed, e)
			}
			rows := 0
			for id, tr := range replayed {
				rows += len(tr.Addresses)
				j := slices.IndexFunc(m.Listeners, func(l ThenListener) bool { return l.ID == id && l.Address == tr.Addresses[0] })
				if j < 0 || !cmp.Equal(tr.Listener.Owners, m.Listeners[j].Owners) || !tr.Listener.FirstSeen.Equal(m.Listeners[j].FirstSeen) || tr.Listener.Rule != m.Listeners[j].Rule {
					t.Fatalf("seed %d, after audit %d: %s is told otherwise than replayed", seed, i, id)
				}
			}
			if rows != len(m.Listeners) {
				t.Fatalf("seed %d, after audit %d: %d rows, want %d", seed, i, len(m.Listeners), rows)
			}
		}
	}
}

// TestThenTellsWhatWasSeen: with what was recorded later, a moment has what the
// audit of that moment saw, confirmed or not. What it missed and found gone
// afterwards is told to be unsure; what it missed and saw again is told as there, for
// nothing was recorded of that. What another took the place of may be either.
func TestThenTellsWhatWasSeen(t *testing.T) {
	moments, late, gone := 0, 0, 0
	for seed := range uint64(12) {
		p := randomHistory(rand.New(rand.NewPCG(seed, 2)), 60, false)
		lines := linesOf(t, p.records)
		for i := range p.at[:len(p.at)-10] { // the last ones have no later
			m := Then(reading(lines), p.at[i], epoch.Add(time.Hour), true)
			sure := toldBy(m, func(l ThenListener) bool { return l.LastSeen == nil })
			unsure := toldBy(m, func(l ThenListener) bool { return l.LastSeen != nil })
			for id, tr := range p.tracks[i] {
				_, certain := sure[id]
				_, doubted := unsure[id]
				switch {
				case tr.Missed == 0 && !certain && (!doubted || !p.replaced(i, id)):
					t.Fatalf("seed %d, audit %d saw %s, and that is not told", seed, i, EndpointText(tr.Listener))
				case tr.Missed > 0 && certain && !p.seenAgain(i, id):
					t.Fatalf("seed %d, audit %d missed %s, and it is told for sure", seed, i, EndpointText(tr.Listener))
				case tr.Missed > 0 && !certain && !doubted:
					t.Fatalf("seed %d, audit %d missed %s, which was remembered, and nothing is told", seed, i, EndpointText(tr.Listener))
				}
				if !tr.Confirmed {
					late++
				}
			}
			for id := range sure {
				if _, here := p.tracks[i][id]; !here {
					t.Fatalf("seed %d, audit %d: %s is told and was not remembered", seed, i, id)
				}
			}
			moments, gone = moments+1, gone+len(unsure)
		}
	}
	if moments == 0 || late == 0 || gone == 0 {
		t.Errorf("%d moments, %d listeners recorded later, %d found gone: the histories show too little", moments, late, gone)
	}
}

// seenAgain reports whether a listener that an audit missed was seen by a later one
// without having been closed, or gave its place up, of which its record does not say
// when it was seen last.
func (p randomPast) seenAgain(i int, id string) bool {
	for j, tracks := range p.tracks[i+1:] {
		tr, here := tracks[id]
		if !here {
			return !slices.ContainsFunc(p.records[p.upTo[i+j]:p.upTo[i+j+1]], func(e audit.Event) bool {
				return e.Event == audit.ListenerClosed && e.Listener == id
			})
		}
		if tr.Missed == 0 {
			return true
		}
	}
	return false
}

// replaced reports whether another listener took the place of this one afterwards.
func (p randomPast) replaced(i int, id string) bool {
	return slices.ContainsFunc(p.records[p.upTo[i]:], func(e audit.Event) bool { return e.Replaces == id })
}
