package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/agent/listen"
)

// fullDisk is the log directory of a host on a disk of 1 MB, which fill fills and
// free frees.
type fullDisk struct {
	t    *testing.T
	dir  string
	file string
}

func newFullDisk(t *testing.T) fullDisk {
	t.Helper()
	if os.Getenv("PORTAUDIT_TEST_ROOT") == "" || os.Geteuid() != 0 {
		t.Skip("mounts a tmpfs: needs root and PORTAUDIT_TEST_ROOT=1")
	}
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	if err := os.Mkdir(log, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", log, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(log, 0); err != nil {
			t.Error(err)
		}
	})
	return fullDisk{t, dir, filepath.Join(log, "filler")}
}

// fill leaves no more than the rest of the last page of the active file, which takes
// some records of the nine findings to come.
func (d fullDisk) fill() {
	d.t.Helper()
	for size := 1 << 20; size > 0; size /= 2 {
		f, err := os.OpenFile(d.file, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
		if err != nil {
			d.t.Fatal(err)
		}
		if _, err := f.Write(make([]byte, size)); err != nil && !errors.Is(err, syscall.ENOSPC) {
			d.t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			d.t.Fatal(err)
		}
	}
}

func (d fullDisk) free() {
	if err := os.Remove(d.file); err != nil {
		d.t.Error(err)
	}
}

// TestRunOnFullDisk fills the disk in the tenth second, in which eight listeners
// appear, and frees it in the thirtieth, if there is one.
func TestRunOnFullDisk(t *testing.T) {
	tests := []struct {
		unlogged Unlogged
		audits   bool // while the disk is full
		ahead    bool // alerts tell of findings that the log does not have
		ends     bool
	}{
		{unlogged: Suspend},
		{unlogged: Alert, audits: true, ahead: true},
		{unlogged: Exit, ends: true},
	}
	for _, tt := range tests {
		t.Run(tt.unlogged.String(), func(t *testing.T) {
			disk := newFullDisk(t)
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				var audits, early int // in the time in which the disk is full
				told := map[string]int{}
				h := &host{snapshot: listening(8080)}
				second := func() int { return int(time.Since(began) / time.Second) }
				options := func(o *Options) {
					o.Unlogged = tt.unlogged
					o.List = func(ctx context.Context) (listen.Snapshot, error) {
						switch s := second(); {
						case s == 10:
							disk.fill()
							h.snapshot = listening(8080, 1, 2, 3, 4, 5, 6, 7, 8)
						case s >= 14 && s < 29:
							audits++
						}
						return h.list(ctx)
					}
					o.Alerts = func(events ...audit.Event) {
						for _, e := range events {
							if e.Event != audit.FindingRaised {
								continue
							}
							told[e.ID]++
							if e.Seq == 0 {
								early++
							}
						}
					}
				}
				state := func() []byte {
					b, err := os.ReadFile(filepath.Join(disk.dir, "state", stateFile))
					if err != nil {
						t.Error(err)
					}
					return b
				}
				time.AfterFunc(20*time.Second, func() {
					saved := state()
					time.Sleep(9500 * time.Millisecond)
					if !slices.Equal(saved, state()) {
						t.Error("the state was saved, and the log did not hold what it tells")
					}
					disk.free()
				})
				err := runOn(t, disk.dir, h, options)
				if tt.ends {
					if !errors.Is(err, audit.ErrDegraded) || !errors.Is(err, syscall.ENOSPC) || second() > 12 {
						t.Errorf("Run returned %v after %d seconds", err, second())
					}
					time.Sleep(time.Minute) // until the disk is free
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if (audits > 0) != tt.audits || (early > 0) != tt.ahead {
					t.Errorf("%d audits on the full disk, and %d alerts that did not wait for the log", audits, early)
				}
				checkTold(t, disk.dir, told)
			})
		})
	}
}

// runOn is runFor of a minute, with the error of Run.
func runOn(t *testing.T, dir string, h *host, change func(*Options)) error {
	t.Helper()
	o := optionsOf(t, dir, h, mustPolicy(t, alertAll))
	change(&o)
	defer o.Log.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return Run(ctx, o)
}

// checkTold checks that the log has each finding once, as alerts do, and says once
// that it could not be written.
func checkTold(t *testing.T, dir string, told map[string]int) {
	t.Helper()
	count := map[string]int{}
	for e, err := range audit.ReadFrom(filepath.Join(dir, "log"), 0) {
		if err != nil {
			t.Fatal(err)
		}
		count[e.Event]++
		if e.Event == audit.FindingRaised && told[e.ID] != 1 {
			t.Errorf("finding %s was told %d times", e.ID, told[e.ID])
		}
		if e.Event == audit.LogRestored && (e.Lost == nil || *e.Lost != 0) {
			t.Errorf("lost %v", e.Lost)
		}
	}
	if count[audit.FindingRaised] != 9 || len(told) != 9 || count[audit.LogDegraded] != 1 || count[audit.LogRestored] != 1 || count[audit.AgentStopped] != 1 {
		t.Errorf("the log has %v, and %d findings were told", count, len(told))
	}
}
