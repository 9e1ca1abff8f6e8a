// Package walk finds which processes hold listening sockets, by a BPF iterator
// that visits every descriptor of the host inside the kernel (Linux
// Documentation/bpf/bpf_iterators.rst). It owns the programs, their loading and
// the form of their rows. It refuses to know what becomes of a row: the walk
// holds no lock and no reference, so the caller must look again before it
// believes one.
//
// A walk costs about a fifth of a microsecond a descriptor, a tenth of what
// readlink(2) in /proc costs, and needs CAP_BPF and CAP_PERFMON. It sees the
// processes of the pid namespace of the calling process and of those below it.
//
// The compiled programs are committed, for ordinary machines have no compiler
// for BPF. go generate makes them anew; it needs clang and libbpf's headers.
package walk

import (
	"encoding/binary"
	"errors"
	"fmt"
)

//go:generate go run github.com/cilium/ebpf/cmd/bpf2go@v0.22.0 -go-package walk -tags linux -no-global-types programs walk.bpf.c -- -O2 -g -Wall -Werror

// Kind is how the kernel is made to visit every descriptor.
type Kind uint8

// The kinds, the faster first.
const (
	Tasks Kind = iota + 1 // over tasks, each table walked by the program; Linux 5.17
	Files                 // over descriptors; Linux 5.8
)

// String returns the name of the iterator in the kernel.
func (k Kind) String() string {
	switch k {
	case Tasks:
		return "task"
	case Files:
		return "task_file"
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// ErrUnavailable is wrapped where this system cannot walk, for want of a
// feature or a right.
var ErrUnavailable = errors.New("no BPF iterator")

// Row is one descriptor that leads to a socket. Numbers of the kernel's that
// have names elsewhere: Family and Type as in socket(2), Protocol as in
// include/uapi/linux/in.h, State as in include/net/tcp_states.h.
type Row struct {
	Start      uint64 // of the process: nanoseconds since boot, in the initial time namespace
	Executable uint64 // inode of its executable, 0 if it has none
	Inode      uint64 // of the socket
	Cookie     uint64 // of the socket, 0 if nobody asked for it yet
	Device     uint64 // of the executable, as stat(2) numbers it
	PID        int32  // as the pid namespace of this process numbers it
	Namespace  uint32 // inode of the socket's network namespace
	FD         uint32 // number of the descriptor
	Family     uint16
	Type       uint16
	Protocol   uint16
	Port       uint16 // local; of a raw socket its protocol
	State      uint8
}

// rowSize is the size of struct row in walk.bpf.c.
const rowSize = 64

// decode reads the row at the start of b, which has rowSize bytes.
func decode(b []byte, r *Row) {
	b = b[:rowSize]
	n := binary.NativeEndian
	*r = Row{
		Start: n.Uint64(b[0:]), Executable: n.Uint64(b[8:]), Inode: n.Uint64(b[16:]), Cookie: n.Uint64(b[24:]),
		Device: userDevice(n.Uint32(b[32:])), PID: int32(n.Uint32(b[36:])), Namespace: n.Uint32(b[40:]), FD: n.Uint32(b[44:]),
		Family: n.Uint16(b[48:]), Type: n.Uint16(b[50:]), Protocol: n.Uint16(b[52:]), Port: n.Uint16(b[54:]), State: b[56],
	}
}

// userDevice turns the kernel's own number of a device, 12 bits of major above
// 20 of minor (include/linux/kdev_t.h), into that of stat(2) (new_encode_dev).
func userDevice(d uint32) uint64 {
	major, minor := uint64(d>>20), uint64(d&0xfffff)
	return minor&0xff | major<<8 | (minor&^0xff)<<12
}
