package listen

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/portaudit/portaudit/agent/listen/sockdiag"
	"github.com/portaudit/portaudit/registry"
)

// entry is a socket that is known, as the kernel's tables tell of it.
type entry struct {
	row       sockdiag.Row
	transport registry.Transport
	multipath Answer
	exposure  Exposure
	exposed   bool      // whether that was looked at
	audit     uint64    // number of the audit that saw it last
	holders   []holder  // in a part of engine.holders; never changed
	looked    bool      // whether its holders were looked for
	orphan    time.Time // when there were none for the first time, zero if there were always some
	stray     stray     // what is known of it while there are none
	unsettled bool      // several, and some of them were not there at the walk before
}

// holder is a process that holds a socket, or why none can be named.
type holder struct {
	pid int32
	fd  int32 // a descriptor by which it holds the socket
	how How   // Process, Ring: of pid; else why there is none
}

// query is a question for one kind of socket.
type query struct {
	sockdiag.Query
	transport registry.Transport
	table     string // of /proc/net that tells the same, "" if there is none
	protocol  string // as /proc/net/protocols calls it
}

// queries are asked in every namespace.
func queries() []query {
	return []query{
		{sockdiag.Query{Family: sockdiag.Inet, Protocol: sockdiag.TCP, States: sockdiag.Listen}, registry.TCP, "tcp", "TCP"},
		{sockdiag.Query{Family: sockdiag.Inet6, Protocol: sockdiag.TCP, States: sockdiag.Listen}, registry.TCP, "tcp6", "TCPv6"},
		{sockdiag.Query{Family: sockdiag.Inet, Protocol: sockdiag.UDP, States: sockdiag.Closed}, registry.UDP, "udp", "UDP"},
		{sockdiag.Query{Family: sockdiag.Inet6, Protocol: sockdiag.UDP, States: sockdiag.Closed}, registry.UDP, "udp6", "UDPv6"},
		{sockdiag.Query{Family: sockdiag.Inet, Protocol: sockdiag.UDPLite, States: sockdiag.Closed}, registry.UDPLite, "udplite", "UDP-Lite"},
		{sockdiag.Query{Family: sockdiag.Inet6, Protocol: sockdiag.UDPLite, States: sockdiag.Closed}, registry.UDPLite, "udplite6", "UDPLITEv6"},
		{sockdiag.Query{Family: sockdiag.Inet, Protocol: sockdiag.SCTP, States: sockdiag.Listen}, registry.SCTP, "", "SCTP"},
		{sockdiag.Query{Family: sockdiag.Inet6, Protocol: sockdiag.SCTP, States: sockdiag.Listen}, registry.SCTP, "", "SCTPv6"},
		{sockdiag.Query{Family: sockdiag.Inet, Protocol: sockdiag.DCCP, States: sockdiag.Listen}, registry.DCCP, "", "DCCP"},
		{sockdiag.Query{Family: sockdiag.Inet6, Protocol: sockdiag.DCCP, States: sockdiag.Listen}, registry.DCCP, "", "DCCPv6"},
		{sockdiag.Query{Family: sockdiag.Inet, Protocol: sockdiag.Raw, States: sockdiag.Closed}, registry.Raw, "raw", "RAW"},
		{sockdiag.Query{Family: sockdiag.Inet6, Protocol: sockdiag.Raw, States: sockdiag.Closed}, registry.Raw, "raw6", "RAWv6"},
		{sockdiag.Query{Family: sockdiag.Packet}, registry.Packet, "", "PACKET"},
		{sockdiag.Query{Family: sockdiag.VSOCK, States: sockdiag.Listen}, registry.VSOCK, "", "AF_VSOCK"},
	}
}

// source is how one query is answered on this host.
type source uint8

const (
	byDiag  source = iota // by sock_diag
	byTable               // by a table of /proc/net: sock_diag does not know the protocol
	byNone                // not at all
)

// ask finds out how each query can be answered. A protocol that is not in
// /proc/net/protocols is not asked for: the question alone would make an older
// kernel load its module (sock_load_diag_module in net/core/sock_diag.c), and
// an audit must not widen what the host can be attacked by.
func (e *engine) ask() {
	protocols, err := os.ReadFile(e.root + "/self/net/protocols")
	there := func(name string) bool {
		return err != nil || bytes.Contains(protocols, []byte("\n"+name+" "))
	}
	s := e.spaces[e.self]
	e.notes = e.notes[:0]
	for i, q := range e.queries {
		e.sources[i] = byDiag
		if !there(q.protocol) {
			e.sources[i] = byNone
			e.note(q.protocol, "this kernel has none of these sockets now")
			continue
		}
		if s.conn != nil {
			none := q.Query
			none.States = 0 // whether it would answer, not what
			if _, err := s.conn.Dump(none, nil); !errors.Is(err, sockdiag.ErrAbsent) {
				continue
			}
		}
		switch _, err := os.Stat(e.root + "/self/net/" + q.table); {
		case q.table != "" && err == nil:
			e.sources[i] = byTable
			e.note(q.protocol, "read from /proc/net/"+q.table+": the kernel has no socket diagnostics for it")
		default:
			e.sources[i] = byNone
			e.unseen(q, protocols)
		}
	}
}

