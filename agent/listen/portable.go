package listen

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/shirou/gopsutil/v3/net"
	"github.com/shirou/gopsutil/v3/process"

	"github.com/portaudit/portaudit/registry"
)

// Portable enumerates the host's own network namespace through gopsutil/v3,
// on every platform that it supports.
//
// gopsutil's call for all processes (net.Connections) is not enough on Linux:
// it drops repetitions of (family, type, addresses, state), and with them the
// second process of a SO_REUSEPORT group and every forked child but one. Asked
// for each process in turn it names them all; there it reads the tables of
// that process's own network namespace, so processes of other namespaces are
// left out. The call for all processes then adds the sockets without owner.
func Portable(ctx context.Context) (Snapshot, error) {
	s := Snapshot{Time: time.Now(), Coverage: Coverage{Sources: []string{"gopsutil"}}}
	conns, err := net.ConnectionsWithContext(ctx, "inet")
	if err != nil {
		return Snapshot{}, fmt.Errorf("list sockets: %w", err)
	}
	if runtime.GOOS == "linux" {
		own, err := connectionsByProcess(ctx)
		if err != nil {
			return Snapshot{}, err
		}
		conns = append(conns, own...)
	}
	r := reader{owners: map[int32]Owner{}}
	var sockets []Socket
	for _, c := range conns {
		if socket, ok := socketOf(c); ok {
			socket.Owners = []Owner{r.owner(ctx, c.Pid)}
			sockets = append(sockets, socket)
		}
	}
	s.Sockets = withoutPhantoms(merge(sockets))
	s.Coverage.Gaps = portableGaps(r.denied)
	ns, gaps := hostNamespace(ctx)
	s.Namespaces = []Namespace{ns}
	s.Coverage.Gaps = append(s.Coverage.Gaps, gaps...)
	return s, nil
}

// portableGaps says what gopsutil does not show: on every host what it was not
// made for, and the owners that it was denied.
func portableGaps(denied int) []Gap {
	var instead string // a way that shows more
	if runtime.GOOS == "linux" || runtime.GOOS == "windows" {
		instead = "leave the source to portaudit (--source auto)"
	}
	gaps := []Gap{{
		Source: "gopsutil", Hides: HidesSockets, Fix: instead,
		Reason: "it shows TCP and UDP alone, of one network namespace: no UDP-Lite, SCTP, DCCP, raw, packet or vsock sockets, none of containers",
	}, {
		Source: "gopsutil", Hides: HidesFacts, Fix: instead,
		Reason: "it tells nothing of exposure, devices, units, containers, capabilities, packages, digests and parents",
	}}
	if denied > 0 {
		g := Gap{Source: "gopsutil", Hides: HidesOwners, Count: denied, Fix: elevate(), Reason: "processes of other users cannot be read"}
		if g.Fix == "" {
			g.Reason = "some processes cannot be read, even by root"
		}
		gaps = append(gaps, g)
	}
	return gaps
}

// elevate says how to see more, "" if this process may see everything.
func elevate() string {
	switch {
	case runtime.GOOS == "windows":
		return "run as an administrator, or as a service"
	case os.Geteuid() == 0:
		return ""
	default:
		return "run as root"
	}
}

// connectionsByProcess asks for each process of this network namespace in turn.
func connectionsByProcess(ctx context.Context) ([]net.ConnectionStat, error) {
	pids, err := process.PidsWithContext(ctx)
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	self, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		return nil, fmt.Errorf("read this process's network namespace: %w", err)
	}
	var conns []net.ConnectionStat
	for _, pid := range pids {
		if ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid)); err != nil || ns != self {
			continue
		}
		own, err := net.ConnectionsPidWithContext(ctx, "inet", pid)
		if err != nil {
			continue // it ended, or belongs to somebody else: the owner stays unresolved
		}
		conns = append(conns, own...)
	}
	return conns, ctx.Err()
}

// socketOf turns gopsutil's row into a Socket, if it listens. gopsutil gives
// UDP no state of its own ("NONE" on Linux, "" on Windows): a UDP socket that
// is bound and not connected listens.
func socketOf(c net.ConnectionStat) (Socket, bool) {
	s := Socket{Port: registry.Port(c.Laddr.Port), Namespace: HostNamespace}
	switch c.Type {
	case syscall.SOCK_STREAM:
		s.Transport = registry.TCP
		if c.Status != "LISTEN" {
			return s, false
		}
	case syscall.SOCK_DGRAM:
		s.Transport = registry.UDP
		if c.Raddr.Port != 0 {
			return s, false
		}
	default:
		return s, false
	}
	s.Address = parseAddress(c.Laddr.IP, c.Family)
	s.DualStack = dualStack(s.Address)
	return s, s.Port != 0 && s.Address.IsValid()
}

