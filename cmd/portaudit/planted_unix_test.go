//go:build unix

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/portaudit/portaudit/agent/audit"
)

// TestPlantedLog holds that a log which somebody has prepared for root to look at
// sends nothing raw to a terminal.
func TestPlantedLog(t *testing.T) {
	const evil = `\u001b[31m\u202e\u009b2J`
	dir := t.TempDir()
	text := strings.NewReplacer("EVIL", evil, "PREV", strings.Repeat("0", 64)).Replace(
		`{"schema":1,"seq":1,"time":"2026-11-28T10:00:00Z","event":"agent.started","host":"EVIL","boot":"EVIL","prev":"PREV",` +
			`"message":"EVIL","errors":["EVIL"],"program":"EVIL","policy":{"source":"EVIL","sha256":"EVIL"}}` + "\n")
	sum, err := audit.Verify(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for i, kind := range []string{"audit.failed", "coverage.changed", "listener.opened"} {
		line := strings.NewReplacer("EVIL", evil, "KIND", kind, "PREV", sum.Hash, "SEQ", fmt.Sprint(i+2)).Replace(
			`{"schema":1,"seq":SEQ,"time":"2026-11-28T10:00:01Z","event":"KIND","host":"EVIL","boot":"EVIL","prev":"PREV","message":"EVIL",` +
				`"listener":"EVIL","transport":"tcp","address":"EVIL","port":80,"namespace":"EVIL","verdict":"EVIL","rule":"EVIL",` +
				`"owners":[{"pid":1,"started":null,"executable":"EVIL","deleted":null,"command":"EVIL","user":"EVIL","uid":0,"how":"EVIL"}],` +
				`"coverage":{"complete":false,"sources":["EVIL"],"gaps":[{"source":"EVIL","reason":"EVIL","hides":"EVIL","fix":"EVIL"}],"notes":[{"source":"EVIL","text":"EVIL"}]},"errors":["EVIL"]}` + "\n")
		text += line
		if sum, err = audit.Verify(strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range map[string]string{"audit.jsonl": text, audit.CheckpointName: "\x1b[31m\n\n— \x1b[31m\n", audit.KeyName: "\x1b[31m\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, command := range []string{"status", "policy replay", "log show", "log stats", "log history 80/tcp", "log verify", "log key", "log checkpoint"} {
		c := newRoot()
		var out bytes.Buffer
		c.SetOut(&out)
		c.SetErr(&out)
		args := append(strings.Fields(command), "--log-dir", dir)
		if command == "status" {
			args = append(args, "--state-dir", dir)
		}
		c.SetArgs(args)
		if err := c.Execute(); err != nil {
			out.WriteString(visibleLines(err.Error())) // as main tells it
		}
		if strings.ContainsAny(out.String(), "\x1b\u202e\u009b") {
			t.Errorf("%s: %q", command, out.String())
		}
	}
}

// TestPlantedPipe holds that a pipe in the place of a key is not waited for.
func TestPlantedPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), audit.KeyName)
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readBeside(path); err == nil {
		t.Error("it was read")
	}
}
