package trace

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// ErrFlushed is what Read returns once after Flush.
var ErrFlushed = errors.New("all records have been read")

// Kind says what became of a socket.
type Kind uint8

// The kinds.
const (
	Opened Kind = iota + 1 // it listens: a stream in LISTEN, a datagram socket that was bound
	Closed                 // it does not any more
)

// String returns "opened" or "closed".
func (k Kind) String() string {
	switch k {
	case Opened:
		return "opened"
	case Closed:
		return "closed"
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// Answer is a fact that may be unknown, the zero value.
type Answer uint8

// The answers.
const (
	Unknown Answer = iota
	No
	Yes
)

// Record is what a program tells of one socket, and of the process that opened
// or closed it. Numbers that the kernel does not tell are 0.
type Record struct {
	Kind Kind
	Time time.Duration // since boot (CLOCK_BOOTTIME)

	// Of the socket. Socket is the same in both records of one, and of no other
	// meanwhile.
	Socket      uint64
	Cookie      uint64
	Inode       uint64
	SpaceCookie uint64 // of its network namespace
	Namespace   uint32 // inode of its network namespace
	Device      uint32 // index of the device that it is bound to
	Protocol    uint16 // IPPROTO_TCP, IPPROTO_UDP or IPPROTO_UDPLITE (include/uapi/linux/in.h)
	Local       netip.AddrPort
	V6Only      Answer

	// Of the process.
	Start        uint64 // nanoseconds since boot
	PID          int32  // as the pid namespace of this process numbers it
	InitialPID   int32  // as the initial one does
	ParentPID    int32  // likewise
	PIDSpace     uint32 // inode of its own pid namespace
	UserSpace    uint32 // inode of its user namespace
	UID          uint32 // effective, as the initial user namespace numbers it
	Capabilities uint64 // effective
	Cgroup       uint64 // id of its control group of the unified hierarchy
	Executable   uint64 // inode of its executable
	ExeDevice    uint32 // of its executable, as the kernel numbers it (include/linux/kdev_t.h)
	Deleted      bool   // its executable has no name any more
	Path         string // of its executable, as the process sees it; "" if it has none
	Cut          bool   // names at the beginning of Path are missing, or the end of one is
	Command      string // its name
}

// The form of struct record in trace.bpf.c.
const (
	recordSize = pathAt + maxNames*nameSize
	pathAt     = 160
	maxNames   = 12
	nameSize   = 64
)

var errShort = errors.New("record is too short")

// decode reads a record that a program wrote.
func decode(b []byte, r *Record) error {
	if len(b) < recordSize {
		return fmt.Errorf("%w: %d bytes, not %d", errShort, len(b), recordSize)
	}
	n := binary.NativeEndian
	*r = Record{
		Time: time.Duration(n.Uint64(b)), Cookie: n.Uint64(b[8:]), Inode: n.Uint64(b[16:]), SpaceCookie: n.Uint64(b[24:]),
		Namespace: n.Uint32(b[32:]), Device: n.Uint32(b[36:]), Protocol: n.Uint16(b[42:]), Kind: Kind(b[46]), V6Only: Answer(b[47]),
		Start: n.Uint64(b[64:]), Capabilities: n.Uint64(b[72:]), Cgroup: n.Uint64(b[80:]), Executable: n.Uint64(b[88:]),
		ExeDevice: n.Uint32(b[96:]), PID: int32(n.Uint32(b[104:])), InitialPID: int32(n.Uint32(b[108:])),
		ParentPID: int32(n.Uint32(b[112:])), PIDSpace: n.Uint32(b[116:]), UserSpace: n.Uint32(b[120:]), UID: n.Uint32(b[124:]),
		Command: text(b[136:152]), Socket: n.Uint64(b[152:]),
	}
	if r.Kind != Opened && r.Kind != Closed {
		return fmt.Errorf("%v is no kind of record", r.Kind)
	}
	address, err := address(n.Uint16(b[40:]), b[48:64])
	if err != nil {
		return err
	}
	r.Local = netip.AddrPortFrom(address, n.Uint16(b[44:]))
	if r.Executable != 0 {
		r.Deleted = n.Uint32(b[100:]) == 0
		r.Path, r.Cut = path(b[pathAt:recordSize], n.Uint32(b[128:]))
	}
	return nil
}

// Address families (include/linux/socket.h).
const (
	familyInet  = 2
	familyInet6 = 10
)

func address(family uint16, b []byte) (netip.Addr, error) {
	switch family {
	case familyInet:
		return netip.AddrFrom4([4]byte(b[:4])), nil
	case familyInet6:
		return netip.AddrFrom16([16]byte(b[:16])), nil
	}
	return netip.Addr{}, fmt.Errorf("family %d is not one of IP", family)
}

// text returns the text before the first NUL.
func text(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	return string(b)
}

// path puts a path together of its names, the last one first. The root follows
// the one before whole, none if that is 0. cut reports whether names are missing
// at the beginning of the path, or the end of one.
func path(b []byte, whole uint32) (p string, cut bool) {
	count := maxNames
	if whole > 0 {
		count = min(int(whole)-1, maxNames)
	}
	cut = whole == 0
	for i := range count {
		name := text(b[i*nameSize : (i+1)*nameSize])
		if name != "" {
			p = "/" + name + p
		}
		cut = cut || len(name) == nameSize-1 // as much as there is room for
	}
	return p, cut
}
