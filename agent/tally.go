package agent

import (
	"cmp"
	"maps"
	"slices"
)

// tally counts how often each of many texts comes, in memory that is bounded: of
// twice its size it forgets the rarer half, and knows by how much a count may be
// too small then (lossy counting, after Manku and Motwani, VLDB 2002).
type tally struct {
	size   int
	counts map[string]uint64
	short  uint64 // by so much any count may be too small
}

func newTally(size int) tally { return tally{size: size, counts: map[string]uint64{}} }

func (t *tally) add(text []byte) {
	if _, known := t.counts[string(text)]; !known && len(t.counts) >= 2*t.size {
		t.forget()
	}
	t.counts[string(text)]++
}

// forget drops the rarer half.
func (t *tally) forget() {
	by := slices.Sorted(maps.Values(t.counts))
	limit := by[len(by)/2]
	for text, n := range t.counts {
		if n <= limit {
			delete(t.counts, text)
		}
	}
	t.short += limit // what is forgotten and comes again was counted as often before
}

// Count is how often something comes.
type Count struct {
	Name    string `json:"name"`
	Records uint64 `json:"records"`
}

// top returns the n most frequent, the most frequent first.
func (t *tally) top(n int) []Count {
	all := []Count{}
	for text, count := range t.counts {
		all = append(all, Count{text, count})
	}
	slices.SortFunc(all, func(a, b Count) int {
		return cmp.Or(cmp.Compare(b.Records, a.Records), cmp.Compare(a.Name, b.Name))
	})
	return all[:min(n, len(all))]
}
