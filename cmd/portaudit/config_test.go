package main

import (
	"strings"
	"testing"
	"time"

	"github.com/portaudit/portaudit/configs"
)

func TestParseConfig(t *testing.T) {
	s, err := parseConfig([]byte("interval: 30s\nconfirm: 1\ngone: 5\npolicy: /p.yaml\nlog_dir: /l\nstate_dir: /s\ndata_dir: /d\noverlay: /o\ncross_check: 1h\nprobe: true\n"), "c.yaml")
	want := settings{interval: 30 * time.Second, confirm: 1, gone: 5, policy: "/p.yaml", logDir: "/l", stateDir: "/s", dataDir: "/d", overlay: "/o", crossCheck: time.Hour, probe: true}
	if err != nil || s != want {
		t.Errorf("got %+v, %v, want %+v", s, err, want)
	}
	if s, err := parseConfig([]byte("# nothing\n"), "c.yaml"); err != nil || s != (settings{}) {
		t.Errorf("a file of comments: got %+v, %v, want no settings", s, err)
	}
}

// TestShippedConfig: what the commented file says are the defaults must be.
func TestShippedConfig(t *testing.T) {
	s, err := parseConfig(configs.Config(), "portaudit.yaml")
	want := settings{interval: defaultInterval, confirm: defaultConfirm, gone: defaultGone}
	if err != nil || s != want {
		t.Errorf("got %+v, %v, want %+v", s, err, want)
	}
}

func TestParseConfigRefuses(t *testing.T) {
	tests := []struct{ reason, in, want string }{
		{"an unknown key", "intervall: 1s\n", `c.yaml:1:12: unknown key "intervall"`},
		{"a key given twice", "gone: 2\ngone: 3\n", `c.yaml:2:7: "gone" is given twice`},
		{"a second document", "gone: 2\n---\ngone: 3\n", "c.yaml: a second document begins"},
		{"a number where a duration is wanted", "interval: 10\n", `c.yaml:1:11: interval wants a duration`},
		{"cross-checks too often", "cross_check: 1s\n", "c.yaml:1:14: cross_check wants a duration of 1m0s or more, such as 1h"},
		{"no truth", "probe: maybe\n", `c.yaml:1:8: probe wants true or false, not "maybe"`},
		{"under a second", "interval: 10ms\n", "c.yaml:1:11: interval wants a duration of 1s or more"},
		{"an octal number", "gone: 010\n", `c.yaml:1:7: gone wants a whole number`},
		{"a path that is none", "policy: 7\n", "c.yaml:1:9: policy wants a path"},
		{"a path that is missing", "policy:\n", "c.yaml:1:8: policy wants a path"},
		{"no mapping", "- a\n", "c.yaml:1:1: a list of keys is wanted"},
		{"no YAML", "a: [\n", "c.yaml: yaml: line 1"},
		{"too long", "#" + strings.Repeat("x", maxFile), "c.yaml: more than 1048576 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			s, err := parseConfig([]byte(tt.in), "c.yaml")
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("got %+v, %v, want an error that starts with %q", s, err, tt.want)
			}
		})
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte("interval: 30s\nconfirm: 1\n"))
	f.Add([]byte("a: &x [*x]\n"))
	f.Add(configs.Config())
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseConfig(b, "c.yaml")
		if err == nil && (s.interval != 0 && s.interval < minInterval || s.confirm < 0 || s.gone < 0) {
			t.Errorf("took %+v", s)
		}
	})
}
