package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/portaudit/portaudit/agent"
	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/agent/listen"
	"github.com/portaudit/portaudit/configs"
	"github.com/portaudit/portaudit/policy"
	"github.com/portaudit/portaudit/registry"
)

// lister opens what enumerates the sockets of this host. A way to find owners
// that does not exist is the caller's mistake, one that this host does not have
// is a failure.
func lister(s settings, once bool) (*listen.Lister, error) {
	way, err := listen.ParseWay(s.source)
	if err != nil {
		return nil, usage(err)
	}
	limit, err := parseSize(s.hash)
	if err != nil {
		return nil, usage(err)
	}
	if limit == 0 {
		limit = -1 // hash none
	}
	l, err := listen.Open(listen.Options{Way: way, Once: once, MaxDigest: limit})
	return l, failure(err)
}

// builtInPolicy is the name of the embedded policy in errors and output.
const builtInPolicy = "built-in policy"

// loadPolicy reads the policy file and those that it includes, or takes the
// embedded one if there is none.
func loadPolicy(path string) (*policy.Policy, error) {
	return compilePolicy(path, policyFiles(warnOfPolicy))
}

// policyFiles is where a policy finds those that it includes and extends, for a
// command that its user looks at: what others can change goes to warn, and is
// taken all the same.
func policyFiles(warn func(error)) policy.Files {
	return policy.Files{
		Read:    func(path string) ([]byte, error) { return readAnyway(path, warn) },
		List:    func(dir string) ([]string, error) { return listAnyway(dir, warn) },
		Shipped: configs.Policies(),
	}
}

// compilePolicy reads a policy from files. One with mistakes is an *agent.Refused,
// with the digest of all that was read, made as policy.Compile makes it; but not
// where a file is so long that it was not read to its end.
func compilePolicy(path string, files policy.Files) (*policy.Policy, error) {
	if path == "" {
		return policy.Compile(configs.Policy(), builtInPolicy, files)
	}
	read, digest, list, whole := files.Read, "", "", true
	files.Read = func(path string) ([]byte, error) {
		b, err := read(path)
		if err == nil {
			digest = fmt.Sprintf("%x", sha256.Sum256(b))
			list += digest + "  " + path + "\n"
			whole = whole && len(b) <= maxFile
		}
		return b, err
	}
	b, err := files.Read(path)
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	p, err := policy.Compile(b, path, files)
	if err != nil {
		if strings.Count(list, "\n") > 1 {
			digest = fmt.Sprintf("%x", sha256.Sum256([]byte(list)))
		}
		if !whole {
			return nil, err
		}
		return nil, &agent.Refused{Policy: audit.Policy{Source: path, SHA256: digest}, Err: err}
	}
	return p, nil
}

// maxFile bounds the files that users write: what parses them refuses a longer
// one, and a device without an end must not be read to its end.
const maxFile = 1 << 20

// readFile returns the first maxFile+1 bytes of a file.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFile+1))
}

// loadCatalog assembles what is known of ports: the imported registry, else
// the embedded one, with the site's own names above it and the system's
// services file below.
func loadCatalog(s settings) (*registry.Catalog, error) {
	r, err := loadRegistry(s.dataDir)
	if err != nil {
		return nil, err
	}
	c := &registry.Catalog{Registry: r}
	if s.overlay != "" {
		b, err := readFile(s.overlay)
		if err != nil {
			return nil, fmt.Errorf("overlay: %w", err)
		}
		if c.Overlay, err = registry.ParseOverlay(b, s.overlay); err != nil {
			return nil, err
		}
	}
	// The services file only adds names: a host without one lacks nothing.
	if f, err := os.Open(defaultPaths().services); err == nil {
		defer f.Close()
		if c.Services, err = registry.ParseServices(f, defaultPaths().services); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// loadRegistry returns the imported registry if there is one, else the
// embedded one.
func loadRegistry(dir string) (*registry.Registry, error) {
	r, err := registry.Load(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return registry.Embedded(), nil
	case errors.Is(err, fs.ErrPermission):
		// The directory of an agent of another user: this one can do without.
		fmt.Fprintf(os.Stderr, "portaudit: %v: the built-in registry is used, even if another was imported\n", err)
		return registry.Embedded(), nil
	case err != nil:
		return nil, fmt.Errorf("imported registry: %w: import it again, or remove it", err)
	}
	return r, nil
}
