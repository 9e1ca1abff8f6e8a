package software

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"sync"
	"time"
)

const (
	// recheck is how long answers are given before the databases are looked
	// at for changes. A look is some twenty calls of stat.
	recheck = time.Second

	// maxAnswers bounds the answers that are kept. A host runs some hundred
	// different programs.
	maxAnswers = 8192
)

// Database answers for the files below one root directory. It may be used by
// several goroutines at once.
type Database struct {
	root string

	mu      sync.Mutex
	answers map[string]answer
	checked time.Time   // of the last look for changes
	home    fs.FileInfo // of the root at that look
	stamp   stamp       // of the databases at that look
	index   *dpkgIndex  // of dpkg's lists at that look; nil: there is none
}

// answer is what is known of one path: nothing owns it if the package is zero.
type answer struct {
	Package
	err error
}

// Open returns the database of the system whose root directory is root: "/",
// or "/proc/PID/root" for a container. It reads nothing yet. The root is opened
// for each reading and not held in between, for a held directory keeps a
// container from being removed; that PID is still the same process is for the
// caller to know.
func Open(root string) *Database {
	return &Database{root: root, answers: map[string]answer{}}
}

// Owner returns the package that owns the file at name, an absolute path as
// seen below the root, with links resolved as /proc/PID/exe shows it. It is
// false if no package does. Answers, those too, are kept until a database
// changes, which is seen after at most a second. Errors: see Owners.
func (d *Database) Owner(name string) (Package, bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if time.Since(d.checked) < recheck {
		if a, known := d.answers[name]; known {
			return a.Package, a.Manager != "", a.err
		}
	}
	owners, err := d.owners([]string{name})
	p, owned := owners[name]
	return p, owned, err
}

// Owners is Owner for several paths, for the price of one reading. What no
// package owns is absent from the result. An error wraps ErrNoDatabase,
// ErrChanging or that of a file, or names the file and the place that could
// not be parsed; what the other databases know is returned beside it.
func (d *Database) Owners(names []string) (map[string]Package, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.owners(names)
}

func (d *Database) owners(names []string) (map[string]Package, error) {
	if time.Since(d.checked) >= recheck {
		if err := d.refresh(); err != nil {
			return nil, err
		}
	}
	var unknown []string
	for _, name := range names {
		if _, known := d.answers[name]; !known {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) > 0 {
		if err := d.learn(unknown); err != nil {
			return nil, err
		}
	}
	owners := make(map[string]Package, len(names))
	var failed error // the same one for all: see learn
	for _, name := range names {
		a := d.answers[name]
		if a.Manager != "" {
			owners[name] = a.Package
		} else if a.err != nil {
			failed = a.err
		}
	}
	return owners, failed
}

// Index looks for changes, and reads once all of what is slow to read at each
// question, unless it knows it: where dpkg lists a file of which name. That takes
// 8 bytes for each file of the system, is kept until the next change, and makes
// no answer another one.
func (d *Database) Index() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.refresh(); err != nil || d.index != nil {
		return err
	}
	r, err := openRoot(d.root)
	if err != nil {
		return err
	}
	defer r.close()
	x, err := r.indexLists()
	if err != nil {
		return err
	}
	before := d.stamp
	if err := d.look(r); err != nil {
		return err
	}
	if d.stamp == before { // else it is of two states
		d.index = x
	}
	return nil
}

// refresh drops all answers if a database has changed.
func (d *Database) refresh() error {
	r, err := openRoot(d.root)
	if err != nil {
		return err
	}
	defer r.close()
	return d.look(r)
}

func (d *Database) look(r *root) error {
	home, err := r.dir.Stat(".")
	if err != nil {
		return err
	}
	now := r.stamp()
	if now != d.stamp || d.home == nil || !os.SameFile(home, d.home) {
		clear(d.answers)
		d.index = nil
	}
	d.home, d.stamp, d.checked = home, now, time.Now()
	return nil
}

// learn reads the databases once for all names. An error of reading is an
// answer too, kept as long as the databases stay as they are: a broken
// database is not worth a reading at each question.
func (d *Database) learn(names []string) error {
	for range 2 {
		r, err := openRoot(d.root)
		if err != nil {
			return err
		}
		r.index = d.index
		found, failed := r.owners(names)
		before := d.stamp
		err = d.look(r)
		r.close()
		if err != nil {
			return err
		}
		if d.stamp != before {
			continue
		}
		if len(d.answers)+len(names) > maxAnswers {
			clear(d.answers)
		}
		for _, name := range names {
			d.answers[name] = answer{Package: found[name], err: failed}
			if found[name].Manager != "" {
				d.answers[name] = answer{Package: found[name]}
			}
		}
		return nil
	}
	return fmt.Errorf("%s: %w", d.root, ErrChanging)
}

// owners asks each manager whose database is there.
func (r *root) owners(names []string) (map[string]Package, error) {
	s := newSearch(r.links(), names)
	managers := [...]func(*root, *search) error{searchDPKG, searchRPM, searchAPK, searchPacman}
	var errs []error
	absent := 0
	for _, manager := range managers {
		if s.missing() == 0 {
			break
		}
		switch err := manager(r, s); {
		case errors.Is(err, fs.ErrNotExist):
			absent++
		case err != nil:
			errs = append(errs, err)
		}
	}
	if absent == len(managers) {
		errs = append(errs, fmt.Errorf("%s: %w", r.dir.Name(), ErrNoDatabase))
	}
	found := make(map[string]Package)
	for _, name := range names {
		if p, ok := s.found[s.links.canonical(name)]; ok && path.IsAbs(name) {
			found[name] = p
		}
	}
	return found, errors.Join(errs...)
}

// stamped are the files and directories one of which changes whenever a
// database does. A manager replaces its files by rename or adds some, both of
// which change the time of a directory; SQLite writes into its log first.
var stamped = [...]string{
	dpkgStatus, dpkgDiversions, dpkgInfo, dpkgStatusDir,
	rpmHomes[0] + "/rpmdb.sqlite", rpmHomes[0] + "/rpmdb.sqlite-wal", rpmHomes[0] + "/Packages.db", rpmHomes[0] + "/Packages",
	rpmHomes[1] + "/rpmdb.sqlite", rpmHomes[1] + "/rpmdb.sqlite-wal", rpmHomes[1] + "/Packages.db", rpmHomes[1] + "/Packages",
	apkInstalled[0], apkInstalled[1],
	pacmanLocal,
}

type stamp [len(stamped)]struct{ size, modified int64 } // modified in ns of Unix time

// stamp tells the state of the databases. What is absent or cannot be seen has
// the zero state.
func (r *root) stamp() stamp {
	var s stamp
	for i, name := range stamped {
		if fi, err := r.stat(name); err == nil {
			s[i].size, s[i].modified = fi.Size(), fi.ModTime().UnixNano()
		}
	}
	return s
}

// under makes an absolute path relative to the root, as package os wants it.
func under(name string) string {
	name = strings.TrimLeft(path.Clean("/"+name), "/")
	if name == "" {
		return "."
	}
	return name
}
