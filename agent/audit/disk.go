package audit

import (
	"errors"
	"io"
	"os"
)

// disk is what a Log does to files and directories. It is a value of functions,
// so that a test can let any one call of them fail.
type disk struct {
	open     func(path string) (*os.File, error) // that exists, for appending
	create   func(path string) (*os.File, error) // that does not exist, for appending
	write    func(f *os.File, p []byte) (int, error)
	sync     func(f *os.File) error
	truncate func(f *os.File, size int64) error
	rename   func(from, to string) error
	remove   func(path string) error
	syncDir  func(dir string) error
}

// realDisk is that of the system.
func realDisk() disk {
	return disk{
		open: openAppend, create: createAppend,
		write:    (*os.File).Write,
		sync:     (*os.File).Sync,
		truncate: truncate,
		rename:   os.Rename, remove: os.Remove, syncDir: syncDir,
	}
}

// writeAll writes p by one call, or fails.
func (d disk) writeAll(f *os.File, p []byte) error {
	n, err := d.write(f, p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return err
}

// fill makes the file at path with p in it, on disk but for its name.
func (d disk) fill(path string, p []byte) (*os.File, error) {
	f, err := d.create(path)
	if err != nil {
		return nil, err
	}
	err = d.writeAll(f, p)
	if err == nil {
		err = d.sync(f)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
