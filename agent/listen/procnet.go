package listen

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"

	"github.com/portaudit/portaudit/registry"
)

// Socket states of /proc/net/{tcp,udp}: include/net/tcp_states.h. An
// unconnected UDP socket is shown as TCP_CLOSE (net/ipv4/udp.c, udp4_format_sock).
const (
	stateClose  = 0x07
	stateListen = 0x0A
)

// maxTableLine bounds a line of a socket table; the kernel pads them to 150
// bytes (TMPSZ in net/ipv4/tcp_ipv4.c), the IPv6 tables have longer ones.
const maxTableLine = 1024

// tableRow is one listening socket of a socket table.
type tableRow struct {
	address netip.Addr
	port    registry.Port
	uid     uint32
	inode   uint64
}

// parseTable reads a table in the format of /proc/net/tcp (Linux
// Documentation/networking/proc_net_tcp.rst), which udp shares, and returns the
// rows that listen: TCP in LISTEN, UDP bound and not connected.
func parseTable(r io.Reader, name string, t registry.Transport) ([]tableRow, error) {
	scan := bufio.NewScanner(r)
	scan.Buffer(make([]byte, 0, maxTableLine), maxTableLine)
	var rows []tableRow
	for line := 1; scan.Scan(); line++ {
		if line == 1 { // the column titles
			continue
		}
		row, listens, err := parseTableRow(scan.Text(), t)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, line, err)
		}
		if listens {
			rows = append(rows, row)
		}
	}
	if err := scan.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return rows, nil
}

// parseTableRow reads one row: sl, local, remote, state, queues, timer,
// retransmits, uid, timeout, inode.
func parseTableRow(s string, t registry.Transport) (row tableRow, listens bool, err error) {
	f := strings.Fields(s)
	if len(f) < 10 {
		return row, false, fmt.Errorf("%d columns instead of 10 or more: %q", len(f), clip([]byte(s)))
	}
	state, err := strconv.ParseUint(f[3], 16, 8)
	if err != nil {
		return row, false, fmt.Errorf("state %q is no hexadecimal number", f[3])
	}
	if t == registry.TCP && state != stateListen || t != registry.TCP && state != stateClose {
		return row, false, nil
	}
	if row.address, row.port, err = parseHexEndpoint(f[1]); err != nil {
		return row, false, err
	}
	_, remotePort, err := parseHexEndpoint(f[2])
	if err != nil {
		return row, false, err
	}
	uid, err := strconv.ParseUint(f[7], 10, 32)
	if err != nil {
		return row, false, fmt.Errorf("uid %q is no number", f[7])
	}
	row.uid = uint32(uid)
	if row.inode, err = strconv.ParseUint(f[9], 10, 64); err != nil {
		return row, false, fmt.Errorf("inode %q is no number", f[9])
	}
	return row, remotePort == 0 && row.port != 0, nil
}

var errHexEndpoint = errors.New("no address in the kernel's form")

// bigEndian says whether this machine stores the high byte first.
var bigEndian = binary.NativeEndian.Uint16([]byte{0, 1}) == 1

// parseHexEndpoint reads "0100007F:1F90". The kernel prints each 32-bit word
// of the address, which is in network order, as a number of the machine (%08X
// of a __be32 in net/ipv4/tcp_ipv4.c): on a little-endian one the bytes of
// each word come out reversed.
func parseHexEndpoint(s string) (netip.Addr, registry.Port, error) {
	address, port, ok := strings.Cut(s, ":")
	if !ok || len(port) != 4 || len(address) != 8 && len(address) != 32 {
		return netip.Addr{}, 0, fmt.Errorf("%w: %q", errHexEndpoint, s)
	}
	b, err := hex.DecodeString(address)
	if err != nil {
		return netip.Addr{}, 0, fmt.Errorf("%w: %q", errHexEndpoint, s)
	}
	p, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return netip.Addr{}, 0, fmt.Errorf("%w: %q", errHexEndpoint, s)
	}
	if !bigEndian {
		for i := 0; i+4 <= len(b); i += 4 {
			b[i], b[i+1], b[i+2], b[i+3] = b[i+3], b[i+2], b[i+1], b[i]
		}
	}
	a, _ := netip.AddrFromSlice(b) // 4 or 16 bytes, by the length check above
	return a, registry.Port(p), nil
}

// parseProtocolSockets reads from /proc/net/protocols how many sockets of a
// protocol there are; known is false where the protocol is not listed or not
// counted.
func parseProtocolSockets(b []byte, protocol string) (n int, known bool) {
	for line := range bytes.Lines(b) {
		f := bytes.Fields(line) // protocol, size, sockets
		if len(f) < 3 || string(f[0]) != protocol {
			continue
		}
		n, err := strconv.Atoi(string(f[2]))
		return n, err == nil && n >= 0
	}
	return 0, false
}
