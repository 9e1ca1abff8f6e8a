package main

import (
	"runtime"
	"strings"
	"testing"

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
