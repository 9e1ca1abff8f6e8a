package registry

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
)

// FileName is the name of the imported registry in the data directory.
const FileName = "registry.bin"

// Load opens the registry that Save put into dir. The error matches
// fs.ErrNotExist where there is none; any other means that the file is damaged
// or cannot be read.
func Load(dir string) (*Registry, error) {
	path := filepath.Join(dir, FileName)
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	blob, err := io.ReadAll(newBounded(f))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	r, err := Open(blob)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: import the registry again, or remove the file to use the built-in one", path, err)
	}
	return r, nil
}

// Save makes t the imported registry of dir, which it creates if need be. The
// change is atomic: on any error, and after a power cut at any moment, either
// the old file or the new one is there whole.
func Save(dir string, t *Table) error {
	blob := t.Pack()
	if _, err := Open(blob); err != nil {
		return fmt.Errorf("the table cannot be packed: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	temporary, err := writeTemporary(dir, blob)
	if err != nil {
		return err
	}
	if err := os.Rename(temporary, filepath.Join(dir, FileName)); err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	return syncDir(dir)
}

// writeTemporary writes blob to a new file in dir, safe on the disk and
// readable for all, and leaves nothing behind on an error.
func writeTemporary(dir string, blob []byte) (path string, err error) {
	f, err := os.CreateTemp(dir, FileName+".*")
	if err != nil {
		return "", err
	}
	_, err = f.Write(blob)
	// CreateTemp makes the file private; a scan without root needs to read it.
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}

// syncDir makes a rename in dir outlast a power cut. Windows has no such call
// for directories and its file system journals the rename by itself.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
