package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/policy"
	"github.com/portaudit/portaudit/registry"
)

// Sighting is a listener as a policy sees it, with when and how often it was
// seen.
type Sighting struct {
	Listener    Listener // its document
	Facts       policy.Listener
	First, Last time.Time
	Times       int
	// Doubtful says that the facts come from a record that may not hold the names
	// that were seen.
	Doubtful bool
}

// See makes one audit and returns every socket.
func See(ctx context.Context, o ScanOptions) ([]Sighting, audit.Coverage, error) {
	w := watcher{WatchOptions: WatchOptions{ScanOptions: o}}
	if err := w.lookAround(ctx); err != nil {
		return nil, audit.Coverage{}, err
	}
	snapshot, err := o.List(ctx)
	if err != nil {
		return nil, audit.Coverage{}, err
	}
	by, sights := o.classifier(snapshot)
	all := []Sighting{}
	for _, s := range snapshot.Sockets {
		c := by.remembered(by.classify(s), snapshot.Time)
		l := listener(c, o.Policy.Decide(c.facts, snapshot.Time), snapshot.Time)
		all = append(all, Sighting{Listener: l, Facts: c.facts, First: sights(l), Last: snapshot.Time.UTC(), Times: 1})
	}
	return all, coverageOf(snapshot.Coverage), nil
}

// SeeWhile watches the host until ctx is done and returns everything that
// listened meanwhile.
func SeeWhile(ctx context.Context, o WatchOptions) ([]Sighting, audit.Coverage, error) {
	seen := newMemory(o.Catalog)
	var coverage audit.Coverage
	err := Watch(ctx, o, func(v View) {
		coverage = v.Coverage
		for _, e := range v.Changes {
			seen.take(e)
		}
	})
	return seen.all(time.Now().UTC()), coverage, err
}

// SeenInLog returns everything that listened since a time, by the log in dir. It
// keeps no more of the log than that.
func SeenInLog(dir string, catalog *registry.Catalog, since time.Time) ([]Sighting, error) {
	seen := newMemory(catalog)
	var last time.Time
	for e, err := range audit.ReadFrom(dir, 0) {
		if errors.Is(err, io.ErrUnexpectedEOF) { // a record that is being written
			break
		}
		if err != nil {
			return nil, err
		}
		seen.take(e)
		seen.forget(since)
		last = e.Time
	}
	return slices.DeleteFunc(seen.all(last), func(s Sighting) bool { return s.Last.Before(since) }), nil
}

// memory gathers what records tell of listeners.
type memory struct {
	catalog *registry.Catalog
	open    map[string]*Sighting // by the id of the listener
	closed  map[string]*Sighting // by what a policy sees of it
	ended   []string             // of closed, what ended since it was last looked through
}

func newMemory(catalog *registry.Catalog) *memory {
	return &memory{catalog: catalog, open: map[string]*Sighting{}, closed: map[string]*Sighting{}}
}

// take brings what is gathered up to a record.
func (s *memory) take(e audit.Event) {
	facts, doubtful := factsOf(e, s.catalog)
	if len(facts) == 0 {
		return
	}
	s.end(e.Replaces, e.Time, e.Change == changeResolved)
	seen, here := s.open[e.Listener]
	opens := e.Event == audit.ListenerOpened || e.Event == audit.ListenerChanged && e.Change != changeHashed
	if here && opens {
		s.end(e.Listener, e.Time, e.Change == changeResolved)
		here = false
	}
	if !here {
		first := e.Time
		if e.Event != audit.ListenerChanged && e.FirstSeen != nil && !e.FirstSeen.IsZero() {
			first = *e.FirstSeen
		}
		seen = &Sighting{Listener: s.document(e), Facts: facts[0], First: first, Times: 1, Doubtful: doubtful}
		s.open[e.Listener] = seen
	}
	seen.Last = e.Time
	if e.Event == audit.ListenerClosed {
		at := e.Time
		if e.LastSeen != nil && !e.LastSeen.IsZero() {
			at = *e.LastSeen
		}
		s.end(e.Listener, at, false)
	}
}

// document is the listener of a record, with what is known of its port.
func (s *memory) document(e audit.Event) Listener {
	l := trackOf(e).Listener
	if t, err := registry.ParseSocketTransport(l.Transport); err == nil && ported(t) {
		known := s.catalog.Describe(registry.Port(l.Port), t)
		l.Service, l.Known, l.Site = serviceName(known), KnownOf(known.Common), SiteOf(known.Site)
	}
	return l
}

// end moves what was open to what is closed. What was only seen better later on is
// forgotten.
func (s *memory) end(id string, at time.Time, resolved bool) {
	seen, here := s.open[id]
	if !here {
		return
	}
	delete(s.open, id)
	if resolved && unresolved(seen.Listener.Owners) {
		return
	}
	seen.Last = at
	facts := seen.Facts
	key := seen.Listener.ID + fmt.Sprintf("%+v", facts) // without a pid: a restart is the same
	if before, here := s.closed[key]; here {
		before.Last, before.Times = seen.Last, before.Times+1
		return
	}
	s.closed[key] = seen
	s.ended = append(s.ended, key)
}

// forget drops what ended before a time.
func (s *memory) forget(since time.Time) {
	for _, key := range s.ended {
		if s.closed[key].Last.Before(since) {
			delete(s.closed, key)
		}
	}
	s.ended = s.ended[:0]
}

// all returns what was gathered until a time.
func (s *memory) all(until time.Time) []Sighting {
	for id := range s.open {
		s.end(id, until, false)
	}
	list := []Sighting{}
	for _, key := range slices.Sorted(maps.Keys(s.closed)) {
		list = append(list, *s.closed[key])
	}
	return list
}
