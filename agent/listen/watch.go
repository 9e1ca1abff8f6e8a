package listen

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/portaudit/portaudit/agent/listen/trace"
	"github.com/portaudit/portaudit/registry"
)

// Change is a socket that began or ceased to listen, as the kernel told at that
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

	record trace.Record
}

// Watcher waits for changes. Next is for one goroutine; others may call Lost,
// and Close, meanwhile.
type Watcher struct {
	tracer *trace.Tracer
	boot   time.Time
}

// WatchOptions say what is watched.
type WatchOptions struct {
	// Ignored is a process that is not told of, 0: none. A daemon that binds
	// every port to find hidden ones is one.
	Ignored int
}

// Watch begins to watch this host. Its error says what the system or this
// process lacks; it matches errors.ErrUnsupported where no such system can.
func Watch(o WatchOptions) (*Watcher, error) { return watch(o) }

// Next waits for the next change. It returns os.ErrClosed after Close.
func (w *Watcher) Next() (Change, error) {
	var c Change
	if err := w.tracer.Read(&c.record); err != nil {
		return Change{}, err
	}
	r := &c.record
	c.Opened, c.Time, c.Port = r.Kind == trace.Opened, w.boot.Add(r.Time), registry.Port(r.Local.Port())
	c.Transport, c.Socket = transportOf(r.Protocol), r.Cookie
	if c.Transport == registry.TCP { // a cookie is given to one when somebody asks for it
		c.Socket = r.Inode
	}
	return c, nil
}

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

// transportOf returns the transport of an IP protocol, of those that are traced.
func transportOf(protocol uint16) registry.Transport {
	switch protocol {
	case 17:
		return registry.UDP
	case 136:
		return registry.UDPLite
	}
	return registry.TCP
}

// Lost returns how many changes were lost so far because nobody waited for them.
func (w *Watcher) Lost() uint64 { return w.tracer.Lost() }

// Missing says what is not watched and why, "" if nothing: TCP always is.
func (w *Watcher) Missing() string {
	if err := w.tracer.UDP(); err != nil {
		return err.Error()
	}
	return ""
}

// Close ends the watch.
func (w *Watcher) Close() error { return w.tracer.Close() }

// Admit makes a socket of a change that opened one, with everything that is
// known of it at this moment. ok is false where this Lister cannot tell of it.
func (l *Lister) Admit(c Change) (s Socket, ok bool) {
	if l.admit == nil || !c.Opened {
		return Socket{}, false
	}
	return l.admit(c)
}
