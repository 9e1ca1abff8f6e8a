//go:build unix

package audit

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestPlantedPipe holds that a pipe in the place of any file of a log is waited for
// by nobody who reads or opens it: root may look at a directory that another user
// has prepared.
func TestPlantedPipe(t *testing.T) {
	readers := map[string]func(dir string) error{
		"Lines": func(dir string) error {
			for _, err := range Lines(dir, Range{}) {
				return err
			}
			return nil
		},
		"Tail": func(dir string) error {
			tail, err := OpenTail(dir)
			if err != nil {
				return err
			}
			return tail.Close()
		},
		"VerifyLog": func(dir string) error { _, err := VerifyLog(dir, VerifyOptions{}); return err },
		"Prove":     func(dir string) error { _, err := Prove(dir, 1, Keys{}, nil); return err },
		"Holder":    func(dir string) error { _, _, err := Holder(dir); return err },
		"Tidy": func(dir string) error {
			return Tidy(t.Context(), dir, Retention{Count: 1}, func(Event) error { return nil })
		},
		"OpenSigner": func(dir string) error { _, err := OpenSigner(dir, dir, "test"); return err },
		"Open": func(dir string) error {
			l, err := Open(dir, Options{})
			if err != nil {
				return err
			}
			return l.Close()
		},
	}
	closed := segment{first: 1}
	packed := segment{first: 1, packed: true}
	for _, name := range []string{logName, closed.name(), packed.name(), KeyName, CheckpointName, SigningKeyName, lockName, reserveName} {
		for who, read := range readers {
			t.Run(who+" "+name, func(t *testing.T) {
				dir := t.TempDir()
				if err := syscall.Mkfifo(filepath.Join(dir, name), 0o600); err != nil {
					t.Fatal(err)
				}
				done := make(chan error, 1)
				go func() { done <- read(dir) }() // it ends when read does; a test that fails leaves it
				select {
				case err := <-done:
					t.Log(err)
				case <-time.After(20 * time.Second):
					t.Fatal("it waits at the pipe")
				}
			})
		}
	}
}

// TestPlantedLink holds that a Log writes through no link, and cuts nothing off
// behind one: to root that could be any file.
func TestPlantedLink(t *testing.T) {
	for _, name := range []string{logName, segment{first: 1}.name(), lockName} {
		t.Run(name, func(t *testing.T) {
			dir, other := t.TempDir(), filepath.Join(t.TempDir(), "other")
			const text = "root:x:0:0:root:/root:/bin/bash\n"
			if err := os.WriteFile(other, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(other, filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
			if l, err := Open(dir, Options{}); err == nil {
				t.Errorf("it was opened: %v", l.Close())
			} else if fi := (*fs.PathError)(nil); !errors.As(err, &fi) {
				t.Error(err)
			}
			if got, err := os.ReadFile(other); err != nil || string(got) != text {
				t.Errorf("behind the link is %q, %v", got, err)
			}
		})
	}
}
