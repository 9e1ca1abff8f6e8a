package walk

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
)

// members tells which members of which structures are wanted.
type members map[string][]string

// extract returns a description of the wanted members alone, of every structure
// of each name, and the id that the function has in the whole description. What
// a pointer points to is left out.
func (k *kernelTypes) extract(wanted members, function string) (description []byte, id uint32, err error) {
	e := &extraction{from: k, wanted: wanted, ids: map[uint32]uint32{}, strings: []byte{0}}
	end := []byte(function + "\x00") // a string of the description ends with a zero
	for i := 1; i < len(k.at); i++ {
		t := typeRecord{k.types[k.at[i]:]}
		switch t.kind() {
		case kindStruct:
			if _, ok := wanted[string(k.name(t.name()))]; ok {
				if _, err := e.add(uint32(i), nil); err != nil {
					return nil, 0, err
				}
			}
		case kindFunc:
			if at := t.name(); int64(at) > int64(len(k.strings)) || !bytes.HasPrefix(k.strings[at:], end) {
				continue
			}
			if id != 0 {
				return nil, 0, fmt.Errorf("%w: two functions %s", errTypes, function)
			}
			id = uint32(i)
		}
	}
	if id == 0 {
		return nil, 0, fmt.Errorf("%w: no function %s", errTypes, function)
	}
	return e.bytes(), id, nil
}

// extraction is a description in the making.
type extraction struct {
	from    *kernelTypes
	wanted  members
	ids     map[uint32]uint32 // what is already there: its old and its new id
	types   [][]byte
	strings []byte
}

// maxModifiers bounds a chain of typedefs and qualifiers.
const maxModifiers = 64

// add copies a type by its old id and returns its new one. Of a structure
// without a name, inherited tells which members are wanted; nil stands for all.
func (e *extraction) add(id uint32, inherited []string) (uint32, error) {
	for range maxModifiers {
		if id == 0 {
			return 0, nil
		}
		t, err := e.from.record(id)
		if err != nil {
			return 0, err
		}
		switch t.kind() {
		case kindTypedef, kindVolatile, kindConst, kindRestrict, kindTypeTag:
			id = t.ref()
			continue
		}
		if known, ok := e.ids[id]; ok {
			return known, nil
		}
		e.types = append(e.types, nil)
		number := uint32(len(e.types))
		e.ids[id] = number
		b, err := e.copy(t, inherited)
		if err != nil {
			return 0, fmt.Errorf("type %d: %w", id, err)
		}
		e.types[number-1] = b
		return number, nil
	}
	return 0, fmt.Errorf("%w: type %d is hidden behind more than %d others", errTypes, id, maxModifiers)
}

// copy returns the new record of a type.
func (e *extraction) copy(t typeRecord, inherited []string) ([]byte, error) {
	switch t.kind() {
	case kindStruct, kindUnion:
		return e.structure(t, inherited)
	case kindPointer:
		return header(0, t.info(), 0), nil
	case kindArray:
		element, err := e.add(binary.NativeEndian.Uint32(t.b[typeHeader:]), nil)
		if err != nil {
			return nil, err
		}
		index, err := e.add(binary.NativeEndian.Uint32(t.b[typeHeader+4:]), nil)
		if err != nil {
			return nil, err
		}
		b := binary.NativeEndian.AppendUint32(header(0, t.info(), 0), element)
		b = binary.NativeEndian.AppendUint32(b, index)
		return append(b, t.b[typeHeader+8:typeHeader+12]...), nil
	case kindInt:
		return append(header(e.name(t.name()), t.info(), t.ref()), t.b[typeHeader:typeHeader+4]...), nil
	case kindEnum, kindEnum64: // its values are of no use here
		return header(e.name(t.name()), t.info()&^0xffff, t.ref()), nil
	}
	return nil, fmt.Errorf("%w: a member of kind %d", errTypes, t.kind())
}

// structure returns the new record of a structure or union.
func (e *extraction) structure(t typeRecord, inherited []string) ([]byte, error) {
	keep, all := inherited, inherited == nil
	if own := e.from.name(t.name()); len(own) > 0 {
		keep, all = e.wanted[string(own)], false
	}
	var list []byte
	count := uint32(0)
	for i := range t.count() {
		name, of, offset := t.member(i)
		label := e.from.name(name)
		var inside []string
		if !all {
			switch {
			case len(label) == 0 && len(keep) > 0:
				inside = keep
			case !slices.Contains(keep, string(label)):
				continue
			}
		}
		id, err := e.add(of, inside)
		if err != nil {
			return nil, err
		}
		list = binary.NativeEndian.AppendUint32(list, e.name(name))
		list = binary.NativeEndian.AppendUint32(list, id)
		list = binary.NativeEndian.AppendUint32(list, offset)
		count++
	}
	return append(header(e.name(t.name()), t.info()&^0xffff|count, t.ref()), list...), nil
}

// header returns struct btf_type.
func header(name, info, sizeOrType uint32) []byte {
	b := binary.NativeEndian.AppendUint32(nil, name)
	b = binary.NativeEndian.AppendUint32(b, info)
	return binary.NativeEndian.AppendUint32(b, sizeOrType)
}

// name copies a string and returns its new offset.
func (e *extraction) name(offset uint32) uint32 {
	s := e.from.name(offset)
	if len(s) == 0 {
		return 0
	}
	at := len(e.strings)
	e.strings = append(append(e.strings, s...), 0)
	return uint32(at)
}

// bytes returns the description.
func (e *extraction) bytes() []byte {
	types := bytes.Join(e.types, nil)
	b := make([]byte, 4, typesHeader+len(types)+len(e.strings))
	binary.NativeEndian.PutUint16(b, typesMagic)
	b[2] = 1
	for _, v := range []int{typesHeader, 0, len(types), len(types), len(e.strings)} {
		b = binary.NativeEndian.AppendUint32(b, uint32(v))
	}
	return append(append(b, types...), e.strings...)
}
