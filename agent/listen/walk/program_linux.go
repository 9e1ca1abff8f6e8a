package walk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"
)

// vmlinuxTypes is where the kernel describes its types.
const vmlinuxTypes = "/sys/kernel/btf/vmlinux"

// newProgram loads a program, whose maps are made. It does what
// ebpf.NewProgram does, in a quarter of the time, for that reads the
// description of all types of the kernel and those of its modules; where it
// cannot, the library does.
func newProgram(spec *ebpf.ProgramSpec, local *btf.Spec) (*ebpf.Program, error) {
	p, err := quickProgram(spec, local)
	if err == nil {
		return p, nil
	}
	p, slow := ebpf.NewProgram(spec)
	if slow != nil {
		return nil, slow // it says more
	}
	return p, nil
}

func quickProgram(spec *ebpf.ProgramSpec, local *btf.Spec) (*ebpf.Program, error) {
	insns, target, err := relocated(spec, local)
	if err != nil {
		return nil, err
	}
	var b btf.Builder
	funcs, lines, err := btf.MarshalExtInfos(insns, &b)
	if err != nil {
		return nil, err
	}
	types, err := btf.NewHandle(&b)
	if err != nil {
		return nil, err
	}
	defer types.Close() // the program holds it
	var code bytes.Buffer
	if err := insns.Marshal(&code, spec.ByteOrder); err != nil {
		return nil, err
	}
	var pins runtime.Pinner
	defer pins.Unpin()
	pin := func(b []byte) uint64 {
		if len(b) == 0 {
			return 0
		}
		pins.Pin(&b[0])
		return uint64(uintptr(unsafe.Pointer(&b[0])))
	}
	load := &programLoad{
		kind: unix.BPF_PROG_TYPE_TRACING, attachKind: unix.BPF_TRACE_ITER, target: target,
		code: pin(code.Bytes()), codes: uint32(code.Len() / asm.InstructionSize),
		license: pin(append([]byte(spec.License), 0)), types: uint32(types.FD()),
		function: pin(funcs), functionSize: btf.FuncInfoSize, functions: uint32(len(funcs)) / btf.FuncInfoSize,
		line: pin(lines), lineSize: btf.LineInfoSize, lines: uint32(len(lines)) / btf.LineInfoSize,
	}
	copy(load.name[:len(load.name)-1], spec.Name)
	fd, err := loadProgram(load)
	runtime.KeepAlive(spec) // and with it the maps that the code names by number
	if err != nil {
		return nil, err
	}
	return ebpf.NewProgramFromFD(fd)
}

// relocated returns the code of a program for the running kernel, and what the
// kernel calls the iterator that it is for.
func relocated(spec *ebpf.ProgramSpec, local *btf.Spec) (asm.Instructions, uint32, error) {
	wanted, err := wantedMembers(local)
	if err != nil {
		return nil, 0, err
	}
	few, target, err := extractFile(vmlinuxTypes, wanted, "bpf_iter_"+spec.AttachTo)
	if err != nil {
		return nil, 0, err
	}
	kernel, err := btf.LoadSpecFromReader(bytes.NewReader(few))
	if err != nil {
		return nil, 0, err
	}
	insns := append(asm.Instructions(nil), spec.Instructions...)
	return insns, target, relocate(insns, kernel, spec)
}

// extractFile extracts from a description of types in a file. Kernels before
// 6.16 do not let theirs be mapped; then it is read.
func extractFile(path string, wanted members, function string) ([]byte, uint32, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	if info.Size() > maxTypes {
		return nil, 0, fmt.Errorf("%s: %d bytes", path, info.Size())
	}
	b, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_PRIVATE)
	if err == nil {
		defer func() { _ = unix.Munmap(b) }() // as it was mapped: cannot fail
	} else if b, err = io.ReadAll(io.LimitReader(f, maxTypes)); err != nil {
		return nil, 0, err
	}
	all, err := parseTypes(b)
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", path, err)
	}
	return all.extract(wanted, function)
}

// relocate puts the places of the kernel's fields into the code.
func relocate(insns asm.Instructions, kernel *btf.Spec, spec *ebpf.ProgramSpec) error {
	var list []*btf.CORERelocation
	var of []*asm.Instruction
	for i := range insns {
		if r := btf.CORERelocationMetadata(&insns[i]); r != nil {
			list, of = append(list, r), append(of, &insns[i])
		}
	}
	fixes, err := btf.CORERelocate(list, []*btf.Spec{kernel}, spec.ByteOrder, func(btf.Type) (btf.TypeID, error) {
		return 0, errors.New("the program asks for the number of a type")
	})
	if err != nil {
		return err
	}
	for i := range fixes {
		if err := fixes[i].Apply(of[i]); err != nil {
			return fmt.Errorf("%v: %w", list[i], err)
		}
	}
	return nil
}

// wantedMembers returns the members of all structures that the program was
// compiled with.
func wantedMembers(local *btf.Spec) (members, error) {
	wanted := members{}
	for t, err := range local.All() {
		if err != nil {
			return nil, err
		}
		if s, ok := t.(*btf.Struct); ok && s.Name != "" {
			for _, m := range s.Members {
				wanted[s.Name] = append(wanted[s.Name], m.Name)
			}
		}
	}
	return wanted, nil
}

// programLoad is what BPF_PROG_LOAD of bpf(2) takes: union bpf_attr in
// include/uapi/linux/bpf.h, up to attach_btf_id.
type programLoad struct {
	kind, codes         uint32
	code, license       uint64
	logLevel, logSize   uint32
	log                 uint64
	version, flags      uint32
	name                [unix.BPF_OBJ_NAME_LEN]byte
	device, attachKind  uint32
	types, functionSize uint32
	function            uint64
	functions, lineSize uint32
	line                uint64
	lines, target       uint32
}

// loadProgram returns the descriptor of a program. The library has no way to
// load one without a look at all types of the kernel: it takes the name of what
// the program is for, and no number.
func loadProgram(p *programLoad) (int, error) {
	fd, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_LOAD, uintptr(unsafe.Pointer(p)), unsafe.Sizeof(*p))
	if errno != 0 {
		return -1, os.NewSyscallError("bpf", errno)
	}
	return int(fd), nil
}
