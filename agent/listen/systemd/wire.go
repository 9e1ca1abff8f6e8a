package systemd

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"
)

// The form of a message: D-Bus specification 0.43, "Message Protocol".
const (
	fixedHeader = 16 // up to and with the length of the header's fields

	kindCall   = 1
	kindReturn = 2
	kindError  = 3

	flagNoAutoStart = 2 // a bus shall not start systemd to answer

	fieldPath        = 1
	fieldInterface   = 2
	fieldMember      = 3
	fieldErrorName   = 4
	fieldReplySerial = 5
	fieldDestination = 6
	fieldSignature   = 8

	// maxMessage bounds an answer, header included. systemd tells of a unit in
	// some 300 bytes, so 4 MiB are those of more than 10,000 units that listen;
	// D-Bus itself would allow 128 MiB.
	maxMessage = 4 << 20
)

// call is a method call; its arguments are of the types that signature tells,
// of which only "s" and "as" are known here.
type call struct {
	destination, path, inter, member string
	signature                        string
	arguments                        []any // string or []string
}

// appendCall appends the message of a call, in little endian, which every peer
// must understand. Its values are aligned from its own start.
func appendCall(b []byte, serial uint32, c call) []byte {
	start := len(b)
	b = append(b, 'l', kindCall, flagNoAutoStart, 1)
	b = binary.LittleEndian.AppendUint32(b, 0) // length of the body
	b = binary.LittleEndian.AppendUint32(b, serial)
	b = binary.LittleEndian.AppendUint32(b, 0) // length of the fields
	b = appendField(b, start, fieldPath, 'o', c.path)
	b = appendField(b, start, fieldInterface, 's', c.inter)
	b = appendField(b, start, fieldMember, 's', c.member)
	b = appendField(b, start, fieldDestination, 's', c.destination)
	if c.signature != "" {
		b = pad(b, start, 8)
		b = append(b, fieldSignature, 1, 'g', 0, byte(len(c.signature)))
		b = append(append(b, c.signature...), 0)
	}
	binary.LittleEndian.PutUint32(b[start+12:], uint32(len(b)-start-fixedHeader))
	b = pad(b, start, 8)
	body := len(b)
	for _, a := range c.arguments {
		switch a := a.(type) {
		case string:
			b = appendString(b, start, a)
		case []string:
			b = appendStrings(b, start, a)
		}
	}
	binary.LittleEndian.PutUint32(b[start+4:], uint32(len(b)-body))
	return b
}

// appendField appends a field of the header: its code and a variant.
func appendField(b []byte, start int, code, kind byte, value string) []byte {
	b = pad(b, start, 8)
	b = append(b, code, 1, kind, 0)
	return appendString(b, start, value)
}

func appendString(b []byte, start int, s string) []byte {
	b = pad(b, start, 4)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(s)))
	return append(append(b, s...), 0)
}

func appendStrings(b []byte, start int, list []string) []byte {
	b = pad(b, start, 4)
	at := len(b)
	b = binary.LittleEndian.AppendUint32(b, 0)
	for _, s := range list {
		b = appendString(b, start, s)
	}
	binary.LittleEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	return b
}

// pad appends zeros up to the next multiple of n bytes from start.
func pad(b []byte, start, n int) []byte {
	for (len(b)-start)%n != 0 {
		b = append(b, 0)
	}
	return b
}

// message is what is wanted of one that arrived.
type message struct {
	kind  byte
	reply uint32 // serial of the call that it answers, 0 if none
	name  string // of an error
	body  decoder
}

// messageSize returns how long the message is that begins with head.
func messageSize(head []byte) (int, error) {
	if len(head) < fixedHeader {
		return 0, malformed(head, "%d bytes instead of a header of %d", len(head), fixedHeader)
	}
	order, err := byteOrder(head)
	if err != nil {
		return 0, err
	}
	body, fields := order.Uint32(head[4:]), order.Uint32(head[12:])
	// Each is checked for itself: the sum of both might overflow.
	if body > maxMessage || fields > maxMessage || align(fixedHeader+int(fields), 8)+int(body) > maxMessage {
		return 0, malformed(head, "more than %d bytes", maxMessage)
	}
	return align(fixedHeader+int(fields), 8) + int(body), nil
}

