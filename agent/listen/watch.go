package listen

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/portaudit/portaudit/registry"
)

// Change is a socket that began or ceased to listen, as the system told at that
// moment. What listens is for a snapshot to say; a change comes before it, and
// may be all that is ever known of a socket that lived for less than the time
// between two of them.
type Change struct {
	Opened    bool // else it closed
	Time      time.Time
	Transport registry.Transport
	Port      registry.Port
	// Socket tells one socket from another of the same transport, in both
	// changes of it. It is not that of another socket soon.
	Socket uint64
	// Asked says of a datagram socket whether its program asked to be bound, as
	// servers do; a client is given a port with its first message.
	Asked Answer

	record told
}

// Watcher waits for changes. Next is for one goroutine; others may call Lost,
// and Close, meanwhile.
type Watcher struct {
	text  string
	next  func() (Change, error)
	lost  func() uint64
	close func() error
}

// WatchOptions say what is watched.
type WatchOptions struct {
	// Ignored is a process whose openings are not told of, 0: none. A daemon that binds
	// every port to find hidden ones is one.
	Ignored int
}

// Watch begins to watch this host. Its error says what the system or this
// process lacks; it matches errors.ErrUnsupported where no such system can.
func Watch(o WatchOptions) (*Watcher, error) { return watch(o) }

// Next waits for the next change. It returns os.ErrClosed after Close.
func (w *Watcher) Next() (Change, error) { return w.next() }

// Send sends each change to changes until the watch or the context ends, and then
// closes changes. The error says why a watch ended that nobody ended.
func (w *Watcher) Send(ctx context.Context, changes chan<- Change) error {
	defer close(changes)
	for {
		c, err := w.Next()
		switch {
		case errors.Is(err, os.ErrClosed), ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
		select {
		case changes <- c:
		case <-ctx.Done():
			return nil
		}
	}
}

// Lost returns how many changes were lost so far because nobody waited for them.
func (w *Watcher) Lost() uint64 { return w.lost() }

// Text says what is watched and how, and what is not and why.
func (w *Watcher) Text() string { return w.text }

// Close ends the watch.
func (w *Watcher) Close() error { return w.close() }

// Admit makes a socket of a change that opened one, with everything that is
// known of it at this moment. ok is false where this Lister cannot tell of it.
func (l *Lister) Admit(c Change) (s Socket, ok bool) {
	if l.admit == nil || !c.Opened {
		return Socket{}, false
	}
	return l.admit(c)
}
