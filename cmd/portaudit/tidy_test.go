package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/portaudit/portaudit/agent"
	"github.com/portaudit/portaudit/agent/audit"
)

// TestTidy holds that closed files are compressed beside a log that is open, and
// that the oldest are removed when a record says so and not before.
func TestTidy(t *testing.T) {
	dir := t.TempDir()
	log, err := audit.Open(dir, audit.Options{Host: "h", Boot: "b", MaxSize: 4 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	for range 10 {
		if _, err := log.Append(audit.Event{Event: audit.PolicyLoaded, Message: strings.Repeat("m", 3<<10)}); err != nil {
			t.Fatal(err)
		}
	}
	closed := func(pattern string) []string {
		names, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	before := len(closed("audit-*.jsonl"))
	if before < 5 {
		t.Fatalf("%d files are closed", before)
	}
	notes, rotated, stop := tidy(t.Context(), dir, audit.Retention{Count: 3}, slog.New(slog.DiscardHandler))
	defer stop()
	n := <-notes
	if all := closed("audit-*.jsonl*"); len(all) != before {
		t.Errorf("before that is recorded, there are %q", all)
	}
	// The record of what is removed may begin a file itself, and then there is more.
	var removed []string
	done := func() bool { return len(closed("audit-*.jsonl*")) == 3 && len(closed("audit-*.jsonl.gz")) == 3 }
	for deadline := time.After(patience); !done(); {
		if n.Done != nil {
			if _, err := log.Append(n.Event); err != nil {
				t.Fatal(err)
			}
			removed = append(removed, n.Event.Removed...)
			rotated()
			n.Done <- nil
			n = agent.Note{}
		}
		select {
		case n = <-notes:
		case <-time.After(time.Millisecond):
		case <-deadline:
			t.Fatalf("there are %q, and removed are %q", closed("audit-*.jsonl*"), removed)
		}
	}
	if len(removed) < before-3 {
		t.Errorf("removed are %q", removed)
	}
	for _, name := range removed {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			t.Errorf("%s is not removed", name)
		}
	}
	for range 2 {
		if _, err := log.Append(audit.Event{Event: audit.PolicyLoaded, Message: strings.Repeat("m", 3<<10)}); err != nil {
			t.Fatal(err)
		}
	}
	rotated()
	rotated() // once more while it works
	select {
	case <-notes:
	case <-time.After(patience):
		t.Error("a file that was closed is left alone")
	}
}
