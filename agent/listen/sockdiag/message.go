package sockdiag

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"
)

var (
	native  = binary.NativeEndian // the kernel's structures
	network = binary.BigEndian    // addresses and ports in them
)

// The form of the messages: netlink(7), include/uapi/linux/inet_diag.h,
// packet_diag.h and vm_sockets_diag.h.
const (
	headerSize = 16 // struct nlmsghdr

	typeError       = 2  // NLMSG_ERROR
	typeDone        = 3  // NLMSG_DONE
	typeOverrun     = 4  // NLMSG_OVERRUN
	typeSockDiag    = 20 // SOCK_DIAG_BY_FAMILY
	flagRequest     = 0x01
	flagInterrupted = 0x10  // NLM_F_DUMP_INTR
	flagDump        = 0x300 // NLM_F_ROOT | NLM_F_MATCH

	inetRequestSize = 56 // struct inet_diag_req_v2
	inetRowSize     = 72 // struct inet_diag_msg

	packetRequestSize = 20 // struct packet_diag_req
	packetRowSize     = 16 // struct packet_diag_msg

	vsockRequestSize = 24 // struct vsock_diag_req
	vsockRowSize     = 32 // struct vsock_diag_msg

	attributeHeader   = 4
	attributeV6Only   = 11 // INET_DIAG_SKV6ONLY
	attributeCgroup   = 21 // INET_DIAG_CGROUP_ID
	requestProtocol   = 3  // INET_DIAG_REQ_PROTOCOL
	packetInfo        = 0  // PACKET_DIAG_INFO
	packetUID         = 5  // PACKET_DIAG_UID
	packetShowInfo    = 1  // PACKET_SHOW_INFO
	maxRequest        = headerSize + inetRequestSize + attributeHeader + 4
	noCookie          = ^uint32(0) // INET_DIAG_NOCOOKIE
	maxRowsOfOneQuery = 1 << 22    // no host has 4 million listeners
)

// appendRequest appends the message that asks for a dump.
func appendRequest(b []byte, q Query, seq uint32) ([]byte, error) {
	start := len(b)
	b = append(b, make([]byte, headerSize)...)
	switch q.Family {
	case Inet, Inet6:
		b = appendInetRequest(b, q)
	case Packet:
		b = append(b, make([]byte, packetRequestSize)...)
		r := b[start+headerSize:]
		r[0] = q.Family
		native.PutUint32(r[8:], packetShowInfo)
	case VSOCK:
		b = append(b, make([]byte, vsockRequestSize)...)
		r := b[start+headerSize:]
		r[0] = q.Family
		native.PutUint32(r[4:], q.States)
	default:
		return nil, fmt.Errorf("address family %d: %w", q.Family, ErrAbsent)
	}
	h := b[start:]
	native.PutUint32(h[0:], uint32(len(h)))
	native.PutUint16(h[4:], typeSockDiag)
	native.PutUint16(h[6:], flagRequest|flagDump)
	native.PutUint32(h[8:], seq)
	return b, nil
}

// appendInetRequest appends a struct inet_diag_req_v2. Its protocol has 8 bits;
// a greater number goes in an attribute (Linux 5.9).
func appendInetRequest(b []byte, q Query) []byte {
	start := len(b)
	b = append(b, make([]byte, inetRequestSize)...)
	r := b[start:]
	r[0] = q.Family
	r[1] = uint8(q.Protocol)
	native.PutUint32(r[4:], q.States)
	native.PutUint32(r[48:], noCookie)
	native.PutUint32(r[52:], noCookie)
	if q.Protocol <= 0xff {
		return b
	}
	r[1] = 0xff
	b = native.AppendUint16(b, attributeHeader+4)
	b = native.AppendUint16(b, requestProtocol)
	return native.AppendUint32(b, uint32(q.Protocol))
}

// answer is what one datagram of a dump tells beside its rows.
type answer struct {
	done        bool // the dump has ended
	interrupted bool // the tables changed under way: rows may be missing or doubled
}

var errOverrun = errors.New("the kernel dropped messages")

// parse appends the rows of one datagram to rows. Messages with another
// sequence number are of an older dump and left out.
func parse(b []byte, q Query, seq uint32, rows []Row) ([]Row, answer, error) {
	var a answer
	for len(b) > 0 {
		if len(b) < headerSize {
			return rows, a, malformed(b, "%d bytes instead of a header of %d", len(b), headerSize)
		}
		size := int(native.Uint32(b))
		if size < headerSize || size > len(b) {
			return rows, a, malformed(b, "a message of %d bytes in %d", size, len(b))
		}
		m := b[:size]
		b = b[min(len(b), align(size)):]
		if native.Uint32(m[8:]) != seq {
			continue
		}
		a.interrupted = a.interrupted || native.Uint16(m[6:])&flagInterrupted != 0
		switch kind := native.Uint16(m[4:]); kind {
		case typeSockDiag:
			if len(rows) >= maxRowsOfOneQuery {
				return rows, a, malformed(m, "more than %d sockets", maxRowsOfOneQuery)
			}
			var r Row
			if err := parseRow(m[headerSize:], q, &r); err != nil {
				return rows, a, err
			}
			rows = append(rows, r)
		case typeDone:
			a.done = true
			return rows, a, parseStatus(m[headerSize:])
		case typeError:
			return rows, a, parseStatus(m[headerSize:])
		case typeOverrun:
			return rows, a, errOverrun
		}
	}
	return rows, a, nil
}

