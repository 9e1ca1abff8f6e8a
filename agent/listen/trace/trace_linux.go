package trace

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"
)

// Tracer is programs that are loaded and attached. Read may be called by one
// goroutine while others call Lost and Close.
type Tracer struct {
	maps     *ebpf.Collection
	programs []*ebpf.Program
	// links are kept: one that the garbage collector takes detaches.
	links  []link.Link
	reader *ringbuf.Reader
	record ringbuf.Record
	counts []byte // struct counts, mapped
	noUDP  error
}

// Options say what is traced.
type Options struct {
	// Cgroup is the directory of the control group of whose processes UDP is
	// traced: the root of the unified hierarchy for all of the host.
	Cgroup string
	// Ignored is a process whose sockets are not told of when they open, as the
	// pid namespace of this process numbers it; 0: none. What it closes is told:
	// it may be the last to hold another one's socket, as who walks over the
	// descriptors of all is for a moment.
	Ignored int
}

// Open loads and attaches the programs. If only UDP cannot be traced that is no
// error, and UDP says why.
func Open(o Options) (*Tracer, error) {
	t := &Tracer{}
	if err := t.load(o); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

func (t *Tracer) load(o Options) error {
	// Kernels before 5.11 count maps against RLIMIT_MEMLOCK. Where the limit
	// may not be raised, loading says so.
	_ = rlimit.RemoveMemlock()
	spec, err := loadPrograms()
	if err != nil {
		return fmt.Errorf("read the programs: %w", err)
	}
	var pids unix.Stat_t
	if err := unix.Stat("/proc/self/ns/pid", &pids); err != nil {
		return fmt.Errorf("look at the pid namespace: %w", err)
	}
	err = errors.Join(spec.Variables[programsVarOwnPidns].Set(uint32(pids.Ino)), spec.Variables[programsVarIgnored].Set(int32(o.Ignored)))
	if err != nil {
		return err
	}
	if t.maps, err = ebpf.NewCollection(&ebpf.CollectionSpec{Maps: spec.Maps, Variables: spec.Variables, ByteOrder: spec.ByteOrder}); err != nil {
		return fmt.Errorf("make the maps: %w", err)
	}
	if t.counts, err = mapCounts(t.maps.Maps[programsMapCounted]); err != nil {
		return err
	}
	if t.reader, err = ringbuf.NewReader(t.maps.Maps[programsMapRecords]); err != nil {
		return fmt.Errorf("open the ring buffer: %w", err)
	}
	p, err := t.program(spec, programsProgState)
	if err != nil {
		return fmt.Errorf("trace TCP: %w", err)
	}
	l, err := link.AttachTracing(link.TracingOptions{Program: p, AttachType: ebpf.AttachTraceRawTp})
	if err != nil {
		return fmt.Errorf("trace TCP: attach: %w", err)
	}
	t.links = append(t.links, l)
	t.noUDP = t.traceUDP(spec, o.Cgroup)
	return nil
}

// program loads one program, with the maps of all.
func (t *Tracer) program(spec *ebpf.CollectionSpec, name string) (*ebpf.Program, error) {
	one := spec.Programs[name]
	for name, m := range t.maps.Maps {
		if err := one.Instructions.AssociateMap(name, m); err != nil && !errors.Is(err, asm.ErrUnreferencedSymbol) {
			return nil, fmt.Errorf("map %s: %w", name, err)
		}
	}
	p, err := ebpf.NewProgram(one)
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	t.programs = append(t.programs, p)
	return p, nil
}

// traceUDP attaches the programs of UDP. Without all of them there are none.
func (t *Tracer) traceUDP(spec *ebpf.CollectionSpec, cgroup string) error {
	if cgroup == "" {
		return errors.New("trace UDP: no unified control group hierarchy is mounted (cgroup2)")
	}
	tcp := len(t.links)
	for _, h := range []struct {
		name string
		at   ebpf.AttachType
	}{
		{programsProgRelease, ebpf.AttachCgroupInetSockRelease}, // first: no bind is told of whose end is not
		{programsProgBind4, ebpf.AttachCGroupInet4PostBind},
		{programsProgBind6, ebpf.AttachCGroupInet6PostBind},
	} {
		p, err := t.program(spec, h.name)
		if err == nil {
			var l link.Link
			if l, err = link.AttachCgroup(link.CgroupOptions{Path: cgroup, Attach: h.at, Program: p}); err == nil {
				t.links = append(t.links, l)
				continue
			}
			err = fmt.Errorf("attach to %s: %w", cgroup, err)
		}
		for _, l := range t.links[tcp:] {
			err = errors.Join(err, l.Close())
		}
		t.links = t.links[:tcp]
		return fmt.Errorf("trace UDP: %s: %w", h.name, err)
	}
	return nil
}

// The form of struct counts in trace.bpf.c.
const (
	countsLost = 0
	countsTold = 8
)

func mapCounts(m *ebpf.Map) ([]byte, error) {
	b, err := unix.Mmap(m.FD(), 0, os.Getpagesize(), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map the counts: %w", err)
	}
	return b, nil
}

// UDP returns nil if UDP is traced, else why it is not.
func (t *Tracer) UDP() error { return t.noUDP }

// Read waits for the next record. It returns os.ErrDeadlineExceeded when the
// deadline has passed, ErrFlushed after Flush, os.ErrClosed after Close.
func (t *Tracer) Read(r *Record) error {
	switch err := t.reader.ReadInto(&t.record); {
	case errors.Is(err, ringbuf.ErrFlushed):
		return ErrFlushed
	case err != nil:
		return err
	}
	return decode(t.record.RawSample, r)
}

// Flush lets the Read that waits, or the next one, return ErrFlushed once all
// records that are there have been read.
func (t *Tracer) Flush() error { return t.reader.Flush() }

// SetDeadline lets later Reads end at a time; the zero time is never. It must
// not be called while one waits.
func (t *Tracer) SetDeadline(at time.Time) { t.reader.SetDeadline(at) }

// Lost returns for how many records there was no room since Open: what they
// would have told only an audit can say.
func (t *Tracer) Lost() uint64 { return binary.NativeEndian.Uint64(t.counts[countsLost:]) }

// Told returns how many records were written since Open.
func (t *Tracer) Told() uint64 { return binary.NativeEndian.Uint64(t.counts[countsTold:]) }

// Close detaches and unloads the programs. A Read that waits returns
// os.ErrClosed. Lost and Told may not be called any more.
func (t *Tracer) Close() error {
	var errs []error
	for _, l := range t.links {
		errs = append(errs, l.Close())
	}
	for _, p := range t.programs {
		errs = append(errs, p.Close())
	}
	if t.reader != nil {
		errs = append(errs, t.reader.Close())
	}
	if t.counts != nil {
		errs = append(errs, unix.Munmap(t.counts))
	}
	if t.maps != nil {
		t.maps.Close()
	}
	t.links, t.programs, t.counts, t.maps = nil, nil, nil, nil
	return errors.Join(errs...)
}
