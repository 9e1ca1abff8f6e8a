package alert

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestJournalSocket stands in for journald, with entries that fit into a datagram
// and that do not, and a socket that is made anew.
func TestJournalSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	j := NewJournal(path)
	defer j.Close()
	if err := j.Send(t.Context(), full("x")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a journald: %v", err)
	}
	for range 2 {
		conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		for _, size := range []int{1, 60 << 10} {
			m := full(strings.Repeat("x", size))
			for try := 0; ; try++ {
				if err := j.Send(t.Context(), m); err == nil {
					break
				} else if try == 2 {
					t.Fatal(err)
				}
			}
			entry, inFile := receiveEntry(t, conn)
			if got := entryFields(t, entry)["PORTAUDIT_COMMAND"]; got != m.Event.Owners[0].Command || inFile != (size > 1) {
				t.Errorf("got %d bytes of %d, in a file: %v", len(got), size, inFile)
			}
		}
		conn.Close()
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// receiveEntry takes an entry as journald does: it wants a memory file to be sealed.
func receiveEntry(t *testing.T, conn *net.UnixConn) (entry []byte, inFile bool) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buf, rights := make([]byte, 1<<20), make([]byte, 64)
	n, rightsLen, _, _, err := conn.ReadMsgUnix(buf, rights)
	if err != nil {
		t.Fatal(err)
	}
	if rightsLen == 0 {
		return buf[:n], false
	}
	if n != 0 {
		t.Errorf("%d bytes came beside the file", n)
	}
	control, err := syscall.ParseSocketControlMessage(rights[:rightsLen])
	if err != nil {
		t.Fatal(err)
	}
	fds, err := syscall.ParseUnixRights(&control[0])
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fds[0]), "entry")
	defer f.Close()
	seals, err := unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0)
	if err != nil || seals&unix.F_SEAL_WRITE == 0 {
		t.Errorf("seals %x, %v", seals, err)
	}
	entry, err = io.ReadAll(io.NewSectionReader(f, 0, 1<<30))
	if err != nil {
		t.Fatal(err)
	}
	return entry, true
}
