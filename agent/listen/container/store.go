package container

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Container is what is known of one. Empty strings are unknown.
type Container struct {
	Name  string
	Image string // as it was asked for, or as the registry of images calls it
}

// maxFile bounds a file: one of Docker has some 5 KB, one of Podman 2 KB for each
// container of the host. maxFiles bounds how many are remembered.
const (
	maxFile  = 16 << 20
	maxFiles = 1024
)

// Store looks containers up by id, and remembers what files said until they
// change. It is for one goroutine.
type Store struct {
	root  string
	files map[string]file
}

// file is what one said.
type file struct {
	size       int64
	modified   time.Time
	containers map[string]Container
}

// Open returns the store of the system whose root directory is named. It reads
// nothing.
func Open(root string) *Store { return &Store{root: root, files: map[string]file{}} }

// dockerDir and podmanFiles are where they lie unless they are configured
// otherwise. Docker writes one file a container before it starts that. What Podman
// and CRI-O write (github.com/containers/storage) depends on the driver; volatile
// are those of containers that end with their process. What users without rights
// keep at home is theirs to say anything, and is not read.
const dockerDir = "var/lib/docker/containers"

func podmanFiles() []string {
	var all []string
	for _, driver := range []string{"overlay", "vfs", "btrfs", "zfs"} {
		for _, name := range []string{"containers.json", "volatile-containers.json"} {
			all = append(all, "var/lib/containers/storage/"+driver+"-containers/"+name)
		}
	}
	return all
}

// Look returns what is known of a container, the zero value if nothing is. What
// does not exist, and what this process may not read, is no error.
func (s *Store) Look(id string) (Container, error) {
	if !isID(id) {
		return Container{}, nil // of LXC, or a name that leads elsewhere
	}
	found, err := s.look(dockerDir+"/"+id+"/config.v2.json", parseDocker)
	if c, ok := found[id]; ok || err != nil {
		return c, err
	}
	for _, path := range podmanFiles() {
		found, err := s.look(path, parsePodman)
		if c, ok := found[id]; ok || err != nil {
			return c, err
		}
	}
	return Container{}, nil
}

// isID reports whether this is an id of Docker or Podman: 64 hexadecimal digits.
func isID(id string) bool {
	for _, c := range []byte(id) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return len(id) == 64
}

// look returns what a file says of containers, by id; nil if there is no such
// file, or none for us.
func (s *Store) look(path string, parse func(io.Reader) (map[string]Container, error)) (map[string]Container, error) {
	name := filepath.Join(s.root, filepath.FromSlash(path))
	info, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		delete(s.files, path)
		return nil, nil
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no regular file", name)
	case info.Size() > maxFile:
		return nil, fmt.Errorf("%s has %d bytes, more than %d", name, info.Size(), maxFile)
	}
	if f, ok := s.files[path]; ok && f.size == info.Size() && f.modified.Equal(info.ModTime()) {
		return f.containers, nil
	}
	opened, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer opened.Close()
	containers, err := parse(io.LimitReader(opened, maxFile))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(s.files) >= maxFiles {
		clear(s.files)
	}
	s.files[path] = file{info.Size(), info.ModTime(), containers}
	return containers, nil
}
