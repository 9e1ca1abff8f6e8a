package listen

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Way is how the owners of sockets are found.
type Way uint8

// The ways, the fastest first.
const (
	Auto     Way = iota // the fastest that this kernel and these privileges allow
	BPF                 // Linux: a BPF iterator walks every descriptor in the kernel
	Proc                // Linux: /proc/PID/fd
	Gopsutil            // github.com/shirou/gopsutil/v3, on every system
	wayCount = iota
)

var wayNames = [wayCount]string{"auto", "bpf", "proc", "gopsutil"}

// String returns the word used on the command line.
func (w Way) String() string {
	if int(w) >= len(wayNames) {
		return fmt.Sprintf("Way(%d)", uint8(w))
	}
	return wayNames[w]
}

// ParseWay reads the word for a way.
func ParseWay(s string) (Way, error) {
	if i := slices.Index(wayNames[:], s); i >= 0 {
		return Way(i), nil
	}
	return Auto, fmt.Errorf("%q is no way to find owners: use %s", s, strings.Join(wayNames[:], ", "))
}

// Options say how to enumerate. The zero value is for a daemon.
type Options struct {
	Way Way
	// Once says that one enumeration is all that will be asked for: a way that
	// costs more to set up than it saves is not chosen.
	Once bool
	// Beat is the longest time between two looks at everything: what no look
	// in between can notice, such as a descriptor that was passed on to another
	// process, is seen at the next beat. 0 is DefaultBeat.
	Beat time.Duration
	// MaxDigest is the size in bytes above which an executable is not hashed;
	// 0 is DefaultMaxDigest, less than 0 hashes none.
	MaxDigest int64
}

// Defaults of Options.
const (
	DefaultBeat      = time.Minute
	DefaultMaxDigest = 64 << 20
)

// Lister enumerates again and again and remembers what does not change in
// between. It is not safe for concurrent use.
type Lister struct {
	list  func(context.Context) (Snapshot, error)
	cross func(context.Context, CrossOptions) (CrossReport, error) // nil: this way has one view only
	admit func(Change) (Socket, bool)                              // nil: this way tells of snapshots alone
	peek  func(context.Context) (bool, error)                      // nil: there is nothing cheaper than to enumerate
	close func() error
}

// Open prepares to enumerate the sockets of this host. An error means that o
// asks for a way that this host does not have; Auto finds one on each.
func Open(o Options) (*Lister, error) {
	if o.Beat == 0 {
		o.Beat = DefaultBeat
	}
	if o.MaxDigest == 0 {
		o.MaxDigest = DefaultMaxDigest
	}
	if o.Way == Gopsutil {
		return &Lister{list: Portable, cross: crossCheckAlone(o), close: func() error { return nil }}, nil
	}
	return open(o)
}

// List enumerates the listening sockets of this host with their owners. An
// error means that there is no snapshot at all; whatever else could not be seen
// is in the snapshot's coverage.
func (l *Lister) List(ctx context.Context) (Snapshot, error) { return l.list(ctx) }

// CrossCheck compares what the system tells of its sockets in different ways.
// It returns an error where there is but one.
func (l *Lister) CrossCheck(ctx context.Context, o CrossOptions) (CrossReport, error) {
	if l.cross == nil {
		return CrossReport{}, errOneView
	}
	return l.cross(ctx, o)
}

// Peek reports whether something listens that the last enumeration did not see.
// It costs less than that, and sees less: an error, or false, says nothing of what
// an enumeration would find.
func (l *Lister) Peek(ctx context.Context) (bool, error) {
	if l.peek == nil {
		return false, errNoPeek
	}
	return l.peek(ctx)
}

// CanPeek reports whether Peek ever tells anything.
func (l *Lister) CanPeek() bool { return l.peek != nil }

var errNoPeek = errors.New("nothing is cheaper here than to enumerate")

var errOneView = errors.New("sockets show in one way only on this system, or with this source: there is nothing to compare")

// Close gives back what Open and List took from the system.
func (l *Lister) Close() error { return l.close() }

// List enumerates once.
func List(ctx context.Context) (Snapshot, error) {
	l, err := Open(Options{Once: true})
	if err != nil {
		return Snapshot{}, err
	}
	s, err := l.List(ctx)
	if closeErr := l.Close(); err == nil && closeErr != nil {
		return Snapshot{}, fmt.Errorf("close the sources: %w", closeErr)
	}
	return s, err
}
