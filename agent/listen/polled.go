package listen

import (
	"net/netip"
	"time"

	"github.com/portaudit/portaudit/agent/listen/iphelper"
	"github.com/portaudit/portaudit/agent/listen/securitylog"
)

// polled tells what changed between two looks at the tables of Windows, and
// between those by the events of its Security log. A look is what counts: an
// event tells that a socket opened, and none that it closed.
type polled struct {
	known  map[polledKey]polledSocket
	oldest map[polledKey]time.Time // reused: when the oldest socket of this look was bound
	looks  uint64
	looked time.Time // at last
	number uint64    // given out last
}

// polledKey is what a table and an event tell alike of a socket. Sockets of one
// process at one endpoint are one here, as they are one Socket with one owner.
type polledKey struct {
	tcp   bool
	local netip.AddrPort
	pid   uint32
}

type polledSocket struct {
	number uint64
	look   uint64 // the last one that saw it
	row    iphelper.Row
	heard  bool // of an event, and no look has seen it
}

// rowChange is a socket that opened or closed.
type rowChange struct {
	opened  bool
	at      time.Time
	number  uint64
	row     iphelper.Row
	program string // as an event names it
}

func keyOfRow(r iphelper.Row) polledKey { return polledKey{r.Table.TCP(), r.Local, r.PID} }

// look compares the rows of all tables, which were read at a time, with the look
// before, and appends what changed to changes. The first look has nothing to
// compare with. When a socket closed is not known: at is when that was seen.
func (p *polled) look(changes []rowChange, rows []iphelper.Row, at time.Time) []rowChange {
	p.looks++
	if p.known == nil {
		p.known, p.oldest = make(map[polledKey]polledSocket, len(rows)), map[polledKey]time.Time{}
	}
	clear(p.oldest)
	for _, r := range rows {
		if oldest, here := p.oldest[keyOfRow(r)]; !here || r.Created.Before(oldest) {
			p.oldest[keyOfRow(r)] = r.Created
		}
	}
	for _, r := range rows {
		key := keyOfRow(r)
		s, here := p.known[key]
		if here && s.look == p.looks {
			continue
		}
		if here && !s.heard && p.oldest[key].After(p.looked) { // none of those that were there is left
			changes, here = append(changes, rowChange{at: at, number: s.number, row: s.row}), false
		}
		if !here {
			s = p.add(r)
			if p.looks > 1 {
				changes = append(changes, rowChange{opened: true, at: openedAt(r, at), number: s.number, row: r})
			}
		}
		s.look, s.heard, s.row = p.looks, false, r
		p.known[key] = s
	}
	p.looked = at
	return p.forget(changes, at)
}

// forget forgets what a look did not see. What was heard of after it is for the
// next.
func (p *polled) forget(changes []rowChange, at time.Time) []rowChange {
	for key, s := range p.known {
		if s.look == p.looks || s.heard && s.row.Created.After(at) {
			continue
		}
		changes = append(changes, rowChange{at: at, number: s.number, row: s.row})
		delete(p.known, key)
	}
	return changes
}

// openedAt is when the socket of a row opened: as the table tells, if that is
// neither unknown nor to come.
func openedAt(r iphelper.Row, looked time.Time) time.Time {
	if r.Created.IsZero() || r.Created.After(looked) {
		return looked
	}
	return r.Created
}

func (p *polled) add(r iphelper.Row) polledSocket {
	p.number++
	return polledSocket{number: p.number, row: r}
}

// hear takes an event. ok is false where it tells nothing new, or nothing that a
// look would show.
func (p *polled) hear(e securitylog.Event) (c rowChange, ok bool) {
	r, listens := rowOfEvent(e)
	if _, here := p.known[keyOfRow(r)]; here || !listens || p.known == nil {
		return c, false
	}
	s := p.add(r)
	s.heard = true
	p.known[keyOfRow(r)] = s
	return rowChange{opened: true, at: e.Time, number: s.number, row: r, program: e.Program}, true
}

// rowOfEvent makes the row of a table of an event, and reports whether a table
// would have it: a TCP socket that is merely bound is in none of those.
func rowOfEvent(e securitylog.Event) (r iphelper.Row, listens bool) {
	r = iphelper.Row{Local: e.Local, PID: e.PID, Created: e.Time, Table: iphelper.TCP4}
	six := e.Local.Addr().Is6()
	switch {
	case e.Local.Port() == 0:
		return r, false
	case e.Protocol == 6 && e.Listens && six:
		r.Table = iphelper.TCP6
	case e.Protocol == 6 && e.Listens:
	case e.Protocol == 17 && !e.Listens && six:
		r.Table = iphelper.UDP6
	case e.Protocol == 17 && !e.Listens:
		r.Table = iphelper.UDP4
	default:
		return r, false
	}
	return r, true
}
