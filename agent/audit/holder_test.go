package audit

import (
	"os"
	"path/filepath"
	"testing"
)

func TestHolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	check := func(when string, wantPID int, wantHeld bool) {
		t.Helper()
		if pid, held, err := Holder(dir); pid != wantPID || held != wantHeld || err != nil {
			t.Errorf("%s: process %d, held %t, %v, want %d and %t", when, pid, held, err, wantPID, wantHeld)
		}
	}
	check("before there is a directory", 0, false)
	if _, err := os.Stat(dir); err == nil {
		t.Error("it was made")
	}
	log, err := Open(dir, Options{Host: "h", Boot: "b"})
	if err != nil {
		t.Fatal(err)
	}
	check("while the log is open", os.Getpid(), true)
	check("asked again", os.Getpid(), true)
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	check("when it is closed", 0, false)
}

// TestHolderIsInNobodysWay holds that a log can be opened whoever asks for its
// holder at the time.
func TestHolderIsInNobodysWay(t *testing.T) {
	dir := t.TempDir()
	stop, stopped := make(chan struct{}), make(chan struct{})
	asked := 0
	go func() { // ends with stop, for which this test waits
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, _, err := Holder(dir); err != nil {
				t.Error(err)
				return
			}
			asked++
		}
	}()
	for range 200 {
		log, err := Open(dir, Options{Host: "h", Boot: "b"})
		if err != nil {
			t.Error(err)
			break
		}
		if err := log.Close(); err != nil {
			t.Error(err)
			break
		}
	}
	close(stop)
	<-stopped
	if asked == 0 {
		t.Error("nobody asked")
	}
}
