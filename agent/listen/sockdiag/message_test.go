package sockdiag

import (
	"bytes"
	"errors"
	"math"
	"syscall"
	"testing"
)

// message frames a payload as the kernel does.
func message(kind, flags uint16, seq uint32, payload []byte) []byte {
	b := native.AppendUint32(nil, uint32(headerSize+len(payload)))
	b = native.AppendUint16(b, kind)
	b = native.AppendUint16(b, flags)
	b = native.AppendUint32(b, seq)
	b = native.AppendUint32(b, 0)
	b = append(b, payload...)
	return append(b, make([]byte, align(len(b))-len(b))...)
}

func attribute(kind uint16, value ...byte) []byte {
	b := native.AppendUint16(nil, uint16(attributeHeader+len(value)))
	b = native.AppendUint16(b, kind)
	b = append(b, value...)
	return append(b, make([]byte, align(len(b))-len(b))...)
}

func status(errno int32) []byte { return native.AppendUint32(nil, uint32(-errno)) }

func TestParse(t *testing.T) {
	row := make([]byte, inetRowSize)
	row[0], row[1] = Inet6, 10
	row[4], row[5] = 0x1f, 0x90 // 8080
	row[23] = 1                 // ::1
	good := message(typeSockDiag, 0, 7, append(bytes.Clone(row), attribute(attributeV6Only, 1)...))
	tests := []struct {
		reason  string
		in      []byte
		rows    int
		done    bool
		changed bool
		err     error
		refused bool
	}{
		{reason: "one socket and the end", in: append(bytes.Clone(good), message(typeDone, 0, 7, status(0))...), rows: 1, done: true},
		{reason: "the end with an error", in: message(typeDone, 0, 7, status(int32(syscall.EPERM))), done: true, err: syscall.EPERM},
		{reason: "an older dump's rest", in: message(typeSockDiag, 0, 6, row)},
		{reason: "changed under way", in: message(typeSockDiag, flagInterrupted, 7, row), rows: 1, changed: true},
		{reason: "no such protocol", in: message(typeError, 0, 7, status(int32(syscall.ENOENT))), err: ErrAbsent},
		{reason: "no memory left", in: message(typeError, 0, 7, status(int32(syscall.ENOBUFS))), err: syscall.ENOBUFS},
		{reason: "messages dropped", in: message(typeOverrun, 0, 7, nil), err: errOverrun},
		{reason: "a header cut short", in: good[:10], refused: true},
		{reason: "a length past the end", in: good[:headerSize+8], refused: true},
		{reason: "a length of zero", in: make([]byte, headerSize), refused: true},
		{reason: "a socket cut short", in: message(typeSockDiag, 0, 7, row[:40]), refused: true},
		{reason: "an attribute past the end", in: message(typeSockDiag, 0, 7, append(bytes.Clone(row), 200, 0, 1, 0)), refused: true},
		{reason: "an attribute shorter than its header", in: message(typeSockDiag, 0, 7, append(bytes.Clone(row), 1, 0, 1, 0)), refused: true},
		{reason: "a kind of message that is not known", in: message(99, 0, 7, row)},
		{reason: "the smallest errno", in: message(typeError, 0, 7, native.AppendUint32(nil, 1<<31)), err: syscall.Errno(math.MaxInt32 + 1)},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			rows, a, err := parse(tt.in, Query{Family: Inet6, Protocol: TCP}, 7, nil)
			if len(rows) != tt.rows || a.done != tt.done || a.interrupted != tt.changed {
				t.Errorf("%d rows, done %v, interrupted %v", len(rows), a.done, a.interrupted)
			}
			var m *MessageError
			switch {
			case tt.refused && !errors.As(err, &m):
				t.Errorf("error is %v, want a refusal", err)
			case !tt.refused && tt.err == nil && err != nil:
				t.Errorf("refused: %v", err)
			case tt.err != nil && tt.reason != "the smallest errno" && !errors.Is(err, tt.err):
				t.Errorf("error is %v, want %v", err, tt.err)
			case tt.err != nil && err == nil:
				t.Error("no error")
			}
			if tt.rows == 1 && (rows[0].LocalPort != 8080 || rows[0].Address().String() != "::1") {
				t.Errorf("row is %+v", rows[0])
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, family := range []uint8{Inet, Inet6, Packet, VSOCK} {
		f.Add(message(typeSockDiag, 0, 1, make([]byte, inetRowSize)), family)
		f.Add(message(typeSockDiag, 0, 1, append(make([]byte, packetRowSize), attribute(packetInfo, 1, 0, 0, 0)...)), family)
	}
	f.Add(message(typeDone, 0, 1, status(0)), uint8(Inet))
	f.Add(message(typeError, 0, 1, status(2)), uint8(Inet))
	f.Fuzz(func(t *testing.T, b []byte, family uint8) {
		rows, a, err := parse(b, Query{Family: family, Protocol: TCP}, 1, nil)
		if len(rows) > len(b)/headerSize {
			t.Errorf("%d rows of %d bytes", len(rows), len(b))
		}
		if a.done && err == nil && len(b) < headerSize {
			t.Error("an end that was not there")
		}
		for _, r := range rows {
			_ = r.Address()
		}
	})
}
