package agent

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/policy"
)

func TestParsePorts(t *testing.T) {
	for _, tt := range []struct {
		text, transport string
		first, last     uint32
		wrong           string
	}{
		{text: "8080", first: 8080, last: 8080},
		{text: "8080/tcp", first: 8080, last: 8080, transport: "tcp"},
		{text: "53/UDP", first: 53, last: 53, transport: "udp"},
		{text: "8000-8100", first: 8000, last: 8100},
		{text: "1-65535/sctp", first: 1, last: 65535, transport: "sctp"},
		{text: "0x88cc/packet", first: 0x88cc, last: 0x88cc, transport: "packet"},
		{text: "4294967295/vsock", first: 1<<32 - 1, last: 1<<32 - 1, transport: "vsock"},
		{text: "0", wrong: "is no port"},
		{text: "65536", wrong: "is no port"},
		{text: "65536/tcp", wrong: "is no port"},
		{text: "4294967296/vsock", wrong: "is no port"},
		{text: "", wrong: "is no port"},
		{text: "http", wrong: "is no port"},
		{text: "-1", wrong: "is no port"},
		{text: "80-", wrong: "is no port"},
		{text: "90-80", wrong: "ends before it begins"},
		{text: "80/quic", wrong: "quic"},
		{text: "80/", wrong: "transport"},
	} {
		ports, transport, err := ParsePorts(tt.text)
		if tt.wrong != "" {
			if err == nil || !strings.Contains(err.Error(), tt.wrong) {
				t.Errorf("%q: %v, want an error with %q", tt.text, err, tt.wrong)
			}
			continue
		}
		if err != nil || transport != tt.transport || ports != (PortRange32{tt.first, tt.last}) {
			t.Errorf("%q: %v, %q, %v", tt.text, ports, transport, err)
		}
	}
}

// lineOf is a record as it stands in a log.
func lineOf(t testing.TB, e audit.Event) audit.Line {
	t.Helper()
	e.Version, e.Prev = audit.Version, strings.Repeat("0", 64)
	if e.Seq == 0 {
		e.Seq = 7
	}
	raw, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return audit.Line{Seq: e.Seq, Time: e.Time, Kind: e.Event, Raw: raw}
}

