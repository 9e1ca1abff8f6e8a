package iphelper

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/windows"
)

// The library is taken from the system's directory alone; x/sys has neither call.
var (
	library  = windows.NewLazySystemDLL("iphlpapi.dll")
	tcpTable = library.NewProc("GetExtendedTcpTable")
	udpTable = library.NewProc("GetExtendedUdpTable")
)

// The classes of iprtrmib.h that name the module which made the bind.
const (
	tcpTableOwnerModuleListener = 6 // TCP_TABLE_OWNER_MODULE_LISTENER
	udpTableOwnerModule         = 2 // UDP_TABLE_OWNER_MODULE
)

// A table grows between two calls on a busy host, so room for more is asked
// for each time, up to more than all ports of both families of 500 addresses.
const (
	firstSize = 32 << 10
	maxSize   = 64 << 20
	maxCalls  = 10
)

// Reader reads the tables into a buffer that it keeps. The zero value is ready.
type Reader struct{ buf []byte }

// Append reads a table and appends its rows to rows. An error matches
// ErrUnavailable where the call is not there, ErrMalformed where its answer
// cannot be decoded, and else a windows.Errno.
func (r *Reader) Append(rows []Row, t Table) ([]Row, error) {
	b, err := r.read(t)
	if err != nil {
		return rows, fmt.Errorf("read the %v table: %w", t, err)
	}
	return Append(rows, t, b)
}

// read returns the bytes of a table, valid until the next call.
func (r *Reader) read(t Table) ([]byte, error) {
	proc, class := tcpTable, uintptr(tcpTableOwnerModuleListener)
	if !t.TCP() {
		proc, class = udpTable, udpTableOwnerModule
	}
	if err := proc.Find(); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrUnavailable, err)
	}
	family := uintptr(windows.AF_INET)
	if layouts[t].ipv6 {
		family = windows.AF_INET6
	}
	if r.buf == nil {
		r.buf = make([]byte, firstSize)
	}
	for range maxCalls {
		size := uint32(len(r.buf))
		// nf-iphlpapi-getextendedtcptable; neither sorted, nor anything reserved.
		code, _, _ := proc.Call(uintptr(unsafe.Pointer(&r.buf[0])), uintptr(unsafe.Pointer(&size)), 0, family, class, 0)
		switch errno := windows.Errno(code); {
		case errno == windows.ERROR_SUCCESS:
			return r.buf[:min(int(size), len(r.buf))], nil
		case errno != windows.ERROR_INSUFFICIENT_BUFFER:
			return nil, errno
		case size > maxSize:
			return nil, fmt.Errorf("%d bytes are more than %d", size, maxSize)
		}
		r.buf = make([]byte, max(int(size)+int(size)/4, 2*len(r.buf)))
	}
	return nil, windows.ERROR_INSUFFICIENT_BUFFER
}
