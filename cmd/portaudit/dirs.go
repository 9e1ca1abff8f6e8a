package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/portaudit/portaudit/registry"
)

// Modes of directories. Every user's scan reads the imported registry; what an
// agent remembers is its own.
const (
	publicMode  fs.FileMode = 0o755
	privateMode fs.FileMode = 0o700
)

// makePrivate makes a directory that is nobody else's business, in one that
// others may look into: an imported registry is for everybody.
func makePrivate(dir string, warn func(error)) error {
	if err := makePublic(filepath.Dir(dir), warn); err != nil {
		return err
	}
	err := os.Mkdir(dir, privateMode)
	if errors.Is(err, fs.ErrExist) {
		return nil // if it is no directory, what is written there says so
	}
	return err
}

// makePublic makes a directory that every user may look into. For root it is so
// whatever the umask, and one of mode 0700 that lies where the imported registry
// does by default becomes so: whoever made another has chosen its mode. What is
// in the way goes to warn.
func makePublic(dir string, warn func(error)) error {
	_, err := os.Lstat(dir)
	isNew := errors.Is(err, fs.ErrNotExist)
	if err := os.MkdirAll(dir, publicMode); err != nil {
		return err
	}
	if os.Geteuid() == 0 && (isNew || onWayToData(dir)) {
		if err := openUp(dir, isNew); err != nil {
			warn(fmt.Errorf("other users cannot read the imported registry: %w", err))
		}
	}
	return nil
}

// onWayToData reports whether a directory is that of the imported registry by
// default, or the one in which this lies.
func onWayToData(dir string) bool {
	data := defaultPaths().dataDir
	return filepath.Clean(dir) == data || filepath.Clean(dir) == filepath.Dir(data)
}

// openUp lets every user read a directory, if that shows them nothing: it and
// all that is in it belong to this user, and nobody else may use the files,
// other than to read a registry. One that is not new must be of mode 0700;
// another mode is somebody's choice. A link in its place is not followed.
func openUp(dir string, isNew bool) error {
	if led, err := os.Stat(dir); err == nil && led.Mode().Perm()&0o005 == 0o005 {
		return nil
	}
	named, err := os.Lstat(dir)
	switch {
	case err != nil:
		return err
	case !named.IsDir():
		return fmt.Errorf("%s is no directory itself: open up what it leads to (chmod 0755)", dir)
	case !isNew && named.Mode() != fs.ModeDir|privateMode:
		return nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	opened, err := root.Stat(".")
	if err != nil {
		return err
	}
	if !os.SameFile(named, opened) || !ownedBy(opened, os.Geteuid()) {
		return fmt.Errorf("%s belongs to another user", dir)
	}
	if name, err := looseEntry(root); err != nil {
		return err
	} else if name != "" {
		return fmt.Errorf("%s would be shown to them, too, for it is not this user's alone: move it, and chmod 0755 %s", filepath.Join(dir, name), dir)
	}
	return root.Chmod(".", publicMode)
}

// looseEntry returns the name of an entry of which an open directory would show
// other users more than its name, "" if there is none.
func looseEntry(root *os.Root) (string, error) {
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		info, err := root.Lstat(e.Name())
		if errors.Is(err, fs.ErrNotExist) {
			continue // a file that was written beside another one
		}
		if err != nil {
			return "", err
		}
		others := fs.FileMode(0o077)
		if isRegistry(info) {
			others = 0o022
		}
		if info.Mode()&fs.ModeSymlink != 0 || info.Mode().Perm()&others != 0 || !ownedBy(info, os.Geteuid()) {
			return e.Name(), nil
		}
	}
	return "", nil
}

// isRegistry reports whether an entry is an imported registry, or by its name
// the directory of one.
func isRegistry(info fs.FileInfo) bool {
	if info.IsDir() {
		return info.Name() == filepath.Base(defaultPaths().dataDir)
	}
	return info.Mode().IsRegular() && strings.HasPrefix(info.Name(), registry.FileName)
}
