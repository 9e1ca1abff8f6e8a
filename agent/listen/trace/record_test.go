package trace

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// rawRecord makes a record as a program writes it.
func rawRecord(change func(b []byte)) []byte {
	b := make([]byte, recordSize)
	n := binary.NativeEndian
	n.PutUint64(b, uint64(time.Second))
	n.PutUint64(b[8:], 11)
	n.PutUint64(b[16:], 12)
	n.PutUint64(b[24:], 13)
	n.PutUint32(b[32:], 14)
	n.PutUint32(b[36:], 15)
	n.PutUint16(b[40:], familyInet)
	n.PutUint16(b[42:], 6)
	n.PutUint16(b[44:], 80)
	b[46], b[47] = byte(Opened), byte(No)
	copy(b[48:], []byte{192, 0, 2, 1})
	n.PutUint64(b[64:], 16)
	n.PutUint64(b[72:], 17)
	n.PutUint64(b[80:], 18)
	n.PutUint64(b[88:], 19)
	n.PutUint32(b[96:], 8<<20|1)
	n.PutUint32(b[100:], 1)
	for i, v := range []uint32{20, 21, 22, 23, 24, 25} {
		n.PutUint32(b[104+4*i:], v)
	}
	n.PutUint32(b[128:], 4)
	copy(b[136:], "sshd\x00rest")
	n.PutUint64(b[152:], 26)
	setNames(b, "sshd", "", "sbin")
	if change != nil {
		change(b)
	}
	return b
}

func setNames(b []byte, names ...string) {
	clear(b[pathAt:])
	for i, name := range names {
		copy(b[pathAt+i*nameSize:], name)
	}
}

func TestDecode(t *testing.T) {
	plain := Record{
		Kind: Opened, Time: time.Second, Socket: 26, Cookie: 11, Inode: 12, SpaceCookie: 13, Namespace: 14, Device: 15, Protocol: 6,
		Local: netip.MustParseAddrPort("192.0.2.1:80"), V6Only: No, Start: 16, Capabilities: 17, Cgroup: 18, Executable: 19, ExeDevice: 8<<20 | 1,
		PID: 20, InitialPID: 21, ParentPID: 22, PIDSpace: 23, UserSpace: 24, UID: 25, Path: "/sbin/sshd", Command: "sshd",
	}
	tests := []struct {
		reason string
		change func([]byte)
		want   func(*Record)
	}{
		{"a listener of IPv4", nil, func(*Record) {}},
		{"of IPv6", func(b []byte) { b[40], b[63] = familyInet6, 9 }, func(r *Record) { r.Local = netip.MustParseAddrPort("[c000:201::9]:80") }},
		{"it closes", func(b []byte) { b[46] = byte(Closed) }, func(r *Record) { r.Kind = Closed }},
		{"a program that has no name any more", func(b []byte) { b[100] = 0 }, func(r *Record) { r.Deleted = true }},
		{"a program in the root directory", func(b []byte) { b[128] = 2; setNames(b, "init") }, func(r *Record) { r.Path = "/init" }},
		{"names behind the root are left over from another record", func(b []byte) { b[128] = 2; setNames(b, "init", "old") }, func(r *Record) { r.Path = "/init" }},
		{"a path that is too deep", func(b []byte) {
			b[128] = 0
			setNames(b, strings.Split(strings.Repeat("d ", maxNames), " ")[:maxNames]...)
		},
			func(r *Record) { r.Path, r.Cut = strings.Repeat("/d", maxNames), true }},
		{"a name that is too long", func(b []byte) { b[128] = 2; setNames(b, strings.Repeat("n", nameSize-1)) },
			func(r *Record) { r.Path, r.Cut = "/"+strings.Repeat("n", nameSize-1), true }},
		{"a count past all names", func(b []byte) { b[129] = 1; setNames(b, "x") }, func(r *Record) { r.Path = "/x" }},
		{"a thread of the kernel has no program", func(b []byte) { b[88] = 0 }, func(r *Record) { r.Executable, r.Path = 0, "" }},
	}
	for _, tt := range tests {
		want := plain
		tt.want(&want)
		var got Record
		if err := decode(rawRecord(tt.change), &got); err != nil {
			t.Errorf("%s: %v", tt.reason, err)
			continue
		}
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
			t.Errorf("%s: want (-), got (+):\n%s", tt.reason, diff)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	tests := []struct {
		reason string
		in     []byte
		want   string
	}{
		{"nothing", nil, "record is too short: 0 bytes"},
		{"a byte less", rawRecord(nil)[:recordSize-1], "record is too short"},
		{"no kind", rawRecord(func(b []byte) { b[46] = 3 }), "Kind(3) is no kind of record"},
		{"no family of IP", rawRecord(func(b []byte) { b[40] = 1 }), "family 1 is not one of IP"},
	}
	for _, tt := range tests {
		var r Record
		if err := decode(tt.in, &r); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.reason, err, tt.want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(rawRecord(nil))
	f.Add(rawRecord(func(b []byte) { b[128] = 0 }))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Record
		if err := decode(b, &r); err != nil {
			return
		}
		if !r.Local.Addr().IsValid() || r.Path != "" && r.Path[0] != '/' || strings.Contains(r.Path, "\x00") {
			t.Errorf("%+v", r)
		}
	})
}
