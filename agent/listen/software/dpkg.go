package software

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Where dpkg keeps what it has installed: dpkg(1), "Files". Images without
// dpkg (distroless) have a directory of control files instead.
const (
	dpkgStatus     = "var/lib/dpkg/status"
	dpkgDiversions = "var/lib/dpkg/diversions"
	dpkgInfo       = "var/lib/dpkg/info"
	dpkgStatusDir  = "var/lib/dpkg/status.d"
)

// dpkg is one pass through dpkg's database.
type dpkg struct {
	*search
	diverted map[string]diversion // by canonical path
	ends     [][]byte             // the last part of each path that is looked for, with what stands around it

	left   atomic.Int64 // paths without an owner so far
	mu     sync.Mutex
	owners map[string]dpkgOwner // by canonical path
}

// dpkgOwner is a package whose list, one in the order of the directory, has a
// path.
type dpkgOwner struct {
	dpkgName
	list int
}

// dpkgName is the name of a package, with the architecture where several may
// be installed at once (multiarch "same"); else "".
type dpkgName struct{ name, architecture string }

// searchDPKG answers from dpkg's lists. The error wraps fs.ErrNotExist if
// there is no database.
func searchDPKG(r *root, s *search) error {
	d := &dpkg{search: s, diverted: map[string]diversion{}, owners: map[string]dpkgOwner{}}
	errs := []error{d.readDiversions(r)}
	lists := d.readLists(r)
	if !errors.Is(lists, fs.ErrNotExist) {
		errs = append(errs, lists, d.readStatus(r))
		return errors.Join(errs...)
	}
	return d.readStatusDir(r)
}

// readDiversions reads which files dpkg has put elsewhere, and looks for those
// that are asked for under the name that their package lists.
func (d *dpkg) readDiversions(r *root) error {
	f, size, err := r.open(dpkgDiversions)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return parseDiversions(r.lines(f, size), dpkgDiversions, func(from string, v diversion) {
		from, v.to = d.links.canonical(from), d.links.canonical(v.to)
		d.diverted[from] = v
		if _, wanted := d.names[v.to]; wanted {
			d.want(from)
		}
	})
}

// dpkgLists returns the directory of dpkg's lists and their names, in an order
// that is always the same.
func (r *root) dpkgLists() (dir *os.Root, lists []string, err error) {
	if dir, err = r.sub(dpkgInfo); err != nil {
		return nil, nil, err
	}
	err = entries(dir, func(name string) error {
		if strings.HasSuffix(name, ".list") {
			lists = append(lists, name)
		}
		return nil
	})
	if err != nil {
		_ = dir.Close()
		return nil, nil, err
	}
	slices.Sort(lists)
	return dir, lists, nil
}

// worthReading returns the directory of dpkg's lists, and those that may have
// what is asked for: without an index all of them.
func (d *dpkg) worthReading(r *root) (dir *os.Root, lists []string, err error) {
	if r.index == nil {
		return r.dpkgLists()
	}
	if dir, err = r.sub(dpkgInfo); err != nil {
		return nil, nil, err
	}
	for _, i := range r.index.having(d.names) {
		lists = append(lists, r.index.lists[i])
	}
	return dir, lists, nil
}

