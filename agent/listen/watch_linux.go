package listen

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/portaudit/portaudit/agent/listen/sockdiag"
	"github.com/portaudit/portaudit/agent/listen/trace"
	"github.com/portaudit/portaudit/agent/listen/walk"
	"github.com/portaudit/portaudit/registry"
)

func watch(o WatchOptions) (*Watcher, error) {
	var lacks *walk.UnavailableError
	if err := walk.Permitted(); errors.As(err, &lacks) {
		return nil, errors.New(lacks.Lack + remedyBPF(err))
	}
	var up unix.Timespec // /proc/stat tells the time of the boot in whole seconds
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &up); err != nil {
		return nil, os.NewSyscallError("clock_gettime", err)
	}
	boot := time.Now().Add(-time.Duration(up.Nano()))
	mounts, err := os.ReadFile(procRoot + "/self/mountinfo")
	if err != nil {
		return nil, err
	}
	t, err := trace.Open(trace.Options{Ignored: o.Ignored, Cgroup: unifiedHierarchy(mounts)})
	if err != nil {
		return nil, fmt.Errorf("%w%s", err, remedyBPF(err))
	}
	text := "TCP and UDP, by BPF programs in the kernel"
	if err := t.UDP(); err != nil {
		text = "TCP, by a BPF program in the kernel; not UDP: " + err.Error()
	}
	next := func() (Change, error) {
		var c Change
		if err := t.Read(&c.record); err != nil {
			return Change{}, err
		}
		c.describe(boot)
		return c, nil
	}
	return &Watcher{text: text, next: next, lost: t.Lost, close: t.Close}, nil
}

// told is what the kernel tells of a change.
type told = trace.Record

// describe fills in what every system tells, from what the kernel told.
func (c *Change) describe(boot time.Time) {
	r := &c.record
	c.Opened, c.Time, c.Port = r.Kind == trace.Opened, boot.Add(r.Time), registry.Port(r.Local.Port())
	c.Transport, c.Socket, c.Asked = transportOf(r.Protocol), r.Socket, Yes
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

// admit makes a socket of a change. The process that opened it is read if it is
// still there; else what the kernel told of it stands.
func (e *engine) admit(c Change) (Socket, bool) {
	r := &c.record
	s := e.spaces[uint64(r.Namespace)]
	if s == nil { // it is new, and entered by the next enumeration
		s = &space{id: uint64(r.Namespace), rules: Namespace{Label: e.label(uint64(r.Namespace))}, filterErr: errNotEntered}
	}
	k := &entry{transport: c.Transport, row: rowOf(r)}
	if r.PID != 0 && e.readOpener(r) {
		k.holders = []holder{{pid: r.PID, how: Process}}
	}
	socket := s.socketOf(k)
	socket.Exposure = expose(socket, e.around(s, e.published()))
	if len(k.holders) > 0 {
		socket.Owners = e.ownersOf(s, k)
	} else {
		socket.Owners = []Owner{e.openerOf(r)}
	}
	return socket, true
}

// hashAtOnce is how large a program may be to be hashed before anything is told
// of it, in bytes: some 10 ms without the processor's help, and most daemons are
// smaller. A larger one is hashed beside everything else.
const hashAtOnce = 4 << 20

var errNotEntered = errors.New("its network namespace was not entered yet")

// rowOf puts what a record tells of a socket into the form of the tables.
func rowOf(r *trace.Record) sockdiag.Row {
	row := sockdiag.Row{
		Family: sockdiag.Inet, LocalPort: r.Local.Port(), Inode: uint32(r.Inode), UID: r.UID, Interface: r.Device,
		V6Only: map[trace.Answer]sockdiag.Flag{trace.No: sockdiag.Off, trace.Yes: sockdiag.On}[r.V6Only],
	}
	a := r.Local.Addr()
	if a.Is6() {
		row.Family, row.Local = sockdiag.Inet6, a.As16()
		return row
	}
	four := a.As4()
	copy(row.Local[:], four[:])
	return row
}

// readOpener reads the process that opened a socket, and reports whether it is
// still there.
func (e *engine) readOpener(r *trace.Record) bool {
	start := e.startOf(r)
	if p := e.processes[r.PID]; p != nil && p.owner.Start == start && p.owner.How != Raced && p.exe == (exeOf(r)) {
		return true
	}
	facts := e.reader.read(claim{holding: holding{pid: r.PID, start: start}})
	if facts.owner.How == Raced {
		return false
	}
	e.processes[r.PID] = &known{walk: e.audit, ran: exeOf(r)}
	e.keep(context.Background(), []int32{r.PID}, []processFacts{facts}, time.Now(), hashAtOnce)
	e.hashBeside()
	return true
}

// openerOf makes an owner of what the kernel told of a process that has ended.
func (e *engine) openerOf(r *trace.Record) Owner {
	o := Owner{
		How: Process, PID: int(r.PID), Start: e.startOf(r), Parent: int(r.ParentPID),
		Executable: r.Path, Command: r.Command, UID: UID{ID: r.UID, Known: true}, User: e.userName(r.UID),
		Effective: r.Capabilities, BindCapability: answer(r.Capabilities&(1<<capNetBindService) != 0),
	}
	o.Started = e.boot.Add(ticks(o.Start))
	if r.Executable == 0 {
		o.How, o.PID = Kernel, 0
		return o
	}
	o.Deleted, o.Memory = No, No
	if r.Deleted {
		o.unnamed()
	}
	o.How = howOf(o)
	return o
}

// startOf is the start of the process as /proc tells it.
func (e *engine) startOf(r *trace.Record) uint64 { return startTicks(r.Start, e.clock) }

// exeOf is the file that the process runs as stat(2) tells it.
func exeOf(r *trace.Record) fileID { return fileID{walk.UserDevice(r.ExeDevice), r.Executable} }
