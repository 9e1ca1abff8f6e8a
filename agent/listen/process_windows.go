package listen

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

// openedProcess is a process that is held open: as long as it is, its pid is
// not given to another, so all that is read through it is of one process.
type openedProcess struct {
	handle  windows.Handle
	pid     uint32
	start   uint64 // creation time as a FILETIME
	started time.Time
}

// errNoProcess is the error of openProcess for a pid that no running process has.
var errNoProcess = errors.New("there is no such process")

// openProcess opens a process with the one right that tells of it and changes
// nothing. An error is errNoProcess or says what was refused.
func openProcess(pid uint32) (*openedProcess, error) {
	h, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION, false, pid)
	if errors.Is(err, windows.ERROR_INVALID_PARAMETER) {
		return nil, errNoProcess
	}
	if err != nil {
		return nil, fmt.Errorf("open process %d: %w", pid, err)
	}
	p := &openedProcess{handle: h, pid: pid}
	if err := p.readTimes(); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *openedProcess) close() {
	_ = windows.CloseHandle(p.handle) // of an open handle it cannot fail
}

// stillActive is STILL_ACTIVE of minwinbase.h, the exit code of a process that runs.
const stillActive = 259

// readTimes reads when the process was created, and whether it still runs: one
// that has ended can be opened as long as anybody else holds it open.
func (p *openedProcess) readTimes() error {
	var code uint32
	if err := windows.GetExitCodeProcess(p.handle, &code); err != nil {
		return fmt.Errorf("read the state of process %d: %w", p.pid, err)
	}
	if code != stillActive {
		return errNoProcess
	}
	var created, exited, kernel, user windows.Filetime
	if err := windows.GetProcessTimes(p.handle, &created, &exited, &kernel, &user); err != nil {
		return fmt.Errorf("read the start of process %d: %w", p.pid, err)
	}
	p.start = uint64(created.HighDateTime)<<32 | uint64(created.LowDateTime)
	p.started = time.Unix(0, created.Nanoseconds()).UTC()
	return nil
}

// owner reads what does not change as long as the process runs. What cannot be
// read stays unknown: a process always has arguments and an account.
func (p *openedProcess) owner(accounts map[string]string) Owner {
	o := Owner{How: Process, PID: int(p.pid), Start: p.start, Started: p.started}
	o.Executable = p.image()
	if o.Executable != "" {
		o.Command = filepath.Base(o.Executable)
	}
	o.Arguments = p.arguments()
	o.Parents = p.parents()
	if len(o.Parents) > 0 {
		o.Parent = o.Parents[0].PID
	}
	p.readToken(&o, accounts)
	return o
}

// maxPath is the longest path of Windows in UTF-16 units (UNICODE_STRING).
const maxPath = 32767

// image returns the path of the program, "" if it cannot be read.
func (p *openedProcess) image() string {
	for n := uint32(windows.MAX_PATH); ; n = maxPath {
		b, size := make([]uint16, n), n
		err := windows.QueryFullProcessImageName(p.handle, 0, &b[0], &size)
		if err == nil {
			return windows.UTF16ToString(b[:size])
		}
		if n == maxPath || !errors.Is(err, windows.ERROR_INSUFFICIENT_BUFFER) {
			return ""
		}
	}
}

// arguments returns the command line, nil if it cannot be read: before Windows
// 8.1, and in Wine, it takes the right to read all memory of the process.
func (p *openedProcess) arguments() []string {
	const most = unsafe.Sizeof(windows.NTUnicodeString{}) + 65536 // its length is 16 bits
	b := make([]byte, most)
	err := windows.NtQueryInformationProcess(p.handle, windows.ProcessCommandLineInformation,
		unsafe.Pointer(&b[0]), uint32(len(b)), nil)
	if err != nil {
		return nil
	}
	// The string follows the structure that points to it.
	args, err := windows.DecomposeCommandLine((*windows.NTUnicodeString)(unsafe.Pointer(&b[0])).String())
	if err != nil {
		return nil
	}
	return args
}

// maxAncestors bounds the chain of parents.
const maxAncestors = 16

// parents returns the chain of parents, the nearest first. Windows keeps the pid
// of a parent that has ended, and gives it to others: one that started after its
// child is none. The chain ends where that cannot be told.
func (p *openedProcess) parents() []Ancestor {
	var chain []Ancestor
	child := p
	for len(chain) < maxAncestors {
		pid, err := child.parent()
		if err != nil || pid == 0 {
			return chain
		}
		parent, err := openProcess(pid)
		if err != nil {
			return chain
		}
		defer parent.close() // after the chain: an open process keeps its pid
		if parent.started.After(child.started) {
			return chain
		}
		a := Ancestor{PID: int(pid)}
		if image := parent.image(); image != "" {
			a.Command = filepath.Base(image)
		}
		chain = append(chain, a)
		child = parent
	}
	return chain
}

// parent returns the pid that the process which made this one had.
func (p *openedProcess) parent() (uint32, error) {
	var info windows.PROCESS_BASIC_INFORMATION
	err := windows.NtQueryInformationProcess(p.handle, windows.ProcessBasicInformation,
		unsafe.Pointer(&info), uint32(unsafe.Sizeof(info)), nil)
	return uint32(info.InheritedFromUniqueProcessId), err
}

// isDeleted says whether the program has left the path that it was started from.
func isDeleted(path string) Answer {
	if path == "" {
		return Unknown
	}
	_, err := os.Stat(path)
	return answer(os.IsNotExist(err))
}

// processNames returns the names of all processes by pid; they take no right to see.
func processNames() (map[uint32]string, error) {
	h, err := windows.CreateToolhelp32Snapshot(windows.TH32CS_SNAPPROCESS, 0)
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	defer windows.CloseHandle(h) //nolint:errcheck // of an open handle it cannot fail
	names := map[uint32]string{}
	e := windows.ProcessEntry32{Size: uint32(unsafe.Sizeof(windows.ProcessEntry32{}))}
	for err = windows.Process32First(h, &e); err == nil; err = windows.Process32Next(h, &e) {
		names[e.ProcessID] = windows.UTF16ToString(e.ExeFile[:])
	}
	if !errors.Is(err, windows.ERROR_NO_MORE_FILES) {
		return names, fmt.Errorf("list processes: %w", err)
	}
	return names, nil
}