// parseStatus reads the errno, negative, that an error or the end of a dump
// carries; 0 or nothing is none.
func parseStatus(b []byte) error {
	if len(b) < 4 {
		return nil
	}
	status := int32(native.Uint32(b))
	switch errno := syscall.Errno(-status); {
	case status >= 0:
		return nil
	case errno == syscall.ENOENT, errno == syscall.EINVAL, errno == syscall.EPROTONOSUPPORT, errno == syscall.EOPNOTSUPP:
		return fmt.Errorf("%w (%w)", ErrAbsent, errno)
	default:
		return errno
	}
}

func parseRow(b []byte, q Query, r *Row) error {
	switch q.Family {
	case Inet, Inet6:
		return parseInet(b, q, r)
	case Packet:
		return parsePacket(b, r)
	default:
		return parseVSOCK(b, r)
	}
}

// parseInet reads a struct inet_diag_msg and its attributes.
func parseInet(b []byte, q Query, r *Row) error {
	if len(b) < inetRowSize {
		return malformed(b, "a socket of %d bytes instead of %d", len(b), inetRowSize)
	}
	r.Family, r.State, r.Protocol = b[0], b[1], q.Protocol
	r.LocalPort, r.RemotePort = network.Uint16(b[4:]), network.Uint16(b[6:])
	copy(r.Local[:], b[8:24])
	r.Interface = native.Uint32(b[40:])
	r.Cookie = uint64(native.Uint32(b[44:])) | uint64(native.Uint32(b[48:]))<<32
	r.Queue, r.Limit = native.Uint32(b[56:]), native.Uint32(b[60:])
	r.UID, r.Inode = native.Uint32(b[64:]), native.Uint32(b[68:])
	return attributes(b[inetRowSize:], func(kind uint16, value []byte) {
		switch {
		case kind == attributeV6Only && len(value) >= 1:
			r.V6Only = Off
			if value[0] != 0 {
				r.V6Only = On
			}
		case kind == attributeCgroup && len(value) >= 8:
			r.Cgroup = native.Uint64(value)
		}
	})
}

// parsePacket reads a struct packet_diag_msg and its attributes.
func parsePacket(b []byte, r *Row) error {
	if len(b) < packetRowSize {
		return malformed(b, "a packet socket of %d bytes instead of %d", len(b), packetRowSize)
	}
	r.Family, r.Type = b[0], b[1]
	// The kernel fills pdiag_num with ntohs: net/packet/diag.c, sk_diag_fill.
	r.Number = uint32(native.Uint16(b[2:]))
	r.Inode = native.Uint32(b[4:])
	r.Cookie = uint64(native.Uint32(b[8:])) | uint64(native.Uint32(b[12:]))<<32
	return attributes(b[packetRowSize:], func(kind uint16, value []byte) {
		switch {
		case kind == packetInfo && len(value) >= 4:
			r.Interface = native.Uint32(value)
		case kind == packetUID && len(value) >= 4:
			r.UID = native.Uint32(value)
		}
	})
}

// parseVSOCK reads a struct vsock_diag_msg. It tells no creator.
func parseVSOCK(b []byte, r *Row) error {
	if len(b) < vsockRowSize {
		return malformed(b, "a vsock of %d bytes instead of %d", len(b), vsockRowSize)
	}
	r.Family, r.Type, r.State = b[0], b[1], b[2]
	r.CID, r.Number = native.Uint32(b[4:]), native.Uint32(b[8:])
	r.Inode = native.Uint32(b[20:])
	r.Cookie = uint64(native.Uint32(b[24:])) | uint64(native.Uint32(b[28:]))<<32
	return nil
}

// attributes calls visit for each attribute (struct nlattr) of b.
func attributes(b []byte, visit func(kind uint16, value []byte)) error {
	for len(b) >= attributeHeader {
		size := int(native.Uint16(b))
		if size < attributeHeader || size > len(b) {
			return malformed(b, "an attribute of %d bytes in %d", size, len(b))
		}
		visit(native.Uint16(b[2:]), b[attributeHeader:size])
		b = b[min(len(b), align(size)):]
	}
	return nil
}

// align rounds up to the 4 bytes on which messages and attributes begin.
func align(n int) int { return (n + 3) &^ 3 }
