package main

import (
	"maps"
	"time"

	"github.com/portaudit/portaudit/policy"
)

// policyReader reads the policy of a daemon, from files that none but root and its
// own user can change, and tells when they are not as they were. The zero value
// is the built-in policy, which never changes.
type policyReader struct {
	path string

	read  map[string]stamp // of the files, and listed directories, when they were read last
	seen  map[string]stamp // of the same files at the last look
	fresh bool             // one of them was written just before it was read
}

// stamp tells one state of a file from another without reading it. The zero value
// is a file that is not there.
type stamp struct {
	here    bool
	file    uint64 // its number, on Unix
	size    int64
	changed int64 // when, in nanoseconds
}

// settling is for how long after a change another one may have the same stamp: a
// clock of files may tick as seldom as every two seconds (FAT).
const settling = 2 * time.Second

// load reads the policy. The stamp of a file is taken before its text: what is
// written in between is a change.
func (f *policyReader) load() (*policy.Policy, error) {
	f.read, f.fresh = map[string]stamp{}, false
	files := policyFiles(nil)
	files.Read = func(path string) ([]byte, error) { f.note(path); return readTrusted(path) }
	files.List = func(dir string) ([]string, error) { f.note(dir); return listTrusted(dir) }
	return compilePolicy(f.path, files)
}

func (f *policyReader) note(path string) {
	s := stampOf(path)
	f.read[path] = s
	age := time.Since(time.Unix(0, s.changed))
	f.fresh = f.fresh || s.here && age >= 0 && age < settling
}

// changed reports whether what load reads is not as it was, and has stayed so
// since the last look: an editor may be writing it. It is asked every second,
// takes a system call for each file, and knows a file by its name, so that it
// sees one that was put in the place of another.
func (f *policyReader) changed() bool {
	now := make(map[string]stamp, len(f.read))
	for path := range f.read {
		now[path] = stampOf(path)
	}
	still := maps.Equal(now, f.seen)
	f.seen = now
	return still && (f.fresh || !maps.Equal(now, f.read))
}
