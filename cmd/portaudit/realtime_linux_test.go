package main

import (
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/portaudit/portaudit/agent/listen"
)

// TestWatchByMode asks for each mode without the rights for it.
func TestWatchByMode(t *testing.T) {
	tests := []struct{ mode, text, err string }{
		{"auto", "the tables of TCP and UDP are looked at every second, and what opens and closes in between is not seen: this process lacks CAP_BPF and CAP_PERFMON", ""},
		{"off", "off, as asked for", ""},
		{"on", "", "realtime is on: this process lacks CAP_BPF and CAP_PERFMON"},
	}
	sockets, err := listen.Open(listen.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer sockets.Close()
	for _, tt := range tests {
		done := make(chan struct{})
		go func() {
			defer close(done)
			runtime.LockOSThread() // never unlocked: the thread ends with the goroutine, and its lack of rights
			header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
			var none [2]unix.CapUserData
			if err := unix.Capset(&header, &none[0]); err != nil {
				t.Error(err)
				return
			}
			r, stop, err := watch(t.Context(), tt.mode, sockets)
			if tt.err == "" && (err != nil || r.Changes != nil || !strings.HasPrefix(r.Text, tt.text)) {
				t.Errorf("%s: %+v, %v; want no changes, and %q", tt.mode, r, err, tt.text)
			}
			if tt.err != "" && (err == nil || !strings.HasPrefix(err.Error(), tt.err)) {
				t.Errorf("%s: %v, want %q", tt.mode, err, tt.err)
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
		}()
		<-done
	}
}

// TestWatchStopsUnread ends a watch that has more to tell than fits, and that
// nobody listens to: a loop that failed does not any more.
func TestWatchStopsUnread(t *testing.T) {
	if os.Getenv("PORTAUDIT_TEST_ROOT") == "" || os.Geteuid() != 0 {
		t.Skip("needs root and PORTAUDIT_TEST_ROOT=1")
	}
	sockets, err := listen.Open(listen.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer sockets.Close()
	r, stop, err := watch(t.Context(), "on", sockets)
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); len(r.Changes) < cap(r.Changes); {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		if time.Now().After(deadline) {
			t.Fatalf("%d changes wait", len(r.Changes))
		}
	}
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }() // ends with the watch, or hangs as this test fails
	select {
	case err := <-stopped:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the watch does not end while nobody takes what it tells")
	}
}
