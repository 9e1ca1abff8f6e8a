package iphelper

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// bound is 2024-01-02 03:04:05.6 UTC as a FILETIME.
const bound = 133486382456000000

var boundTime = time.Date(2024, 1, 2, 3, 4, 5, 600_000_000, time.UTC)

// dword, word8 and be are the parts that the documented structures are made of.
func dword(n uint32) []byte { return binary.LittleEndian.AppendUint32(nil, n) }
func word8(n uint64) []byte { return binary.LittleEndian.AppendUint64(nil, n) }

// be is a port as the tables have it: network byte order in the lower half of
// a DWORD, and in the upper half what was there before.
func be(port uint16) []byte {
	return append(binary.BigEndian.AppendUint16(nil, port), 0xde, 0xad)
}

// module is OwningModuleInfo[TCPIP_OWNING_MODULE_SIZE], 16 ULONGLONGs.
func module(tag uint32) []byte { return append(word8(uint64(tag)), make([]byte, 15*8)...) }

// table is dwNumEntries, the padding before rows that hold a LARGE_INTEGER,
// and the rows.
func table(n uint32, rows ...[]byte) []byte {
	return append(append(dword(n), 0xcc, 0xcc, 0xcc, 0xcc), slices.Concat(rows...)...)
}

// tcp4Row is https://learn.microsoft.com/windows/win32/api/tcpmib/ns-tcpmib-mib_tcprow_owner_module.
func tcp4Row(state uint32, local [4]byte, port uint16, pid uint32, created uint64, tag uint32) []byte {
	return slices.Concat(
		dword(state), local[:], be(port), // dwState, dwLocalAddr, dwLocalPort
		[]byte{203, 0, 113, 9}, be(4444), // dwRemoteAddr, dwRemotePort: mean nothing of a listener
		dword(pid), word8(created), module(tag)) // dwOwningPid, liCreateTimestamp
}

// tcp6Row is https://learn.microsoft.com/windows/win32/api/tcpmib/ns-tcpmib-mib_tcp6row_owner_module.
func tcp6Row(state uint32, local string, scope uint32, port uint16, pid uint32, created uint64, tag uint32) []byte {
	address := netip.MustParseAddr(local).As16()
	return slices.Concat(
		address[:], dword(scope), be(port), // ucLocalAddr, dwLocalScopeId, dwLocalPort
		make([]byte, 16), dword(9), be(4444), // ucRemoteAddr, dwRemoteScopeId, dwRemotePort
		dword(state), dword(pid), word8(created), module(tag))
}

// udp4Row is https://learn.microsoft.com/windows/win32/api/udpmib/ns-udpmib-mib_udprow_owner_module.
func udp4Row(local [4]byte, port uint16, pid uint32, created uint64, flags, tag uint32) []byte {
	return slices.Concat(
		local[:], be(port), dword(pid), dword(0xcccccccc), // and the padding before the LARGE_INTEGER
		word8(created), dword(flags), dword(0xcccccccc), module(tag))
}

// udp6Row is https://learn.microsoft.com/windows/win32/api/udpmib/ns-udpmib-mib_udp6row_owner_module.
func udp6Row(local string, scope uint32, port uint16, pid uint32, created uint64, flags, tag uint32) []byte {
	address := netip.MustParseAddr(local).As16()
	return slices.Concat(
		address[:], dword(scope), be(port), dword(pid), dword(0xcccccccc),
		word8(created), dword(flags), dword(0xcccccccc), module(tag))
}