// unseen notes a protocol that the kernel has and will not tell of. It is a gap
// only while sockets of it may exist.
func (e *engine) unseen(q query, protocols []byte) {
	n, known := parseProtocolSockets(protocols, q.protocol)
	// Of vsock the kernel registers the protocol and counts no socket: the
	// column shows 0 beside a listener (net/vmw_vsock/af_vsock.c never calls
	// sock_prot_inuse_add).
	if known && n == 0 && q.transport != registry.VSOCK {
		e.note(q.protocol, "no such socket exists; the kernel has no socket diagnostics for it")
		return
	}
	e.staticGaps = append(e.staticGaps, Gap{
		Source: "sock_diag " + q.protocol, Hides: HidesSockets, Count: n,
		Reason: "the kernel has no socket diagnostics for this kind of socket",
		Fix:    "load the kernel's module for it (modprobe " + diagModule(q.transport) + ")",
	})
}

func diagModule(t registry.Transport) string {
	switch t {
	case registry.VSOCK:
		return "vsock_diag"
	case registry.Packet:
		return "af_packet_diag"
	default:
		return t.String() + "_diag"
	}
}

func (e *engine) note(source, text string) {
	e.notes = append(e.notes, Note{Source: source, Text: text})
}

// dump reads the sockets of every namespace. It reports whether there are some
// whose holders were not looked for, and marks what changed.
func (e *engine) dump() (fresh bool) {
	for _, s := range e.spaces {
		e.rows = e.rows[:0]
		s.rules.Complete = true
		if s.conn == nil {
			fresh = e.readTables(s) || fresh
		} else {
			for i := range e.queries {
				fresh = e.dumpOne(s, i) || fresh
			}
		}
		for cookie, k := range s.known {
			if k.audit == e.audit {
				continue
			}
			if !s.rules.Complete && k.audit+1 == e.audit {
				continue // it may only not have been read
			}
			delete(s.known, cookie)
			e.changed = true
		}
	}
	return fresh
}

// dumpOne reads the sockets of one kind of one namespace.
func (e *engine) dumpOne(s *space, i int) (fresh bool) {
	q := e.queries[i]
	switch e.sources[i] {
	case byNone:
		return false
	case byTable:
		return e.readTable(s, q)
	}
	rows, err := s.conn.Dump(q.Query, e.rows[:0])
	e.rows = rows
	if err != nil {
		e.incomplete(s, "sock_diag "+q.protocol+" of "+s.rules.Label, err)
	}
	for i := range rows {
		fresh = e.see(s, &rows[i], q.transport) || fresh
	}
	return fresh
}

func (e *engine) incomplete(s *space, source string, err error) {
	s.rules.Complete = false
	e.gap(Gap{Source: source, Reason: err.Error(), Hides: HidesSockets})
}

// see notes a socket and reports whether it is new. Nobody listens on port 0:
// such a UDP socket was never bound.
func (e *engine) see(s *space, r *sockdiag.Row, t registry.Transport) (fresh bool) {
	if t.Assigned() != 0 && (r.LocalPort == 0 || r.RemotePort != 0) {
		return false
	}
	k := s.known[r.Cookie]
	if k == nil || k.row.Inode != r.Inode || k.row.LocalPort != r.LocalPort || k.row.Local != r.Local {
		k = &entry{row: *r, transport: t}
		s.known[r.Cookie] = k
		e.changed = true
		fresh = true
	} else if fresh = !k.looked; k.row.Interface != r.Interface || k.row.V6Only != r.V6Only || k.row.UID != r.UID || k.row.Number != r.Number {
		k.row = *r
		e.changed = true
	}
	k.audit = e.audit
	return fresh
}

// readTables reads the tables of /proc for a namespace that could not be
// entered.
func (e *engine) readTables(s *space) (fresh bool) {
	if s.pid == 0 && !s.own {
		e.incomplete(s, s.path, fs.ErrPermission)
		return false
	}
	for _, q := range e.queries {
		if q.table != "" {
			fresh = e.readTable(s, q) || fresh
		}
	}
	return fresh
}

// fromTable marks what stands in for a cookie where only the inode is known.
const fromTable = 1 << 63

// readTable reads one table of the namespace. One that is absent is a protocol
// that the kernel does not have and no gap.
func (e *engine) readTable(s *space, q query) (fresh bool) {
	path, rows, err := e.tableRows(s, q)
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	if err != nil {
		e.incomplete(s, path, err)
		return false
	}
	for i := range rows {
		r := rows[i].row(q)
		fresh = e.see(s, &r, q.transport) || fresh
	}
	return fresh
}

