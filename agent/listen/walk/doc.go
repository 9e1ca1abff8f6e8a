// Package walk finds which processes hold listening sockets, by a BPF iterator
// that visits every descriptor of the host inside the kernel (Linux
// Documentation/bpf/bpf_iterators.rst). It owns the programs, their loading and
// the form of their rows. It refuses to know what becomes of a row: the walk
// holds no lock and no reference, so the caller must look again before it
// believes one.
//
// A walk costs about a fifth of a microsecond a descriptor, a tenth of what
// readlink(2) in /proc costs; to load the program takes as long as some 2,500
// descriptors in /proc (BenchmarkOpen). It needs CAP_BPF and CAP_PERFMON, and sees
// the processes of the pid namespace of the calling process and of those below it.
//
// The compiled programs are committed, for ordinary machines have no compiler
// for BPF. go generate makes them anew; it needs clang and libbpf's headers.
package walk

import "fmt"

//go:generate sh -c "sha256sum kernel.h walk.bpf.c tables.bpf.c >programs.sum"
//go:generate go run github.com/cilium/ebpf/cmd/bpf2go@v0.22.0 -go-package walk -tags linux -no-global-types programs walk.bpf.c -- -O2 -g -Wall -Werror
//go:generate go run github.com/cilium/ebpf/cmd/bpf2go@v0.22.0 -go-package walk -tags linux -no-global-types tables tables.bpf.c -- -O2 -g -Wall -Werror

// Kind is how the kernel is made to visit every descriptor.
type Kind uint8

// The kinds, the faster first.
const (
	Tasks Kind = iota + 1 // over tasks, each table walked by the program; Linux 5.17
	Files                 // over descriptors; Linux 5.8
)

// String returns the name of the iterator in the kernel.
func (k Kind) String() string {
	switch k {
	case Tasks:
		return "task"
	case Files:
		return "task_file"
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}
