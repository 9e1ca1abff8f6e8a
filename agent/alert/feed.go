package alert

import (
	"crypto/sha256"
	"encoding/hex"
	"iter"
	"sync"

	"github.com/portaudit/portaudit/agent/audit"
)

// ringSize bounds the events that a Feed keeps in memory: an output that is
// further behind reads the log. 10,000 listeners at once are ten times as many.
const ringSize = 1024

// Feed hands on what the log has acknowledged to all outputs. It keeps the last
// events, as long as an output has not taken them; the log on disk is the spool
// behind it, for an output that is behind or was not there.
//
// An event that the log could not hold, with a Seq of 0, is in memory alone: an
// output that is too far behind misses it, and counts that.
type Feed struct {
	dir string // of the log

	mu      sync.Mutex
	ring    []audit.Event
	first   uint64        // number of ring[0] among all that were put
	beyond  uint64        // the last sequence number that was before ring[0]
	last    uint64        // the last one that was put
	places  []*place      // of the outputs
	arrived chan struct{} // closed when more was put
}

// place is how far an output is. It belongs to the Feed.
type place struct {
	pos    uint64 // number of the event that is taken next
	seq    uint64 // the last record that was taken
	missed uint64 // events that the log could not hold and the ring had no room for
}

// NewFeed returns the Feed of the log in dir whose last record is seq.
func NewFeed(dir string, seq uint64) *Feed {
	return &Feed{dir: dir, beyond: seq, last: seq, arrived: make(chan struct{})}
}

// Put hands on events that the log has, or that it could not hold. It waits for
// no output. The events and what they point to are not changed any more.
func (f *Feed) Put(events ...audit.Event) {
	if len(events) == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range events {
		f.ring = append(f.ring, e)
		f.last = max(f.last, e.Seq)
	}
	if len(f.places) == 0 {
		f.drop(len(f.ring))
	} else if n := len(f.ring) - ringSize; n > 0 {
		f.drop(n)
	}
	close(f.arrived)
	f.arrived = make(chan struct{})
}

// drop forgets the first n events of the ring.
func (f *Feed) drop(n int) {
	for i, e := range f.ring[:n] {
		f.beyond = max(f.beyond, e.Seq)
		if e.Seq != 0 {
			continue
		}
		for _, p := range f.places {
			if p.pos <= f.first+uint64(i) {
				p.missed++
			}
		}
	}
	f.first += uint64(n)
	// A copy, so that what was dropped, and room for a burst, can be collected.
	f.ring = append([]audit.Event(nil), f.ring[n:]...)
}

// join adds an output that has taken all records up to seq.
func (f *Feed) join(seq uint64) *place {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := &place{pos: f.first, seq: min(seq, f.last)} // a log that was moved aside starts again
	f.places = append(f.places, p)
	return p
}

// leave removes an output.
func (f *Feed) leave(p *place) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, other := range f.places {
		if other == p {
			f.places = append(f.places[:i], f.places[i+1:]...)
			break
		}
	}
	f.prune()
}

// take returns some of the events behind p, which it moves on behind them. With
// none there are two cases: log says up to which record the log is to be read
// first (see read), or it is 0, and arrived is closed when there is more.
func (f *Feed) take(p *place) (events []audit.Event, log uint64, arrived <-chan struct{}) {
	const some = 64
	f.mu.Lock()
	defer f.mu.Unlock()
	if p.pos < f.first || p.pos == f.first && p.seq < f.beyond {
		return nil, f.beyond, nil
	}
	rest := f.ring[p.pos-f.first:]
	events = append(events, rest[:min(some, len(rest))]...)
	p.pos += uint64(len(events))
	for _, e := range events {
		p.seq = max(p.seq, e.Seq)
	}
	f.prune()
	return events, 0, f.arrived
}

// prune forgets what every output has taken.
func (f *Feed) prune() {
	least := f.first + uint64(len(f.ring))
	for _, p := range f.places {
		least = min(least, p.pos)
	}
	if least > f.first && (least == f.first+uint64(len(f.ring)) || least-f.first >= ringSize/4) {
		f.drop(int(least - f.first))
	}
}

// read notes that p has taken the records up to seq. It returns up to which record
// the log is to be read on, or 0 when p goes on from memory.
func (f *Feed) read(p *place, seq uint64) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	p.seq = max(p.seq, seq)
	if p.seq < f.beyond {
		return f.beyond
	}
	p.pos = max(p.pos, f.first)
	return 0
}

// lost returns how many events p has missed.
func (f *Feed) lost(p *place) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return p.missed
}

// lastSeq returns the last record that was put.
func (f *Feed) lastSeq() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

// behind returns how many events p has not taken.
func (f *Feed) behind(p *place) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.first + uint64(len(f.ring)) - max(p.pos, f.first)
	if p.seq < f.beyond {
		n += f.beyond - p.seq
	}
	return n
}

// record is one of the log, with the hash of its line.
type record struct {
	event audit.Event
	hash  string
}

// records streams the records of the log behind a sequence number.
func (f *Feed) records(after uint64) iter.Seq2[record, error] {
	return func(yield func(record, error) bool) {
		for l, err := range audit.Lines(f.dir, audit.Range{After: after}) {
			var r record
			if err == nil {
				sum := sha256.Sum256(l.Raw)
				r.hash = hex.EncodeToString(sum[:])
				r.event, err = l.Event()
			}
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

// hash returns the hash of the line that holds e.
func hash(e audit.Event) string {
	if e.Seq == 0 {
		return ""
	}
	sum, err := audit.Sum(e)
	if err != nil {
		return "" // it has no JSON form, so the log does not have it either
	}
	return sum
}
