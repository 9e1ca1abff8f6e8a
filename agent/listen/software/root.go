package software

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"sync/atomic"
)

const (
	// maxPass bounds the bytes of all files that one pass reads. The lists of
	// a full Debian desktop are 60 MB; a large rpm database is 300 MB.
	maxPass = 1 << 30

	// maxEntries bounds the files of one directory; all of Debian has about
	// 70,000 packages, with ten files each.
	maxEntries = 1 << 20

	// maxLine bounds a line. The longest are fields of a package's relations,
	// some 100 KB for the feature packages of Rust libraries.
	maxLine = 1 << 20
)

var errTooMuch = fmt.Errorf("more than %d bytes to read", maxPass)

// root opens files below a directory, for one pass. Nothing leads out of it:
// os.Root sees to that, and links are followed as that system itself would, so
// that an absolute one begins at the root again.
type root struct {
	dir   *os.Root
	own   bool          // this process's: whoever may write there may do all that it may
	left  *atomic.Int64 // bytes that this pass may still open
	buf   []byte        // of the scanner, reused from file to file
	whole []byte        // of readSmall, reused as well
	index *dpkgIndex    // of dpkg's lists as they are now; nil: there is none
}

func openRoot(name string) (*root, error) {
	dir, err := os.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	r := &root{dir: dir, own: name == "/", left: new(atomic.Int64), buf: make([]byte, 64<<10)}
	r.left.Store(maxPass)
	return r, nil
}

// another returns the same root with a buffer of its own, for another goroutine.
func (r *root) another() *root {
	return &root{dir: r.dir, own: r.own, left: r.left, buf: make([]byte, len(r.buf))}
}

func (r *root) close() { r.dir.Close() } //nolint:errcheck // it was only read

// resolve returns the name without links. It looks at each part, and so is
// asked only where a plain look-up did not do.
func (r *root) resolve(name string) (string, error) {
	const maxFollowed = 40 // MAXSYMLINKS of include/linux/namei.h
	done, rest := ".", under(name)
	for followed := 0; rest != ""; {
		part, tail, _ := strings.Cut(rest, "/")
		next := path.Join(done, part)
		if next == ".." || strings.HasPrefix(next, "../") {
			next = "." // the root is its own parent
		}
		target, err := r.dir.Readlink(next)
		if err != nil { // no link; what is wrong with it, the open will say
			done, rest = next, tail
			continue
		}
		if followed++; followed > maxFollowed {
			return "", fmt.Errorf("%s: more than %d links", name, maxFollowed)
		}
		if path.IsAbs(target) {
			done = "."
		}
		rest = strings.Trim(path.Join(target, tail), "/")
	}
	return done, nil
}

// stat follows links.
func (r *root) stat(name string) (fs.FileInfo, error) {
	fi, err := r.dir.Stat(name)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return fi, err
	}
	if name, err = r.resolve(name); err != nil {
		return nil, err
	}
	return r.dir.Stat(name)
}

// sub opens a directory as a root of its own, for many files in it.
func (r *root) sub(name string) (*os.Root, error) {
	d, err := r.dir.OpenRoot(name)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return d, err
	}
	if name, err = r.resolve(name); err != nil {
		return nil, err
	}
	return r.dir.OpenRoot(name)
}

// open opens a regular file, whose size then counts against the pass.
func (r *root) open(name string) (*os.File, int64, error) {
	f, size, err := r.openIn(r.dir, name)
	if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, errTooMuch) {
		return f, size, err
	}
	real, linkErr := r.resolve(name)
	if linkErr != nil || real == name {
		return nil, 0, err
	}
	return r.openIn(r.dir, real)
}

// openIn is open for a file of dir that is not reached through links.
func (r *root) openIn(dir *os.Root, name string) (*os.File, int64, error) {
	f, err := openRegular(dir, name)
	if err != nil {
		return nil, 0, err
	}
	fi, err := f.Stat()
	if err == nil && r.left.Add(-fi.Size()) < 0 {
		err = fmt.Errorf("%s: %w", name, errTooMuch)
	}
	if err != nil {
		f.Close() //nolint:errcheck // it was only read
		return nil, 0, err
	}
	return f, fi.Size(), nil
}

// errNotSmall says that a file is to be read in the ordinary way.
var errNotSmall = errors.New("no small file")

// maxSmall bounds what readSmall reads. The longest list of Debian's is 5 MB.
const maxSmall = 8 << 20

// notRegular is the error for what is there and is no file. It must not be
// opened: to open a device may act on it (a watchdog reboots the host), and to
// open a pipe waits for a writer.
func notRegular(name string, mode fs.FileMode) error {
	return fmt.Errorf("%s: no regular file (%s)", name, mode)
}

// lines returns a scanner of the file's lines, one at a time for this root.
// A file that grows is read to the size that it had.
func (r *root) lines(f io.Reader, size int64) *bufio.Scanner {
	scan := bufio.NewScanner(io.LimitReader(f, size))
	scan.Buffer(r.buf, maxLine)
	return scan
}

// entries calls do with the name of each entry of the directory.
func entries(dir *os.Root, do func(name string) error) error {
	d, err := dir.Open(".")
	if err != nil {
		return err
	}
	defer d.Close()
	for n := 0; ; {
		names, err := d.Readdirnames(512)
		if n += len(names); n > maxEntries {
			return fmt.Errorf("%s: more than %d files", dir.Name(), maxEntries)
		}
		for _, name := range names {
			if err := do(name); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// clip shortens what was refused, for an error.
func clip(b []byte) []byte {
	const most = 64
	return b[:min(len(b), most)]
}
