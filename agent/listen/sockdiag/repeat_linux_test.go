package sockdiag

import (
	"errors"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// fakeKernel returns a Conn to a kernel that answers each question with the next
// of the answers, given as datagrams for the number of the question; the last
// one again and again. asked tells how many questions there were.
func fakeKernel(t *testing.T, answers ...func(seq uint32) [][]byte) (c *Conn, asked func() int) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.SetsockoptTimeval(pair[0], unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 20e3}); err != nil {
		t.Fatal(err)
	}
	n, ended := 0, make(chan struct{})
	go func() {
		defer close(ended)
		b := make([]byte, maxRequest)
		for {
			if size, err := unix.Read(pair[1], b); err != nil || size < headerSize {
				return
			}
			for _, datagram := range answers[min(n, len(answers)-1)](native.Uint32(b[8:])) {
				if _, err := unix.Write(pair[1], datagram); err != nil {
					return
				}
			}
			n++
		}
	}()
	c = &Conn{fd: pair[0], buffer: make([]byte, bufferSize)}
	closed := false
	asked = func() int {
		if !closed {
			closed = true
			unix.Close(pair[0])
			<-ended
			unix.Close(pair[1])
		}
		return n
	}
	t.Cleanup(func() { asked() })
	return c, asked
}

// TestDumpIsRepeated gives answers that are not whole: a dump of which the next
// attempt is whole is that one's rows alone, and one that never is says so.
func TestDumpIsRepeated(t *testing.T) {
	row := func(seq, inode uint32, flags uint16) []byte {
		b := make([]byte, inetRowSize)
		b[0], b[1] = Inet, 10
		native.PutUint32(b[inetRowSize-4:], inode)
		return message(typeSockDiag, flags, seq, b)
	}
	done := func(seq uint32) []byte { return message(typeDone, 0, seq, status(0)) }
	whole := func(seq uint32) [][]byte {
		return [][]byte{row(seq, 1, 0), slices.Concat(row(seq, 2, 0), done(seq))}
	}
	tests := []struct {
		reason string
		answer func(seq uint32) [][]byte
		rows   int // that a part of an answer has
		err    error
	}{
		{"the end is missing", func(seq uint32) [][]byte { return [][]byte{row(seq, 3, 0), row(seq, 4, 0)} }, 2, syscall.EAGAIN},
		{"no answer at all", func(uint32) [][]byte { return nil }, 0, syscall.EAGAIN},
		{"no room for an answer", func(seq uint32) [][]byte {
			return [][]byte{row(seq, 3, 0), message(typeError, 0, seq, status(int32(syscall.ENOBUFS)))}
		}, 1, syscall.ENOBUFS},
		{"answers were dropped", func(seq uint32) [][]byte { return [][]byte{row(seq, 3, 0), message(typeOverrun, 0, seq, nil)} }, 1, errOverrun},
		{"the tables changed meanwhile", func(seq uint32) [][]byte { return [][]byte{row(seq, 3, flagInterrupted), done(seq)} }, 1, errInterrupted},
		{"the end of an older dump", func(seq uint32) [][]byte { return [][]byte{row(seq, 3, 0), done(seq - 1)} }, 1, syscall.EAGAIN},
		{"another dump is under way", func(seq uint32) [][]byte {
			return [][]byte{message(typeError, 0, seq, status(int32(syscall.EBUSY)))}
		}, 0, syscall.EBUSY},
	}
	q := Query{Family: Inet, Protocol: TCP, States: Listen}
	before := []Row{{Inode: 99}}
	for _, tt := range tests {
		t.Run(tt.reason+", once", func(t *testing.T) {
			c, asked := fakeKernel(t, tt.answer, whole)
			rows, err := c.Dump(q, slices.Clone(before))
			if err != nil || len(rows) != 3 || rows[0].Inode != 99 || rows[1].Inode != 1 || rows[2].Inode != 2 {
				t.Errorf("rows are %+v, error is %v; want the one that was there and the two of the second answer", rows, err)
			}
			if n := asked(); n != 2 {
				t.Errorf("asked %d times, want 2", n)
			}
		})
		t.Run(tt.reason+", always", func(t *testing.T) {
			c, asked := fakeKernel(t, tt.answer)
			rows, err := c.Dump(q, slices.Clone(before))
			if !errors.Is(err, ErrIncomplete) || !errors.Is(err, tt.err) || len(rows) != 1+tt.rows {
				t.Errorf("%d rows, error is %v; want %d, ErrIncomplete for %v", len(rows), err, 1+tt.rows, tt.err)
			}
			if n := asked(); n != attempts {
				t.Errorf("asked %d times, want %d", n, attempts)
			}
		})
	}
}

// TestRefusedDump does not ask again for what will not come.
func TestRefusedDump(t *testing.T) {
	refuse := func(seq uint32) [][]byte {
		return [][]byte{message(typeError, 0, seq, status(int32(syscall.EPERM)))}
	}
	c, asked := fakeKernel(t, refuse)
	rows, err := c.Dump(Query{Family: Inet, Protocol: TCP, States: Listen}, nil)
	if !errors.Is(err, syscall.EPERM) || errors.Is(err, ErrIncomplete) || len(rows) != 0 {
		t.Errorf("%d rows, error is %v, want EPERM", len(rows), err)
	}
	if n := asked(); n != 1 {
		t.Errorf("asked %d times, want 1", n)
	}
}
