package walk

import (
	"encoding/binary"
	"testing"
)

// TestDecode gives each byte of a row a value of its own.
func TestDecode(t *testing.T) {
	b := make([]byte, rowSize)
	for i := range b {
		b[i] = byte(i + 1)
	}
	n := binary.NativeEndian
	at := func(i, size int) []byte { return b[i : i+size] }
	n.PutUint32(b[24:], 8<<20|1)
	want := Row{
		Start: n.Uint64(at(0, 8)), Executable: n.Uint64(at(8, 8)), Capabilities: n.Uint64(at(16, 8)),
		Device: 8<<8 | 1, PID: int32(n.Uint32(at(28, 4))), InitialPID: int32(n.Uint32(at(32, 4))),
		PIDSpace: n.Uint32(at(36, 4)), UserSpace: n.Uint32(at(40, 4)), UID: n.Uint32(at(44, 4)),
		Inode: n.Uint64(at(48, 8)), Cookie: n.Uint64(at(56, 8)), SpaceCookie: n.Uint64(at(64, 8)),
		Namespace: n.Uint32(at(72, 4)), FD: n.Uint32(at(76, 4)),
		Family: n.Uint16(at(80, 2)), Type: n.Uint16(at(82, 2)), Protocol: n.Uint16(at(84, 2)), Port: n.Uint16(at(86, 2)), State: 89,
	}
	var got Row
	decode(b, &got)
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestUserDevice(t *testing.T) {
	tests := []struct {
		reason string
		kernel uint32
		want   uint64
	}{
		{"sda1 is 8:1", 8<<20 | 1, 0x801},
		{"a minor of more than 8 bits", 253<<20 | 0x123, 0x10fd23},
		{"no device", 0, 0},
	}
	for _, tt := range tests {
		if got := UserDevice(tt.kernel); got != tt.want {
			t.Errorf("%s: got %#x, want %#x", tt.reason, got, tt.want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(make([]byte, rowSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < rowSize {
			return
		}
		var r Row
		decode(b, &r)
		if r.Inode != binary.NativeEndian.Uint64(b[48:]) {
			t.Errorf("inode %d of % x", r.Inode, b[:rowSize])
		}
	})
}
