package audit

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// TestParsePrefix holds what is taken for the beginning of a record, and that what
// this program writes is read the fast way.
func TestParsePrefix(t *testing.T) {
	zeros := firstHead().Hash
	line := func(text string) string { return strings.ReplaceAll(text, "PREV", `"prev":"`+zeros+`"`) }
	good := `{"schema":1,"seq":7,"time":"2026-11-20T14:00:00.5Z","event":"agent.stopped","host":"h","boot":"b",PREV}`
	tests := []struct {
		reason, line string
		fast, ok     bool
	}{
		{"as it is written", good, true, true},
		{"more behind it", strings.Replace(good, "PREV", `PREV,"message":"}`, 1), true, true}, // judged by who decodes it
		{"a name in other letters", strings.Replace(good, `"h"`, `"höst"`, 1), true, true},
		{"a name with an escape", strings.Replace(good, `"h"`, `"h\u0041"`, 1), false, true},
		{"another order", `{"seq":7,"schema":1,"time":"2026-11-20T14:00:00.5Z","event":"agent.stopped","host":"h","boot":"b",PREV}`, false, true},
		{"spaces", strings.Replace(good, `,"seq"`, `, "seq"`, 1), false, true},
		{"no host", strings.Replace(good, `"host":"h",`, "", 1), false, true},
		{"a number of 20 digits", strings.Replace(good, `"seq":7`, `"seq":18446744073709551615`, 1), false, true},
		{"a number that is too large", strings.Replace(good, `"seq":7`, `"seq":18446744073709551616`, 1), false, false},
		{"no such number", strings.Replace(good, `"seq":7`, `"seq":07`, 1), false, false},
		{"record 0", strings.Replace(good, `"seq":7`, `"seq":0`, 1), false, false},
		{"a negative number", strings.Replace(good, `"seq":7`, `"seq":-7`, 1), false, false},
		{"no time", strings.Replace(good, "2026-11-20T14", "2026-11-20T25", 1), false, false},
		{"half a hash", strings.Replace(good, "PREV", `"prev":"00"`, 1), false, false},
		{"no hash", strings.Replace(good, "PREV", `"prev":"`+strings.Repeat("z", 64)+`"`, 1), false, false},
		{"not UTF-8", strings.Replace(good, `"h"`, "\"\xff\"", 1), false, false},
		{"NUL bytes", strings.Repeat("\x00", 300), false, false},
		{"nothing", "", false, false},
		{"null", "null", false, false},
	}
	for _, tt := range tests {
		_, fast := scanPrefix([]byte(line(tt.line)))
		p, err := parsePrefix([]byte(line(tt.line)))
		if fast != tt.fast || (err == nil) != tt.ok {
			t.Errorf("%s: fast %v, %v", tt.reason, fast, err)
		}
		if err == nil && (p.schema != 1 || p.seq == 0 || p.kind != AgentStopped || !p.time.Equal(time.Date(2026, 11, 20, 14, 0, 0, 5e8, time.UTC))) {
			t.Errorf("%s: %+v", tt.reason, p)
		}
	}
}

// FuzzPrefix holds that the fast way reads what the slow way reads.
func FuzzPrefix(f *testing.F) {
	f.Add(uint64(7), int64(1e18), "listener.opened", "h", "b")
	f.Add(uint64(1<<63), int64(-1e18), "a\"b", "h\xff", "\\")
	f.Fuzz(func(t *testing.T, seq uint64, at int64, kind, host, boot string) {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		e := Event{Version: 1, Seq: seq, Time: time.Unix(0, at).UTC(), Event: kind, Host: host, Boot: boot, Prev: firstHead().Hash}
		if err := enc.Encode(e); err != nil {
			t.Fatal(err)
		}
		fast, ok := scanPrefix(b.Bytes())
		slow, err := readPrefix(bytes.TrimSuffix(b.Bytes(), []byte{'\n'}))
		if ok && (err != nil || fast != slow) {
			t.Fatalf("%s is read as %+v and as %+v, %v", b.Bytes(), fast, slow, err)
		}
		if again, ok := scanPrefix([]byte(host + boot + kind)); ok && again.seq == 0 {
			t.Fatalf("%+v", again)
		}
	})
}
