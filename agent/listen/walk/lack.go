package walk

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// ErrUnavailable is wrapped where this system cannot walk, for want of a
// feature or a right.
var ErrUnavailable = errors.New("no BPF iterator")

// UnavailableError says why this system cannot walk. It is ErrUnavailable.
type UnavailableError struct {
	Lack string // what is missing in a few words; empty if Err says all that is known
	Err  error
}

// Error returns what is missing, and the error that tells so unless it is a right.
func (e *UnavailableError) Error() string {
	switch {
	case e.Lack == "":
		return ErrUnavailable.Error() + ": " + e.Err.Error()
	case errors.Is(e.Err, fs.ErrPermission): // the library guesses at other reasons
		return ErrUnavailable.Error() + ": " + e.Lack
	}
	return ErrUnavailable.Error() + ": " + e.Lack + ": " + e.Err.Error()
}

// Unwrap returns ErrUnavailable and the error that was met.
func (e *UnavailableError) Unwrap() []error { return []error{ErrUnavailable, e.Err} }

// observed is what is known of a system on which a program could not be loaded.
type observed struct {
	err          error
	kind         Kind   // of the slowest that was tried
	types        bool   // the kernel describes its types
	major, minor int    // of the kernel, 0 if unknown
	effective    uint64 // capabilities of this process
	lockdown     []byte // /sys/kernel/security/lockdown, nil if there is none
}

// The numbers of capabilities (include/uapi/linux/capability.h).
const (
	capSysAdmin = 21
	capPerfmon  = 38
	capBPF      = 39
)

// lack says what is missing, empty if that is not clear.
func (o observed) lack() string {
	if locked(o.lockdown) {
		return "the kernel is locked down against reading its memory"
	}
	if errors.Is(o.err, fs.ErrPermission) {
		return o.right()
	}
	if oldest := map[Kind]int{Tasks: 17, Files: 8}[o.kind]; o.major > 0 && (o.major < 5 || o.major == 5 && o.minor < oldest) {
		return fmt.Sprintf("Linux 5.%d or later is needed", oldest)
	}
	if !o.types {
		return "the kernel does not describe its types (CONFIG_DEBUG_INFO_BTF)"
	}
	return ""
}

// right says which capability is missing (capabilities(7)).
func (o observed) right() string {
	if missing := o.missing(); missing != "" {
		return missing
	}
	return "denied in spite of all capabilities, as in a user namespace, under seccomp or by a security module"
}

// missing says which capability this process lacks, "" if it has all.
func (o observed) missing() string {
	var missing []string
	for _, c := range []struct {
		number int
		name   string
	}{{capBPF, "CAP_BPF"}, {capPerfmon, "CAP_PERFMON"}} {
		if o.effective>>capSysAdmin&1 == 0 && o.effective>>c.number&1 == 0 {
			missing = append(missing, c.name)
		}
	}
	if len(missing) > 0 {
		return "this process lacks " + strings.Join(missing, " and ")
	}
	return ""
}

// locked reports whether a lockdown forbids programs to read the kernel's
// memory: that of confidentiality does (security/lockdown/lockdown.c).
func locked(lockdown []byte) bool { return bytes.Contains(lockdown, []byte("[confidentiality]")) }
