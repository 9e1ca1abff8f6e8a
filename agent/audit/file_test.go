package audit

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state.json")
	for _, data := range []string{"one", "", strings.Repeat("long", 100_000), "short"} {
		if err := WriteFile(path, []byte(data), 0o640); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != data {
			t.Fatalf("%d bytes, %v, want %d", len(got), err, len(data))
		}
	}
	if fi, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && fi.Mode().Perm() != 0o640 {
		t.Errorf("%v, %v, want mode 0640", fi, err)
	}
	onlyEntry(t, dir, "state.json")
}

func TestWriteFileHere(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := WriteFile("state.json", []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	onlyEntry(t, ".", "state.json")
}

// Who reads while the file is replaced sees one of the versions whole.
func TestWriteFileIsAtomic(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a file that is open for reading cannot be replaced on Windows")
	}
	path := filepath.Join(t.TempDir(), "state.json")
	one, two := strings.Repeat("1", 200_000), strings.Repeat("2", 300_000)
	if err := WriteFile(path, []byte(one), 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		var err error
		for i := 0; i < 40 && err == nil; i++ {
			err = WriteFile(path, []byte([]string{two, one}[i%2]), 0o600)
		}
		done <- err
	}()
	for {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			return
		default:
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != one && string(got) != two {
			t.Errorf("read %d bytes, %v", len(got), err)
			<-done
			return
		}
	}
}

func TestWriteFileErrors(t *testing.T) {
	t.Run("the directory is missing", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "none", "state.json")
		if err := WriteFile(path, nil, 0o600); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) {
			t.Errorf("%v, want fs.ErrNotExist that names %s", err, path)
		}
	})
	t.Run("a directory is in the way", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "state.json"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := WriteFile(filepath.Join(dir, "state.json"), []byte("x"), 0o600); err == nil {
			t.Error("no error")
		}
		onlyEntry(t, dir, "state.json")
	})
}

func onlyEntry(t *testing.T, dir, name string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 || entries[0].Name() != name {
		t.Errorf("the directory has %v, want %s alone", entries, name)
	}
}
