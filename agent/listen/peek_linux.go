package listen

import (
	"context"
	"slices"

	"github.com/portaudit/portaudit/agent/listen/sockdiag"
	"github.com/portaudit/portaudit/registry"
)

// peek asks for the sockets of TCP and UDP alone, in the namespaces that are
// known, and reports whether one is there that the last enumeration did not see.
// UDP sockets on ports for automatic binds, which clients come and go with, do
// not count.
func (e *engine) peek(ctx context.Context) (bool, error) {
	for _, s := range e.spaces {
		if s.conn == nil && !s.own {
			continue // only a process of it shows it, in a table that is slow to read
		}
		for i, q := range e.queries {
			if q.transport != registry.TCP && q.transport != registry.UDP {
				continue
			}
			if found, err := e.peekAt(s, i); found || err != nil {
				return found, err
			}
			if err := ctx.Err(); err != nil {
				return false, err
			}
		}
	}
	return false, nil
}

// peekAt is peek, of one kind of socket of one namespace.
func (e *engine) peekAt(s *space, i int) (bool, error) {
	q := e.queries[i]
	switch e.sources[i] {
	case byNone:
		return false, nil
	case byTable:
		_, rows, err := e.tableRows(s, q)
		return slices.ContainsFunc(rows, func(t tableRow) bool {
			r := t.row(q)
			return s.unknown(&r, q.transport)
		}), err
	}
	rows, err := s.conn.Dump(q.Query, e.rows[:0])
	e.rows = rows
	for i := range rows {
		if err == nil && s.unknown(&rows[i], q.transport) {
			return true, nil
		}
	}
	return false, err
}

// unknown reports whether a row is of a listener that was not there before.
func (s *space) unknown(r *sockdiag.Row, t registry.Transport) bool {
	if r.LocalPort == 0 || r.RemotePort != 0 || t == registry.UDP && s.rules.InEphemeral(registry.Port(r.LocalPort)) == Yes {
		return false
	}
	k := s.known[r.Cookie]
	return k == nil || k.row.Inode != r.Inode || k.row.LocalPort != r.LocalPort || k.row.Local != r.Local
}
