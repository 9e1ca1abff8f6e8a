package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/portaudit/portaudit/configs"
)

func TestParseConfig(t *testing.T) {
	s, err := parseConfig([]byte("interval: 30s\nconfirm: 1\ngone: 5\npolicy: /p.yaml\nlog_dir: /l\nstate_dir: /s\ndata_dir: /d\noverlay: /o\ncross_check: 1h\nprobe: true\nsource: bpf\nhash_limit: 1GiB\nrealtime: on\npolicy_watch: true\n"), "c.yaml")
	want := settings{interval: 30 * time.Second, confirm: 1, gone: 5, policy: "/p.yaml", logDir: "/l", stateDir: "/s", dataDir: "/d", overlay: "/o", crossCheck: time.Hour, probe: true, source: "bpf", hash: "1GiB", realtime: "on", policyWatch: true}
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
	want := settings{interval: defaultInterval, confirm: defaultConfirm, gone: defaultGone, source: "auto", hash: defaultHash, realtime: "auto", log: defaultLog()}
	if err != nil || s != want {
		t.Errorf("got %+v, %v, want %+v", s, err, want)
	}
}

// TestKeysAreFlags: what the file says of its keys must be true of each.
func TestKeysAreFlags(t *testing.T) {
	run := newRun(&settings{})
	for _, key := range configKeys() {
		if run.Flags().Lookup(strings.ReplaceAll(key, "_", "-")) == nil {
			t.Errorf("run has no flag for the key %s", key)
		}
		if !strings.Contains(string(configs.Config()), key+":") {
			t.Errorf("the shipped file does not tell of the key %s", key)
		}
	}
}

func TestParseSize(t *testing.T) {
	tests := []struct {
		reason, text string
		want         int64
		ok           bool
	}{
		{"none", "0", 0, true},
		{"kibibytes", "8KiB", 8 << 10, true},
		{"mebibytes", "64MiB", 64 << 20, true},
		{"gibibytes, behind a space", "2 GiB", 2 << 30, false},
		{"the largest", "1048575GiB", 1048575 << 30, true},
		{"too large", "1048576GiB", 0, false},
		{"no unit", "64", 0, false},
		{"a unit of tens", "64MB", 0, false},
		{"half a unit", "64Mi", 0, false},
		{"units before numbers", "MiB64", 0, false},
		{"nothing with a unit", "0MiB", 0, false},
		{"a sign", "-1MiB", 0, false},
		{"nothing", "", 0, false},
	}
	for _, tt := range tests {
		got, err := parseSize(tt.text)
		if (err == nil) != tt.ok || tt.ok && got != tt.want {
			t.Errorf("%s: %d, %v; want %d", tt.reason, got, err, tt.want)
		}
	}
}

// TestExplicit: a zero that was given is not one that was left out.
func TestExplicit(t *testing.T) {
	tests := []struct {
		reason string
		args   []string
		want   string // of the error
		cross  time.Duration
		probe  bool
	}{
		{"nothing: as the file says", nil, "", time.Hour, true},
		{"no audits to confirm", []string{"--confirm", "0"}, "must be 1 or more", 0, false},
		{"none to be gone", []string{"--gone", "0"}, "must be 1 or more", 0, false},
		{"no interval", []string{"--interval", "0"}, "interval 0s is under 1s", 0, false},
		{"no cross-check, whatever the file says", []string{"--cross-check", "0"}, "", 0, false},
		{"no probe, whatever the file says", []string{"--probe=false"}, "", time.Hour, false},
		{"another interval", []string{"--cross-check", "2h"}, "", 2 * time.Hour, true},
	}
	config := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(config, []byte("cross_check: 1h\nprobe: true\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		s := settings{config: config}
		c := newRun(&s)
		if err := c.ParseFlags(tt.args); err != nil {
			t.Fatal(err)
		}
		err := s.explicit(c)
		if err == nil {
			s, err = s.resolve()
		}
		if tt.want != "" {
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: %v, want %q", tt.reason, err, tt.want)
			}
			continue
		}
		if err != nil || s.crossCheck != tt.cross || s.probe != tt.probe {
			t.Errorf("%s: cross-check %v, probe %v, %v; want %v and %v", tt.reason, s.crossCheck, s.probe, err, tt.cross, tt.probe)
		}
	}
}

func TestParseConfigRefuses(t *testing.T) {
	tests := []struct{ reason, in, want string }{
		{"an unknown key", "intervall: 1s\n", `c.yaml:1:12: unknown key "intervall"`},
		{"a key given twice", "gone: 2\ngone: 3\n", `c.yaml:2:7: "gone" is given twice`},
		{"a second document", "gone: 2\n---\ngone: 3\n", "c.yaml:2:1: a second document begins"},
		{"a bracket that is not closed", "gone: 2\nlog: {max_size: 64MiB\ninterval: 10s\n", "c.yaml:2:1: no YAML: did not find expected ',' or '}'"},
		{"a tab", "gone: 2\noutputs:\n\t- type: stderr\n", "c.yaml:3:1: a tab in the indentation: YAML is indented by spaces"},
		{"a number where a duration is wanted", "interval: 10\n", `c.yaml:1:11: interval wants a duration`},
		{"cross-checks too often", "cross_check: 1s\n", "c.yaml:1:14: cross_check wants a duration of 1m0s or more, such as 1h"},
		{"no truth", "probe: maybe\n", `c.yaml:1:8: probe wants true or false, not "maybe"`},
		{"no way", "source: magic\n", `c.yaml:1:9: "magic" is no way to find owners: use auto, bpf, proc, gopsutil`},
		{"no mode", "realtime: maybe\n", `c.yaml:1:11: "maybe" is no way to hear of listeners: use auto, on, off`},
		{"no size", "hash_limit: 64\n", `c.yaml:1:13: "64" is no size: use a whole number with KiB, MiB or GiB`},
		{"under a second", "interval: 10ms\n", "c.yaml:1:11: interval wants a duration of 1s or more"},
		{"an octal number", "gone: 010\n", `c.yaml:1:7: gone wants a whole number`},
		{"a path that is none", "policy: 7\n", "c.yaml:1:9: policy wants a path"},
		{"a path that is missing", "policy:\n", "c.yaml:1:8: policy wants a path"},
		{"no mapping", "- a\n", "c.yaml:1:1: a list of keys is wanted"},
		{"no YAML", "a: [\n", "c.yaml:1:1: no YAML: did not find expected node content"},
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
