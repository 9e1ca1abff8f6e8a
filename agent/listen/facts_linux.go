package listen

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/portaudit/portaudit/agent/listen/digest"
	"github.com/portaudit/portaudit/agent/listen/software"
)

// onceRate is how many bytes a single enumeration hashes at the most: what a
// core does in a fifth of a second. A daemon comes back for the rest.
const onceRate = 256 << 20

// newHasher returns what hashes executables; nil if that is not wanted.
func newHasher(o Options) *digest.Hasher {
	if o.MaxDigest < 0 {
		return nil
	}
	l := digest.Limits{MaxSize: o.MaxDigest}
	if o.Once {
		l.Rate = onceRate
	}
	return digest.New(l)
}

// program is a file as the processes that share a root directory see it.
type program struct {
	exe, root fileID
	path      string
}

// programFacts is what a program's file tells, whoever runs it.
type programFacts struct {
	writable Answer
	sum      digest.Sum
	unhashed Unhashed
	pkg      Package
}

// programs finds out about the files of processes that were just read, once
// for each. The digests are computed meanwhile on another core; that goroutine
// has ended when it returns.
func (e *engine) programs(ctx context.Context, pids []int32, read []processFacts, most int64) map[program]programFacts {
	facts := map[program]programFacts{}
	runs := map[program]int32{}     // a process that runs it
	wanted := map[fileID][]string{} // paths by root
	roots := map[fileID]int32{}     // a process that has the root
	for i, p := range read {
		key := programOf(p)
		if _, done := runs[key]; done || p.owner.Executable == "" {
			continue
		}
		runs[key] = pids[i]
		if p.owner.Memory == Yes {
			continue // it lies nowhere, and no package brought it
		}
		facts[key] = programFacts{writable: worldWritable(e.directory(pids[i])+"/root", p.owner.Executable, p.mode)}
		if p.root != (fileID{}) {
			wanted[p.root] = append(wanted[p.root], p.owner.Executable)
			roots[p.root] = pids[i]
		}
	}
	digests := make(chan map[program]programFacts)
	go func() {
		sums := map[program]programFacts{}
		for key, pid := range runs {
			sum, unhashed := e.digest(ctx, e.directory(pid)+"/exe", key.exe, most)
			sums[key] = programFacts{sum: sum, unhashed: unhashed}
		}
		digests <- sums
	}()
	packages := map[fileID]map[string]software.Package{}
	for root, paths := range wanted {
		packages[root] = e.packages(root, roots[root], paths)
	}
	for key, d := range <-digests {
		f := facts[key]
		f.sum, f.unhashed = d.sum, d.unhashed
		if pkg, ok := packages[key.root][key.path]; ok {
			f.pkg = Package{Manager: pkg.Manager, Name: pkg.Name, Version: pkg.Version}
		}
		facts[key] = f
	}
	return facts
}

// directory is that of a process in /proc.
func (e *engine) directory(pid int32) string { return e.base + "/" + strconv.Itoa(int(pid)) }

func programOf(p processFacts) program { return program{p.exe, p.root, p.owner.Executable} }

// digest returns the digest of a running file, or why there is none. A look
// that nobody has the right to is no gap of its own: the executable's name would
// be missing too. A file of more than most bytes is left for later, unless its
// digest is known, or it was tried.
func (e *engine) digest(ctx context.Context, path string, exe fileID, most int64) (digest.Sum, Unhashed) {
	if e.hasher == nil || exe == (fileID{}) {
		return digest.Sum{}, UnhashedOther
	}
	// The process may run another file by now, and its number may be another's:
	// that file's digest is not asked for.
	f, size, err := openProgram(path, exe)
	switch {
	case errors.Is(err, errOtherProgram):
		return digest.Sum{}, UnhashedPending
	case err != nil:
		return digest.Sum{}, UnhashedOther
	}
	defer f.Close()
	if sum, known := e.patient.Known(f); known {
		return sum, UnhashedOther
	}
	if size > most && e.hasher.Fits(size) {
		sum, known := e.hasher.Known(f)
		if known || e.unhashable[exe] {
			return sum, UnhashedOther
		}
		return digest.Sum{}, UnhashedPending
	}
	sum, err := e.hasher.SumFile(ctx, f)
	switch {
	case errors.Is(err, digest.ErrTooLarge):
		return sum, UnhashedLarge
	case errors.Is(err, digest.ErrBusy):
		return sum, UnhashedPending
	}
	return sum, UnhashedOther
}

