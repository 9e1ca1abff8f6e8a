package listen

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/portaudit/portaudit/agent/listen/iphelper"
	"github.com/portaudit/portaudit/registry"
)

// windowsLister enumerates by the tables of the IP Helper API and asks the
// system about each process that they name.
type windowsLister struct {
	tables    iphelper.Reader
	rules     ruleCache
	processes map[uint32]Owner  // by pid, of the audit before
	accounts  map[string]string // by SID, as they were first looked up
	services  serviceTable      // of the audit before
}

// tablesSource and servicesSource name what was asked, in coverage records.
const (
	tablesSource   = "iphlpapi"
	servicesSource = "service control manager"
)

// windowsAudit is one enumeration.
type windowsAudit struct {
	*windowsLister
	snapshot Snapshot
	read     time.Time        // when the tables had been read
	seen     map[uint32]Owner // by pid
	names    map[uint32]string
	services serviceTable
	http     map[registry.Port]bool // nil until asked for

	// of how many processes nothing, not the account, not the command line
	// could be read
	denied, tokens, commandLines int
}

func (l *windowsLister) list(ctx context.Context) (Snapshot, error) {
	a := &windowsAudit{windowsLister: l, seen: map[uint32]Owner{}, snapshot: Snapshot{
		Time: time.Now(), Coverage: Coverage{Sources: []string{tablesSource, servicesSource}, Notes: windowsNotes()},
	}}
	ns, gaps := l.rules.get(ctx, a.snapshot.Time, hostNamespace)
	a.snapshot.Coverage.Gaps = append(a.snapshot.Coverage.Gaps, gaps...)
	rows, err := a.readTables(&ns)
	if err != nil {
		return withoutTables(ctx, err)
	}
	a.readServices()
	a.snapshot.Sockets = socketsOfRows(rows, a.owner)
	a.snapshot.Namespaces = []Namespace{ns}
	a.countGaps()
	l.processes, l.services = a.seen, a.services
	return a.snapshot, ctx.Err()
}

// windowsNotes say what this way does not tell.
func windowsNotes() []Note {
	return []Note{
		{tablesSource, "Windows shows bound UDP sockets whether they are connected or not"},
		{tablesSource, "the sockets of other network compartments, such as those of Windows containers, are not shown"},
		{"programs", "on Windows they are neither hashed nor looked for in packages"},
	}
}

// readTables reads the four tables. One that cannot be read is a gap; an error
// says that none could.
func (a *windowsAudit) readTables(ns *Namespace) ([]iphelper.Row, error) {
	var rows []iphelper.Row
	var errs []error
	tables := []iphelper.Table{iphelper.TCP4, iphelper.TCP6, iphelper.UDP4, iphelper.UDP6}
	for _, table := range tables {
		var err error
		if rows, err = a.tables.Append(rows, table); err != nil {
			errs = append(errs, err)
			a.gap(Gap{Source: tablesSource, Reason: err.Error(), Hides: HidesSockets})
		}
	}
	a.read = time.Now()
	if len(errs) == len(tables) {
		return nil, errors.Join(errs...)
	}
	ns.Complete = len(errs) == 0
	return rows, nil
}

// withoutTables asks gopsutil, which makes do with older calls.
func withoutTables(ctx context.Context, reason error) (Snapshot, error) {
	s, err := Portable(ctx)
	if err != nil {
		return Snapshot{}, errors.Join(reason, err)
	}
	s.Coverage.Gaps = append(s.Coverage.Gaps, Gap{
		Source: tablesSource, Hides: HidesFacts, Reason: fmt.Sprintf("gopsutil was asked instead: %v", reason),
	})
	return s, nil
}

func (a *windowsAudit) gap(g Gap) { a.snapshot.Coverage.Gaps = append(a.snapshot.Coverage.Gaps, g) }

// readServices asks which service runs in which process.
func (a *windowsAudit) readServices() {
	var err error
	if a.services, err = readServices(); err != nil {
		a.gap(Gap{Source: servicesSource, Reason: err.Error(), Hides: HidesFacts})
	}
}

// owner names the owner of one row.
func (a *windowsAudit) owner(row iphelper.Row) Owner {
	switch row.PID {
	case 0:
		return Owner{How: OtherPIDSpace} // the row names no process
	case systemPID:
		return systemOwner(row, a.httpPorts())
	}
	process, seen := a.seen[row.PID]
	if !seen {
		process = a.readOwner(row.PID)
		a.seen[row.PID] = process
	}
	return ownerOfRow(row, process, a.services.tagged(row.PID, row.ServiceTag), a.services.hosted[row.PID])
}

// readOwner reads the process, and counts what it may not.
func (a *windowsAudit) readOwner(pid uint32) Owner {
	p, err := openProcess(pid)
	switch {
	case err == nil:
		defer p.close()
	case errors.Is(err, errNoProcess):
		return Owner{How: Raced, PID: int(pid)}
	default:
		a.denied++
		return Owner{How: Denied, PID: int(pid), Command: a.processName(pid)}
	}
	if p.started.After(a.read) {
		return Owner{How: Raced, PID: int(pid)}
	}
	o := a.processes[pid]
	if o.How != Process || o.Start != p.start {
		o = p.owner(a.accounts)
		if o.Command == "" {
			o.Command = a.processName(pid)
		}
	}
	if o.SID == "" {
		a.tokens++
	}
	if len(o.Arguments) == 0 {
		a.commandLines++
	}
	o.Deleted = isDeleted(o.Executable)
	return o
}

// processName returns the name that every user may see of a process, "" if it
// has none any more.
func (a *windowsAudit) processName(pid uint32) string {
	if a.names == nil {
		var err error
		if a.names, err = processNames(); err != nil {
			a.gap(Gap{Source: "process list", Reason: err.Error(), Hides: HidesFacts})
		}
	}
	return a.names[pid]
}

// httpPorts returns the ports that are reserved with http.sys, none if it does
// not run.
func (a *windowsAudit) httpPorts() map[registry.Port]bool {
	if a.http != nil {
		return a.http
	}
	a.http = map[registry.Port]bool{}
	if !a.services.http {
		return a.http
	}
	ports, err := readHTTPPorts()
	if err != nil {
		a.gap(Gap{Source: httpDriver, Reason: err.Error(), Hides: HidesFacts})
	}
	for _, p := range ports {
		a.http[p] = true
	}
	return a.http
}

// countGaps records of how many processes something could not be read.
func (a *windowsAudit) countGaps() {
	for _, g := range []Gap{
		{Source: "processes", Hides: HidesOwners, Count: a.denied, Fix: elevate(), Reason: "processes of other users cannot be opened"},
		{Source: "tokens", Hides: HidesFacts, Count: a.tokens, Fix: elevate(), Reason: "the accounts that processes run under cannot be read"},
		{Source: "command lines", Hides: HidesFacts, Count: a.commandLines, Reason: "this system shows command lines only to who may read all memory of a process"},
	} {
		if g.Count > 0 {
			a.gap(g)
		}
	}
}
