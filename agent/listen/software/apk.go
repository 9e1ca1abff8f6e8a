package software

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
)

// apkInstalled is where apk keeps what it has installed: the second is for
// apk 3 on a system whose /lib is merged into /usr without a link.
var apkInstalled = [...]string{"lib/apk/db/installed", "usr/lib/apk/db/installed"}

// searchAPK answers from apk's database. The error wraps fs.ErrNotExist if
// there is none.
func searchAPK(r *root, s *search) error {
	var err error
	for _, name := range apkInstalled {
		if err = readAPK(r, s, name); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return err
}

func readAPK(r *root, s *search, name string) error {
	f, size, err := r.open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return parseAPK(r.lines(f, size), name, s)
}

// parseAPK reads the installed database of apk (apk-package-index(5) and
// https://wiki.alpinelinux.org/wiki/Apk_spec): a letter, a colon and a value a
// line, an empty line after each package. P is its name, V its version, A its
// architecture; F is a directory, relative to the root, and R a file in the
// directory before it.
func parseAPK(scan *bufio.Scanner, name string, s *search) error {
	p := Package{Manager: APK}
	var file []byte // of the last F: a slash and the directory
	var dir int     // how much of file is the directory
	inside := false // whether a file of that directory is looked for
	n := 1
	for ; scan.Scan(); n++ {
		line := scan.Bytes()
		if len(line) == 0 {
			p, inside = Package{Manager: APK}, false
			continue
		}
		if len(line) < 2 || line[1] != ':' {
			return fmt.Errorf("%s:%d: %q is no field", name, n, clip(line))
		}
		value := line[2:]
		switch line[0] {
		case 'P':
			p.Name = string(value)
		case 'V':
			p.Version = string(value)
		case 'A':
			p.Architecture = string(value)
		case 'F':
			file = file[:0]
			if len(value) > 0 {
				file = append(append(file, '/'), value...)
			}
			dir, inside = len(file), s.looksInto(file)
		case 'R':
			if !inside {
				continue
			}
			file = append(append(file[:dir], '/'), value...)
			if canonical, ok := s.lists(file); ok && p.Name != "" {
				s.give(canonical, p)
			}
		}
	}
	return scanError(scan, name, n)
}
