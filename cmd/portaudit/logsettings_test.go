package main

import (
	"strings"
	"testing"
	"time"

	"github.com/portaudit/portaudit/agent"
	"github.com/portaudit/portaudit/agent/audit"
)

func TestParseLog(t *testing.T) {
	s, err := parseConfig([]byte("log:\n  max_size: 8MiB\n  max_age: 12h\n  keep_size: 2GiB\n  keep_age: 90d\n  keep_count: 20\n  disk_full: alert\n  checkpoint_records: 7\n  checkpoint_every: 2m\n"), "c.yaml")
	want := logSettings{8 << 20, 12 * time.Hour, audit.Retention{Size: 2 << 30, Age: 90 * 24 * time.Hour, Count: 20}, agent.Alert, 7, 2 * time.Minute}
	if err != nil || s.log != want {
		t.Errorf("%+v, %v, want %+v", s.log, err, want)
	}
	want = defaultLog()
	want.keep = audit.Retention{}
	if s, err = parseConfig([]byte("log: {keep_size: 0, keep_age: 0, keep_count: 0}\n"), "c.yaml"); err != nil || s.log != want {
		t.Errorf("without bounds: %+v, %v, want %+v", s.log, err, want)
	}
}

func TestParseLogRefuses(t *testing.T) {
	tests := []struct{ reason, text, want string }{
		{"no section", "log: big", "c.yaml:1:6: log wants keys under it"},
		{"nothing", "log:", "c.yaml:1:5: log wants keys under it"},
		{"a list", "log: [a]", "c.yaml:1:6: log wants keys under it"},
		{"an unknown key", "log:\n  size: 1MiB", "c.yaml:2:3: unknown key \"size\" of log: known are checkpoint_every, checkpoint_records, disk_full, keep_age"},
		{"a key twice", "log:\n  max_age: 1h\n  max_age: 2h", "c.yaml:3:3: \"max_age\" is given twice"},
		{"the section twice", "log: {max_age: 1h}\nlog: {max_age: 2h}", "c.yaml:2:6: \"log\" is given twice"},
		{"a list for a value", "log:\n  max_age: [1h]", "c.yaml:2:12: max_age wants one value"},
		{"a small file", "log:\n  max_size: 1KiB", "c.yaml:2:13: max_size: \"1KiB\" is under 64KiB"},
		{"files of no size", "log:\n  max_size: 0", "c.yaml:2:13: max_size: \"0\" is under 64KiB"},
		{"no size", "log:\n  keep_size: 5", "c.yaml:2:14: keep_size: \"5\" is no size"},
		{"files of a moment", "log:\n  max_age: 1s", "c.yaml:2:12: max_age: \"1s\" is under 1m0s"},
		{"no time", "log:\n  keep_age: forever", "c.yaml:2:13: keep_age: \"forever\" is no time such as 12h or 30d"},
		{"half a day", "log:\n  keep_age: 1.5d", "keep_age: \"1.5d\" is no time"},
		{"a time ago", "log:\n  keep_age: -3h", "keep_age: \"-3h\" is no time"},
		{"too many days", "log:\n  keep_age: 65535d", "keep_age: \"65535d\" is no time"},
		{"an octal number", "log:\n  keep_count: 010", "c.yaml:2:15: keep_count: \"010\" is no whole number of files"},
		{"less than none", "log:\n  keep_count: -1", "keep_count: \"-1\" is no whole number"},
		{"an unknown word", "log:\n  disk_full: ignore", "c.yaml:2:14: disk_full: \"ignore\" is none of suspend, alert, exit"},
		{"no records", "log:\n  checkpoint_records: 0", "c.yaml:2:23: checkpoint_records: \"0\" is no whole number of records"},
		{"half a record", "log:\n  checkpoint_records: 0.5", "\"0.5\" is no whole number of records"},
		{"signed all the time", "log:\n  checkpoint_every: 1s", "c.yaml:2:21: checkpoint_every: \"1s\" is under 1m0s"},
		{"never signed", "log:\n  checkpoint_every: 0", "\"0\" is under 1m0s"},
		{"one file is more than is kept", "log: {max_size: 8MiB, keep_size: 4MiB}", "c.yaml:1:34: keep_size is less than max_size, which is 8192KiB"},
		{"all mistakes at once", "log:\n  max_age: x\n  keep_age: y\nlag: 1", "unknown key \"lag\""},
	}
	for _, tt := range tests {
		_, err := parseConfig([]byte(tt.text+"\n"), "c.yaml")
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", tt.reason, err, tt.want)
		}
	}
	_, err := parseConfig([]byte(tests[len(tests)-1].text), "c.yaml")
	if n := strings.Count(err.Error(), "c.yaml:"); n != 3 {
		t.Errorf("%d mistakes told, want 3: %v", n, err)
	}
}
