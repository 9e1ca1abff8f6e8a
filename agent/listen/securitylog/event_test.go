package securitylog

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// recorded reads an event as Microsoft's documentation of it shows it.
func recorded(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestParse(t *testing.T) {
	listens := Event{
		Record: 287929, Time: time.Date(2015, 9, 22, 2, 4, 25, 757462900, time.UTC), Listens: true, PID: 4152,
		Program: `\device\harddiskvolume2\documents\listener.exe`, Local: netip.MustParseAddrPort("0.0.0.0:4444"), Protocol: 6,
	}
	binds := Event{
		Record: 308122, Time: time.Date(2015, 9, 22, 5, 24, 3, 376171200, time.UTC), PID: 4556,
		Program: `\device\harddiskvolume2\documents\listener.exe`, Local: netip.MustParseAddrPort("0.0.0.0:3333"), Protocol: 6,
	}
	with := func(e Event, change func(*Event)) Event {
		change(&e)
		return e
	}
	for _, tt := range []struct {
		reason, file string
		replace      []string // pairs
		want         Event
		err          string
	}{
		{"permitted to listen", "5154.xml", nil, listens, ""},
		{"permitted to bind", "5158.xml", nil, binds, ""},
		{"a process as a pointer", "5154.xml", []string{">4152<", ">0x1038<"}, listens, ""},
		{"IPv6 and UDP", "5158.xml", []string{"0.0.0.0", "::", `Protocol">6<`, `Protocol">17<`},
			with(binds, func(e *Event) { e.Local, e.Protocol = netip.MustParseAddrPort("[::]:3333"), 17 }), ""},
		{"an address with a zone", "5158.xml", []string{"0.0.0.0", "fe80::1%7"},
			with(binds, func(e *Event) { e.Local = netip.MustParseAddrPort("[fe80::1%7]:3333") }), ""},
		{"another event", "5154.xml", []string{">5154<", ">5156<"}, Event{}, "event 5156 is neither 5154 nor 5158"},
		{"no number of a process", "5154.xml", []string{">4152<", ">-<"}, Event{}, "record 287929: process: "},
		{"no address", "5154.xml", []string{">0.0.0.0<", "><"}, Event{}, "record 287929: address: "},
		{"a port too large", "5154.xml", []string{">4444<", ">65536<"}, Event{}, "record 287929: port: "},
		{"a protocol too large", "5154.xml", []string{`Protocol">6<`, `Protocol">256<`}, Event{}, "record 287929: protocol: "},
		{"no time", "5154.xml", []string{"2015-09-22T02:04:25.757462900Z", "yesterday"}, Event{}, "yesterday"},
		{"cut off", "5154.xml", []string{"</Event>", ""}, Event{}, "unexpected EOF"},
		{"longer than any", "5154.xml", []string{"listener.exe", strings.Repeat("a", maxEvent)}, Event{}, "more than 262144"},
	} {
		got, err := Parse([]byte(strings.NewReplacer(tt.replace...).Replace(recorded(t, tt.file))))
		if d := cmp.Diff(tt.want, got, cmpopts.EquateComparable(netip.AddrPort{})); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.reason, d)
		}
		if tt.err == "" && err != nil || tt.err != "" && (!errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("%s: the error is %v, want %q", tt.reason, err, tt.err)
		}
	}
}

// FuzzParse: whatever the log holds is decoded or refused, with a message that
// is no longer than somebody can read.
func FuzzParse(f *testing.F) {
	f.Add([]byte(recorded(f, "5154.xml")))
	f.Add([]byte(recorded(f, "5158.xml")))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := Parse(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) || e != (Event{}) {
				t.Errorf("%+v, %v", e, err)
			}
			return
		}
		if !e.Local.IsValid() {
			t.Errorf("%+v has no address", e)
		}
	})
}
