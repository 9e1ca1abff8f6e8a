package main

import (
	"context"
	"log/slog"
	"runtime"
	"time"

	"github.com/portaudit/portaudit/agent"
	"github.com/portaudit/portaudit/agent/audit"
)

// The log is tidied when a file of it was closed, every so often, for files become
// too old, and sooner where that failed.
const (
	tidyEvery = time.Hour
	tidyAgain = time.Minute
)

// lastTidy is how long the end of the program waits for that of tidy, on a disk
// that hangs. What is left behind is removed at the next start.
const lastTidy = 2 * time.Second

// tidy keeps the files of the log in dir in order beside the loop, which calls
// rotated and takes the notes of what is removed. It works in a thread of its own
// that gives way to all others. stop ends it.
func tidy(ctx context.Context, dir string, keep audit.Retention, logger *slog.Logger) (notes <-chan agent.Note, rotated, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	open, closed, done := make(chan agent.Note), make(chan struct{}, 1), make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // it ends with this function, so that nobody else has its priority
		if err := giveWay(); err != nil {
			logger.Debug("the log is compressed at the usual priority", "error", err)
		}
		for said := ""; ctx.Err() == nil; {
			next := tidyEvery
			err := audit.Tidy(ctx, dir, keep, func(e audit.Event) error { return note(ctx, open, e) })
			if err != nil {
				next = tidyAgain
			}
			if why := cause(err); why != said && ctx.Err() == nil {
				if said = why; err != nil {
					logger.Warn("the log is not tidied: it is tried again", "error", err)
				}
			}
			select {
			case <-ctx.Done():
			case <-closed:
			case <-time.After(next):
			}
		}
	}()
	rotated = func() {
		select {
		case closed <- struct{}{}:
		default: // it is called already
		}
	}
	stop = func() {
		cancel()
		select {
		case <-done:
		case <-time.After(lastTidy):
		}
	}
	return open, rotated, stop
}

// note has a record written to the log, and returns when it is on disk.
func note(ctx context.Context, notes chan<- agent.Note, e audit.Event) error {
	answer := make(chan error, 1)
	select {
	case notes <- agent.Note{Event: e, Done: answer}:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
