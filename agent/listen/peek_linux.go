package listen

import (
	"context"

	"github.com/portaudit/portaudit/agent/listen/sockdiag"
	"github.com/portaudit/portaudit/registry"
)

// peek asks for the sockets of TCP and UDP alone, in the namespaces that are
// known, and reports whether one is there that the last enumeration did not see.
// UDP sockets on ports for automatic binds, which clients come and go with, do
// not count.
func (e *engine) peek(ctx context.Context) (bool, error) {
	for _, s := range e.spaces {
		if s.conn == nil {
			continue // only a process of it shows it, in a table that is slow to read
		}
		for i, q := range e.queries {
			if e.sources[i] != byDiag || q.transport != registry.TCP && q.transport != registry.UDP {
				continue
			}
			rows, err := s.conn.Dump(q.Query, e.rows[:0])
			e.rows = rows
			if err != nil {
				return false, err
			}
			for i := range rows {
				if s.unknown(&rows[i], q.transport) {
					return true, nil
				}
			}
			if err := ctx.Err(); err != nil {
				return false, err
			}
		}
	}
	return false, nil
}

// unknown reports whether a row is of a listener that was not there before.
func (s *space) unknown(r *sockdiag.Row, t registry.Transport) bool {
	if r.LocalPort == 0 || r.RemotePort != 0 || t == registry.UDP && s.rules.InEphemeral(registry.Port(r.LocalPort)) == Yes {
		return false
	}
	k := s.known[r.Cookie]
	return k == nil || k.row.Inode != r.Inode || k.row.LocalPort != r.LocalPort || k.row.Local != r.Local
}
