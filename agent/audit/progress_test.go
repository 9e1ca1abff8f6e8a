package audit

import (
	"errors"
	"strings"
	"testing"
)

// TestProgressEnds: whoever waits for a log of years may have enough.
func TestProgressEnds(t *testing.T) {
	dir := t.TempDir()
	log, err := Open(dir, Options{Host: "test"})
	if err != nil {
		t.Fatal(err)
	}
	signer, err := OpenSigner(t.TempDir(), dir, "test")
	if err != nil {
		t.Fatal(err)
	}
	events := make([]Event, 5000)
	for i := range events {
		events[i] = Event{Event: ListenerOpened, Message: strings.Repeat("x", 300)}
	}
	if _, err := log.Append(events...); err != nil {
		t.Fatal(err)
	}
	if _, err := log.Checkpoint(signer); err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	enough := errors.New("enough")
	for what, read := range map[string]func(Progress) error{
		"verify": func(p Progress) error { _, err := VerifyLog(dir, VerifyOptions{Progress: p}); return err },
		"prove":  func(p Progress) error { _, err := Prove(dir, 7, keysOf(t, dir), p); return err },
	} {
		if err := read(nil); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		told := 0
		if err := read(func(int64, int64) error { told++; return enough }); !errors.Is(err, enough) || told != 1 {
			t.Errorf("%s: told %d times, and ended with %v", what, told, err)
		}
	}
}
