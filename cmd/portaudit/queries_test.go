package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
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