// row returns what the table tells as sock_diag would.
func (t *tableRow) row(q query) sockdiag.Row {
	r := sockdiag.Row{
		Family: q.Family, Protocol: q.Protocol, LocalPort: uint16(t.port), UID: t.uid,
		Inode: uint32(t.inode), Cookie: fromTable | t.inode,
	}
	copy(r.Local[:], t.address.AsSlice())
	return r
}

// tableRows reads a table where the namespace shows it: inside it if it was
// entered, else through one of its processes.
func (e *engine) tableRows(s *space, q query) (path string, rows []tableRow, err error) {
	if !s.own && s.conn == nil {
		path, rows, err = e.tableOfProcess(s, q)
		if errors.Is(err, errLeft) && e.findPath(s) { // another process may be left there
			path, rows, err = e.tableOfProcess(s, q)
		}
		return path, rows, err
	}
	path = e.tablePath(s, q)
	err = s.inside(func() (err error) {
		rows, err = readTable(path, q.transport)
		return err
	})
	return path, rows, err
}

var errLeft = errors.New("the process by which the namespace was found is not there any more")

// tableOfProcess reads a table through the directory of a process, which shows
// the namespace that the process is in at that moment: it may move to another
// one, and its number may go to a process of another one. So it is asked before
// and after, through a descriptor that stays bound to the process.
func (e *engine) tableOfProcess(s *space, q query) (path string, rows []tableRow, err error) {
	path = e.directory(s.pid) + "/net/" + q.table
	dir, err := os.OpenRoot(e.directory(s.pid))
	if err != nil {
		return path, nil, errLeft
	}
	defer dir.Close()
	there := func() bool {
		link, err := dir.Readlink("ns/net")
		id, ok := parseNamespaceLink([]byte(link))
		return err == nil && ok && id == s.id
	}
	if !there() {
		return path, nil, errLeft
	}
	f, err := dir.Open("net/" + q.table)
	if err == nil {
		defer f.Close()
		rows, err = parseTable(f, path, q.transport)
	}
	if !there() {
		return path, nil, errLeft
	}
	return path, rows, err
}

func readTable(path string, t registry.Transport) ([]tableRow, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return parseTable(f, path, t)
}

// markMultipath finds out which of the TCP sockets take Multipath TCP too. The
// kernel lists those under a protocol of their own, with the inode of the
// socket that the program sees (mptcp_diag.c); among plain TCP they look like
// any other.
func (e *engine) markMultipath() {
	for _, s := range e.spaces {
		if s.conn == nil {
			continue
		}
		clear(e.inodes)
		known := true
		for _, family := range [...]uint8{sockdiag.Inet, sockdiag.Inet6} {
			q := sockdiag.Query{Family: family, Protocol: sockdiag.MPTCP, States: sockdiag.Listen}
			rows, err := s.conn.Dump(q, e.rows[:0])
			e.rows = rows
			if err != nil && !errors.Is(err, sockdiag.ErrAbsent) {
				known = false
			}
			for i := range rows {
				e.inodes[uint64(rows[i].Inode)] = true
			}
		}
		for _, k := range s.known {
			if k.transport == registry.TCP && known {
				k.multipath = answer(e.inodes[uint64(k.row.Inode)])
			}
		}
	}
}

// socketOfEntry makes the Socket of an entry, without its owners.
func (s *space) socketOf(k *entry) Socket {
	r := &k.row
	socket := Socket{
		Transport: k.transport, Namespace: s.rules.Label, Address: r.Address(), Port: registry.Port(r.LocalPort),
		Number: r.Number, Multipath: k.multipath, Queued: r.Queue, Backlog: r.Limit,
		Creator: UID{ID: r.UID, Known: r.Family != sockdiag.VSOCK}, inodes: []uint64{uint64(r.Inode)},
	}
	switch k.transport {
	case registry.Raw: // the kernel gives the protocol where others have a port
		socket.Port, socket.Number = 0, uint32(r.LocalPort)
	case registry.VSOCK:
		socket.Interface = fmt.Sprintf("cid %d", r.CID)
		if r.CID == anyCID {
			socket.Interface = ""
		}
	}
	if r.Interface != 0 {
		socket.Interface = s.device(r.Interface)
	}
	if a := socket.Address; a.Is6() && a.IsLinkLocalUnicast() && socket.Interface != "" {
		socket.Address = a.WithZone(socket.Interface)
	}
	socket.DualStack = dualStackOf(r)
	return socket
}

const anyCID = 1<<32 - 1 // VMADDR_CID_ANY, include/uapi/linux/vm_sockets.h

// dualStackOf says whether an IPv6 socket takes IPv4 too: one on the wildcard
// address or on a mapped one does, unless it is told not to (ipv6(7)).
func dualStackOf(r *sockdiag.Row) Answer {
	a := r.Address()
	switch {
	case !a.IsValid(), r.Family == sockdiag.Inet, r.V6Only == sockdiag.On:
		return No
	case r.V6Only == sockdiag.Unknown:
		return Unknown
	default:
		return answer(a.IsUnspecified() || a.Is4In6())
	}
}