func TestSelection(t *testing.T) {
	uid := uint32(33)
	e := audit.Event{
		Event: audit.FindingRaised, Time: epoch, Message: "it \"says\"", Transport: "tcp", Port: 8080, Rule: "reachable", Severity: "high",
		Owners: []audit.Owner{
			{Executable: "/usr/bin/app", User: "www-data", UID: &uid, Unit: "app.service", Container: "0123456789ab", ContainerName: "web"},
			{Executable: `C:\Program Files\Web\Server.exe`, SID: "S-1-5-18", Services: []string{"W3SVC"}},
			{Command: "worker --port 80", User: "root"},
		},
	}
	for _, tt := range []struct {
		reason string
		s      Selection
		want   bool
	}{
		{"everything", Selection{}, true},
		{"from its time on", Selection{Since: epoch}, true},
		{"from later on", Selection{Since: epoch.Add(1)}, false},
		{"until its time", Selection{Until: epoch}, false},
		{"until later", Selection{Until: epoch.Add(1)}, true},
		{"behind a record", Selection{After: 6}, true},
		{"behind itself", Selection{After: 7}, false},
		{"port", Selection{Port: PortRange32{8080, 8080}}, true},
		{"another port", Selection{Port: PortRange32{808, 808}}, false},
		{"a range", Selection{Port: PortRange32{8000, 8080}}, true},
		{"a range beside it", Selection{Port: PortRange32{8081, 8090}}, false},
		{"transport", Selection{Port: PortRange32{8080, 8080}, Transport: "tcp"}, true},
		{"another transport", Selection{Port: PortRange32{8080, 8080}, Transport: "udp"}, false},
		{"user", Selection{User: "www-data"}, true},
		{"user by number", Selection{User: "33"}, true},
		{"user by SID", Selection{User: "S-1-5-18"}, true},
		{"a part of a user", Selection{User: "www"}, false},
		{"path", Selection{Executable: "/usr/bin/app"}, true},
		{"base name", Selection{Executable: "app"}, true},
		{"pattern", Selection{Executable: "/usr/*/a?p"}, true},
		{"pattern of base name", Selection{Executable: "[a-c]p*"}, true},
		{"a pattern takes no slash", Selection{Executable: "/usr/*"}, false},
		{"another program", Selection{Executable: "/usr/bin/ap"}, false},
		{"of Windows, whatever the case", Selection{Executable: "SERVER.EXE"}, true},
		{"path of Windows", Selection{Executable: `c:\program files\web\server.exe`}, true},
		{"elsewhere the case counts", Selection{Executable: "App"}, false},
		{"a program without a path", Selection{Executable: "worker"}, true},
		{"rule", Selection{Rule: "reachable"}, true},
		{"a part of a rule", Selection{Rule: "reach"}, false},
		{"severity", Selection{Severity: policy.High}, true},
		{"a severity below", Selection{Severity: policy.Low}, true},
		{"a severity above", Selection{Severity: policy.Critical}, false},
		{"kind", Selection{Event: "finding.raised"}, true},
		{"beginning of a kind", Selection{Event: "finding"}, true},
		{"a part that is none", Selection{Event: "find"}, false},
		{"container by name", Selection{Container: "web"}, true},
		{"container by beginning of its id", Selection{Container: "01234"}, true},
		{"another container", Selection{Container: "12345"}, false},
		{"unit", Selection{Unit: "app.service"}, true},
		{"service of Windows", Selection{Unit: "W3SVC"}, true},
		{"all of one owner", Selection{User: "www-data", Executable: "app", Container: "web", Unit: "app.service"}, true},
		{"of two owners", Selection{User: "root", Executable: "app"}, false},
	} {
		l := lineOf(t, e)
		_, got, err := tt.s.Filter().Select(l)
		if err != nil || got != tt.want {
			t.Errorf("%s: %v, %v, want %v", tt.reason, got, err, tt.want)
		}
		if takes, err := tt.s.Filter().Takes(l); err != nil || takes != tt.want {
			t.Errorf("%s, by its line: %v, %v, want %v", tt.reason, takes, err, tt.want)
		}
	}
}

func TestSelectionCheck(t *testing.T) {
	for _, tt := range []struct {
		s     Selection
		wrong string
	}{
		{Selection{}, ""},
		{Selection{Event: "finding"}, ""},
		{Selection{Event: "log.segment"}, ""},
		{Selection{Event: "findings"}, `"findings" is no kind of record: known are agent.started, agent.stopped, audit.failed`},
		{Selection{Event: "."}, "is no kind of record"},
		{Selection{Executable: "/tmp/*"}, ""},
		{Selection{Executable: "[a"}, "is no pattern"},
		{Selection{Since: epoch, Until: epoch}, "no time lies between"},
		{Selection{Since: epoch, Until: epoch.Add(time.Second)}, ""},
	} {
		if err := tt.s.Check(); (err == nil) != (tt.wrong == "") || err != nil && !strings.Contains(err.Error(), tt.wrong) {
			t.Errorf("%+v: %v, want %q", tt.s, err, tt.wrong)
		}
	}
}

// TestFilterLeavesOut: what is certainly not asked for is not decoded, or the
// filter would be of no use.
func TestFilterLeavesOut(t *testing.T) {
	l := lineOf(t, audit.Event{Event: audit.ListenerOpened, Time: epoch, Transport: "tcp", Port: 22, Message: "sshd listens", Rule: "ssh", Owners: []audit.Owner{{Executable: "/usr/sbin/sshd", User: "root"}}})
	for _, s := range []Selection{
		{Port: PortRange32{8080, 8080}}, {Port: PortRange32{23, 8080}}, {Port: PortRange32{2, 2}}, {Rule: "reachable"}, {User: "nobody"},
		{Executable: "/tmp/*"}, {Executable: "nginx"}, {Severity: policy.Low}, {Event: "finding"}, {Container: "web"}, {Unit: "nginx.service"}, {Transport: "udp"},
	} {
		if s.Filter().MayTake(l) {
			t.Errorf("%+v: a record of sshd is decoded", s)
		}
	}
}

