package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/windows"
)

// openTrusted opens a file, or a directory that is to be listed. It refuses, as
// untrusted, what others can change, itself or on the way to it, and links of any
// kind, for some of which no right is needed. Each directory is opened in the one
// before it.
func openTrusted(path string, as role) (*os.File, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	user, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return nil, err
	}
	self := user.User.Sid.String()
	at := filepath.VolumeName(path) + `\`
	root, err := os.OpenRoot(at)
	if err != nil {
		return nil, err
	}
	names := strings.FieldsFunc(path[len(at)-1:], func(r rune) bool { return r == '\\' || r == '/' })
	for i, name := range names {
		if err := judgeDirectory(root, at, self); err != nil {
			_ = root.Close() // nothing was written to it
			return nil, err
		}
		at = filepath.Join(at, name)
		last := i == len(names)-1
		f, next, err := openEntry(root, at, name, last, as, self)
		_ = root.Close() // nothing was written to it
		if last || err != nil {
			return f, err
		}
		root = next
	}
	_ = root.Close() // nothing was written to it
	return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrInvalid}
}

func judgeDirectory(root *os.Root, path, self string) error {
	f, err := root.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	return judge(f, path, onTheWay, self)
}

// openEntry opens what has a name in a directory: the last as the file that was
// asked for, others as the next directory.
func openEntry(root *os.Root, path, name string, last bool, as role, self string) (*os.File, *os.Root, error) {
	info, err := root.Lstat(name)
	switch {
	case err != nil:
		return nil, nil, &fs.PathError{Op: "open", Path: path, Err: unwrapped(err)}
	case info.Mode()&(fs.ModeSymlink|fs.ModeIrregular) != 0:
		return nil, nil, untrusted{path, "is a link", "name what it leads to"}
	case !last:
		next, err := root.OpenRoot(name)
		return nil, next, err
	case as == text && !info.Mode().IsRegular():
		return nil, nil, untrusted{path, "is no file", "name a file"}
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, nil, err
	}
	if err := judge(f, path, as, self); err != nil {
		_ = f.Close() // nothing was written to it
		return nil, nil, err
	}
	return f, nil, nil
}

// unwrapped returns what the system said, without the operation of os.Root.
func unwrapped(err error) error {
	if e, ok := err.(*fs.PathError); ok { //nolint:errorlint // os.Root returns it as it is
		return e.Err
	}
	return err
}

func judge(f *os.File, path string, as role, self string) error {
	held, err := grantsOf(windows.Handle(f.Fd()))
	if err != nil {
		return fmt.Errorf("who may change %s: %w", path, err)
	}
	return held.distrust(path, as, self)
}

// aceKinds are the kinds of entries that allow something and have the form of
// ACCESS_ALLOWED_ACE: plain ones, and those with a condition, which may hold.
// Others that allow are of directory services.
const (
	aceAllowed  = windows.ACCESS_ALLOWED_ACE_TYPE
	aceCallback = 9 // ACCESS_ALLOWED_CALLBACK_ACE_TYPE
)

// grantsOf reads the owner and the access control list of an open file.
func grantsOf(h windows.Handle) (grants, error) {
	sd, err := windows.GetSecurityInfo(h, windows.SE_FILE_OBJECT, windows.OWNER_SECURITY_INFORMATION|windows.DACL_SECURITY_INFORMATION)
	if err != nil {
		return grants{}, err
	}
	owner, _, err := sd.Owner()
	if err != nil {
		return grants{}, err
	}
	g := grants{owner: owner.String()}
	list, _, err := sd.DACL()
	if err != nil && err != windows.ERROR_OBJECT_NOT_FOUND {
		return grants{}, err
	}
	if list == nil {
		g.all = true
		return g, nil
	}
	for i := range uint32(list.AceCount) {
		var ace *windows.ACCESS_ALLOWED_ACE
		if err := windows.GetAce(list, i, &ace); err != nil {
			return grants{}, err
		}
		kind := ace.Header.AceType
		if kind != aceAllowed && kind != aceCallback || ace.Header.AceFlags&windows.INHERIT_ONLY_ACE != 0 {
			continue
		}
		sid := (*windows.SID)(unsafe.Pointer(&ace.SidStart))
		g.list = append(g.list, grant{sid.String(), uint32(ace.Mask)})
	}
	return g, nil
}

// stampOf tells one state of a file from another, without reading it.
func stampOf(path string) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}
	}
	return stamp{here: true, size: info.Size(), changed: info.ModTime().UnixNano()}
}
