package listen

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/portaudit/portaudit/registry"
)

func list(ctx context.Context) (Snapshot, error) {
	return listProc(ctx, "/proc")
}

// procfs reads one enumeration from a /proc directory. It lives for one call.
type procfs struct {
	root  string
	users map[uint32]string // account names, looked up once each
	boot  time.Time

	pids   []int
	self   string         // link of this process's network namespace
	host   string         // link of the host's
	spaces map[string]int // link of each network namespace, and a process in it

	blindSpaces int // processes whose network namespace could not be read
	coverage    Coverage
}

// listProc enumerates from the /proc directory at root.
func listProc(ctx context.Context, root string) (Snapshot, error) {
	p := &procfs{root: root, users: map[uint32]string{}, spaces: map[string]int{}}
	p.coverage.Sources = []string{"/proc/net", "/proc/PID/fd"}
	snapshot := Snapshot{Time: time.Now()}
	if err := p.begin(); err != nil {
		return Snapshot{}, err
	}
	sockets, namespaces, err := p.sockets(ctx)
	if err != nil {
		return Snapshot{}, err
	}
	if sockets, err = p.attribute(ctx, sockets); err != nil {
		return Snapshot{}, err
	}
	snapshot.Sockets = merge(sockets)
	snapshot.Namespaces = namespaces
	snapshot.Coverage = p.coverage
	return snapshot, nil
}

// begin lists the processes and their network namespaces.
func (p *procfs) begin() error {
	b, err := os.ReadFile(filepath.Join(p.root, "stat"))
	if err != nil {
		return fmt.Errorf("read the boot time: %w (is proc mounted on %s?)", err, p.root)
	}
	if p.boot, err = parseBootTime(b); err != nil {
		return fmt.Errorf("%s/stat: %w", p.root, err)
	}
	if err := p.listProcesses(); err != nil {
		return err
	}
	if p.self, err = os.Readlink(filepath.Join(p.root, "self", "ns", "net")); err != nil {
		return fmt.Errorf("read this process's network namespace: %w", err)
	}
	p.spaces[p.self] = 0 // 0: this process itself
	for _, pid := range p.pids {
		p.findNamespace(pid)
	}
	if p.host == "" {
		p.host = p.self // process 1 does not say; this process runs where it was started
	}
	if p.blindSpaces > 0 {
		p.gap(Gap{
			Source: "/proc/PID/ns/net", Hides: HidesSockets, Count: p.blindSpaces,
			Reason: refusal("network namespace") + ": listeners in containers may be missing",
			Fix:    remedy("CAP_SYS_PTRACE"),
		})
	}
	return nil
}

// refusal says who would not show what. Some hosts refuse a look into process 1
// even to root.
func refusal(what string) string {
	if os.Geteuid() == 0 {
		return "some processes do not show their " + what + " even to root"
	}
	return "processes of other users do not show their " + what
}

func remedy(capabilities string) string {
	if os.Geteuid() == 0 {
		return ""
	}
	return "run as root, or with " + capabilities
}

// gap records a gap, once for each source.
func (p *procfs) gap(g Gap) {
	same := func(other Gap) bool { return other.Source == g.Source && other.Hides == g.Hides }
	if !slices.ContainsFunc(p.coverage.Gaps, same) {
		p.coverage.Gaps = append(p.coverage.Gaps, g)
	}
}

// listProcesses lists the numeric entries of /proc. Under hidepid=2 (proc(5))
// the processes of other users are absent from it, process 1 among them.
func (p *procfs) listProcesses() error {
	d, err := os.Open(p.root)
	if err != nil {
		return fmt.Errorf("list processes: %w", err)
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return fmt.Errorf("list processes: %w", err)
	}
	hidden := true
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil && pid > 0 {
			p.pids = append(p.pids, pid)
			hidden = hidden && pid != 1
		}
	}
	if hidden {
		p.gap(Gap{
			Source: "/proc", Hides: HidesOwners,
			Reason: "the processes of other users are hidden (process 1 is absent: /proc is mounted with hidepid)",
			Fix:    "run as root, or as a member of the group that /proc is mounted with (gid=)",
		})
	}
	return nil
}

// findNamespace notes the network namespace of pid.
func (p *procfs) findNamespace(pid int) {
	link, err := os.Readlink(p.path(pid, "ns/net"))
	switch {
	case err == nil:
		if _, seen := p.spaces[link]; !seen {
			p.spaces[link] = pid
		}
		if pid == 1 {
			p.host = link
		}
	case errors.Is(err, fs.ErrPermission) && !p.kernelThread(pid):
		p.blindSpaces++
	}
}

func (p *procfs) path(pid int, name string) string {
	who := "self"
	if pid != 0 {
		who = strconv.Itoa(pid)
	}
	return filepath.Join(p.root, who, name)
}

func (p *procfs) kernelThread(pid int) bool {
	b, err := os.ReadFile(p.path(pid, "stat"))
	if err != nil {
		return false
	}
	s, err := parseStat(b)
	return err == nil && s.kernelThread
}

// label names a network namespace for the user.
func (p *procfs) label(link string) string {
	if link == p.host {
		return HostNamespace
	}
	return link
}

// sockets reads the socket tables of every network namespace.
func (p *procfs) sockets(ctx context.Context) ([]Socket, []Namespace, error) {
	var sockets []Socket
	var namespaces []Namespace
	for link, pid := range p.spaces {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		found, complete := p.tables(link, pid)
		ns := p.namespaceRules(link, pid)
		ns.Complete = complete
		sockets, namespaces = append(sockets, found...), append(namespaces, ns)
	}
	return sockets, namespaces, nil
}

var tables = [...]struct {
	name      string
	transport registry.Transport
}{
	{"tcp", registry.TCP}, {"tcp6", registry.TCP}, {"udp", registry.UDP}, {"udp6", registry.UDP},
}

// tables reads the socket tables of the network namespace of pid. A table that
// is absent is a protocol that the kernel does not have and no gap.
func (p *procfs) tables(link string, pid int) (sockets []Socket, complete bool) {
	complete = true
	for _, t := range tables {
		path := p.path(pid, "net/"+t.name)
		rows, err := readTable(path, t.transport)
		switch {
		case err == nil:
		case errors.Is(err, fs.ErrNotExist) && p.alive(pid):
			continue
		default:
			complete = false
			p.gap(Gap{Source: path, Reason: err.Error(), Hides: HidesSockets})
			continue
		}
		for _, r := range rows {
			sockets = append(sockets, Socket{
				Transport: t.transport, Address: r.address, Port: r.port, Namespace: p.label(link),
				Creator: UID{ID: r.uid, Known: true}, inodes: []uint64{r.inode},
				DualStack: dualStack(r.address),
			})
		}
	}
	return sockets, complete
}

func (p *procfs) alive(pid int) bool {
	_, err := os.Stat(p.path(pid, "net"))
	return err == nil
}

func readTable(path string, t registry.Transport) ([]tableRow, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return parseTable(f, path, t)
}
