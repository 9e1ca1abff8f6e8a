package software

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
)

// maxSameName bounds the files of one base name that a look-up goes through.
// A host has some thousand of README or __init__.py, and few of any program.
const maxSameName = 1 << 16

// readRPMSQLite searches rpm's SQLite database (lib/backend/sqlite.c): the
// index of base names leads to the few packages that may own a path, so that
// a large database costs no more than a small one.
func readRPMSQLite(r *root, f io.ReaderAt, _ int64, name string, s *search) error {
	log, size, err := r.open(name + "-wal")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = searchSQLite(f, nil, 0, s)
	case err != nil:
		return err
	default:
		defer log.Close()
		err = searchSQLite(f, log, size, s)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// searchSQLite does so with the database and its log of logSize bytes.
func searchSQLite(f, log io.ReaderAt, logSize int64, s *search) error {
	newest, err := readLog(log, logSize)
	if err != nil {
		return err
	}
	d, err := openSQLite(f, newest)
	if err != nil {
		return err
	}
	roots, err := d.rpmRoots()
	if err != nil {
		return err
	}
	numbers, err := d.candidates(roots, s)
	if err != nil {
		return err
	}
	for _, number := range slices.Sorted(maps.Keys(numbers)) {
		if s.missing() == 0 {
			break
		}
		row, ok, err := d.row(roots.packages, number)
		if err != nil {
			return fmt.Errorf("package %d: %w", number, err)
		}
		blob, isBlob := row.blob(1)
		if !ok || !isBlob {
			return fmt.Errorf("%w: package %d has no header", errSQLite, number)
		}
		if err := s.searchHeader(blob); err != nil {
			return fmt.Errorf("package %d: %w", number, err)
		}
	}
	return nil
}

// rpmRoots are the first pages of the trees that are used.
type rpmRoots struct{ packages, basenames, index uint32 }

// rpmRoots finds them in the schema, the rows of which are type, name, table,
// first page and statement.
func (d *sqlite) rpmRoots() (rpmRoots, error) {
	var roots rpmRoots
	err := d.rows(1, 0, func(row record) error {
		name, _ := row.text(1)
		first, _ := row.integer(3)
		switch string(name) {
		case "Packages":
			roots.packages = uint32(first)
		case "Basenames":
			roots.basenames = uint32(first)
		case "Basenames_key_idx":
			roots.index = uint32(first)
		}
		return nil
	})
	if err == nil && (roots.packages == 0 || roots.basenames == 0 || roots.index == 0) {
		err = fmt.Errorf("%w: no tables of rpm in it", errSQLite)
	}
	return roots, err
}

// candidates returns the numbers of the packages that have a file of a wanted
// base name: the rows of Basenames are key, package, number of the file.
func (d *sqlite) candidates(roots rpmRoots, s *search) (map[int64]struct{}, error) {
	bases := map[string]struct{}{}
	for name := range s.names {
		bases[path.Base(name)] = struct{}{}
	}
	numbers := map[int64]struct{}{}
	var ids []int64
	for base := range bases {
		ids = ids[:0] // first all, then the rows: they use the same buffers
		if _, err := d.find(roots.index, 0, []byte(base), func(id int64) error {
			if ids = append(ids, id); len(ids) > maxSameName {
				return fmt.Errorf("%q: more than %d files of this name", base, maxSameName)
			}
			return nil
		}); err != nil {
			return nil, err
		}
		for _, id := range ids {
			row, ok, err := d.row(roots.basenames, id)
			if err != nil {
				return nil, err
			}
			number, isNumber := row.integer(1)
			if !ok || !isNumber {
				return nil, fmt.Errorf("%w: %q leads to row %d, which names no package", errSQLite, base, id)
			}
			numbers[number] = struct{}{}
		}
	}
	return numbers, nil
}
