package firewall

import (
	"encoding/binary"
	"fmt"
	"strings"
)

var (
	native  = binary.NativeEndian // the kernel's structures
	network = binary.BigEndian    // attributes of nftables, addresses and ports
)

// A ParseError reports an answer of the kernel that is not of the documented form.
type ParseError struct {
	Problem string
	Input   []byte // its first bytes
}

func (e *ParseError) Error() string {
	return fmt.Sprintf("packet filter: %s: % x", e.Problem, e.Input)
}

func malformed(b []byte, format string, a ...any) error {
	return &ParseError{Problem: fmt.Sprintf(format, a...), Input: append([]byte(nil), b[:min(len(b), 64)]...)}
}

// attributes are those of one netlink message or nest (struct nlattr), by type.
// What follows a malformed one is left out, and err holds the first problem.
type attributes struct {
	value [32][]byte
	err   error
}

const attributeHeader = 4

// visitAttributes calls visit for each attribute of b.
func visitAttributes(b []byte, visit func(kind uint16, value []byte) error) error {
	for len(b) > 0 {
		if len(b) < attributeHeader {
			return malformed(b, "%d bytes instead of an attribute", len(b))
		}
		size := int(native.Uint16(b))
		if size < attributeHeader || size > len(b) {
			return malformed(b, "an attribute of %d bytes in %d", size, len(b))
		}
		// The upper two bits are NLA_F_NESTED and NLA_F_NET_BYTEORDER.
		if err := visit(native.Uint16(b[2:])&0x3fff, b[attributeHeader:size]); err != nil {
			return err
		}
		b = b[min(len(b), (size+3)&^3):]
	}
	return nil
}

func parseAttributes(b []byte) attributes {
	var a attributes
	a.err = visitAttributes(b, func(kind uint16, value []byte) error {
		if int(kind) < len(a.value) {
			a.value[kind] = value
		}
		return nil
	})
	return a
}

// number reads an attribute of 4 bytes, 0 if it is not there.
func (a *attributes) number(kind int) uint32 {
	b := a.value[kind]
	if len(b) != 4 {
		if b != nil && a.err == nil {
			a.err = malformed(b, "attribute %d of %d bytes instead of 4", kind, len(b))
		}
		return 0
	}
	return network.Uint32(b)
}

// text reads a string with or without the zero that ends it.
func (a *attributes) text(kind int) string {
	s, _, _ := strings.Cut(string(a.value[kind]), "\x00")
	return s
}

// list calls visit for each element of the list (NFTA_LIST_ELEM) in an attribute.
func (a *attributes) list(kind int, visit func([]byte) error) error {
	return visitAttributes(a.value[kind], func(kind uint16, value []byte) error {
		if kind != 1 {
			return nil
		}
		return visit(value)
	})
}
