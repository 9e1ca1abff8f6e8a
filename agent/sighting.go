package agent

import (
	"maps"
	"slices"

	"github.com/portaudit/portaudit/agent/audit"
)

// sighting is one identity in one audit: its endpoints made one.
type sighting struct {
	listener  Listener // of the first address, with the findings of all
	addresses []string
	owners    bool // whether its owners could be seen
}

// group makes one sighting of all endpoints of an identity. A listener whose
// owners cannot be seen counts as the one that was known at its place: its
// owner did not change because this audit is blind.
func group(before map[string]track, listeners []Listener) map[string]sighting {
	known := map[place]string{}
	for _, id := range slices.Sorted(maps.Keys(before)) {
		if t := before[id]; t.Missed == 0 && !unresolved(t.Listener.Owners) {
			known[placeOf(t.Listener)] = id
		}
	}
	sightings := map[string]sighting{}
	for _, l := range listeners {
		owners := !unresolved(l.Owners)
		if id, ok := known[placeOf(l)]; ok && !owners {
			l.ID = id
			l.Owners, l.Findings = before[id].Listener.Owners, before[id].Listener.Findings
		}
		s, seen := sightings[l.ID]
		if !seen {
			s = sighting{listener: l, owners: true}
			s.listener.Findings = addFindings(nil, l.Findings)
		} else {
			s.listener.Findings = addFindings(s.listener.Findings, l.Findings)
			s.listener.Owners = addOwners(s.listener.Owners, l.Owners)
		}
		s.owners = s.owners && owners
		s.addresses = append(s.addresses, l.Address)
		sightings[l.ID] = s
	}
	return sightings
}

// addFindings returns a and those of b that a does not have.
func addFindings(a, b []Finding) []Finding {
	sum := slices.Clone(a)
	for _, f := range b {
		if !slices.ContainsFunc(sum, func(g Finding) bool { return g.ID == f.ID }) {
			sum = append(sum, f)
		}
	}
	return sum
}

// addOwners returns a and those of b that a does not have.
func addOwners(a, b []audit.Owner) []audit.Owner {
	sum := slices.Clone(a)
	for _, o := range b {
		if !slices.ContainsFunc(sum, func(p audit.Owner) bool { return sameProcess(o, p) && o.How == p.How }) {
			sum = append(sum, o)
		}
	}
	return sum
}

func sameHow(a, b audit.Owner) bool { return a.How == b.How }

func sameProcess(a, b audit.Owner) bool {
	if a.PID == nil || b.PID == nil {
		return a.PID == b.PID
	}
	if *a.PID != *b.PID {
		return false
	}
	return a.Started == nil || b.Started == nil || a.Started.Equal(*b.Started)
}
