package walk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/cilium/ebpf/btf"
)

// someTypes returns a description in which a structure has what those of the
// kernel have: members without a name, typedefs, pointers, arrays and bitfields.
func someTypes(t testing.TB, functions ...string) []byte {
	t.Helper()
	number := &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}
	inner := &btf.Struct{Name: "inner", Size: 8, Members: []btf.Member{{Name: "a", Type: number}, {Name: "b", Type: number, Offset: 32}}}
	outer := &btf.Struct{Name: "outer", Size: 64, Members: []btf.Member{
		{Name: "left_out", Type: &btf.Struct{Name: "left_out", Size: 8}},
		{Type: &btf.Union{Size: 8, Members: []btf.Member{
			{Name: "other", Type: number},
			{Type: &btf.Struct{Size: 8, Members: []btf.Member{{Name: "deep", Type: &btf.Const{Type: number}, Offset: 32}}}},
		}}, Offset: 64},
		{Name: "in", Type: &btf.Typedef{Name: "inner_t", Type: inner}, Offset: 128},
		{Name: "to", Type: &btf.Pointer{Target: inner}, Offset: 192},
		{Name: "list", Type: &btf.Array{Index: number, Type: number, Nelems: 3}, Offset: 256},
		{Name: "kind", Type: &btf.Enum{Name: "kind", Size: 4, Values: []btf.EnumValue{{Name: "one", Value: 1}}}, Offset: 352},
		{Name: "handle", Type: &btf.Typedef{Name: "handle_t", Type: &btf.Struct{Size: 4, Members: []btf.Member{{Name: "val", Type: number}}}}, Offset: 384},
		{Name: "bits", Type: number, Offset: 416, BitfieldSize: 3},
	}}
	types := []btf.Type{outer, inner, &btf.Float{Name: "float", Size: 4}, &btf.Fwd{Name: "forward"}}
	for _, name := range functions {
		types = append(types, &btf.Func{Name: name, Type: &btf.FuncProto{Return: number}, Linkage: btf.GlobalFunc})
	}
	b, err := btf.NewBuilder(types, nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := b.Marshal(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestExtract(t *testing.T) {
	k, err := parseTypes(someTypes(t, "bpf_iter_task_file", "bpf_iter_task"))
	if err != nil {
		t.Fatal(err)
	}
	few, id, err := k.extract(members{"outer": {"deep", "in", "to", "list", "kind", "handle", "bits"}, "inner": {"b"}}, "bpf_iter_task")
	if err != nil {
		t.Fatal(err)
	}
	function, err := k.record(id)
	if err != nil || string(k.name(function.name())) != "bpf_iter_task" {
		t.Errorf("the function is %q, %v", k.name(function.name()), err)
	}
	spec, err := btf.LoadSpecFromReader(bytes.NewReader(few))
	if err != nil {
		t.Fatal(err)
	}
	var outer *btf.Struct
	if err := spec.TypeByName("outer", &outer); err != nil {
		t.Fatal(err)
	}
	if outer.Size != 64 {
		t.Errorf("%d bytes, want 64", outer.Size)
	}
	wantMembers := []btf.Member{
		{Name: "", Offset: 64}, {Name: "in", Offset: 128}, {Name: "to", Offset: 192}, {Name: "list", Offset: 256},
		{Name: "kind", Offset: 352}, {Name: "handle", Offset: 384}, {Name: "bits", Offset: 416, BitfieldSize: 3},
	}
	if len(outer.Members) != len(wantMembers) {
		t.Fatalf("members are %v", outer.Members)
	}
	for i, m := range outer.Members {
		if want := wantMembers[i]; m.Name != want.Name || m.Offset != want.Offset || m.BitfieldSize != want.BitfieldSize {
			t.Errorf("member %d is %+v, want %+v", i, m, want)
		}
	}
	union := outer.Members[0].Type.(*btf.Union)
	if len(union.Members) != 1 || union.Members[0].Type.(*btf.Struct).Members[0].Name != "deep" {
		t.Errorf("the member without a name has %v", union.Members)
	}
	if in := outer.Members[1].Type.(*btf.Struct); len(in.Members) != 1 || in.Members[0].Name != "b" || in.Members[0].Offset != 32 {
		t.Errorf("the structure inside has %v", in.Members)
	}
	if h := outer.Members[5].Type.(*btf.Struct); len(h.Members) != 1 || h.Members[0].Name != "val" {
		t.Errorf("the structure without a name has %v", h.Members)
	}
}

func TestExtractFunction(t *testing.T) {
	for _, tt := range []struct {
		reason    string
		functions []string
		found     bool
	}{
		{"the only one", []string{"f"}, true},
		{"none: the kernel has no such iterator", []string{"g"}, false},
		{"a name that only begins so", []string{"ff"}, false},
		{"two of one name: which is meant is not known", []string{"f", "f"}, false},
	} {
		k, err := parseTypes(someTypes(t, tt.functions...))
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := k.extract(nil, "f"); (err == nil) != tt.found || !tt.found && !errors.Is(err, errTypes) {
			t.Errorf("%s: %v", tt.reason, err)
		}
	}
}

func TestParseTypesRefuses(t *testing.T) {
	put := func(at int, v uint32) func([]byte) []byte {
		return func(b []byte) []byte { binary.NativeEndian.PutUint32(b[at:], v); return b }
	}
	for _, tt := range []struct {
		reason string
		change func([]byte) []byte
	}{
		{"nothing", func([]byte) []byte { return nil }},
		{"half a header", func(b []byte) []byte { return b[:12] }},
		{"other magic, or the other order of bytes", func(b []byte) []byte { b[0], b[1] = b[1], b[0]; return b }},
		{"another version", func(b []byte) []byte { b[2] = 2; return b }},
		{"a header that is too short", put(4, 8)},
		{"types that end after the file", put(12, 1<<31)},
		{"strings that begin after the file", put(16, 1<<31)},
		{"types that end within one", put(12, 16)},
		{"a kind that is unknown", put(typesHeader+4, 31<<24)},
		{"more members than there are bytes", put(typesHeader+4, kindStruct<<24|0xffff)},
	} {
		if _, err := parseTypes(tt.change(someTypes(t))); !errors.Is(err, errTypes) {
			t.Errorf("%s: %v", tt.reason, err)
		}
	}
}

func TestExtractEndsOnCycles(t *testing.T) {
	typ := func(name, kind, count, of uint32, more ...uint32) (b []byte) {
		for _, v := range append([]uint32{name, kind<<24 | count, of}, more...) {
			b = binary.NativeEndian.AppendUint32(b, v)
		}
		return b
	}
	strings := []byte("\x00s\x00f\x00")
	for _, tt := range []struct {
		reason  string
		types   []byte
		refused bool
	}{
		{"a typedef of itself", append(typ(1, kindStruct, 1, 4, 1, 2, 0), typ(0, kindTypedef, 0, 2)...), true},
		{"a structure within itself", typ(1, kindStruct, 1, 4, 1, 1, 0), false},
		{"a type that is not there", typ(1, kindStruct, 1, 4, 1, 99, 0), true},
	} {
		types := append(tt.types, typ(3, kindFunc, 0, 0)...)
		k := &kernelTypes{types: types, strings: strings}
		if err := k.index(); err != nil {
			t.Fatal(err)
		}
		if _, _, err := k.extract(members{"s": {"s"}}, "f"); (err != nil) != tt.refused {
			t.Errorf("%s: %v", tt.reason, err)
		}
	}
}

func FuzzExtract(f *testing.F) {
	f.Add(someTypes(f, "bpf_iter_task"))
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := parseTypes(b)
		if err != nil {
			return
		}
		few, _, err := k.extract(members{"outer": {"deep", "in", "list"}, "inner": {"b"}}, "bpf_iter_task")
		if err != nil {
			return
		}
		if _, err := parseTypes(few); err != nil {
			t.Errorf("what was extracted is refused: %v", err)
		}
	})
}