// parseAddress reads an address as gopsutil prints it: "*" is the wildcard
// address of the family on darwin.
func parseAddress(s string, family uint32) netip.Addr {
	if s == "*" || s == "" {
		if family == syscall.AF_INET {
			return netip.IPv4Unspecified()
		}
		return netip.IPv6Unspecified()
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}
	}
	return a
}

// dualStack says what can be told from the address alone: neither the socket
// tables of /proc nor gopsutil show IPV6_V6ONLY.
func dualStack(a netip.Addr) Answer {
	if a.Is4() {
		return No
	}
	return Unknown
}

// withoutPhantoms drops the "no owner" that the call for all processes adds to
// a socket whose owners the call for each process found.
func withoutPhantoms(sockets []Socket) []Socket {
	for i, s := range sockets {
		var owners []Owner
		for _, o := range s.Owners {
			if o.Resolved() {
				owners = append(owners, o)
			}
		}
		if len(owners) > 0 {
			sockets[i].Owners = owners
		}
	}
	return sockets
}

// reader reads each process once for one enumeration.
type reader struct {
	owners map[int32]Owner
	denied int
}

// systemPID is the process of the Windows kernel, which owns the listeners of
// http.sys and SMB.
const systemPID = 4

func (r *reader) owner(ctx context.Context, pid int32) Owner {
	if o, known := r.owners[pid]; known {
		return o
	}
	o := Owner{How: Denied}
	switch {
	case pid == 0 && runtime.GOOS == "windows":
		o.How = OtherPIDSpace // the row names no process
	case pid == 0:
		r.denied++
	case pid == systemPID && runtime.GOOS == "windows":
		o = Owner{How: Kernel, PID: systemPID, Command: "System"}
	default:
		o = readProcess(ctx, pid)
		if o.How == Denied {
			r.denied++
		}
	}
	r.owners[pid] = o
	return o
}

// readProcess reads what gopsutil tells of a process; the creation time, the
// same before and after, shows that all of it was of one process.
func readProcess(ctx context.Context, pid int32) Owner {
	p, err := process.NewProcessWithContext(ctx, pid)
	if errors.Is(err, process.ErrorProcessNotRunning) {
		return Owner{How: Raced, PID: int(pid)}
	}
	o := Owner{How: Process, PID: int(pid)}
	if err != nil {
		o.How = Denied
		return o
	}
	before, _ := createTime(ctx, pid)
	o.Start = uint64(before)
	if before > 0 {
		o.Started = time.UnixMilli(before).UTC()
	}
	readFacts(ctx, p, &o)
	if after, err := createTime(ctx, pid); err == nil && after != before {
		return Owner{How: Raced, PID: int(pid)}
	}
	if o.Executable == "" && o.Command == "" {
		o.How = Denied
	}
	return o
}

// createTime asks anew: a process.Process keeps its first answer.
func createTime(ctx context.Context, pid int32) (int64, error) {
	return (&process.Process{Pid: pid}).CreateTimeWithContext(ctx)
}

// readFacts fills in what can be read; what can't be stays unknown.
func readFacts(ctx context.Context, p *process.Process, o *Owner) {
	if exe, err := p.ExeWithContext(ctx); err == nil {
		o.Executable = exe
		_, err := os.Stat(exe)
		o.Deleted = answer(os.IsNotExist(err))
		if name, ok := strings.CutSuffix(exe, deletedSuffix); ok && o.Deleted == Yes {
			o.Executable = name
			o.unnamed()
		}
		if o.Deleted == Yes && o.Executable != exe {
			_, err := os.Stat(o.Executable)
			o.Replaced = answer(err == nil)
		}
	}
	if name, err := p.NameWithContext(ctx); err == nil {
		o.Command = name
	} else if o.Executable != "" {
		o.Command = filepath.Base(o.Executable)
	}
	if args, err := p.CmdlineSliceWithContext(ctx); err == nil {
		o.Arguments = args
	}
	if parent, err := p.PpidWithContext(ctx); err == nil {
		o.Parent = int(parent)
	}
	if name, err := p.UsernameWithContext(ctx); err == nil {
		o.User = name
	}
	// real, effective, saved, file system
	if uids, err := p.UidsWithContext(ctx); err == nil && len(uids) > 1 {
		o.UID = UID{ID: uint32(uids[1]), Known: true}
	}
}
