package iphelper

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"time"
)

// Table is one of the tables of listening sockets.
type Table uint8

// The tables.
const (
	TCP4 Table = iota // MIB_TCPTABLE_OWNER_MODULE, listeners alone
	TCP6              // MIB_TCP6TABLE_OWNER_MODULE, listeners alone
	UDP4              // MIB_UDPTABLE_OWNER_MODULE
	UDP6              // MIB_UDP6TABLE_OWNER_MODULE
	tableCount
)

// String returns "tcp4", "tcp6", "udp4" or "udp6".
func (t Table) String() string {
	if t >= tableCount {
		return fmt.Sprintf("Table(%d)", uint8(t))
	}
	return layouts[t].name
}

// TCP reports whether t is a table of TCP.
func (t Table) TCP() bool { return t == TCP4 || t == TCP6 }

// Row is one endpoint of a table.
type Row struct {
	Table Table
	// Local is where the socket is bound. The zone of a scoped IPv6 address is
	// the index of its interface in decimal, as Windows' own tools print it.
	Local netip.AddrPort
	// PID is the process that made the bind, which may have ended since and
	// left the socket to another; 0 if none is named.
	PID uint32
	// Created is the time of the bind to 100 ns; zero if unknown.
	Created time.Time
	// ServiceTag tells the services of one process apart; 0 if none made the
	// bind. It means something only together with PID.
	ServiceTag uint32
	// SpecificPort says, of UDP, that the program asked for this port and was
	// not given just any free one.
	SpecificPort bool
}

// ErrUnavailable is what the errors of a Reader match where there is no IP
// Helper API, or where it lacks a call that is needed.
var ErrUnavailable = errors.New("the IP Helper API is not available")

// ErrMalformed is what the errors of Append match.
var ErrMalformed = errors.New("malformed table")

// layout says where a row has its fields, in bytes from its start; a field
// that it lacks is absent. Every table is a DWORD with the number of rows,
// padded to the rows' alignment of 8, that a LARGE_INTEGER asks for on each
// architecture of Windows, and the rows one after another.
type layout struct {
	name                             string
	size                             int
	ipv6                             bool
	address, scope, port, state, pid int
	created, flags, module           int
}

const (
	absent     = -1
	tableStart = 8    // of the first row
	listening  = 2    // MIB_TCP_STATE_LISTEN of dwState
	bindFlag   = 0x01 // SpecificPortBind, the lowest bit of dwFlags
)

// layouts are those of the pages of
// https://learn.microsoft.com/windows/win32/api/tcpmib/ and udpmib/, whose
// names follow. The arrays OwningModuleInfo have 16 ULONGLONGs.
var layouts = [tableCount]layout{
	// ns-tcpmib-mib_tcprow_owner_module
	TCP4: {name: "tcp4", size: 160, state: 0, address: 4, scope: absent, port: 8, pid: 20, created: 24, flags: absent, module: 32},
	// ns-tcpmib-mib_tcp6row_owner_module
	TCP6: {name: "tcp6", size: 192, ipv6: true, address: 0, scope: 16, port: 20, state: 48, pid: 52, created: 56, flags: absent, module: 64},
	// ns-udpmib-mib_udprow_owner_module
	UDP4: {name: "udp4", size: 160, address: 0, scope: absent, port: 4, state: absent, pid: 8, created: 16, flags: 24, module: 32},
	// ns-udpmib-mib_udp6row_owner_module
	UDP6: {name: "udp6", size: 176, ipv6: true, address: 0, scope: 16, port: 20, state: absent, pid: 24, created: 32, flags: 40, module: 48},
}

// Append decodes a table and appends its rows to rows. Rows of TCP that do not
// listen and rows without a port are left out. The bytes behind the last row
// mean nothing: the system leaves room there for rows yet to come. An error
// matches ErrMalformed, names the table, and comes with rows as they were.
func Append(rows []Row, t Table, b []byte) ([]Row, error) {
	if t >= tableCount {
		return rows, fmt.Errorf("%w: there is no %v", ErrMalformed, t)
	}
	l := &layouts[t]
	if len(b) < 4 {
		return rows, fmt.Errorf("%w %v: % x is too short for the number of rows", ErrMalformed, t, b)
	}
	n := uint64(binary.LittleEndian.Uint32(b))
	if n == 0 {
		return rows, nil
	}
	if len(b) < tableStart || n > uint64(len(b)-tableStart)/uint64(l.size) {
		return rows, fmt.Errorf("%w %v: %d bytes hold no %d rows of %d", ErrMalformed, t, len(b), n, l.size)
	}
	for b = b[tableStart:]; n > 0; n-- {
		if row, ok := l.decode(b[:l.size]); ok {
			row.Table = t
			rows = append(rows, row)
		}
		b = b[l.size:]
	}
	return rows, nil
}

// decode decodes one row of l.size bytes, and reports whether it listens.
func (l *layout) decode(b []byte) (Row, bool) {
	if l.state != absent && binary.LittleEndian.Uint32(b[l.state:]) != listening {
		return Row{}, false
	}
	// In network byte order; the upper half of the DWORD is not initialised.
	port := binary.BigEndian.Uint16(b[l.port:])
	row := Row{
		Local:   netip.AddrPortFrom(l.addr(b), port),
		PID:     binary.LittleEndian.Uint32(b[l.pid:]),
		Created: timeOf(binary.LittleEndian.Uint64(b[l.created:])),
		// Undocumented, and what netstat -b and its like have relied on since
		// Windows Vista: of a service's socket the first word is its tag.
		ServiceTag: binary.LittleEndian.Uint32(b[l.module:]),
	}
	if l.flags != absent {
		row.SpecificPort = binary.LittleEndian.Uint32(b[l.flags:])&bindFlag != 0
	}
	return row, port != 0
}

// addr decodes the local address, which is in network byte order. Only a
// link-local or site-local address has a zone (RFC 4007, section 4); for others
// Windows gives 0, and Wine the kind of the scope.
func (l *layout) addr(b []byte) netip.Addr {
	if !l.ipv6 {
		return netip.AddrFrom4([4]byte(b[l.address:]))
	}
	a := netip.AddrFrom16([16]byte(b[l.address:]))
	if scope := binary.LittleEndian.Uint32(b[l.scope:]); scope != 0 && scoped.Contains(a) {
		a = a.WithZone(strconv.FormatUint(uint64(scope), 10))
	}
	return a
}

// scoped are the link-local addresses, fe80::/10, and the site-local ones,
// fec0::/10, which are deprecated (RFC 3879), but Windows still takes them.
var scoped = netip.MustParsePrefix("fe80::/9")

// epoch is 1 January 1970 in units of 100 ns from 1 January 1601 UTC, where a
// FILETIME counts from.
const epoch = 116444736000000000

// timeOf returns the time of a FILETIME; the zero time for 0 and for a value
// past the years 1970 to 2262 that a count of nanoseconds can hold.
func timeOf(filetime uint64) time.Time {
	if filetime < epoch || (filetime-epoch) > uint64(1<<63-1)/100 {
		return time.Time{}
	}
	return time.Unix(0, int64(filetime-epoch)*100).UTC()
}
