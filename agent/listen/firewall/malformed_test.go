package firewall

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
)

// TestMalformed gives the parsers what no kernel should answer, and wants the
// refused input back.
func TestMalformed(t *testing.T) {
	message := func(attributes ...byte) []byte { return append([]byte{byte(familyIPv4), 0, 0, 0}, attributes...) }
	attribute := func(size, kind uint16, value ...byte) []byte {
		return append(native.AppendUint16(native.AppendUint16(nil, size), kind), value...)
	}
	info := make([]byte, infoSize)
	huge := bytes.Clone(info)
	native.PutUint32(huge[80:], maxTable+1)
	entry := func(target, next uint16) []byte {
		e := make([]byte, layoutIPv4.entrySize+extensionSize+8)
		native.PutUint16(e[layoutIPv4.targetAt:], target)
		native.PutUint16(e[layoutIPv4.nextAt:], next)
		return e
	}
	records := func(parts ...any) []byte {
		var b []byte
		for i := 0; i < len(parts); i += 2 {
			body := parts[i+1].([]byte)
			b = append(b, byte(parts[i].(int)))
			b = binary.BigEndian.AppendUint32(b, uint32(len(body)))
			b = append(b, body...)
		}
		return b
	}
	tests := []struct {
		reason string
		input  []byte
	}{
		{"a message without a header", records(messageChain, []byte{2, 0})},
		{"an attribute longer than the message", records(messageChain, message(attribute(40, 1)...))},
		{"an attribute shorter than its header", records(messageChain, message(attribute(2, 1)...))},
		{"half an attribute", records(messageRule, message(1, 2))},
		{"a number of three bytes", records(messageTable, message(attribute(7, tableFlags, 1, 2, 3)...))},
		{"elements of no set", records(messageElements, message())},
		{"information that is too short", records(captureInfo, []byte("filter"), captureIPv4, []byte{})},
		{"a table that is too large", records(captureInfo, huge, captureIPv4, []byte{})},
		{"an entry that is too short", records(captureInfo, info, captureIPv4, []byte{1, 2, 3})},
		{"an entry that ends before its target", records(captureInfo, info, captureIPv4, entry(112, 100))},
		{"an entry that ends behind the table", records(captureInfo, info, captureIPv4, entry(112, 9000))},
		{"a target within the header", records(captureInfo, info, captureIPv4, entry(10, 152))},
		{"a target of no size", records(captureInfo, info, captureIPv4, entry(112, 152))},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			_, err := readCapture(tt.input)
			var p *ParseError
			if !errors.As(err, &p) || p.Problem == "" {
				t.Errorf("error is %v, want a *ParseError", err)
			}
		})
	}
}

// TestManyElements: a set beyond the bound is not understood, and says nothing
// false.
func TestManyElements(t *testing.T) {
	s := &nftSet{keyLength: 2}
	d := newDump()
	d.sets[nftKey{familyIPv4, "", ""}] = s
	nest := func(kind uint16, b []byte) []byte {
		return append(native.AppendUint16(native.AppendUint16(nil, uint16(4+len(b))), kind), b...)
	}
	element := nest(1, nest(elementKey, nest(dataValue, []byte{0, 80, 0, 0})))
	list := nest(listElements, bytes.Repeat(element, 1000))
	for range maxElements/1000 + 1 {
		if err := d.addElements(append([]byte{byte(familyIPv4), 0, 0, 0}, list...)); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.elements) != maxElements || !s.partial {
		t.Errorf("%d elements, partial %t", len(s.elements), s.partial)
	}
}
