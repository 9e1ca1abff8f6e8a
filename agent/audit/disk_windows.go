package audit

import (
	"errors"
	"io/fs"
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

// appending are the rights of a handle that can only append: those of
// GENERIC_WRITE without FILE_WRITE_DATA, as package syscall has them.
const appending = windows.FILE_APPEND_DATA | windows.FILE_WRITE_ATTRIBUTES | windows.FILE_WRITE_EA |
	windows.STANDARD_RIGHTS_WRITE | windows.SYNCHRONIZE

// linkless is nothing here: only administrators make links, and a file of a disk
// is not waited for.
const linkless = 0

func openAppend(path string) (*os.File, error) {
	return open(path, nil, windows.OPEN_EXISTING, 0)
}

func createAppend(path string) (*os.File, error) {
	sa, err := private(false)
	if err != nil {
		return nil, &fs.PathError{Op: "create", Path: path, Err: err}
	}
	return open(path, sa, windows.CREATE_NEW, windows.FILE_FLAG_OPEN_REPARSE_POINT)
}

// open opens a file for appending. Unlike package os it lets others rename it
// meanwhile, as the rotation does:
// https://learn.microsoft.com/en-us/windows/win32/api/fileapi/nf-fileapi-createfilew
func open(path string, sa *windows.SecurityAttributes, mode, flags uint32) (*os.File, error) {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	share := uint32(windows.FILE_SHARE_READ | windows.FILE_SHARE_WRITE | windows.FILE_SHARE_DELETE)
	h, err := windows.CreateFile(name, appending, share, sa, mode, windows.FILE_ATTRIBUTE_NORMAL|flags, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(h), path), nil
}

// truncate opens the file anew: a handle that can only append cannot set its end.
func truncate(f *os.File, size int64) error { return os.Truncate(f.Name(), size) }

func mkdirPrivate(dir string) error {
	sa, err := private(true)
	if err != nil {
		return &fs.PathError{Op: "mkdir", Path: dir, Err: err}
	}
	name, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return &fs.PathError{Op: "mkdir", Path: dir, Err: err}
	}
	if err := windows.CreateDirectory(name, sa); err != nil {
		return &fs.PathError{Op: "mkdir", Path: dir, Err: err}
	}
	return nil
}

// private are the attributes of a file or directory that is to be made, and that
// is for this program and administrators.
func private(directory bool) (*windows.SecurityAttributes, error) {
	token := windows.GetCurrentProcessToken()
	user := ""
	if !token.IsElevated() {
		u, err := token.GetTokenUser()
		if err != nil {
			return nil, err
		}
		user = u.User.Sid.String()
	}
	sd, err := windows.SecurityDescriptorFromString(sddl(directory, user))
	if err != nil {
		return nil, err
	}
	sa := &windows.SecurityAttributes{SecurityDescriptor: sd}
	sa.Length = uint32(unsafe.Sizeof(*sa))
	return sa, nil
}

// isFull reports whether an error says that there is no room.
func isFull(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL)
}
