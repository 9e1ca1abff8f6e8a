package main

import (
	"errors"
	"log/slog"
	"syscall"
	"time"

	"github.com/portaudit/portaudit/agent/alert"
)

// metricsExt is the end of the names that node-exporter reads.
const metricsExt = ".prom"

// lastMetrics is how long an agent that ends waits for its last metrics.
const lastMetrics = 2 * time.Second

// publish returns what writes metrics beside the loop that tells them:
// a disk that hangs holds up no audit, and of what is told meanwhile the newest is
// written. An error is told when it is another than the one before. stop ends it
// with what was told last.
func publish(write func(alert.Metrics) error, logger *slog.Logger) (tell func(alert.Metrics), stop func()) {
	latest, done := make(chan alert.Metrics, 1), make(chan struct{})
	go func() {
		defer close(done)
		said := ""
		for m := range latest {
			err := write(m)
			if why := cause(err); why != said {
				if said = why; err != nil {
					logger.Warn("metrics not written: it is tried again", "error", err)
				}
			}
		}
	}()
	tell = func(m alert.Metrics) {
		select {
		case <-latest: // older, and not taken yet
		default:
		}
		latest <- m // there is room: nobody else sends
	}
	stop = func() {
		close(latest)
		select {
		case <-done:
		case <-time.After(lastMetrics):
		}
	}
	return tell, stop
}

// cause returns what tells one error of writing a file from another, "" for none:
// the text names a file that is another one each time.
func cause(err error) string {
	if errno := syscall.Errno(0); errors.As(err, &errno) {
		return errno.Error()
	}
	if err != nil {
		return err.Error()
	}
	return ""
}
