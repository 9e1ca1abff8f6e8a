package walk

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
)

func TestLack(t *testing.T) {
	const all = 1<<capBPF | 1<<capPerfmon
	denied := &fs.PathError{Op: "bpf", Err: fs.ErrPermission}
	for _, tt := range []struct {
		reason string
		seen   observed
		want   string
	}{
		{"neither capability", observed{err: denied, types: true}, "lacks CAP_BPF and CAP_PERFMON"},
		{"one of the two", observed{err: denied, types: true, effective: 1 << capBPF}, "lacks CAP_PERFMON"},
		{"that of before Linux 5.8 stands for both", observed{err: denied, types: true, effective: 1 << capSysAdmin}, "in spite of all"},
		{"both, in a container", observed{err: denied, types: true, effective: all}, "in spite of all"},
		{"confidentiality", observed{err: fs.ErrInvalid, types: true, effective: all, lockdown: []byte("none integrity [confidentiality]\n")}, "locked down"},
		{"integrity forbids no reading", observed{err: fs.ErrInvalid, types: true, effective: all, lockdown: []byte("none [integrity] confidentiality\n")}, ""},
		{"Ubuntu 20.04", observed{err: fs.ErrInvalid, types: true, major: 5, minor: 4, kind: Files}, "Linux 5.8"},
		{"Debian 11, the faster one asked for", observed{err: fs.ErrInvalid, types: true, major: 5, minor: 10, kind: Tasks}, "Linux 5.17"},
		{"no description of types", observed{err: fs.ErrNotExist, major: 6, minor: 1, kind: Files}, "CONFIG_DEBUG_INFO_BTF"},
		{"nothing that is known of", observed{err: fs.ErrInvalid, types: true, major: 6, minor: 1, kind: Tasks}, ""},
		{"not even the kernel's version", observed{err: fs.ErrInvalid, types: true, kind: Tasks}, ""},
	} {
		if got := tt.seen.lack(); !strings.Contains(got, tt.want) || tt.want == "" && got != "" {
			t.Errorf("%s: %q, want %q", tt.reason, got, tt.want)
		}
	}
}

func TestUnavailableError(t *testing.T) {
	err := error(&UnavailableError{Lack: "this process lacks CAP_BPF", Err: fs.ErrPermission})
	if !errors.Is(err, ErrUnavailable) || !errors.Is(err, fs.ErrPermission) {
		t.Errorf("%v is neither", err)
	}
	if got, want := err.Error(), "no BPF iterator: this process lacks CAP_BPF"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := (&UnavailableError{Err: fs.ErrInvalid}).Error(), "no BPF iterator: invalid argument"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
