package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
)

// TestQueriesPage makes each output of docs/queries.md again, from the log in
// testdata/queries.
func TestQueriesPage(t *testing.T) {
	zone := time.Local
	time.Local = time.UTC // the page is written there
	t.Cleanup(func() { time.Local = zone })
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "queries.md"))
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join("testdata", "queries")
	tried := map[string]bool{}
	for _, block := range strings.Split(strings.ReplaceAll(string(page), "\r\n", "\n"), "```console\n$ sudo portaudit ")[1:] {
		block, _, _ = strings.Cut(block, "```")
		command, want, _ := strings.Cut(block, "\n")
		var args []string
		for _, m := range regexp.MustCompile(`"([^"]*)"|'([^']*)'|(\S+)`).FindAllStringSubmatch(command, -1) {
			args = append(args, m[1]+m[2]+m[3])
		}
		got := bytes.ReplaceAll(printed(t, append(args, "--log-dir", dir)...), []byte(dir), []byte("/var/log/portaudit"))
		if string(got) != want {
			t.Errorf("%s prints\n%s\nand the page has\n%s", command, got, want)
		}
		tried[args[1]] = true
	}
	for _, command := range []string{"show", "at", "history", "stats"} {
		if !tried[command] {
			t.Errorf("the page has no output of log %s", command)
		}
	}
}

// TestQueryDocuments holds what the questions print as JSON to their schemas.
func TestQueryDocuments(t *testing.T) {
	dir := filepath.Join("testdata", "queries")
	for name, args := range map[string][]string{
		"at":      {"log", "at", "2026-11-20T14:00:00Z"},
		"history": {"log", "history", "8080/tcp"},
		"stats":   {"log", "stats"},
	} {
		contractOf(t, name).holds(t, printed(t, append(args, "--json", "--log-dir", dir)...))
	}
	for line := range bytes.Lines(printed(t, "log", "show", "--json", "--log-dir", dir)) {
		contractOf(t, "event").holds(t, line)
	}
	whole, err := os.ReadFile(filepath.Join(dir, "audit.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	if got := printed(t, "log", "show", "--json", "--log-dir", dir); !bytes.Equal(got, whole) {
		t.Error("the records are not printed as they stand in the log")
	}
}

// TestQueryTorn: a record that is just being written is none yet, for any question.
func TestQueryTorn(t *testing.T) {
	whole, err := os.ReadFile(filepath.Join("testdata", "queries", "audit.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	torn := filepath.Dir(file(t, "audit.jsonl", string(whole[:len(whole)-100])))
	for _, args := range [][]string{{"show"}, {"show", "-n", "3"}, {"at", "2026-11-21T11:00:00Z"}, {"history", "443"}, {"stats"}} {
		got := printed(t, append(append([]string{"log"}, args...), "--log-dir", torn)...)
		if len(got) == 0 || bytes.Contains(got, []byte("32018")) { // the pid in the last record
			t.Errorf("log %v tells of a record without an end:\n%s", args, got)
		}
	}
}

// TestQueryEnd holds what a question ends with, by what its reading failed with.
func TestQueryEnd(t *testing.T) {
	for _, tt := range []struct {
		err  error
		code int
		want string
	}{
		{nil, exitOK, ""},
		{fmt.Errorf("audit log: %w", &fs.PathError{Op: "open", Path: "log", Err: fs.ErrPermission}), exitFailed, "run as root, or name a directory of your own with --log-dir"},
		{fmt.Errorf("audit log: %w", fs.ErrNotExist), exitFailed, "\"portaudit run\" writes one"},
		{fmt.Errorf("audit log x: %w", &audit.DamageError{Seq: 7, Err: errors.New("changed")}), exitFindings, "record 7: changed (at byte 0): what stands before it is told"},
		{errInterrupted, exitFailed, "interrupted"},
	} {
		err := new(query).end(tt.err)
		var code exitError
		if (err == nil) != (tt.err == nil) || err != nil && (!errors.As(err, &code) || code.code != tt.code || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%v ends with %v, want exit code %d and %q", tt.err, err, tt.code, tt.want)
		}
	}
}

// TestFollow holds what is shown of records that others write, over a rotation, and
// that an interruption ends it in peace.
func TestFollow(t *testing.T) {
	dir := t.TempDir()
	w := &chainWriter{t: t, dir: dir, segment: 1 << 20}
	add := func(port uint32) {
		w.add(audit.Event{Event: audit.ListenerOpened, Time: time.Now(), Message: fmt.Sprintf("port %d", port), Port: port})
		if err := w.out.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	for port := range uint32(12) {
		add(port + 1)
	}
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	var out follower
	c := newRoot()
	c.SetOut(&out)
	c.SetArgs([]string{"log", "follow", "--port", "1-20", "--log-dir", dir, "--config", file(t, "none.yaml", "")})
	ended := make(chan error, 1)
	go func() { ended <- c.ExecuteContext(ctx) }() // ends with ctx
	out.waitFor(t, "port 12")
	add(13)
	out.waitFor(t, "port 13")
	w.segment = 1 // the next one is in another file
	add(14)
	add(30) // nobody asked for it
	add(15)
	out.waitFor(t, "port 15")
	interrupt()
	if err := <-ended; err != nil {
		t.Errorf("interrupted, it ends with %v", err)
	}
	w.close()
	var got []string
	for line := range strings.Lines(out.text()) {
		if _, port, ok := strings.Cut(line, "  port "); ok {
			got = append(got, strings.TrimSpace(port))
		}
	}
	if want := "3 4 5 6 7 8 9 10 11 12 13 14 15"; strings.Join(got, " ") != want {
		t.Errorf("it shows the ports %v, want %s", got, want)
	}
}

// follower is what a command prints while it runs.
type follower struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (f *follower) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.b.Write(b)
}

func (f *follower) text() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.b.String()
}

func (f *follower) waitFor(t *testing.T, text string) {
	t.Helper()
	for deadline := time.Now().Add(patience); !strings.Contains(f.text(), text+"\n"); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%q is not printed after %v, but\n%s", text, patience, f.text())
		}
	}
}
