package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/portaudit/portaudit/agent"
	"github.com/portaudit/portaudit/agent/listen"
)

// realtimeModes are the values of --realtime: watch if this host allows it, do
// not start if it does not, do not watch.
var realtimeModes = []string{"auto", "on", "off"}

func checkRealtime(mode string) error {
	if !slices.Contains(realtimeModes, mode) {
		return fmt.Errorf("%q is no way to hear of listeners: use %s", mode, strings.Join(realtimeModes, ", "))
	}
	return nil
}

// maxWaiting is how many changes may wait for the agent beside those that wait
// in the kernel's buffer: it may be writing an audit of ten thousand listeners.
const maxWaiting = 4096

// watch lets the system tell of listeners between audits, as the mode says. stop
// ends that; it is never nil.
func watch(ctx context.Context, mode string, sockets *listen.Lister) (r agent.Realtime, stop func() error, err error) {
	nothing := func() error { return nil }
	if mode == "off" {
		return agent.Realtime{Text: "off, as asked for: what opens and closes between two audits is not seen"}, nothing, nil
	}
	w, err := listen.Watch(listen.WatchOptions{Ignored: os.Getpid()})
	switch {
	case err != nil && mode == "on":
		return r, nothing, fmt.Errorf("realtime is on: %w", err)
	case err != nil && sockets.CanPeek():
		return agent.Realtime{
			Peek: sockets.Peek,
			Text: "the tables of TCP and UDP are looked at every second, and what opens and closes in between is not seen: " + err.Error(),
		}, nothing, nil
	case err != nil:
		return agent.Realtime{Text: "audits are all there is, and what opens and closes between two of them is not seen: " + err.Error()}, nothing, nil
	}
	changes := make(chan listen.Change, maxWaiting)
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	go func() { ended <- w.Send(ctx, changes) }() // ends when the watcher is closed, or the context is done
	stop = func() error {
		cancel() // it may wait for somebody to take a change, and nobody does any more
		return errors.Join(w.Close(), <-ended)
	}
	r = agent.Realtime{Changes: changes, Admit: sockets.Admit, Lost: w.Lost, Text: w.Text()}
	if sockets.CanPeek() {
		r.Peek = sockets.Peek
	}
	return r, stop, nil
}
