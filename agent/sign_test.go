package agent

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/agent/listen"
)

// signing lets the agent sign its log, and collects the alerts.
func signing(t *testing.T, dir string, after uint64, every time.Duration, alerts *[]audit.Event) func(*Options) {
	return func(o *Options) {
		signer, err := audit.OpenSigner(dir, o.LogDir, "test")
		if err != nil {
			t.Fatal(err)
		}
		log := o.Log
		o.Sign = func() ([]audit.Event, error) { return log.Checkpoint(signer) }
		o.SignAfter, o.SignEvery = after, every
		o.Alerts = func(events ...audit.Event) { *alerts = append(*alerts, events...) }
	}
}

// TestSign holds when the log is signed: at the start, when there is something new
// after so many records or so long, and at the end; and that each checkpoint is
// handed to the outputs, once.
func TestSign(t *testing.T) {
	for _, test := range []struct {
		why   string
		after uint64
		every time.Duration
		want  string // kinds in the log, c is a checkpoint
	}{
		{"by time, once there is something new", 1000, time.Minute, "segment started loaded c opened opened opened opened c closed closed closed closed c stopped c"},
		{"by number", 3, time.Hour, "segment started loaded c opened opened opened opened c closed closed closed closed c stopped c"},
		{"at the start and the end alone", 1000, time.Hour, "segment started loaded c opened opened opened opened closed closed closed closed stopped c"},
	} {
		t.Run(test.why, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir, h := t.TempDir(), &host{}
				var alerts []audit.Event
				sign := signing(t, dir, test.after, test.every, &alerts)
				began := time.Now()
				runFor(t, dir, h, mustPolicy(t, allowAll), 5*time.Minute, func(o *Options) {
					sign(o)
					o.List = func(ctx context.Context) (listen.Snapshot, error) {
						switch at := time.Since(began); {
						case at >= 150*time.Second:
							h.snapshot = listening()
						case at >= 90*time.Second:
							h.snapshot = listening(1, 2, 3, 4)
						}
						return h.list(ctx)
					}
				})
				var got, signed []string
				for e, err := range audit.ReadFrom(filepath.Join(dir, "log"), 0) {
					if err != nil {
						t.Fatal(err)
					}
					_, word, _ := strings.Cut(e.Event, ".")
					if e.Event == audit.LogCheckpoint {
						word = "c"
						signed = append(signed, e.Checkpoint)
					}
					if e.Event != audit.CoverageChanged {
						got = append(got, word)
					}
				}
				if strings.Join(got, " ") != test.want {
					t.Errorf("the log holds\n%v, want\n%s", got, test.want)
				}
				alerts = slices.DeleteFunc(alerts, func(e audit.Event) bool { return e.Event != audit.LogCheckpoint })
				if len(alerts) != len(signed) {
					t.Fatalf("%d checkpoints were handed on, want %d", len(alerts), len(signed))
				}
				for i, e := range alerts {
					if e.Checkpoint != signed[i] || e.Seq == 0 {
						t.Errorf("handed on: %+v, want\n%s", e, signed[i])
					}
				}
				if v, err := audit.VerifyLog(filepath.Join(dir, "log"), audit.VerifyOptions{}); err != nil || v.Covered != v.Last {
					t.Errorf("%+v, %v", v, err)
				}
			})
		})
	}
}

// TestSignFails holds that a log that cannot be signed is written all the same, and
// that this is told and not tried at each record.
func TestSignFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, h := t.TempDir(), &host{snapshot: listening(1, 2, 3)}
		var out bytes.Buffer
		tried := 0
		runFor(t, dir, h, mustPolicy(t, alertAll), time.Minute, func(o *Options) {
			o.Sign = func() ([]audit.Event, error) { tried++; return nil, errors.New("the key is gone") }
			o.SignAfter, o.SignEvery = 4, time.Hour
			o.Logger = slog.New(slog.NewTextHandler(&out, nil))
		})
		if n := strings.Count(out.String(), "the key is gone"); n != tried || tried < 2 || tried > 4 {
			t.Errorf("tried %d times, told %d times:\n%s", tried, n, out.String())
		}
		if got := logged(t, dir); !slices.Contains(got, "finding.raised all") || got[len(got)-1] != audit.AgentStopped {
			t.Errorf("the log holds %v", got)
		}
	})
}

// TestSignDamaged holds that a start that finds the log cut off records that once,
// and alerts, and that the next start does so again.
func TestSignDamaged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, h := t.TempDir(), &host{snapshot: listening(1)}
		var alerts []audit.Event
		runs := func(o *Options) { signing(t, dir, 3, time.Minute, &alerts)(o) }
		runFor(t, dir, h, mustPolicy(t, alertAll), time.Minute, runs)
		path := filepath.Join(dir, "log", "audit.jsonl")
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		lines := bytes.SplitAfter(raw, []byte("\n"))
		if err := os.WriteFile(path, bytes.Join(lines[:len(lines)-3], nil), 0o600); err != nil {
			t.Fatal(err)
		}
		for n := range 2 {
			alerts = nil
			runFor(t, dir, h, mustPolicy(t, alertAll), 5*time.Minute, runs)
			var told []audit.Event
			for _, e := range alerts {
				if e.Event == audit.LogDamaged || e.Event == audit.LogCheckpoint {
					told = append(told, e)
				}
			}
			if len(told) != 1 || told[0].Event != audit.LogDamaged || told[0].Seq == 0 || len(told[0].Errors) != 1 {
				t.Errorf("start %d: alerts are %+v", n+1, told)
			}
		}
	})
}
