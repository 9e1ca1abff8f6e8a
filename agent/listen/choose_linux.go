package listen

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/portaudit/portaudit/agent/listen/walk"
)

// fewFiles is the number of open files of a host up to which one look at the
// links of all descriptors is over sooner than a BPF program is loaded
// (docs/performance.md).
const fewFiles = 3000

// choose picks the way in which owners are found, and notes why.
func (e *engine) choose() error {
	note := func(text string) { e.wayNote = Note{Source: "owners", Text: text} }
	proc := func(why string) {
		e.finder = newProcFinder(e.proc)
		note("by /proc/PID/fd, on every core: " + why)
	}
	if e.root != procRoot {
		proc("another procfs than this kernel's is read")
		return nil
	}
	switch e.options.Way {
	case Proc:
		proc("asked for")
		return nil
	case Auto:
		if err := walk.Permitted(); err != nil {
			proc(err.Error() + remedyBPF(err))
			return nil
		}
		if n := e.openFiles(); e.options.Once && n > 0 && n <= fewFiles {
			proc(fmt.Sprintf("for %d open files that is faster than to load a BPF program", n))
			return nil
		}
	}
	threads := 1 // a daemon's walks are nothing that anybody waits for
	if e.options.Once {
		threads = runtime.GOMAXPROCS(0)
	}
	if e.options.Way == BPF {
		if err := e.useBPF(walk.Open(0, threads)); err != nil {
			return fmt.Errorf("find owners by BPF: %w%s", err, remedyBPF(err))
		}
		return nil
	}
	walk.RemoveLimit() // now: later this process may have given up the right
	// Loading takes as long as looking at the namespaces and the tables, and
	// needs none of it: a core of its own does it meanwhile. The goroutine ends
	// with the loading, for which ready waits.
	e.loading = make(chan loaded, 1)
	go func() {
		w, err := walk.Open(0, threads)
		e.loading <- loaded{w, err}
	}()
	return nil
}

// loaded is a BPF program, or why there is none.
type loaded struct {
	walker *walk.Walker
	err    error
}

// ready waits until the way in which owners are found is known.
func (e *engine) ready() {
	if e.finder != nil {
		return
	}
	l := <-e.loading
	if err := e.useBPF(l.walker, l.err); err != nil {
		e.finder = newProcFinder(e.proc)
		e.wayNote = Note{Source: "owners", Text: "by /proc/PID/fd, on every core: " + err.Error() + remedyBPF(err)}
	}
}

// useBPF makes a BPF iterator the way in which owners are found, if it could be
// loaded. It is tried once.
func (e *engine) useBPF(w *walk.Walker, err error) error {
	e.triedBPF = true
	if err != nil {
		return err
	}
	f := &bpfFinder{walker: w, spaces: e.spaces, unknown: map[uint64]holding{}, initial: e.initialPIDs(), offset: e.clock}
	if e.finder != nil {
		err = e.finder.close()
	}
	e.finder = f
	e.wayNote = Note{Source: "owners", Text: "by a BPF iterator over " + w.Kind().String() + ", in the kernel"}
	return err
}

func remedyBPF(err error) string {
	if !errors.Is(err, fs.ErrPermission) {
		return ""
	}
	if os.Geteuid() == 0 {
		return " (it needs CAP_BPF and CAP_PERFMON, which even root may lack in a container, and a kernel that is not locked down)"
	}
	return " (run as root, or with CAP_BPF and CAP_PERFMON)"
}

// openFiles returns how many files are open on the host, 0 if that is unknown:
// the first number of /proc/sys/fs/file-nr (proc_sys_fs(5)).
func (e *engine) openFiles() int {
	b, err := os.ReadFile(e.root + "/sys/fs/file-nr")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(b), "\t")
	n, _ := strconv.Atoi(first)
	return n
}

// bpfFinder lets a BPF program walk the descriptors in the kernel.
type bpfFinder struct {
	walker  *walk.Walker
	spaces  map[uint64]*space  // the engine's
	unknown map[uint64]holding // of each namespace that is not among them, a descriptor that leads there
	initial bool               // whether this process is in the initial pid namespace
	offset  uint64             // see clockOffset
}

func (f *bpfFinder) everywhere() bool { return f.initial }
func (f *bpfFinder) close() error     { return f.walker.Close() }

func (f *bpfFinder) find(ctx context.Context, _ []int32, wanted map[uint64]bool, found []holding) ([]holding, int, error) {
	clear(f.unknown)
	err := f.walker.Walk(ctx, func(r *walk.Row) {
		if !wanted[r.Inode] {
			if id := uint64(r.Namespace); f.spaces[id] == nil && r.PID != 0 {
				f.unknown[id] = holding{pid: r.PID, fd: int32(r.FD)}
			}
			return
		}
		found = append(found, holding{
			inode: r.Inode, pid: r.PID, fd: int32(r.FD), start: f.ticks(r.Start),
			exe: fileID{r.Device, r.Executable}, space: uint64(r.Namespace),
		})
	})
	return found, 0, err
}

// ticks turns nanoseconds since boot into the unit of /proc/PID/stat.
func (f *bpfFinder) ticks(ns uint64) uint64 { return startTicks(ns, f.offset) }

// startTicks is ticks, with an offset as clockOffset tells it.
func startTicks(ns, offset uint64) uint64 { return (ns + offset) / (1e9 / userHz) }

// clockOffset tells how the clock of a time namespace that this process may be
// in differs from the one that a walk tells, in nanoseconds: /proc shows start
// times in the reader's (time_namespaces(7)).
func (e *engine) clockOffset() (uint64, error) {
	b, err := os.ReadFile(e.root + "/self/timens_offsets")
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil // before Linux 5.6: there are none
	}
	if err != nil {
		return 0, err
	}
	offset, err := parseBootOffset(b)
	if err != nil {
		return 0, fmt.Errorf("%s/self/timens_offsets: %w", e.root, err)
	}
	return uint64(offset), nil
}
