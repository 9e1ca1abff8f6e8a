package digest

import (
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

// identify opens the file: Windows tells the identity of open files only.
func identify(path string) (identity, error) {
	f, err := os.Open(path)
	if err != nil {
		return identity{}, err
	}
	defer f.Close()
	return identifyFile(f)
}

// identifyFile asks for volume and index (BY_HANDLE_FILE_INFORMATION) and for
// the times (FILE_BASIC_INFO). On ReFS the index is only the lower half of the
// file's id, and a file system without a time of change says 0: there a file
// that was replaced in place by one of the same size, and whose time of last
// write was set back, is taken for the old one. No file of a running program
// can be written to.
func identifyFile(f *os.File) (identity, error) {
	h := windows.Handle(f.Fd())
	var info windows.ByHandleFileInformation
	if err := windows.GetFileInformationByHandle(h, &info); err != nil {
		return identity{}, &os.PathError{Op: "GetFileInformationByHandle", Path: f.Name(), Err: err}
	}
	id := identity{
		device: uint64(info.VolumeSerialNumber), inode: uint64(info.FileIndexHigh)<<32 | uint64(info.FileIndexLow),
		size:     int64(info.FileSizeHigh)<<32 | int64(info.FileSizeLow),
		modified: info.LastWriteTime.Nanoseconds(),
	}
	var basic basicInfo
	if err := windows.GetFileInformationByHandleEx(h, windows.FileBasicInfo, (*byte)(unsafe.Pointer(&basic)), uint32(unsafe.Sizeof(basic))); err == nil {
		t := windows.Filetime{LowDateTime: uint32(basic.changeTime), HighDateTime: uint32(basic.changeTime >> 32)}
		id.changed = t.Nanoseconds()
	}
	return id, nil
}

// basicInfo is FILE_BASIC_INFO of winbase.h; times as in FILETIME.
type basicInfo struct {
	creationTime, lastAccessTime, lastWriteTime, changeTime uint64
	attributes                                              uint32
}
