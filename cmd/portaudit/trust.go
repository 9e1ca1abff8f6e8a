package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A policy decides what a daemon that may be root's keeps silent about: whoever
// can write it can hide from the daemon. So the daemon takes none that anybody
// else can change, be it the text, its name or a directory on the way to it.
// What is asked is asked of descriptors, each opened in the directory before it,
// so that what was judged is what is read.

// untrusted is a file or directory that others can change, and the way to mend it.
type untrusted struct{ path, why, mend string }

func (u untrusted) Error() string { return u.path + " " + u.why + ": " + u.mend }

// role is what a file or directory is to who reads it.
type role uint8

const (
	onTheWay role = iota // a directory that leads to it: others must not exchange what is in it
	folder               // a directory whose files are all read: others must not add any, either
	text                 // the file
)

// holding is what the descriptor of a file or directory tells on Unix of who may
// change it. The bits of the group are the mask where there is an access control
// list: no entry of it but the owner's grants more (acl(5)). Lists of macOS and
// of NFSv4 are not looked at.
type holding struct {
	uid  uint32
	mode fs.FileMode
}

// loose reports whether others than its owner may write.
func (h holding) loose() bool { return h.mode&0o022 != 0 }

// distrust says why a file or directory is not to be trusted by a user, nil if it
// is. In a sticky directory such as /tmp none but their owners, and its own,
// remove or rename its entries, each of which is judged too: it may lead to a
// file, and not be listed.
func (h holding) distrust(path string, as role, euid uint32) error {
	sticky := as == onTheWay && h.mode&fs.ModeSticky != 0
	switch {
	case h.uid != 0 && h.uid != euid:
		return strangers(path, h.uid, euid)
	case sticky || !h.loose():
		return nil
	case h.mode&0o002 != 0:
		return untrusted{path, "can be written by every user", "chmod go-w " + path}
	}
	return untrusted{path, "can be written by its group, or by others whom an access control list names", "chmod g-w " + path}
}

// distrustLink does so for a symbolic link in a directory: what it leads to is
// judged by itself. Where others may add links none is followed, for between two
// looks at it another could have come in its place.
func distrustLink(path string, link, dir holding, euid uint32) error {
	switch {
	case link.uid != 0 && link.uid != euid:
		return untrusted{path, fmt.Sprintf("is a link of user %d, who can lead it elsewhere", link.uid), "name the file that it leads to, or remove it and make it anew as root"}
	case dir.loose():
		return untrusted{path, "is a link in a directory where others may put links", "name the file that it leads to"}
	}
	return nil
}

func strangers(path string, uid, euid uint32) error {
	who := "who is not root"
	if euid != 0 {
		who = fmt.Sprintf("who is neither root nor user %d, who runs this", euid)
	}
	return untrusted{path, fmt.Sprintf("belongs to user %d, %s", uid, who), "chown root " + path}
}

// leadsOut is of a link, in the place of a file, that leads out of its directory:
// who trusts the directory has not thought of where that leads.
func leadsOut(path, target string) error {
	return untrusted{path, fmt.Sprintf("is a link that leads out of its directory, to %s", target), "name the file that it leads to, or put a copy in its place"}
}

// readTrusted returns the first maxFile+1 bytes of a file that none but root and
// the user of this process can change.
func readTrusted(path string) ([]byte, error) {
	f, err := openTrusted(path, text)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFile+1))
}

// maxListed bounds the entries of a directory of policies.
const maxListed = 10000

// listTrusted returns the paths of the .yaml files in a directory to which none but
// root and the user of this process can add any, in the order of their names.
// Left out are hidden ones, which are an editor's or a package manager's, and what
// ends in .test.yaml, which are expectations. What is no file is among them, for
// who reads it to refuse.
func listTrusted(dir string) ([]string, error) {
	f, err := openTrusted(dir, folder)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return policiesOf(f, dir)
}

// policiesOf returns what listTrusted does, of an open directory.
func policiesOf(f *os.File, dir string) ([]string, error) {
	names, err := f.Readdirnames(maxListed + 1)
	if err != nil && !errors.Is(err, io.EOF) { // of an empty one
		return nil, err
	}
	if len(names) > maxListed {
		return nil, fmt.Errorf("%s has more than %d entries: keep policies in a directory of their own", dir, maxListed)
	}
	slices.Sort(names)
	paths := []string{}
	for _, name := range names {
		if filepath.Ext(name) == ".yaml" && !strings.HasPrefix(name, ".") && !strings.HasSuffix(name, testSuffix+".yaml") {
			paths = append(paths, filepath.Join(dir, name))
		}
	}
	return paths, nil
}

// readAnyway reads a file as readTrusted does, for a command that its user looks
// at: a file that others can change goes to warn, and is read all the same. A
// pipe has no such past.
func readAnyway(path string, warn func(error)) ([]byte, error) {
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
		if b, err := readTrusted(path); !told(err, warn) {
			return b, err
		}
	}
	return readFile(path)
}

// listAnyway lists a directory as listTrusted does, and one to which others can add
// files too.
func listAnyway(dir string, warn func(error)) ([]string, error) {
	paths, err := listTrusted(dir)
	if !told(err, warn) {
		return paths, err
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return policiesOf(f, dir)
}

// told reports whether something can be changed by others, or could not be judged:
// the first is told.
func told(err error, warn func(error)) bool {
	var u untrusted
	if errors.As(err, &u) {
		warn(u)
	}
	return err != nil
}

// warnOfPolicy tells on standard error what the daemon would not take.
func warnOfPolicy(err error) {
	fmt.Fprintf(os.Stderr, "portaudit: warning: policy: %s (portaudit run refuses such a policy)\n", visibleLines(err.Error()))
}
