package walk

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// openTables opens the programs, where this kernel has them.
func openTables(t testing.TB) *Tables {
	t.Helper()
	needRoot(t)
	tables, err := OpenTables()
	if lack := (*UnavailableError)(nil); errors.As(err, &lack) && lack.Lack != "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tables.Close(); err != nil {
			t.Error(err)
		}
	})
	return tables
}

// inNewNamespace runs do in a network namespace of its own, in a thread that is
// not the first of the process: that one cannot end.
func inNewNamespace(t *testing.T, do func()) {
	t.Helper()
	done := make(chan error)
	var begin func()
	begin = func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if unix.Gettid() == unix.Getpid() {
			go begin()
			<-t.Context().Done()
			runtime.UnlockOSThread()
			return
		}
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			do()
		}
		done <- err
	}
	go begin()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestKeptIsTheKernels makes a socket of the kernel's own in a new namespace, by
// a tunnel device, beside sockets of a program.
func TestKeptIsTheKernels(t *testing.T) {
	tables, lacks := openTables(t), ""
	inNewNamespace(t, func() {
		tcp, err := net.Listen("tcp4", "0.0.0.0:0")
		if err != nil {
			t.Error(err)
			return
		}
		defer tcp.Close()
		udp, err := net.ListenPacket("udp4", "0.0.0.0:0")
		if err != nil {
			t.Error(err)
			return
		}
		defer udp.Close()
		before, err := tables.Kept(context.Background())
		if err != nil || len(before) != 0 {
			t.Errorf("the kernel keeps %v, %v, of a namespace with two sockets of a program", before, err)
		}
		out, err := exec.Command("ip", "link", "add", "vx0", "up", "type", "vxlan", "id", "7", "dstport", "4789").CombinedOutput()
		if err != nil {
			lacks = fmt.Sprintf("this kernel makes no vxlan device: %v: %s", err, strings.TrimSpace(string(out)))
			return
		}
		kept, err := tables.Kept(context.Background())
		if err != nil || len(kept) == 0 || slices.Contains(kept, 0) {
			t.Errorf("the kernel keeps %v, %v, with a vxlan device", kept, err)
		}
	})
	if lacks != "" {
		t.Skip(lacks)
	}
}

func TestParseInodes(t *testing.T) {
	if got := parseInodes([]byte{1: 0, 16: 1}); len(got) != 2 || got[0] != 0 {
		t.Errorf("got %v of 17 bytes", got)
	}
}
