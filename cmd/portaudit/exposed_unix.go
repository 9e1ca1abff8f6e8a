//go:build unix

package main

import "os"

// exposed says why a file with a secret in it is none, nil if it may be one. Its
// group may read it: that is how a daemon that is not root gets at one of root's.
func exposed(f *os.File, path string) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o004 != 0 {
		return untrusted{path, "holds a secret that every user can read", "chmod o-r " + path}
	}
	return nil
}