// FuzzFilter: a line that the filter leaves out is of no record that the selection
// takes, however the line is written.
func FuzzFilter(f *testing.F) {
	for _, raw := range []string{
		`{"port":8080,"rule":"r","severity":"high","transport":"tcp","owners":[{"executable":"/tmp/x","user":"u","container":"c","unit":"n"}]}`,
		`{ "port" : 8080 , "rule" : "r" }`, `{"\u0070ort":8080,"rule":"\u0072"}`, `{"PORT":8080,"Rule":"r"}`, `{"port":1,"port":8080}`,
		`{"owners":[{"executable":"\/tmp\/x","user":"\u0075"}]}`, `{"message":"\"port\":8080,","port":8081}`, `{"why":"\\","port":8080}`,
		`{"owners":[{"executable":"C:\\tmp\\X.EXE"}]}`, `{"port":80,"x":{"port":8080}}`, `{"ſeverity":"high"}`, `{"port":8080`, `{"port":8080}}`,
	} {
		f.Add(raw, uint32(8080), uint32(8080), "r", "u", "/tmp/x", uint8(3))
		f.Add(raw, uint32(8000), uint32(8100), "", "", "x*", uint8(0))
		f.Add(raw, uint32(0), uint32(0), "", "", "", uint8(2))
		f.Add(raw, uint32(8080), uint32(8080), "", "", "", uint8(0))
		f.Add(raw, uint32(0), uint32(0), "r", "", "", uint8(0))
	}
	f.Fuzz(func(t *testing.T, raw string, first, last uint32, rule, user, exe string, severity uint8) {
		var e audit.Event
		if json.Unmarshal([]byte(raw), &e) != nil {
			return
		}
		s := Selection{Port: PortRange32{first, last}, Rule: rule, User: user, Executable: exe, Severity: policy.Severity(severity % 5), Transport: e.Transport}
		e.Seq = 1
		l := audit.Line{Seq: 1, Time: e.Time, Kind: e.Event, Raw: []byte(raw)}
		if s.Takes(e) && !s.Filter().MayTake(l) {
			t.Errorf("%+v takes %s, and its filter leaves it out", s, raw)
		}
	})
}

// FuzzMembers: what a glance tells of a record is what decoding it does.
func FuzzMembers(f *testing.F) {
	for _, raw := range []string{`{"port":8080,"rule":"r","a":[1,{"b":"}"}],"c":{"d":"\\\""}}`, `{}`, ` { "rule" : "\n" } `, `{"a":1,}`, `[]`, `{"a":"`, `{"a":{"b":[}]}`, `{"rule":"x"}}`} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got := map[string]string{}
		clear := members([]byte(raw), func(key, value []byte) bool {
			got[string(key)] = string(value)
			return true
		})
		var want map[string]json.RawMessage
		if !clear || json.Unmarshal([]byte(raw), &want) != nil || want == nil {
			return
		}
		if len(got) != len(want) {
			t.Fatalf("%s: a glance tells %d members, and there are %d", raw, len(got), len(want))
		}
		for key, value := range want {
			if got[key] != string(value) {
				t.Errorf("%s: of %s a glance tells %q", raw, key, got[key])
			}
		}
	})
}

// TestMembers: a record as this program writes it takes a glance.
func TestMembers(t *testing.T) {
	l := lineOf(t, audit.Event{Event: audit.ListenerOpened, Time: epoch, Port: 22, Message: `a "quoted\" \u0000 text`, Errors: []string{"]", "}", `\`}, Owners: []audit.Owner{{User: "{"}}})
	var keys []string
	if !members(l.Raw, func(key, value []byte) bool {
		keys = append(keys, string(key))
		if !json.Valid(value) {
			t.Errorf("%s is %s", key, value)
		}
		return true
	}) {
		t.Errorf("it takes more than a glance:\n%s", l.Raw)
	}
	if got := fmt.Sprint(keys); got != "[schema seq time event host boot prev message port owners errors]" {
		t.Errorf("its members are %s", got)
	}
}
