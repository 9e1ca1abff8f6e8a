package listen

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/portaudit/portaudit/agent/listen/container"
	"github.com/portaudit/portaudit/agent/listen/digest"
	"github.com/portaudit/portaudit/agent/listen/firewall"
	"github.com/portaudit/portaudit/agent/listen/sockdiag"
	"github.com/portaudit/portaudit/agent/listen/software"
	"github.com/portaudit/portaudit/agent/listen/systemd"
)

// engine enumerates, and remembers between enumerations what does not change:
// the network namespaces, the sockets by the kernel's cookie, who holds them,
// and the processes by number and start time.
//
// One enumeration dumps the tables of the listening sockets, which the kernel
// keeps apart from connections. Only when a socket is new, or at a beat, are
// the descriptors of all processes walked; between beats the processes that
// are known are read again in turn.
type engine struct {
	options  Options
	root     string // where procfs is mounted
	proc     int    // descriptor of root, or of a clone of it
	base     string // path of proc
	boot     time.Time
	clock    uint64 // see clockOffset
	finder   finder
	triedBPF bool
	loading  chan loaded // what finder will be, while that is nil
	queries  []query
	sources  []source // how each query is answered

	self    uint64 // inode of this process's network namespace
	host    uint64 // of the host's
	spaces  map[uint64]*space
	refused map[uint64]bool // namespaces that this walk came upon and that could not be entered
	held    map[uint64]bool // namespaces whose sockets the last walk saw, where it tells
	pids    []int32
	placed  map[int32]uint64 // the namespace of each process, where it is known
	newest  string           // the last process number that was given out

	audit      uint64 // number of this enumeration
	beat       time.Time
	changed    bool // since the last snapshot was built
	generation uint64
	last       Snapshot

	unsettled bool     // whether any socket is
	holders   []holder // of all entries; replaced as a whole by each walk
	processes map[int32]*known
	turn      []int32 // processes in the order in which they are read again
	turned    time.Time
	reader    *processReader
	users     map[uint32]string
	groups    map[uint32]string

	hasher         *digest.Hasher // nil: programs are not hashed
	patient        *digest.Hasher // of what is hashed beside everything else, which keeps nobody waiting
	ownRoot        fileID         // this process's root directory
	databases      map[fileID]*software.Database
	pending        map[int32]bool  // processes whose program is not hashed yet
	hashing        *hashing        // of some of them; nil: of none
	unhashable     map[fileID]bool // programs of those that were tried that cannot be hashed
	packageProblem string          // why packages are not known, "" if they are

	containers       *container.Store
	containerProblem string // why images are not known, "" if they are

	units          map[int32][]systemd.Unit // of each service manager that holds sockets
	managerProblem string                   // why a unit is not named, "" if all are

	covered    map[int32]bool // processes over whose directory in /proc something is mounted
	blind      int            // processes whose network namespace could not be read
	denied     int            // processes whose descriptors could not be read
	hidden     bool           // whether processes of other users are hidden
	gaps       []Gap          // of this enumeration
	staticGaps []Gap
	lastGaps   []Gap
	notes      []Note // about queries
	wayNote    Note

	rows   []sockdiag.Row   // reused
	inodes map[uint64]bool  // reused
	found  []holding        // of this walk, by inode
	first  map[uint64]int32 // the first of each inode in found
	again  []int32          // reused
	read   []processFacts   // reused
}

// known is a process that holds sockets.
type known struct {
	processFacts
	ran   fileID  // its executable as the walk that found it told
	twice fileID  // what was read when a walk told the same before
	alone []Owner // it, as the only owner of a socket; shared by its sockets
	read  time.Time
	walk  uint64 // number of the enumeration whose walk saw it
}

// procRoot is where procfs is mounted (proc(5)).
const procRoot = "/proc"

func open(o Options) (*Lister, error) {
	e, err := openEngine(o, procRoot)
	if err != nil {
		return nil, err
	}
	return &Lister{list: e.list, cross: e.crossCheck, admit: e.admit, peek: e.peek, close: e.close}, nil
}

