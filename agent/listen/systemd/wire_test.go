package systemd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
)

// answer makes a message that answers a call; body are its bytes, in order.
func answer(order binary.AppendByteOrder, kind byte, reply uint32, name, signature string, body []byte) []byte {
	b := []byte{'l', kind, 0, 1}
	if order == binary.BigEndian {
		b[0] = 'B'
	}
	b = order.AppendUint32(b, uint32(len(body)))
	b = order.AppendUint32(b, 1)
	b = order.AppendUint32(b, 0)
	b = append(b, fieldReplySerial, 1, 'u', 0)
	b = order.AppendUint32(b, reply)
	if name != "" {
		b = append(pad(b, 0, 8), fieldErrorName, 1, 's', 0)
		b = order.AppendUint32(b, uint32(len(name)))
		b = append(append(b, name...), 0)
	}
	if signature != "" {
		b = append(pad(b, 0, 8), fieldSignature, 1, 'g', 0, byte(len(signature)))
		b = append(append(b, signature...), 0)
	}
	order.(binary.ByteOrder).PutUint32(b[12:], uint32(len(b)-fixedHeader))
	return append(pad(b, 0, 8), body...)
}

// TestAppendCall compares with the bytes that systemctl of systemd 252 sent for
// the same call, but for its flags and its order of the fields.
func TestAppendCall(t *testing.T) {
	got := appendCall([]byte("before"), 7, call{
		destination: "org.freedesktop.systemd1", path: "/org/freedesktop/systemd1/unit/inst_2esocket",
		inter: "org.freedesktop.DBus.Properties", member: "GetAll", signature: "s", arguments: []any{""},
	})
	want := "before" + "l\x01\x02\x01\x05\x00\x00\x00\x07\x00\x00\x00\x9f\x00\x00\x00" +
		"\x01\x01o\x00,\x00\x00\x00/org/freedesktop/systemd1/unit/inst_2esocket\x00\x00\x00\x00" +
		"\x02\x01s\x00\x1f\x00\x00\x00org.freedesktop.DBus.Properties\x00" +
		"\x03\x01s\x00\x06\x00\x00\x00GetAll\x00\x00" +
		"\x06\x01s\x00\x18\x00\x00\x00org.freedesktop.systemd1\x00\x00\x00\x00\x00\x00\x00\x00" +
		"\x08\x01g\x00\x01s\x00\x00" + "\x00\x00\x00\x00\x00"
	if string(got) != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// TestAppendCallArguments reads the arguments back.
func TestAppendCallArguments(t *testing.T) {
	b := appendCall(nil, 1, call{path: "/", signature: "asass", arguments: []any{[]string{"one", "", "three"}, []string(nil), "last"}})
	m, err := parseMessage(b)
	if err != nil {
		t.Fatal(err)
	}
	first, second, last := m.body.strings(), m.body.strings(), m.body.string()
	if strings.Join(first, ",") != "one,,three" || len(second) != 0 || last != "last" || m.body.err != nil {
		t.Errorf("got %q, %q, %q, %v", first, second, last, m.body.err)
	}
}

func TestParseMessage(t *testing.T) {
	text := func(order binary.AppendByteOrder, s string) []byte {
		return append(append(order.AppendUint32(nil, uint32(len(s))), s...), 0)
	}
	little := answer(binary.LittleEndian, kindError, 5, "a.B", "s", text(binary.LittleEndian, "no"))
	patch := func(at int, with ...byte) []byte {
		b := bytes.Clone(little)
		copy(b[at:], with)
		return b
	}
	tests := []struct {
		reason  string
		in      []byte
		refused bool
	}{
		{reason: "little endian", in: little},
		{reason: "big endian", in: answer(binary.BigEndian, kindError, 5, "a.B", "s", text(binary.BigEndian, "no"))},
		{reason: "nothing", in: nil, refused: true},
		{reason: "a header cut short", in: little[:15], refused: true},
		{reason: "fields cut short", in: little[:20], refused: true},
		{reason: "a body cut short", in: little[:len(little)-1], refused: true},
		{reason: "more than the message", in: append(bytes.Clone(little), 0), refused: true},
		{reason: "no byte order", in: patch(0, 'x'), refused: true},
		{reason: "a body past all bounds", in: patch(4, 0xff, 0xff, 0xff, 0xff), refused: true},
		{reason: "fields past all bounds", in: patch(12, 0xff, 0xff, 0xff, 0xff), refused: true},
		{reason: "both at the bound", in: patch(4, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0, 0x40, 0), refused: true},
		{reason: "a field of a type that none has", in: patch(18, 'x'), refused: true},
		{reason: "a field's type without its NUL", in: patch(19, 1), refused: true},
		{reason: "a name longer than the message", in: patch(28, 0xff, 0xff, 0xff, 0x7f), refused: true},
		{reason: "a name with a NUL within", in: patch(33, 0), refused: true},
		{reason: "a name that is not UTF-8", in: patch(33, 0xff), refused: true},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			m, err := parseMessage(tt.in)
			var refusal *MessageError
			if tt.refused != errors.As(err, &refusal) {
				t.Fatalf("error is %v", err)
			}
			if !tt.refused && (err != nil || m.kind != kindError || m.reply != 5 || m.name != "a.B" || m.body.string() != "no") {
				t.Errorf("got %+v, %v", m, err)
			}
		})
	}
}

// TestDecoder gives values that are not of their type.
func TestDecoder(t *testing.T) {
	tests := []struct {
		reason string
		in     string
		read   func(*decoder)
	}{
		{"a truth of 2", "\x02\x00\x00\x00", func(d *decoder) { d.bool() }},
		{"a number cut short", "\x02\x00\x00", func(d *decoder) { d.uint32() }},
		{"an array past the end", "\x05\x00\x00\x00aaaa", func(d *decoder) { d.strings() }},
		{"an element past the end of its array", "\x04\x00\x00\x00\x02\x00\x00\x00aa\x00", func(d *decoder) { d.strings() }},
		{"another type", "\x01s\x00", func(d *decoder) { d.variant("as") }},
		{"no type", "", func(d *decoder) { d.variant("as") }},
		{"a list of units that is none", "\x08\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00a", func(d *decoder) { d.units() }},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			d := decoder{b: []byte(tt.in), order: binary.LittleEndian}
			tt.read(&d)
			var refusal *MessageError
			if !errors.As(d.err, &refusal) {
				t.Errorf("error is %v, want a refusal", d.err)
			}
		})
	}
}

func FuzzParseMessage(f *testing.F) {
	f.Add(answer(binary.LittleEndian, kindReturn, 1, "", "v", []byte("\x01s\x00\x00\x01\x00\x00\x00a\x00")))
	f.Add(answer(binary.BigEndian, kindError, 1, "a.B", "", nil))
	f.Add(appendCall(nil, 1, call{path: "/", inter: "a.B", member: "C", signature: "as", arguments: []any{[]string{"x"}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseMessage(b)
		if err != nil {
			return
		}
		for _, read := range []func(*decoder){
			func(d *decoder) { d.units() }, func(d *decoder) { _ = d.string() }, func(d *decoder) { d.bool() },
			func(d *decoder) { new(record).read("Listen", d) }, func(d *decoder) { new(record).read("Triggers", d) },
		} {
			d := m.body
			read(&d)
			if d.at > len(d.b) {
				t.Fatalf("at %d of %d", d.at, len(d.b))
			}
		}
	})
}
