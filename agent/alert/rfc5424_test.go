package alert

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	syslog "github.com/leodido/go-syslog/v4"
	"github.com/leodido/go-syslog/v4/octetcounting"
	"github.com/leodido/go-syslog/v4/rfc5424"

	"github.com/portaudit/portaudit/agent/audit"
)

// hostile are strings that a process can call itself, and what a receiver is to get
// of each.
func hostile() map[string]string {
	return map[string]string{
		"a newline":              "x\ny",
		"ESC":                    "\x1b[2J\x1b]0;title\x07",
		"NUL":                    "a\x00b",
		"no UTF-8":               "\xff\xfe\xc3",
		"an override":            "exe\u202egpj.txt",
		"quotes and brackets":    `"]] [x@1 a="b"\`,
		"zero width":             "pay\u200bpal\ufeff",
		"a forged message":       "\n<0>1 - - - - - - forged",
		"a forged field":         "x\nPRIORITY=0\nMESSAGE=forged",
		"nothing":                "",
		"letters of all kinds":   "grüß Gott 日本 שלום",
		"C1":                     "\u009b31m",
		"a combining mark":       "\u0301a",
		"a backslash at its end": `c:\`,
	}
}

func full(text string) Message {
	pid, uid := 4711, uint32(0)
	return Message{Hash: strings.Repeat("ab", 32), Event: audit.Event{
		Version: 1, Seq: 42, Time: time.Date(2026, 11, 29, 12, 0, 0, 123456789, time.UTC), Event: audit.FindingRaised, Host: "alpha",
		Rule: "r", Severity: "high", ID: "id", Message: "tcp 0.0.0.0:8080 by " + text, Transport: "tcp", Address: "0.0.0.0", Port: 8080,
		Registry: &audit.Registry{Names: []string{"http-alt", "webcache"}},
		Owners:   []audit.Owner{{PID: &pid, UID: &uid, User: text, Executable: "/bin/" + text, Command: text}, {}},
	}}
}

func encoder() syslogEncoder {
	return syslogEncoder{facility: 3, enterprise: DefaultEnterprise, size: DefaultSyslogSize, pid: 99}
}

func parse(t testing.TB, b []byte) *rfc5424.SyslogMessage {
	t.Helper()
	m, err := rfc5424.NewParser().Parse(b)
	if err != nil {
		t.Fatalf("%v: %q", err, b)
	}
	return m.(*rfc5424.SyslogMessage)
}

func TestSyslogMessage(t *testing.T) {
	got := string(encoder().encode(full("sh -c x")))
	want := `<27>1 2026-11-29T12:00:00.123456Z alpha portaudit 99 finding.raised [portaudit@32473 seq="42" hash="` + strings.Repeat("ab", 32) +
		`" rule="r" severity="high" finding="id" transport="tcp" address="0.0.0.0" port="8080" service="http-alt webcache"` +
		` owners="2" exe="/bin/sh -c x" command="sh -c x" user="sh -c x" pid="4711" uid="0"] HIGH r: tcp 0.0.0.0:8080 by sh -c x`
	if got != want {
		t.Errorf("got\n%s, want\n%s", got, want)
	}
}

func TestSyslogHostile(t *testing.T) {
	for reason, text := range hostile() {
		t.Run(reason, func(t *testing.T) {
			m := full(text)
			m.Event.Host = text
			m.Event.Rule = text
			b := encoder().encode(m)
			checkHarmless(t, b)
			p := parse(t, b)
			params := (*p.StructuredData)["portaudit@32473"]
			if params["command"] != audit.Visible(text) || params["seq"] != "42" {
				t.Errorf("it was parsed as %q", params)
			}
			if want := audit.Visible("tcp 0.0.0.0:8080 by " + text); !strings.HasSuffix(*p.Message, want) {
				t.Errorf("the message is %q, want %q", *p.Message, want)
			}
		})
	}
}

// checkHarmless holds that nothing in it can move a cursor, end a line or hide.
func checkHarmless(t testing.TB, b []byte) {
	t.Helper()
	if !utf8.Valid(b) {
		t.Errorf("it is no UTF-8: %q", b)
	}
	for _, r := range string(b) {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029' {
			t.Errorf("it has %U: %q", r, b)
		}
	}
}

func TestSyslogBound(t *testing.T) {
	long := strings.Repeat("\x1b\u202e\"]\\", 400_000) // 2 MB and more
	formats := map[string]func(Message) ([]byte, error){
		"text":                nil,
		"json":                func(m Message) ([]byte, error) { return json.Marshal(m.Event) },
		"a format that fails": func(Message) ([]byte, error) { return nil, fmt.Errorf("no") },
	}
	for name, format := range formats {
		for _, size := range []int{LeastSyslogSize, DefaultSyslogSize, MostSyslogSize} {
			s := encoder()
			s.size, s.format = size, format
			m := full(long)
			m.Event.Host, m.Event.Namespace, m.Event.Interface, m.Event.Reach = long, long, long, long
			b := s.encode(m)
			if len(b) > size {
				t.Errorf("%s: %d bytes, more than %d", name, len(b), size)
			}
			checkHarmless(t, b)
			p := parse(t, b)
			params := (*p.StructuredData)["portaudit@32473"]
			if params["truncated"] != "1" || params["seq"] != "42" || !strings.Contains(string(b), " bytes]") {
				t.Errorf("%s: it does not say that it was cut: %.300s", name, b)
			}
			if name == "json" && size > LeastSyslogSize && !json.Valid([]byte(*p.Message)) {
				t.Errorf("%d bytes: no document: %s", size, *p.Message)
			}
		}
	}
	s := encoder()
	s.format = formats["json"]
	if b := s.encode(full("x")); bytes.Contains(b, []byte("truncated")) || !bytes.Contains(b, []byte(`"executable":"/bin/x"`)) {
		t.Errorf("what fits is not whole: %s", b)
	}
}

func TestSyslogSummary(t *testing.T) {
	at := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	s := Summary{Rule: "r", Severity: "low", Kinds: map[string]uint64{audit.FindingRaised: 9}, Count: 9, FirstSeq: 6, LastSeq: 14, First: at, Last: at.Add(time.Second), Sample: "m", Host: "alpha"}
	p := parse(t, encoder().encode(s.message()))
	params := (*p.StructuredData)["portaudit@32473"]
	want := map[string]string{"rule": "r", "severity": "low", "count": "9", "first_seq": "6", "last_seq": "14", "first": "2026-11-29T12:00:00Z", "last": "2026-11-29T12:00:01Z"}
	if fmt.Sprint(params) != fmt.Sprint(want) || *p.MsgID != Summarized || *p.Hostname != "alpha" {
		t.Errorf("got %v of %v", params, p)
	}
}

// FuzzSyslog holds whatever a process can put into an event against another
// program's parser.
func FuzzSyslog(f *testing.F) {
	for _, text := range hostile() {
		f.Add(text, "r", "alpha", uint16(DefaultSyslogSize))
		f.Add("x", text, text, uint16(LeastSyslogSize))
	}
	f.Fuzz(func(t *testing.T, text, rule, host string, size uint16) {
		s := encoder()
		s.size = max(LeastSyslogSize, int(size))
		if len(text)%2 == 1 {
			s.format = func(m Message) ([]byte, error) { return json.Marshal(m.Event) }
		}
		m := full(text)
		m.Event.Rule, m.Event.Host, m.Event.Event, m.Event.Checkpoint = rule, host, rule, text
		b := s.encode(m)
		if len(b) > s.size {
			t.Errorf("%d bytes, more than %d", len(b), s.size)
		}
		checkHarmless(t, b)
		p := parse(t, b)
		params := (*p.StructuredData)["portaudit@32473"]
		if got := params["command"]; params["truncated"] == "" && got != audit.Visible(text) {
			t.Errorf("command %q became %q", text, got)
		}
		if params["seq"] != "42" {
			t.Errorf("no seq: %q", b)
		}
		tcp, frames := NewSyslog(SyslogOptions{Network: "tcp"}), 0
		octetcounting.NewParser(syslog.WithListener(func(r *syslog.Result) {
			if r.Error != nil {
				t.Errorf("in a frame: %v", r.Error)
				return
			}
			frames++
		}), syslog.WithMaxMessageLength(MostSyslogSize)).Parse(bytes.NewReader(bytes.Repeat(tcp.frame(b), 2)))
		if frames != 2 {
			t.Errorf("two frames became %d", frames)
		}
	})
}

func BenchmarkSyslog(b *testing.B) {
	s, m := encoder(), full("sh -c 'sleep 1'")
	b.ReportAllocs()
	for b.Loop() {
		s.encode(m)
	}
}
