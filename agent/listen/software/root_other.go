//go:build !linux

package software

import "os"

// openRegular opens a regular file of dir. Between the look and the open the
// name may come to mean something else; systems other than Linux have no
// containers with a root of their own to do it.
func openRegular(dir *os.Root, name string) (*os.File, error) {
	fi, err := dir.Stat(name)
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, notRegular(name, fi.Mode())
	}
	return dir.Open(name)
}

// readSmall returns errNotSmall: only Linux has a quicker way.
func readSmall(*os.File, string, bool, int64, []byte) ([]byte, error) { return nil, errNotSmall }
