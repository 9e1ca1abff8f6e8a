package software

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// pacmanLocal is where pacman keeps what it has installed, with a directory
// NAME-VERSION-RELEASE for each package (pacman(8), "Configuration").
const pacmanLocal = "var/lib/pacman/local"

// searchPacman answers from pacman's database. The error wraps fs.ErrNotExist
// if there is none.
func searchPacman(r *root, s *search) error {
	dir, err := r.sub(pacmanLocal)
	if err != nil {
		return err
	}
	defer dir.Close()
	return entries(dir, func(name string) error {
		if s.missing() == 0 {
			return nil
		}
		owned, err := readPacmanFiles(r, s, dir, name)
		if err != nil || len(owned) == 0 {
			return err
		}
		p, err := readPacmanPackage(r, dir, name)
		for _, canonical := range owned {
			s.give(canonical, p)
		}
		return err
	})
}

// readPacmanFiles returns which of the wanted paths the package has.
func readPacmanFiles(r *root, s *search, dir *os.Root, name string) (owned []string, err error) {
	f, size, err := r.openIn(dir, name+"/files")
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, nil // ALPM_DB_VERSION is a file beside the packages
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", pacmanLocal, err)
	}
	defer f.Close()
	var path []byte
	err = parsePacman(r.lines(f, size), pacmanLocal+"/"+name+"/files", func(section, value []byte) {
		if string(section) != "%FILES%" {
			return
		}
		path = append(append(path[:0], '/'), value...)
		if canonical, ok := s.lists(path); ok {
			owned = append(owned, canonical)
		}
	})
	return owned, err
}

func readPacmanPackage(r *root, dir *os.Root, name string) (Package, error) {
	p := Package{Manager: Pacman, Name: name}
	f, size, err := r.openIn(dir, name+"/desc")
	if err != nil {
		return p, fmt.Errorf("%s: %v", pacmanLocal, err)
	}
	defer f.Close()
	err = parsePacman(r.lines(f, size), pacmanLocal+"/"+name+"/desc", func(section, value []byte) {
		switch string(section) {
		case "%NAME%":
			p.Name = string(value)
		case "%VERSION%":
			p.Version = string(value)
		case "%ARCH%":
			p.Architecture = string(value)
		}
	})
	return p, err
}

// parsePacman reads a file of pacman's database: sections, each begun by its
// name between percent signs and ended by an empty line (lib/libalpm/be_local.c
// of pacman). do must not keep what it is given.
func parsePacman(scan *bufio.Scanner, name string, do func(section, value []byte)) error {
	var section []byte
	n := 1
	for ; scan.Scan(); n++ {
		line := scan.Bytes()
		switch {
		case len(line) == 0:
			section = section[:0]
		case len(section) > 0:
			do(section, line)
		case len(line) > 2 && line[0] == '%' && line[len(line)-1] == '%':
			section = append(section, line...)
		default:
			return fmt.Errorf("%s:%d: %q is in no section", name, n, clip(line))
		}
	}
	return scanError(scan, name, n)
}