// readLists reads the list of files of each package, on every core, until all
// are found. All goroutines have ended when it returns.
func (d *dpkg) readLists(r *root) error {
	dir, lists, err := d.worthReading(r)
	if err != nil {
		return err
	}
	defer dir.Close()
	for name := range d.names {
		end := []byte(name[strings.LastIndexByte(name, '/'):] + "\n")
		if !slices.ContainsFunc(d.ends, func(e []byte) bool { return bytes.Equal(e, end) }) {
			d.ends = append(d.ends, end)
		}
	}
	at, err := dir.Open(".")
	if err != nil {
		return err
	}
	defer at.Close()
	d.left.Store(int64(d.missing()))
	var next atomic.Int64
	var all sync.WaitGroup
	errs := make([]error, min(runtime.GOMAXPROCS(0), (len(lists)+listsEach-1)/listsEach))
	for worker := range errs {
		all.Go(func() {
			r := r.another()
			for d.left.Load() > 0 && errs[worker] == nil {
				i := int(next.Add(1)) - 1
				if i >= len(lists) {
					return
				}
				errs[worker] = d.readList(r, dir, at, lists[i], i)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// listsEach is how many lists are worth a goroutine.
const listsEach = 32

// readList reads the list of files of one package, the list of this number.
func (d *dpkg) readList(r *root, dir *os.Root, at *os.File, name string, number int) error {
	return r.readList(dir, at, name, d.mayList, func(scan *bufio.Scanner) error { return d.searchList(scan, name, number) })
}

// readList lets the lines of a list be read, unless it is not worth it by its
// content. One that was removed just now has none; the stamp tells.
func (r *root) readList(dir *os.Root, at *os.File, name string, worth func(content []byte) bool, read func(*bufio.Scanner) error) error {
	content, err := readSmall(at, name, r.own, maxSmall, r.whole)
	if err == nil {
		if r.whole = content; r.left.Add(-int64(len(content))) < 0 {
			return fmt.Errorf("%s/%s: %w", dpkgInfo, name, errTooMuch)
		}
		if !worth(content) {
			return nil
		}
		return read(r.lines(bytes.NewReader(content), int64(len(content))))
	}
	f, size, err := r.openIn(dir, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", dpkgInfo, err)
	}
	defer f.Close()
	return read(r.lines(f, size))
}

// mayList tells whether a list has the last part of a path that was asked for:
// to look for some is quicker than to split a list into lines.
func (d *dpkg) mayList(content []byte) bool {
	const some = 8
	if len(d.ends) > some || !bytes.HasSuffix(content, []byte{'\n'}) {
		return true
	}
	return slices.ContainsFunc(d.ends, func(end []byte) bool { return bytes.Contains(content, end) })
}

func (d *dpkg) searchList(scan *bufio.Scanner, name string, number int) error {
	owner := dpkgOwner{list: number}
	owner.name, owner.architecture, _ = strings.Cut(strings.TrimSuffix(name, ".list"), ":")
	return parseList(scan, dpkgInfo+"/"+name, func(line []byte) {
		if listed, ok := d.lists(line); ok {
			d.own(listed, owner)
		}
	})
}

// own notes that a package lists a path. Of several that do, the first list
// counts, whichever is read first.
func (d *dpkg) own(listed string, owner dpkgOwner) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if v, ok := d.diverted[listed]; ok && v.by != owner.name {
		listed = v.to
	}
	if _, open := d.asked[listed]; !open {
		return
	}
	first, taken := d.owners[listed]
	if !taken {
		d.left.Add(-1)
	}
	if !taken || owner.list < first.list {
		d.owners[listed] = owner
	}
}

// readStatus gives the owners, with the versions of the status file.
func (d *dpkg) readStatus(r *root) error {
	if len(d.owners) == 0 {
		return nil
	}
	versions := make(map[dpkgName]control, len(d.owners))
	for _, owner := range d.owners {
		versions[owner.dpkgName] = control{}
	}
	err := d.parseStatus(r, versions)
	for canonical, owner := range d.owners {
		c := versions[owner.dpkgName]
		p := Package{Manager: DPKG, Name: owner.name, Version: c.version, Architecture: c.architecture}
		if p.Architecture == "" {
			p.Architecture = owner.architecture
		}
		d.give(canonical, p)
	}
	return err
}

// parseStatus fills in the control data of the packages in versions.
func (d *dpkg) parseStatus(r *root, versions map[dpkgName]control) error {
	f, size, err := r.open(dpkgStatus)
	if err != nil {
		return fmt.Errorf("versions of packages: %v", err) // no %w: without the file there still is a database
	}
	defer f.Close()
	return parseControl(r.lines(f, size), dpkgStatus, func(c control) {
		for _, key := range [...]dpkgName{{c.name, ""}, {c.name, c.architecture}} {
			// Of two architectures of one name, the one that is installed.
			if old, wanted := versions[key]; wanted && !old.installed {
				versions[key] = c
			}
		}
	})
}

// readStatusDir reads a distroless image: a control file for each package in
// status.d, and its files in NAME.md5sums beside it.
func (d *dpkg) readStatusDir(r *root) error {
	dir, err := r.sub(dpkgStatusDir)
	if err != nil {
		return err
	}
	defer dir.Close()
	return entries(dir, func(name string) error {
		base, ok := strings.CutSuffix(name, ".md5sums")
		if !ok || d.missing() == 0 {
			return nil
		}
		owned, err := d.readSums(r, dir, name)
		if err != nil || len(owned) == 0 {
			return err
		}
		f, size, err := r.openIn(dir, base)
		if err != nil {
			return fmt.Errorf("%s: %w", dpkgStatusDir, err)
		}
		defer f.Close()
		p := Package{Manager: DPKG, Name: base}
		err = parseControl(r.lines(f, size), dpkgStatusDir+"/"+base, func(c control) {
			p.Name, p.Version, p.Architecture = c.name, c.version, c.architecture
		})
		for _, canonical := range owned {
			d.give(canonical, p)
		}
		return err
	})
}

// readSums returns which of the wanted paths the package has.
func (d *dpkg) readSums(r *root, dir *os.Root, name string) (owned []string, err error) {
	f, size, err := r.openIn(dir, name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dpkgStatusDir, err)
	}
	defer f.Close()
	err = parseSums(r.lines(f, size), dpkgStatusDir+"/"+name, func(path []byte) {
		if canonical, ok := d.lists(path); ok {
			owned = append(owned, canonical)
		}
	})
	return owned, err
}

// parseList reads a list of dpkg: one absolute path a line (deb-files of
// dpkg's lib/dpkg/db-fsys-files.c). do must not keep the line.
func parseList(scan *bufio.Scanner, name string, do func(line []byte)) error {
	n := 1
	for ; scan.Scan(); n++ {
		line := scan.Bytes()
		if len(line) == 0 || line[0] != '/' {
			return fmt.Errorf("%s:%d: %q is no absolute path", name, n, clip(line))
		}
		do(line)
	}
	return scanError(scan, name, n)
}

// parseSums reads the md5sums of a package (deb-md5sums(5)): a digest, two
// spaces, and a path without the slash before it. do must not keep the path.
func parseSums(scan *bufio.Scanner, name string, do func(path []byte)) error {
	var path []byte
	n := 1
	for ; scan.Scan(); n++ {
		line := scan.Bytes()
		sum, rest, ok := bytes.Cut(line, []byte("  "))
		if !ok || len(sum) != 32 || len(rest) == 0 {
			return fmt.Errorf("%s:%d: %q is no digest and path", name, n, clip(line))
		}
		path = append(append(path[:0], '/'), bytes.TrimPrefix(rest, []byte("./"))...)
		do(path)
	}
	return scanError(scan, name, n)
}

// diversion says where dpkg puts a file for all packages but one.
type diversion struct {
	to string
	by string // the package that has the original name; ":" is the administrator, for whom no package has it
}

// parseDiversions reads dpkg's diversions: three lines each, the path, where
// it goes, and whose wish it was (lib/dpkg/db-fsys-divert.c).
func parseDiversions(scan *bufio.Scanner, name string, do func(from string, v diversion)) error {
	var three [3]string
	n := 0
	for ; scan.Scan(); n++ {
		line := scan.Text()
		if line == "" || n%3 < 2 && line[0] != '/' {
			return fmt.Errorf("%s:%d: %q is no absolute path", name, n+1, clip(scan.Bytes()))
		}
		if three[n%3] = line; n%3 == 2 {
			do(three[0], diversion{three[1], three[2]})
		}
	}
	if err := scanError(scan, name, n+1); err != nil {
		return err
	}
	if n%3 != 0 {
		return fmt.Errorf("%s:%d: a diversion has three lines", name, n+1)
	}
	return nil
}

// control is what is read of a paragraph of deb-control(5).
type control struct {
	name, version, architecture string
	installed                   bool
}

// parseControl reads paragraphs of fields, each begun by an empty line
// (deb822(5)). A paragraph without a package name is skipped.
func parseControl(scan *bufio.Scanner, name string, do func(control)) error {
	var c control
	n := 1
	for ; scan.Scan(); n++ {
		line := scan.Bytes()
		if len(line) == 0 {
			if c.name != "" {
				do(c)
			}
			c = control{}
			continue
		}
		if line[0] == ' ' || line[0] == '\t' || line[0] == '#' {
			continue // more of the field before; a comment
		}
		field, value, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			return fmt.Errorf("%s:%d: %q is no field", name, n, clip(line))
		}
		value = bytes.TrimSpace(value)
		switch string(field) {
		case "Package":
			c.name = string(value)
		case "Version":
			c.version = string(value)
		case "Architecture":
			c.architecture = string(value)
		case "Status":
			c.installed = bytes.HasSuffix(value, []byte(" installed"))
		}
	}
	if c.name != "" {
		do(c)
	}
	return scanError(scan, name, n)
}

// scanError tells where a scan ended that did not reach the end.
func scanError(scan *bufio.Scanner, name string, line int) error {
	if err := scan.Err(); err != nil {
		return fmt.Errorf("%s:%d: %w", name, line, err)
	}
	return nil
}
