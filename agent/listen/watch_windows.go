package listen

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/windows"

	"github.com/portaudit/portaudit/agent/listen/iphelper"
	"github.com/portaudit/portaudit/agent/listen/securitylog"
	"github.com/portaudit/portaudit/registry"
)

// lookEvery is the time between two looks at the tables.
const lookEvery = time.Second

// told is what the system tells of a change.
type told = rowChange

// tableWatcher looks at the tables every second, and hears of the events of the
// Security log in between.
type tableWatcher struct {
	ignored uint32
	tables  iphelper.Reader
	polled  polled
	log     *securitylog.Subscription // nil: it may not be read
	stop    windows.Handle
	due     time.Time // of the next look

	waits sync.Mutex // held while next works: what it waits for is not closed
	ended bool

	rows    []iphelper.Row      // reused
	events  []securitylog.Event // reused
	waiting []rowChange         // to be told
	given   int                 // of those
}

func watch(o WatchOptions) (*Watcher, error) {
	w := &tableWatcher{ignored: uint32(o.Ignored)}
	if err := w.look(time.Now()); err != nil {
		return nil, err
	}
	stop, err := windows.CreateEvent(nil, 1, 0, nil)
	if err != nil {
		return nil, os.NewSyscallError("CreateEvent", err)
	}
	w.stop = stop
	text := "TCP and UDP, by looking at their tables every second"
	if w.log, err = securitylog.Subscribe(); err != nil {
		w.log = nil
		text += "; not by events: " + err.Error()
	} else {
		text += ", and by events of the Security log where Filtering Platform Connection is audited"
	}
	return &Watcher{text: text, next: w.next, lost: func() uint64 { return 0 }, close: w.close}, nil
}

// close ends next, which may be waiting, and gives up what it waits for.
func (w *tableWatcher) close() error {
	if err := windows.SetEvent(w.stop); err != nil {
		return os.NewSyscallError("SetEvent", err)
	}
	w.waits.Lock()
	defer w.waits.Unlock()
	w.ended = true
	err := os.NewSyscallError("CloseHandle", windows.CloseHandle(w.stop))
	if w.log != nil {
		err = errors.Join(err, w.log.Close())
	}
	return err
}

// next waits for the next change.
func (w *tableWatcher) next() (Change, error) {
	w.waits.Lock()
	defer w.waits.Unlock()
	for w.given == len(w.waiting) {
		w.waiting, w.given = w.waiting[:0], 0
		if err := w.wait(); err != nil {
			return Change{}, err
		}
	}
	r := w.waiting[w.given]
	w.given++
	c := Change{Opened: r.opened, Time: r.at, Transport: registry.UDP, Port: registry.Port(r.row.Local.Port()), Socket: r.number, record: r}
	if r.row.Table.TCP() {
		c.Transport = registry.TCP
	} else if r.row.SpecificPort {
		c.Asked = Yes
	}
	return c, nil
}

// wait waits until there may be something to tell.
func (w *tableWatcher) wait() error {
	if w.ended {
		return os.ErrClosed
	}
	handles := []windows.Handle{w.stop}
	if w.log != nil {
		handles = append(handles, w.log.Signal())
	}
	left := max(0, time.Until(w.due))
	woken, err := windows.WaitForMultipleObjects(handles, false, uint32(left/time.Millisecond)+1)
	switch {
	case err != nil:
		return os.NewSyscallError("WaitForMultipleObjects", err)
	case woken == windows.WAIT_OBJECT_0:
		return os.ErrClosed
	case woken == windows.WAIT_OBJECT_0+1:
		w.hear()
	}
	if now := time.Now(); !now.Before(w.due) {
		return w.look(now)
	}
	return nil
}

// look compares the tables with the look before. One that cannot be read leaves
// what was known; audits say why.
func (w *tableWatcher) look(now time.Time) error {
	w.due = now.Add(lookEvery)
	w.rows = w.rows[:0]
	for _, table := range []iphelper.Table{iphelper.TCP4, iphelper.TCP6, iphelper.UDP4, iphelper.UDP6} {
		var err error
		if w.rows, err = w.tables.Append(w.rows, table); err != nil {
			if w.polled.known == nil {
				return fmt.Errorf("look at the tables: %w", err)
			}
			return nil
		}
	}
	w.keep(w.polled.look(w.waiting, w.rows, now))
	return nil
}

// hear takes the events that came. Of one that cannot be read the next look
// tells.
func (w *tableWatcher) hear() {
	var err error
	if w.events, err = w.log.Read(w.events[:0]); err != nil && !errors.Is(err, securitylog.ErrMalformed) {
		_ = w.log.Close() // what is wrong is known already
		w.log = nil
	}
	for _, e := range w.events {
		if c, ok := w.polled.hear(e); ok {
			w.keep(append(w.waiting, c))
		}
	}
}

// keep keeps what is to be told.
func (w *tableWatcher) keep(changes []rowChange) {
	kept := changes[:0]
	for _, c := range changes {
		if w.ignored == 0 || c.row.PID != w.ignored {
			kept = append(kept, c)
		}
	}
	w.waiting = kept
}

// admit makes a socket of a change. Of a process that has ended its file is
// known, if an event told of it.
func (l *windowsLister) admit(c Change) (Socket, bool) {
	a := &windowsAudit{windowsLister: l, seen: map[uint32]Owner{}, read: time.Now(), services: l.services}
	sockets := socketsOfRows([]iphelper.Row{c.record.row}, a.owner)
	if len(sockets) != 1 {
		return Socket{}, false
	}
	s := sockets[0]
	o := &s.Owners[0]
	if o.How == Raced && c.record.program != "" {
		*o = Owner{How: Process, PID: int(c.record.row.PID), Executable: c.record.program, Command: filepath.Base(strings.ReplaceAll(c.record.program, `\`, "/"))}
	}
	return s, true
}
