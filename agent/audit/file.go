package audit

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// WriteFile replaces the file at path by one with data and perm (exactly, not
// less a umask; on Windows only the owner's write bit counts). When it returns
// nil, the new file is on disk; at any moment before, and after an error or a
// crash, path is either the old file or the whole new one. The directory must
// exist; a crash can leave a file named like ".path.123.tmp" in it.
func WriteFile(path string, data []byte, perm fs.FileMode) error {
	return WriteFileBy(path, perm, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// WriteFileBy is WriteFile for data that write writes, a part at a time.
func WriteFileBy(path string, perm fs.FileMode, write func(io.Writer) error) error {
	dir, base := filepath.Split(path)
	dir = filepath.Clean(dir) // "" is "."
	// In the same directory, for a rename is atomic within one file system.
	f, err := os.CreateTemp(dir, "."+base+".*.tmp")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	err = fill(f, perm, write)
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, errors.Join(err, os.Remove(f.Name())))
	}
	if err := syncDir(dir); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// temporaryOf returns the name of the file that a temporary file of WriteFileBy was
// to become, "" if it is none.
func temporaryOf(name string) string {
	name, hidden := strings.CutPrefix(name, ".")
	name, temporary := strings.CutSuffix(name, ".tmp")
	if !hidden || !temporary {
		return ""
	}
	return strings.TrimSuffix(name, filepath.Ext(name))
}

// fill lets write fill f, brings it to disk and closes it.
func fill(f *os.File, perm fs.FileMode, write func(io.Writer) error) error {
	err := write(f)
	if err == nil {
		err = f.Chmod(perm)
	}
	if err == nil {
		err = f.Sync() // before the rename, or a crash may leave an empty file under the new name
	}
	return errors.Join(err, f.Close())
}

// openRegular opens a file for reading, and nothing else: who reads the log of others
// must not wait at a pipe that has the name of a file, nor touch a device.
func openRegular(path string) (*os.File, error) {
	if fi, err := os.Stat(path); err == nil {
		if err := irregular(path, fi); err != nil {
			return nil, err
		}
	}
	f, err := openShared(path)
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat() // of what was opened: the name may be another's by now
	if err == nil {
		err = irregular(path, fi)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// irregular says why what has a name is not read, nil if it is a file.
func irregular(path string, fi fs.FileInfo) error {
	if fi.Mode().IsRegular() {
		return nil
	}
	return &fs.PathError{Op: "open", Path: path, Err: errors.New("it is not a regular file")}
}

// makeDir makes dir by mkdir and what is missing above it, for its owner only, and
// brings each new name to disk.
func makeDir(dir string, mkdir func(string) error) error {
	dir = filepath.Clean(dir)
	if fi, err := os.Stat(dir); err == nil && fi.IsDir() {
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		above := func(dir string) error { return os.Mkdir(dir, 0o700) }
		if err := makeDir(parent, above); err != nil {
			return err
		}
	}
	if err := mkdir(dir); err != nil {
		if fi, err := os.Stat(dir); err == nil && fi.IsDir() {
			return nil // another process made it just now
		}
		return err
	}
	return syncDir(parent)
}

// syncDir brings the names in a directory to disk. On Windows there is no such
// call: FlushFileBuffers wants a handle that may write, and a directory gives
// none. NTFS keeps names in its own journal.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