// tooLarge counts the programs that run and are too large to hash.
func (e *engine) tooLarge() int {
	programs := map[fileID]bool{}
	for _, k := range e.processes {
		if k.owner.Unhashed == UnhashedLarge {
			programs[k.exe] = true
		}
	}
	return len(programs)
}

// indexPackages lets later questions for this system's packages be answered soon:
// whose program listens anew should not have to wait for a disk. What is wrong
// with a database, the answers tell.
func (e *engine) indexPackages() {
	if e.options.Once {
		return
	}
	e.packages(e.ownRoot, 0, nil) // opens it
	_ = e.databases[e.ownRoot].Index()
}

// nameGroups gives the groups of a process that was just read their names.
func (e *engine) nameGroups(groups []Group) {
	for i, g := range groups {
		name, ok := e.groups[g.ID]
		if !ok {
			name = lookUpGroup(strconv.FormatUint(uint64(g.ID), 10))
			e.groups[g.ID] = name
		}
		groups[i].Name = name
	}
}

// inContainer adds to an owner what is known of its container.
func (e *engine) inContainer(o *Owner) {
	if o.Container == "" || delegated(o.Cgroup) {
		return
	}
	c, err := e.containers.Look(o.Container)
	if err != nil {
		e.containerProblem = err.Error()
	}
	o.ContainerName, o.Image = c.Name, c.Image
}

// packages returns which package each of the paths belongs to, as seen from a
// root directory. Databases are kept as long as a process has their root.
func (e *engine) packages(root fileID, pid int32, paths []string) map[string]software.Package {
	db := e.databases[root]
	if db == nil {
		path := "/"
		if root != e.ownRoot {
			path = e.directory(pid) + "/root"
		}
		db = software.Open(path)
		if root == e.ownRoot { // of another root the process that leads to it may end
			e.databases[root] = db
		}
	}
	owners, err := db.Owners(paths)
	if err != nil && !errors.Is(err, software.ErrNoDatabase) && root == e.ownRoot {
		e.packageProblem = err.Error()
	}
	return owners
}

// binaryUnits writes a number of bytes in the largest unit that leaves it whole
// (IEC 80000-13).
func binaryUnits(n int64) string {
	units := []string{"bytes", "KiB", "MiB", "GiB", "TiB"}
	i := 0
	for n != 0 && n%1024 == 0 && i+1 < len(units) {
		n, i = n/1024, i+1
	}
	return fmt.Sprintf("%d %s", n, units[i])
}

// factNotes says of the facts about programs what is missing and why.
func (e *engine) factNotes() []Note {
	var notes []Note
	if n := e.tooLarge(); n > 0 {
		notes = append(notes, Note{"sha256", fmt.Sprintf("%d programs larger than %s were not hashed", n, binaryUnits(e.options.MaxDigest))})
	}
	if n := len(e.pending); n > 0 {
		notes = append(notes, Note{"sha256", fmt.Sprintf("%d programs are not hashed yet: so many bytes were read already", n)})
	}
	if e.hasher == nil {
		notes = append(notes, Note{"sha256", "programs are not hashed"})
	}
	if e.containerProblem != "" {
		notes = append(notes, Note{"containers", e.containerProblem})
	}
	if e.packageProblem != "" {
		notes = append(notes, Note{"packages", e.packageProblem})
	}
	if e.managerProblem != "" {
		notes = append(notes, Note{"systemd", e.managerProblem})
	}
	return notes
}
