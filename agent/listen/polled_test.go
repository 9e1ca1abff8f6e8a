package listen

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/portaudit/portaudit/agent/listen/iphelper"
	"github.com/portaudit/portaudit/agent/listen/securitylog"
)

// TestPolled looks at tables, and hears of events in between; a second passes
// from one to the next.
func TestPolled(t *testing.T) {
	start := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	row := func(table iphelper.Table, local string, pid uint32, created time.Duration) iphelper.Row {
		r := iphelper.Row{Table: table, Local: netip.MustParseAddrPort(local), PID: pid}
		if created >= 0 {
			r.Created = start.Add(created)
		}
		return r
	}
	event := func(listens bool, protocol uint8, local string, pid uint32, at time.Duration) securitylog.Event {
		return securitylog.Event{Listens: listens, Protocol: protocol, Local: netip.MustParseAddrPort(local), PID: pid, Time: start.Add(at), Program: "file"}
	}
	const unknown = -1
	ms := time.Millisecond
	web, dns := row(iphelper.TCP4, "0.0.0.0:80", 10, 0), row(iphelper.UDP4, "0.0.0.0:53", 11, 0)
	later := row(iphelper.TCP6, "[::]:8080", 12, 1500*ms)
	for _, tt := range []struct {
		reason string
		steps  []any // rows of a look, or an event
		want   []string
	}{
		{"the first look tells nothing", []any{[]iphelper.Row{web, dns}}, nil},
		{"nothing changed", []any{[]iphelper.Row{web, dns}, []iphelper.Row{dns, web}}, nil},
		{"one opened, at the time of the table", []any{[]iphelper.Row{web}, []iphelper.Row{web, later}}, []string{"1.5s + [::]:8080 12 #2"}},
		{"one opened, of which the table tells no time", []any{[]iphelper.Row{}, []iphelper.Row{row(iphelper.TCP4, "0.0.0.0:80", 10, unknown)}}, []string{"2s + 0.0.0.0:80 10 #1"}},
		{"a time that is to come is of another clock", []any{[]iphelper.Row{}, []iphelper.Row{row(iphelper.TCP4, "0.0.0.0:80", 10, time.Hour)}}, []string{"2s + 0.0.0.0:80 10 #1"}},
		{"one closed", []any{[]iphelper.Row{web, dns}, []iphelper.Row{web}}, []string{"2s - 0.0.0.0:53 11 #2"}},
		{"one was opened anew by the same process between two looks", []any{[]iphelper.Row{web}, []iphelper.Row{row(iphelper.TCP4, "0.0.0.0:80", 10, 1500*ms)}},
			[]string{"2s - 0.0.0.0:80 10 #1", "1.5s + 0.0.0.0:80 10 #2"}},
		{"another process took the port", []any{[]iphelper.Row{web}, []iphelper.Row{row(iphelper.TCP4, "0.0.0.0:80", 20, 1500*ms)}},
			[]string{"1.5s + 0.0.0.0:80 20 #2", "2s - 0.0.0.0:80 10 #1"}},
		{"two sockets of one process at one endpoint are one, whichever comes first",
			[]any{[]iphelper.Row{dns, row(iphelper.UDP4, "0.0.0.0:53", 11, 500*ms)}, []iphelper.Row{row(iphelper.UDP4, "0.0.0.0:53", 11, 500*ms), dns}, []iphelper.Row{dns}}, nil},
		{"an event is told of at once, and not again by the look that sees it", []any{[]iphelper.Row{}, event(true, 6, "0.0.0.0:80", 10, 1200*ms), []iphelper.Row{row(iphelper.TCP4, "0.0.0.0:80", 10, 1100*ms)}},
			[]string{"1.2s + 0.0.0.0:80 10 #1 file"}},
		{"the look after it does not see it", []any{[]iphelper.Row{}, event(true, 6, "0.0.0.0:80", 10, 1200*ms), []iphelper.Row{}},
			[]string{"1.2s + 0.0.0.0:80 10 #1 file", "3s - 0.0.0.0:80 10 #1"}},
		{"the look began before it", []any{[]iphelper.Row{}, event(true, 6, "0.0.0.0:80", 10, 3500*ms), []iphelper.Row{}},
			[]string{"3.5s + 0.0.0.0:80 10 #1 file"}},
		{"an event of what is known already", []any{[]iphelper.Row{web}, event(true, 6, "0.0.0.0:80", 10, 1200*ms)}, nil},
		{"a bound TCP socket does not listen", []any{[]iphelper.Row{}, event(false, 6, "0.0.0.0:80", 10, 1200*ms)}, nil},
		{"a bound UDP socket does", []any{[]iphelper.Row{}, event(false, 17, "[::]:53", 10, 1200*ms)}, []string{"1.2s + [::]:53 10 #1 file"}},
		{"no transport that is told of", []any{[]iphelper.Row{}, event(false, 1, "0.0.0.0:53", 10, 1200*ms)}, nil},
		{"no port", []any{[]iphelper.Row{}, event(false, 17, "0.0.0.0:0", 10, 1200*ms)}, nil},
		{"an event before the first look", []any{event(true, 6, "0.0.0.0:80", 10, 0), []iphelper.Row{web}}, nil},
	} {
		var p polled
		var got []string
		for i, step := range tt.steps {
			var changes []rowChange
			switch step := step.(type) {
			case []iphelper.Row:
				changes = p.look(nil, step, start.Add(time.Duration(i+1)*time.Second))
			case securitylog.Event:
				if c, ok := p.hear(step); ok {
					changes = append(changes, c)
				}
			}
			for _, c := range changes {
				text := fmt.Sprintf("%v %s %v %d #%d", c.at.Sub(start), map[bool]string{true: "+", false: "-"}[c.opened], c.row.Local, c.row.PID, c.number)
				if c.program != "" {
					text += " " + c.program
				}
				got = append(got, text)
			}
		}
		if d := cmp.Diff(tt.want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.reason, d)
		}
	}
}
