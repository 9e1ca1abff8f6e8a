package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"time"
)

// life is a writer process and its ledger.
type life struct {
	number int
	book   *ledger
	cmd    *exec.Cmd
	said   safeBuffer    // on standard error
	ended  chan struct{} // closed when it has ended
	wait   error         // how, then
}

// start starts a writer on dir, under the command before it, if there is one.
func (l *lab) start(number int, dir string, under []string, flags ...string) (*life, error) {
	book, f, err := newLedger()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	args := append(append([]string{}, under...), l.exe, "writer", "-dir", dir, "-life", fmt.Sprint(number))
	args = append(args, flags...)
	w := &life{number: number, book: book}
	w.cmd = exec.Command(args[0], args[1:]...)
	w.cmd.ExtraFiles = []*os.File{f}
	w.cmd.Stderr = &w.said
	tie(w.cmd)
	if err := w.cmd.Start(); err != nil {
		return nil, errors.Join(err, book.unmap())
	}
	w.ended = make(chan struct{})
	go func() { // ends with the writer, which end kills
		w.wait = w.cmd.Wait()
		close(w.ended)
	}()
	return w, nil
}

// awaitOpen waits until the writer has opened its log, or for at most two minutes.
func (w *life) awaitOpen(ctx context.Context) error {
	for start := time.Now(); !w.book.opened.Load(); time.Sleep(100 * time.Microsecond) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Since(start) > 2*time.Minute {
			return fmt.Errorf("writer %d did not open the log in 2 minutes: %s", w.number, w.said.String())
		}
	}
	return nil
}

// end kills the writer, if it runs, and returns what its ledger says.
func (w *life) end() (page, error) {
	err := kill(w.cmd)
	<-w.ended
	if w.wait == nil || w.said.String() != "" {
		err = errors.Join(err, fmt.Errorf("writer %d ended by itself: %v: %s", w.number, w.wait, w.said.String()))
	}
	p := w.book.read()
	return p, errors.Join(err, w.book.unmap())
}

// finish waits until the writer has written what it should or has ended. It
// returns an error if it did neither, or ended as the fault does not explain.
func (w *life) finish(ctx context.Context, fl *fault) error {
	for timeout := time.After(3 * time.Minute); ; {
		select {
		case <-w.ended:
			return w.fate(fl)
		case <-ctx.Done():
			return ctx.Err()
		case <-timeout:
			return fmt.Errorf("the writer hangs: %s", w.said.String())
		case <-time.After(time.Millisecond):
			if w.book.done.Load() {
				return nil
			}
		}
	}
}

// fate judges how a writer ended by itself.
func (w *life) fate(fl *fault) error {
	var exit *exec.ExitError
	status := 0
	if errors.As(w.wait, &exit) {
		status = exit.ExitCode()
	}
	switch {
	case fl != nil && fl.dead && status == -1: // a signal, which strace passes on to itself
		return nil
	case fl != nil && status == 1:
		return nil // it gave up, and said so
	default:
		return fmt.Errorf("the writer ended: %v: %s", w.wait, w.said.String())
	}
}

// safeBuffer is a buffer that is read while it is written.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