func byteOrder(head []byte) (binary.ByteOrder, error) {
	switch head[0] {
	case 'l':
		return binary.LittleEndian, nil
	case 'B':
		return binary.BigEndian, nil
	}
	return nil, malformed(head, "no byte order")
}

// parseMessage reads a whole message. Its body refers to b.
func parseMessage(b []byte) (message, error) {
	size, err := messageSize(b)
	if err != nil {
		return message{}, err
	}
	if size != len(b) {
		return message{}, malformed(b, "a message of %d bytes in %d", size, len(b))
	}
	order, _ := byteOrder(b) // messageSize has refused what has none
	m := message{kind: b[1]}
	bodySize := int(order.Uint32(b[4:]))
	d := decoder{b: b[:len(b)-bodySize], at: fixedHeader - 4, order: order}
	for end := d.array(8); d.more(end); {
		d.align(8)
		code := d.byte()
		switch kind := d.signature(); kind {
		case "o", "s":
			if value := d.string(); code == fieldErrorName {
				m.name = value
			}
		case "g":
			d.signature()
		case "u":
			if value := d.uint32(); code == fieldReplySerial {
				m.reply = value
			}
		default: // no field has another type
			d.fail("a header's field %d of type %q", code, kind)
		}
	}
	m.body = decoder{b: b[len(b)-bodySize:], order: order}
	return m, d.err
}

// decoder reads the values of a message in the order in which they lie there
// (D-Bus specification, "Marshaling"). After the first error it returns zero
// values, and its lists end.
type decoder struct {
	b     []byte
	at    int
	order binary.ByteOrder
	err   error
}

func (d *decoder) fail(format string, a ...any) {
	if d.err == nil {
		d.err = malformed(d.b, format, a...)
	}
}

// take returns the next n bytes.
func (d *decoder) take(n int) []byte {
	if d.err != nil {
		return nil
	}
	if n < 0 || n > len(d.b)-d.at {
		d.fail("%d bytes at %d of %d", n, d.at, len(d.b))
		return nil
	}
	d.at += n
	return d.b[d.at-n : d.at]
}

func (d *decoder) align(n int) { d.take(align(d.at, n) - d.at) }

func (d *decoder) byte() byte {
	b := d.take(1)
	if b == nil {
		return 0
	}
	return b[0]
}

func (d *decoder) uint32() uint32 {
	d.align(4)
	b := d.take(4)
	if b == nil {
		return 0
	}
	return d.order.Uint32(b)
}

func (d *decoder) bool() bool {
	n := d.uint32()
	if n > 1 {
		d.fail("a truth of %d", n)
	}
	return n == 1
}

func (d *decoder) string() string { return d.text(int(d.uint32())) }

func (d *decoder) signature() string { return d.text(int(d.byte())) }

// text returns n bytes of text, which a NUL follows.
func (d *decoder) text(n int) string {
	b := d.take(n)
	end := d.take(1)
	switch {
	case d.err != nil:
		return ""
	case end[0] != 0 || bytes.IndexByte(b, 0) >= 0:
		d.fail("a text of %d bytes without a NUL after it alone", n)
		return ""
	case !utf8.Valid(b):
		d.fail("a text that is not UTF-8")
		return ""
	}
	return string(b)
}

// array returns where the array ends that begins here, whose elements are
// aligned to n bytes.
func (d *decoder) array(n int) (end int) {
	size := d.uint32()
	d.align(n)
	if d.err == nil && int64(size) > int64(len(d.b)-d.at) {
		d.fail("an array of %d bytes at %d of %d", size, d.at, len(d.b))
	}
	return d.at + int(size)
}

// more reports whether an array that ends at end has another element.
func (d *decoder) more(end int) bool {
	if d.err == nil && d.at > end {
		d.fail("an element past the end of its array at %d", end)
	}
	return d.err == nil && d.at < end
}

func (d *decoder) strings() []string {
	var list []string
	for end := d.array(4); d.more(end); {
		list = append(list, d.string())
	}
	return list
}

// variant reads the type of a variant, which must be the one that is expected.
func (d *decoder) variant(signature string) {
	if got := d.signature(); d.err == nil && got != signature {
		d.fail("a value of type %q instead of %q", got, signature)
	}
}

// align returns the next multiple of size, a power of two.
func align(n, size int) int { return (n + size - 1) &^ (size - 1) }
