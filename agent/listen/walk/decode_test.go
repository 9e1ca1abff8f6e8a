package walk

import (
	"encoding/binary"
	"testing"
)

func TestDecode(t *testing.T) {
	n := binary.NativeEndian
	b := make([]byte, rowSize)
	n.PutUint64(b[0:], 1)
	n.PutUint64(b[8:], 2)
	n.PutUint64(b[16:], 3)
	n.PutUint64(b[24:], 4)
	n.PutUint32(b[32:], 8<<20|1)
	for i, v := range []uint32{6, 7, 8} {
		n.PutUint32(b[36+4*i:], v)
	}
	for i, v := range []uint16{9, 10, 11, 12} {
		n.PutUint16(b[48+2*i:], v)
	}
	b[56] = 13
	var got Row
	decode(b, &got)
	want := Row{1, 2, 3, 4, 8<<8 | 1, 6, 7, 8, 9, 10, 11, 12, 13}
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
		if got := userDevice(tt.kernel); got != tt.want {
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
		if r.Inode != binary.NativeEndian.Uint64(b[16:]) {
			t.Errorf("inode %d of % x", r.Inode, b[:rowSize])
		}
	})
}
