package main

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portaudit/portaudit/agent/alert"
)

// TestPublishTellsErrorsOnce: an error is told once, and again when it is another
// or when writing worked meanwhile.
func TestPublishTellsErrorsOnce(t *testing.T) {
	named := func(name string, err error) error { return &fs.PathError{Op: "open", Path: name, Err: err} }
	results := []error{
		named(".a.1.tmp", fs.ErrPermission), named(".a.1.tmp", fs.ErrPermission), errors.New("other"), errors.New("other"), nil, errors.New("other"),
	}
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		var written []uint64
		tell, stop := publish(func(m alert.Metrics) error {
			written = append(written, m.Records)
			return results[len(written)-1]
		}, slog.New(slog.NewTextHandler(&out, nil)))
		for i := range results {
			tell(alert.Metrics{Records: uint64(i)})
			synctest.Wait()
		}
		stop()
		if want := []uint64{0, 1, 2, 3, 4, 5}; !slices.Equal(written, want) {
			t.Errorf("written %v, want %v", written, want)
		}
		if n := strings.Count(out.String(), "metrics not written"); n != 3 {
			t.Errorf("told %d times, want 3:\n%s", n, out.String())
		}
	})
}

// TestPublishDoesNotWait: a disk that hangs holds up neither the loop nor its
// end, and the newest metrics are written when it is there again.
func TestPublishDoesNotWait(t *testing.T) {
	for _, comesBack := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			disk := make(chan struct{})
			var written []uint64
			tell, stop := publish(func(m alert.Metrics) error {
				<-disk
				written = append(written, m.Records)
				return nil
			}, slog.New(slog.DiscardHandler))
			began := time.Now()
			for i := range uint64(100) {
				tell(alert.Metrics{Records: i})
				if i == 0 {
					synctest.Wait() // it hangs now
				}
			}
			if took := time.Since(began); took != 0 {
				t.Errorf("telling took %v", took)
			}
			if comesBack {
				close(disk)
			}
			stop()
			if took := time.Since(began); comesBack && took != 0 || !comesBack && took != lastMetrics {
				t.Errorf("it comes back: %t; the end took %v", comesBack, took)
			}
			if !comesBack {
				close(disk)
			}
			synctest.Wait()
			if want := []uint64{0, 99}; !slices.Equal(written, want) {
				t.Errorf("written %v, want %v", written, want)
			}
		})
	}
}
