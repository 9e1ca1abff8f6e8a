package agent

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/agent/listen"
	"github.com/portaudit/portaudit/policy"
	"github.com/portaudit/portaudit/registry"
)

// TestRunEndsWhileItRecalls: a log of years without a state is read for a long time,
// in which a service manager may want the program to end.
func TestRunEndsWhileItRecalls(t *testing.T) {
	dir := t.TempDir()
	log, err := audit.Open(dir, audit.Options{Host: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if _, err := log.Append(audit.Event{Event: audit.PolicyLoaded, Message: "before"}); err != nil {
		t.Fatal(err)
	}
	before := log.Seq()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err = Run(ctx, Options{
		List:    func(context.Context) (listen.Snapshot, error) { t.Error("audited"); return listen.Snapshot{}, nil },
		Catalog: &registry.Catalog{}, Policy: &policy.Policy{}, Log: log, LogDir: dir, StateDir: t.TempDir(),
		Logger: slog.New(slog.DiscardHandler), Interval: time.Second, Limits: Limits{Confirm: 2, Gone: 3},
	})
	if err != nil || log.Seq() != before {
		t.Errorf("%v, and %d records more: a start that is not over says nothing", err, log.Seq()-before)
	}
}
