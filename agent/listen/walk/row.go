package walk

import "encoding/binary"

// Row is one descriptor that leads to a socket. Numbers of the kernel's that
// have names elsewhere: Family and Type as in socket(2), Protocol as in
// include/uapi/linux/in.h, State as in include/net/tcp_states.h.
type Row struct {
	Start        uint64 // of the process: nanoseconds since boot, in the initial time namespace
	Executable   uint64 // inode of its executable, 0 if it has none
	Device       uint64 // of the executable, as stat(2) numbers it
	Capabilities uint64 // effective ones of the process, in its user namespace
	PID          int32  // as the pid namespace of this process numbers it
	InitialPID   int32  // as the initial pid namespace numbers it
	PIDSpace     uint32 // inode of the process's own pid namespace
	UserSpace    uint32 // inode of its user namespace
	UID          uint32 // its effective account, as the initial user namespace numbers it
	FD           uint32 // number of the descriptor
	Inode        uint64 // of the socket
	Cookie       uint64 // of the socket, 0 if nobody asked for it yet
	SpaceCookie  uint64 // of the socket's network namespace, 0 before Linux 5.12
	Namespace    uint32 // inode of the socket's network namespace
	Family       uint16
	Type         uint16
	Protocol     uint16
	Port         uint16 // local; of a raw socket its protocol, of a packet socket or vsock 0
	State        uint8
}

// rowSize is the size of struct row in walk.bpf.c.
const rowSize = 96

// decode reads the row at the start of b, which has rowSize bytes.
func decode(b []byte, r *Row) {
	b = b[:rowSize]
	n := binary.NativeEndian
	*r = Row{
		Start: n.Uint64(b[0:]), Executable: n.Uint64(b[8:]), Capabilities: n.Uint64(b[16:]),
		Device: UserDevice(n.Uint32(b[24:])), PID: int32(n.Uint32(b[28:])), InitialPID: int32(n.Uint32(b[32:])),
		PIDSpace: n.Uint32(b[36:]), UserSpace: n.Uint32(b[40:]), UID: n.Uint32(b[44:]),
		Inode: n.Uint64(b[48:]), Cookie: n.Uint64(b[56:]), SpaceCookie: n.Uint64(b[64:]),
		Namespace: n.Uint32(b[72:]), FD: n.Uint32(b[76:]),
		Family: n.Uint16(b[80:]), Type: n.Uint16(b[82:]), Protocol: n.Uint16(b[84:]), Port: n.Uint16(b[86:]), State: b[88],
	}
}

// UserDevice turns the kernel's own number of a device, 12 bits of major above
// 20 of minor (include/linux/kdev_t.h), into that of stat(2) (new_encode_dev).
func UserDevice(d uint32) uint64 {
	major, minor := uint64(d>>20), uint64(d&0xfffff)
	return minor&0xff | major<<8 | (minor&^0xff)<<12
}
