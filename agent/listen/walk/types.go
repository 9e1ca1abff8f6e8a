package walk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// kernelTypes is the kernel's description of its own types, in the form of
// Documentation/bpf/btf.rst, which /sys/kernel/btf/vmlinux holds. To relocate a
// program takes 20 of its 100,000 types, and the library would sort all of them
// by name first: two thirds of the time that it takes to load a program.
type kernelTypes struct {
	types   []byte
	strings []byte
	at      []uint32 // where each type begins; type 0, void, is not written
}

// The kinds of types that are told apart here (include/uapi/linux/btf.h).
const (
	kindInt       = 1
	kindPointer   = 2
	kindArray     = 3
	kindStruct    = 4
	kindUnion     = 5
	kindEnum      = 6
	kindForward   = 7
	kindTypedef   = 8
	kindVolatile  = 9
	kindConst     = 10
	kindRestrict  = 11
	kindFunc      = 12
	kindFuncProto = 13
	kindVar       = 14
	kindSection   = 15
	kindFloat     = 16
	kindDeclTag   = 17
	kindTypeTag   = 18
	kindEnum64    = 19
)

const (
	typesMagic  = 0xeb9f
	typesHeader = 24 // bytes of struct btf_header
	typeHeader  = 12 // bytes of struct btf_type
	memberSize  = 12 // bytes of struct btf_member
)

// maxTypes bounds the size of a description: 20 times what a kernel has.
const maxTypes = 128 << 20

// errTypes is what all refusals of a description wrap.
var errTypes = errors.New("types of the kernel")

// parseTypes finds the types in b, which stays in use.
func parseTypes(b []byte) (*kernelTypes, error) {
	if len(b) < typesHeader || len(b) > maxTypes {
		return nil, fmt.Errorf("%w: %d bytes", errTypes, len(b))
	}
	if binary.NativeEndian.Uint16(b) != typesMagic || b[2] != 1 {
		return nil, fmt.Errorf("%w: begin with % x", errTypes, b[:4])
	}
	var err error
	k := &kernelTypes{}
	field := func(i int) uint64 { return uint64(binary.NativeEndian.Uint32(b[i:])) }
	if k.types, err = section(b, field(4), field(8), field(12)); err != nil {
		return nil, err
	}
	if k.strings, err = section(b, field(4), field(16), field(20)); err != nil {
		return nil, err
	}
	return k, k.index()
}

// section returns a section of b, whose offset counts from the end of the header.
func section(b []byte, header, offset, size uint64) ([]byte, error) {
	start, end := header+offset, header+offset+size
	if header < typesHeader || end > uint64(len(b)) {
		return nil, fmt.Errorf("%w: a section from %d to %d of %d bytes", errTypes, start, end, len(b))
	}
	return b[start:end], nil
}

// index finds where each type begins.
func (k *kernelTypes) index() error {
	k.at = make([]uint32, 1, 1+len(k.types)/24) // a type takes about 30 bytes
	for at := 0; at < len(k.types); {
		if len(k.types)-at < typeHeader {
			return fmt.Errorf("%w: %d bytes after the last type", errTypes, len(k.types)-at)
		}
		t := typeRecord{k.types[at:]}
		size, err := t.size()
		if err != nil {
			return fmt.Errorf("%w: type %d: %w", errTypes, len(k.at), err)
		}
		if size > len(k.types)-at {
			return fmt.Errorf("%w: type %d has %d bytes, %d are left", errTypes, len(k.at), size, len(k.types)-at)
		}
		k.at = append(k.at, uint32(at))
		at += size
	}
	return nil
}

// record returns a type other than void.
func (k *kernelTypes) record(id uint32) (typeRecord, error) {
	if id == 0 || int64(id) >= int64(len(k.at)) {
		return typeRecord{}, fmt.Errorf("%w: no type %d", errTypes, id)
	}
	return typeRecord{k.types[k.at[id]:]}, nil
}

// name returns a string of the description, none where there is none. It is
// part of it.
func (k *kernelTypes) name(offset uint32) []byte {
	if int64(offset) >= int64(len(k.strings)) {
		return nil
	}
	s := k.strings[offset:]
	return s[:max(bytes.IndexByte(s, 0), 0)]
}

// typeRecord is struct btf_type and what follows it.
type typeRecord struct{ b []byte }

func (t typeRecord) name() uint32 { return binary.NativeEndian.Uint32(t.b) }
func (t typeRecord) info() uint32 { return binary.NativeEndian.Uint32(t.b[4:]) }
func (t typeRecord) kind() uint32 { return t.info() >> 24 & 0x1f }
func (t typeRecord) count() int   { return int(t.info() & 0xffff) }

// ref is the type that this one is made of; of others it is their size.
func (t typeRecord) ref() uint32 { return binary.NativeEndian.Uint32(t.b[8:]) }

// size is how many bytes the record has.
func (t typeRecord) size() (int, error) {
	switch t.kind() {
	case kindInt, kindVar, kindDeclTag:
		return typeHeader + 4, nil
	case kindArray:
		return typeHeader + 12, nil
	case kindStruct, kindUnion, kindSection, kindEnum64:
		return typeHeader + 12*t.count(), nil
	case kindEnum, kindFuncProto:
		return typeHeader + 8*t.count(), nil
	case kindPointer, kindForward, kindTypedef, kindVolatile, kindConst, kindRestrict, kindFunc, kindFloat, kindTypeTag:
		return typeHeader, nil
	}
	return 0, fmt.Errorf("kind %d is unknown", t.kind())
}

// member returns what struct btf_member tells of one member.
func (t typeRecord) member(i int) (name, of, offset uint32) {
	m := t.b[typeHeader+i*memberSize:]
	return binary.NativeEndian.Uint32(m), binary.NativeEndian.Uint32(m[4:]), binary.NativeEndian.Uint32(m[8:])
}
