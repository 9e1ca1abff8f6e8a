package walk

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

func kernelSpec(t testing.TB) *btf.Spec {
	t.Helper()
	kernel, err := btf.LoadKernelSpec()
	if errors.Is(err, btf.ErrNotSupported) || errors.Is(err, fs.ErrNotExist) {
		t.Skipf("this kernel does not describe its types: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return kernel
}

// TestRelocated compares the code that was relocated by an extract with that
// which was relocated by the whole description.
func TestRelocated(t *testing.T) {
	kernel := kernelSpec(t)
	for _, load := range []func() (*ebpf.CollectionSpec, error){loadPrograms, loadTables} {
		spec, err := load()
		if err != nil {
			t.Fatal(err)
		}
		testRelocated(t, kernel, spec)
	}
}

func testRelocated(t *testing.T, kernel *btf.Spec, spec *ebpf.CollectionSpec) {
	t.Helper()
	for name, program := range spec.Programs {
		got, target, err := relocated(program, spec.Types)
		if err != nil {
			t.Fatal(err)
		}
		want := slices.Clone(program.Instructions)
		if err := relocate(want, kernel, program); err != nil {
			t.Fatal(err)
		}
		order := program.ByteOrder
		if !bytes.Equal(code(t, got, order), code(t, want, order)) {
			t.Errorf("%s: got\n%v\nwant\n%v", name, got, want)
		}
		if bytes.Equal(code(t, got, order), code(t, program.Instructions, order)) {
			t.Errorf("%s: nothing was relocated", name)
		}
		var f *btf.Func
		if err := kernel.TypeByName("bpf_iter_"+program.AttachTo, &f); err != nil {
			t.Fatal(err)
		}
		if id, err := kernel.TypeID(f); err != nil || uint32(id) != target {
			t.Errorf("%s: it is for %d, want %d, %v", name, target, id, err)
		}
	}
}

// code returns the bytes of a program whose maps are not made.
func code(t *testing.T, list asm.Instructions, order binary.ByteOrder) []byte {
	t.Helper()
	var b bytes.Buffer
	for _, ins := range list {
		if _, err := ins.Marshal(&b, order); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

// TestExtractFileReads reads the description through a pipe, which cannot be
// mapped, no more than that of a kernel before 6.16.
func TestExtractFileReads(t *testing.T) {
	kernelSpec(t)
	wanted := members{"task_struct": {"tgid"}}
	want, wantID, err := extractFile(vmlinuxTypes, wanted, "bpf_iter_task")
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	written := make(chan error, 1)
	go func() {
		b, err := os.ReadFile(vmlinuxTypes)
		if err == nil {
			_, err = w.Write(b)
		}
		written <- errors.Join(err, w.Close())
	}()
	got, id, err := extractFile(fmt.Sprintf("/proc/self/fd/%d", r.Fd()), wanted, "bpf_iter_task")
	if err != nil || id != wantID || !bytes.Equal(got, want) {
		t.Errorf("%d bytes and function %d, %v; want %d and %d", len(got), id, err, len(want), wantID)
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
}

// TestProgramsAreOfTheseSources fails where a source was changed and go generate
// not run.
func TestProgramsAreOfTheseSources(t *testing.T) {
	sums, err := os.ReadFile("programs.sum")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(sums)), "\n")
	if len(lines) != 3 {
		t.Fatalf("%d sources, want 3", len(lines))
	}
	for _, line := range lines {
		sum, file, _ := strings.Cut(line, "  ")
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%x", sha256.Sum256(b)); got != sum {
			t.Errorf("%s has changed since go generate: %s, then %s", file, got, sum)
		}
	}
}

func BenchmarkExtract(b *testing.B) {
	kernelSpec(b)
	spec, err := loadPrograms()
	if err != nil {
		b.Fatal(err)
	}
	wanted, err := wantedMembers(spec.Types)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := extractFile(vmlinuxTypes, wanted, "bpf_iter_task"); err != nil {
			b.Fatal(err)
		}
	}
}