func TestAppend(t *testing.T) {
	tests := []struct {
		reason string
		table  Table
		bytes  []byte
		want   []Row
	}{
		{"a service's listener and one that has no tag and no known time", TCP4,
			table(2, tcp4Row(2, [4]byte{127, 0, 0, 1}, 8080, 1234, bound, 17), tcp4Row(2, [4]byte{}, 445, 4, 0, 0)),
			[]Row{
				{Table: TCP4, Local: netip.MustParseAddrPort("127.0.0.1:8080"), PID: 1234, Created: boundTime, ServiceTag: 17},
				{Table: TCP4, Local: netip.MustParseAddrPort("0.0.0.0:445"), PID: 4},
			}},
		{"an established connection does not listen", TCP4,
			table(1, tcp4Row(5, [4]byte{127, 0, 0, 1}, 8080, 1234, bound, 17)), nil},
		{"the scope of a link-local address is its zone", TCP6,
			table(2, tcp6Row(2, "fe80::1", 12, 5357, 4, bound, 0), tcp6Row(2, "::", 0, 80, 77, bound, 3)),
			[]Row{
				{Table: TCP6, Local: netip.MustParseAddrPort("[fe80::1%12]:5357"), PID: 4, Created: boundTime},
				{Table: TCP6, Local: netip.MustParseAddrPort("[::]:80"), PID: 77, Created: boundTime, ServiceTag: 3},
			}},
		{"an IPv4-mapped address stays mapped; neither it nor ::1 has a zone, whatever Wine says", TCP6,
			table(2, tcp6Row(2, "::ffff:169.254.0.1", 3, 80, 77, bound, 0), tcp6Row(2, "::1", 4096, 81, 77, bound, 0)),
			[]Row{
				{Table: TCP6, Local: netip.MustParseAddrPort("[::ffff:169.254.0.1]:80"), PID: 77, Created: boundTime},
				{Table: TCP6, Local: netip.MustParseAddrPort("[::1]:81"), PID: 77, Created: boundTime},
			}},
		{"UDP: a server asked for its port, a client was given one", UDP4,
			table(2, udp4Row([4]byte{}, 5353, 900, bound, 0xfffffff1, 21), udp4Row([4]byte{10, 0, 0, 7}, 61000, 901, bound, 0xfffffff0, 0)),
			[]Row{
				{Table: UDP4, Local: netip.MustParseAddrPort("0.0.0.0:5353"), PID: 900, Created: boundTime, ServiceTag: 21, SpecificPort: true},
				{Table: UDP4, Local: netip.MustParseAddrPort("10.0.0.7:61000"), PID: 901, Created: boundTime},
			}},
		{"UDP over IPv6", UDP6,
			table(1, udp6Row("fe80::2", 4, 546, 902, bound, 1, 5)),
			[]Row{{Table: UDP6, Local: netip.MustParseAddrPort("[fe80::2%4]:546"), PID: 902, Created: boundTime, ServiceTag: 5, SpecificPort: true}}},
		{"a row without a port is bound nowhere", UDP4, table(1, udp4Row([4]byte{}, 0, 900, bound, 0, 0)), nil},
		{"room behind the last row", TCP4, append(table(1, tcp4Row(2, [4]byte{1, 2, 3, 4}, 1, 9, 0, 0)), make([]byte, 200)...),
			[]Row{{Table: TCP4, Local: netip.MustParseAddrPort("1.2.3.4:1"), PID: 9}}},
		{"an empty table needs no padding", UDP6, dword(0), nil},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			before := []Row{{PID: 1}}
			got, err := Append(before, tt.table, tt.bytes)
			if err != nil {
				t.Fatal(err)
			}
			if want := append(before, tt.want...); !slices.Equal(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}

func TestAppendRefuses(t *testing.T) {
	row := map[Table][]byte{
		TCP4: tcp4Row(2, [4]byte{}, 80, 1, bound, 0),
		TCP6: tcp6Row(2, "::", 0, 80, 1, bound, 0),
		UDP4: udp4Row([4]byte{}, 80, 1, bound, 0, 0),
		UDP6: udp6Row("::", 0, 80, 1, bound, 0, 0),
	}
	for kind, row := range row {
		tests := []struct {
			reason string
			bytes  []byte
		}{
			{"empty", nil},
			{"half a number of rows", []byte{1, 0}},
			{"no room for the padding", dword(1)},
			{"one byte short", table(2, row, row[:len(row)-1])},
			{"a number of rows that overflows the multiplication by their size", table(0xffffffff, row)},
		}
		for _, tt := range tests {
			before := []Row{{PID: 1}}
			got, err := Append(before, kind, tt.bytes)
			if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), kind.String()) {
				t.Errorf("%v, %s: got error %v, want ErrMalformed that names the table", kind, tt.reason, err)
			}
			if !slices.Equal(got, before) {
				t.Errorf("%v, %s: got rows %v with the error, want those from before", kind, tt.reason, got)
			}
		}
	}
	if _, err := Append(nil, tableCount, dword(0)); !errors.Is(err, ErrMalformed) {
		t.Errorf("a fifth table: got error %v, want ErrMalformed", err)
	}
}

func TestTimeOf(t *testing.T) {
	tests := []struct {
		reason   string
		filetime uint64
		want     time.Time
	}{
		{"unknown", 0, time.Time{}},
		{"before 1970, no socket of ours", epoch - 1, time.Time{}},
		{"1970", epoch, time.Unix(0, 0).UTC()},
		{"100 ns apart", epoch + 1, time.Unix(0, 100).UTC()},
		{"a known time", bound, boundTime},
		{"all bits set", 1<<64 - 1, time.Time{}},
	}
	for _, tt := range tests {
		if got := timeOf(tt.filetime); !got.Equal(tt.want) {
			t.Errorf("%s: timeOf(%d) = %v, want %v", tt.reason, tt.filetime, got, tt.want)
		}
	}
}

func FuzzAppend(f *testing.F) {
	f.Add(uint8(TCP4), table(1, tcp4Row(2, [4]byte{127, 0, 0, 1}, 8080, 1234, bound, 17)))
	f.Add(uint8(TCP6), table(1, tcp6Row(2, "fe80::1", 12, 5357, 4, bound, 0)))
	f.Add(uint8(UDP4), table(2, udp4Row([4]byte{}, 5353, 900, bound, 1, 21)))
	f.Add(uint8(UDP6), table(1, udp6Row("::1", 0, 546, 902, bound, 1, 5)))
	f.Add(uint8(9), dword(0))
	f.Fuzz(func(t *testing.T, kind uint8, b []byte) {
		before := slices.Clone(b)
		rows, err := Append(nil, Table(kind), b)
		if !slices.Equal(before, b) {
			t.Error("the input was changed")
		}
		if err != nil && len(rows) > 0 {
			t.Errorf("%d rows came with the error %v", len(rows), err)
		}
		if len(rows) > len(b)/160 {
			t.Errorf("%d rows from %d bytes", len(rows), len(b))
		}
		for _, r := range rows {
			if !r.Local.IsValid() || r.Local.Port() == 0 || r.Table != Table(kind) {
				t.Errorf("row %+v listens nowhere", r)
			}
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	row := tcp4Row(2, [4]byte{127, 0, 0, 1}, 8080, 1234, bound, 17)
	full := table(1000, slices.Repeat(row, 1000))
	rows := make([]Row, 0, 1000)
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if rows, err = Append(rows[:0], TCP4, full); err != nil || len(rows) != 1000 {
			b.Fatal(len(rows), err)
		}
	}
}
