package iphelper_test

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"

	"github.com/portaudit/portaudit/agent/listen/iphelper"
)

// TestReader looks for this process's own listeners, in a Windows or in Wine.
func TestReader(t *testing.T) {
	for _, tt := range []struct {
		table            iphelper.Table
		network, address string
	}{
		{iphelper.TCP4, "tcp4", "127.0.0.1:0"},
		{iphelper.TCP6, "tcp6", "[::1]:0"},
	} {
		l, err := net.Listen(tt.network, tt.address)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		var r iphelper.Reader
		rows, err := r.Append(nil, tt.table)
		if err != nil {
			t.Fatal(err)
		}
		want := l.Addr().(*net.TCPAddr).AddrPort()
		i := slices.IndexFunc(rows, func(r iphelper.Row) bool { return r.Local == want })
		if i < 0 {
			t.Fatalf("%v: no row for %v in %+v", tt.table, want, rows)
		}
		if got := rows[i].PID; got != uint32(os.Getpid()) {
			t.Errorf("%v: pid %d, want %d", tt.table, got, os.Getpid())
		}
	}
}

// TestReaderGrows needs a table that the first buffer cannot hold.
func TestReaderGrows(t *testing.T) {
	const n = 300 // rows of 160 bytes are more than 32 KB
	want := map[netip.AddrPort]bool{}
	for range n {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		want[l.Addr().(*net.TCPAddr).AddrPort()] = true
	}
	var r iphelper.Reader
	rows, err := r.Append(nil, iphelper.TCP4)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		delete(want, row.Local)
	}
	if len(want) > 0 {
		t.Errorf("%d of %d listeners are in none of %d rows", len(want), n, len(rows))
	}
}

// TestReaderReadsEachTable: UDP sockets of Go programs do not work under Wine,
// but its tables do.
func TestReaderReadsEachTable(t *testing.T) {
	var r iphelper.Reader
	for _, table := range []iphelper.Table{iphelper.TCP4, iphelper.TCP6, iphelper.UDP4, iphelper.UDP6} {
		rows, err := r.Append(nil, table)
		if err != nil {
			t.Errorf("%v: %v", table, err)
		}
		t.Logf("%v: %d rows", table, len(rows))
	}
}