// openEngine prepares an engine that reads the procfs at root.
func openEngine(o Options, root string) (*engine, error) {
	proc, base, err := openProc(root)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w (is proc mounted there?)", root, err)
	}
	e := &engine{
		options: o, root: root, proc: proc, base: base, queries: queries(), reader: newProcessReader(proc),
		spaces: map[uint64]*space{}, held: map[uint64]bool{}, refused: map[uint64]bool{}, placed: map[int32]uint64{},
		units: map[int32][]systemd.Unit{}, hasher: newHasher(o), patient: newHasher(o), databases: map[fileID]*software.Database{}, pending: map[int32]bool{}, unhashable: map[fileID]bool{},
		processes: map[int32]*known{}, users: map[uint32]string{}, groups: map[uint32]string{}, containers: container.Open("/"), inodes: map[uint64]bool{},
	}
	e.sources = make([]source, len(e.queries))
	if err := e.begin(); err != nil {
		unix.Close(proc)
		return nil, err
	}
	return e, nil
}

// openProc opens procfs, and returns the path that leads to what was opened. If
// it is this kernel's it is a clone of the mount (open_tree(2), Linux 5.2, with
// CAP_SYS_ADMIN), without what is mounted in it: a mount over the directory of
// a process is a way to hide it (MITRE ATT&CK T1564.013).
func openProc(root string) (int, string, error) {
	if root == procRoot {
		proc, err := unix.OpenTree(unix.AT_FDCWD, root, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
		if err == nil {
			return proc, fmt.Sprintf("%s/self/fd/%d", root, proc), nil
		}
	}
	proc, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	return proc, root, err
}

// cloned reports whether proc is a clone.
func (e *engine) cloned() bool { return e.base != e.root }

func (e *engine) begin() error {
	b, err := os.ReadFile(e.root + "/stat")
	if err != nil {
		return fmt.Errorf("read the boot time: %w (is proc mounted on %s?)", err, e.root)
	}
	if e.boot, err = parseBootTime(b); err != nil {
		return fmt.Errorf("%s/stat: %w", e.root, err)
	}
	if e.clock, err = e.clockOffset(); err != nil {
		return err
	}
	self, err := os.Readlink(e.root + "/self/ns/net")
	if err != nil {
		return fmt.Errorf("read this process's network namespace: %w", err)
	}
	var root unix.Stat_t
	if err := unix.Stat("/", &root); err != nil {
		return fmt.Errorf("look at the root directory: %w", err)
	}
	e.ownRoot = fileID{root.Dev, root.Ino}
	e.self, _ = parseNamespaceLink([]byte(self))
	e.host = e.self // process 1 may not say; this process runs where it was started
	if first, err := os.Readlink(e.root + "/1/ns/net"); err == nil {
		e.host, _ = parseNamespaceLink([]byte(first))
	}
	e.add(&space{id: e.self, own: true, rules: Namespace{Label: e.label(e.self)}})
	return e.choose()
}

func (e *engine) close() error {
	for id, s := range e.spaces {
		e.drop(id, s)
	}
	e.stopHashing()
	e.ready()
	err := e.finder.close()
	if closeErr := unix.Close(e.proc); err == nil && closeErr != nil {
		err = os.NewSyscallError("close", closeErr)
	}
	return err
}

// list makes one enumeration.
func (e *engine) list(ctx context.Context) (Snapshot, error) {
	now := time.Now()
	e.audit++
	e.gaps = e.gaps[:0]
	beat := e.audit == 1 || now.Sub(e.beat) >= e.options.Beat
	if err := e.look(beat); err != nil {
		return Snapshot{}, err
	}
	fresh := e.dump()
	if err := ctx.Err(); err != nil {
		return Snapshot{}, err
	}
	if fresh {
		e.markMultipath()
	}
	if fresh || beat {
		if err := e.walk(ctx); err != nil {
			return Snapshot{}, err
		}
	}
	switch {
	case beat:
		e.beat = now
		e.exposeAll()
		e.indexPackages()
	case e.unsettled && !fresh:
		e.settle(false)
	default:
		e.readInTurn(ctx, now)
	}
	e.coverage()
	if !e.changed && !slices.EqualFunc(e.gaps, e.lastGaps, sameGap) {
		e.changed = true
	}
	if e.changed || e.generation == 0 {
		e.build()
	}
	e.last.Time = now
	return e.last, nil
}

// look finds the network namespaces: all of them at a beat, and in between
// those of processes that were started since.
func (e *engine) look(beat bool) error {
	if beat {
		if err := e.discover(); err != nil {
			return err
		}
		e.openSpaces(true)
		e.staticGaps = e.staticGaps[:0]
		e.ask()
		return nil
	}
	newest := e.lastProcess()
	if newest == e.newest && newest != "" {
		return nil
	}
	e.newest = newest
	pids, err := listNumbers(e.proc, []byte(".\x00"), e.pids[:0])
	if err != nil {
		return fmt.Errorf("list processes: %w", err)
	}
	e.pids = pids
	for _, pid := range pids {
		if e.placed[pid] == 0 {
			e.place(pid)
		}
	}
	e.openSpaces(false)
	return nil
}

// lastProcess returns what /proc/loadavg tells of the number that was last
// given to a process or thread (proc_loadavg(5)), "" if it tells nothing.
func (e *engine) lastProcess() string {
	var b [128]byte
	n, err := readFileAt(e.proc, []byte("loadavg\x00"), b[:])
	if err != nil {
		return ""
	}
	last := parseLastProcess(b[:n])
	if string(last) == e.newest {
		return e.newest // the same string: no allocation
	}
	return string(last)
}

func (e *engine) label(id uint64) string {
	if id == e.host {
		return HostNamespace
	}
	return fmt.Sprintf("net:[%d]", id)
}

// build makes a new snapshot of all that is known.
func (e *engine) build() {
	n := 0
	for _, s := range e.spaces {
		n += len(s.known)
	}
	sockets := make([]Socket, 0, n)
	var namespaces []Namespace
	published := e.published()
	for _, s := range e.spaces {
		namespaces = append(namespaces, s.rules)
		for _, k := range s.known {
			if !k.looked && k.orphan.IsZero() {
				continue // it came during the walk: the next enumeration tells of it
			}
			socket := s.socketOf(k)
			if !k.exposed {
				k.exposure, k.exposed = expose(socket, e.around(s, published)), true
			}
			socket.Exposure, socket.Owners = k.exposure, e.ownersOf(s, k)
			sockets = append(sockets, socket)
		}
	}
	slices.SortFunc(namespaces, func(a, b Namespace) int { return compareLabels(a.Label, b.Label) })
	e.generation++
	sockets = merge(sockets)
	e.last = Snapshot{
		Generation: e.generation, Sockets: sockets, Namespaces: namespaces, Published: unserved(e.network(published), sockets),
		Coverage: Coverage{
			Sources: e.sourceNames(), Gaps: slices.Clone(e.gaps), Notes: slices.Concat([]Note{e.wayNote}, e.notes, e.factNotes()),
		},
	}
	e.lastGaps = append(e.lastGaps[:0], e.gaps...)
	e.changed = false
}

// exposeAll looks again from where each socket can be reached.
func (e *engine) exposeAll() {
	published := e.published()
	for _, s := range e.spaces {
		around := e.around(s, published)
		for _, k := range s.known {
			x := expose(s.socketOf(k), around)
			e.changed = e.changed || x != k.exposure
			k.exposure, k.exposed = x, true
		}
	}
	if !e.changed { // else it is looked at anyway
		e.changed = !slices.Equal(unserved(e.network(published), e.last.Sockets), e.last.Published)
	}
}

// network is what surrounds all sockets.
func (e *engine) network(published []firewall.Publication) network {
	n := network{published: published, inside: map[string][]netip.Addr{}}
	for _, s := range e.spaces {
		if s.id == e.host {
			n.host = s.addresses
		} else {
			n.inside[s.rules.Label] = s.addresses
		}
	}
	return n
}

// published returns what the packet filter of the host hands on.
func (e *engine) published() []firewall.Publication {
	s := e.spaces[e.host]
	if s == nil || s.filterErr != nil {
		return nil
	}
	list, _ := s.filter.Published()
	return list
}

// around is what lies between the sockets of a namespace and other hosts.
func (e *engine) around(s *space, published []firewall.Publication) surroundings {
	return surroundings{
		host: s.id == e.host, devices: s.devices(), addresses: s.addresses,
		filter: s.filter, filterErr: s.filterErr, published: published,
	}
}

// sourceNames says what was asked.
func (e *engine) sourceNames() []string {
	names := []string{"sock_diag"}
	if slices.Contains(e.sources, byTable) {
		names = append(names, "/proc/net")
	}
	if e.finder.everywhere() {
		return append(names, "BPF iterator", "/proc/PID")
	}
	return append(names, "/proc/PID/fd")
}
