//go:build unix

package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// tree makes files and directories below a new directory of this user, which it
// returns: a name that ends with a slash is a directory, one with an arrow a link.
func tree(t *testing.T, names ...string) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	set(t, dir, 0o755)
	for _, name := range names {
		name, target, isLink := strings.Cut(name, " -> ")
		path := filepath.Join(dir, name)
		mode := fs.FileMode(0o644)
		switch {
		case isLink:
			err = os.Symlink(strings.ReplaceAll(target, "$", dir), path)
		case strings.HasSuffix(name, "/"):
			mode, err = 0o755, os.Mkdir(path, 0o755)
		default:
			err = os.WriteFile(path, []byte("text of "+name), mode)
		}
		if err != nil {
			t.Fatal(err)
		}
		if !isLink {
			set(t, path, mode)
		}
	}
	return dir
}

// set sets a mode past the umask.
func set(t *testing.T, path string, mode fs.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func TestReadTrusted(t *testing.T) {
	tests := []struct {
		reason string
		names  []string
		change func(t *testing.T, dir string)
		path   string
		want   string // the text
		err    string
	}{
		{"a file", []string{"p"}, nil, "p", "text of p", ""},
		{"one further down", []string{"a/", "a/b/", "a/b/p"}, nil, "a/b/p", "text of a/b/p", ""},
		{"one that its group may write", []string{"p"}, func(t *testing.T, dir string) { set(t, dir+"/p", 0o664) }, "p", "", "/p can be written by its group"},
		{"one that everybody may write", []string{"p"}, func(t *testing.T, dir string) { set(t, dir+"/p", 0o602) }, "p", "", "/p can be written by every user: chmod go-w /"},
		{"in a directory that everybody may write", []string{"a/", "a/p"}, func(t *testing.T, dir string) { set(t, dir+"/a", 0o777) }, "a/p", "", "/a can be written by every user: chmod go-w /"},
		{"in a sticky one", []string{"a/", "a/p"}, func(t *testing.T, dir string) { set(t, dir+"/a", 0o777|fs.ModeSticky) }, "a/p", "text of a/p", ""},
		{"behind a directory that everybody may write", []string{"a/", "a/b/", "a/b/p"}, func(t *testing.T, dir string) { set(t, dir+"/a", 0o777) }, "a/b/p", "", "/a can be written by every user"},
		{"a link within the directory", []string{"p", "l -> p"}, nil, "l", "text of p", ""},
		{"as Kubernetes does it", []string{"1/", "1/p", "data -> 1", "p -> data/p"}, nil, "p", "text of 1/p", ""},
		{"there and back", []string{"a/", "p", "l -> a/../p"}, nil, "l", "text of p", ""},
		{"out of the directory", []string{"a/", "p", "a/l -> ../p"}, nil, "a/l", "", "/l is a link that leads out of its directory, to ../p: name the file"},
		{"out and in again: between the two anything may be", []string{"a/", "a/p", "a/l -> ../a/p"}, nil, "a/l", "", "leads out of its directory"},
		{"by a path from the root", []string{"a/", "p", "a/l -> $/p"}, nil, "a/l", "", "leads out of its directory, to /"},
		{"by a path from the root to the same directory", []string{"p", "l -> $/p"}, nil, "l", "", "leads out of its directory"},
		{"by a link that leads nowhere, and then out", []string{"a/", "p", "a/here -> .", "a/l -> here/../p"}, nil, "a/l", "", "leads out of its directory"},
		{"out by a second link", []string{"a/", "p", "a/m -> ../p", "a/l -> m"}, nil, "a/l", "", "/m is a link that leads out of its directory"},
		{"on the way links may lead anywhere, for what they lead to is judged", []string{"a/", "a/p", "b/", "b/l -> $/a"}, nil, "b/l/p", "text of a/p", ""},
		{"which it is", []string{"a/", "a/p", "b/", "b/l -> ../a"}, func(t *testing.T, dir string) { set(t, dir+"/a", 0o777) }, "b/l/p", "", "/a can be written"},
		{"a link where others may put links", []string{"a/", "a/p", "a/l -> p"}, func(t *testing.T, dir string) { set(t, dir+"/a", 0o777|fs.ModeSticky) }, "a/l", "", "/l is a link in a directory where others may put links"},
		{"a link to a file that everybody may write", []string{"p", "l -> p"}, func(t *testing.T, dir string) { set(t, dir+"/p", 0o666) }, "l", "", "/p can be written by every user"},
		{"links in a circle", []string{"l -> m", "m -> l"}, nil, "l", "", "too many levels of symbolic links"},
		{"a link to its own directory", []string{"l -> ."}, nil, "l", "", "is a directory"},
		{"a directory", []string{"a/"}, nil, "a", "", "is a directory"},
		{"a pipe, for which nobody waits", nil, func(t *testing.T, dir string) {
			if err := unix.Mkfifo(dir+"/p", 0o644); err != nil {
				t.Fatal(err)
			}
		}, "p", "", "/p is no file, but a device, pipe or socket"},
		{"nothing", nil, nil, "p", "", "/p: no such file or directory"},
		{"a link to nothing", []string{"l -> p"}, nil, "l", "", "/l: no such file or directory"},
		{"a file as a directory", []string{"p"}, nil, "p/q", "", "/p/q: not a directory"},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			dir := tree(t, tt.names...)
			if tt.change != nil {
				tt.change(t, dir)
			}
			got, err := readTrusted(filepath.Join(dir, tt.path))
			checkError(t, err, tt.err)
			if string(got) != tt.want {
				t.Errorf("it reads %q, want %q", got, tt.want)
			}
		})
	}
	if _, err := readTrusted("/"); !errors.Is(err, unix.EISDIR) {
		t.Errorf("of the root directory: %v", err)
	}
	if _, err := readTrusted(filepath.Join(tree(t), "p")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of nothing: %v", err)
	}
}

// TestReadTrustedLeavesNothingOpen: whether it works or not.
func TestReadTrustedLeavesNothingOpen(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("counts descriptors in /proc")
	}
	dir := tree(t, "a/", "a/p", "a/l -> ../p", "w")
	set(t, dir+"/w", 0o666)
	open := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	before := open()
	for range 50 {
		for _, name := range []string{"a/p", "a/l", "w", "none", "a"} {
			_, _ = readTrusted(filepath.Join(dir, name)) // what came of it, others hold
		}
		_, _ = listTrusted(dir)
	}
	if after := open(); after > before+10 { // of tests beside this one
		t.Errorf("%d descriptors were open, and %d are", before, after)
	}
}

func TestListTrusted(t *testing.T) {
	dir := tree(t, "d/", "d/20-b.yaml", "d/10-a.yaml", "d/.10-a.yaml", "d/10-a.yaml~", "d/README", "d/10-a.test.yaml", "d/9.yml", "d/a.yaml -> 10-a.yaml", "d/sub.yaml/", "e/")
	got, err := listTrusted(filepath.Join(dir, "d"))
	want := []string{"10-a.yaml", "20-b.yaml", "a.yaml", "sub.yaml"}
	for i, name := range want {
		want[i] = filepath.Join(dir, "d", name)
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	if got, err := listTrusted(filepath.Join(dir, "e")); err != nil || len(got) != 0 {
		t.Errorf("an empty one: %q, %v", got, err)
	}
	_, err = listTrusted(filepath.Join(dir, "none"))
	checkError(t, err, "no such file or directory")
	_, err = listTrusted(filepath.Join(dir, "d", "README"))
	checkError(t, err, "not a directory")
	set(t, filepath.Join(dir, "d"), 0o777|fs.ModeSticky) // others cannot change a file there, and can add one
	_, err = listTrusted(filepath.Join(dir, "d"))
	checkError(t, err, "/d can be written by every user")
	var told []string
	got, err = listAnyway(filepath.Join(dir, "d"), func(err error) { told = append(told, err.Error()) })
	if err != nil || len(got) != len(want) || len(told) != 1 {
		t.Errorf("anyway: %q, %v, and %q was told", got, err, told)
	}
}

// TestReadAnyway: a command that its user looks at tells, and reads.
func TestReadAnyway(t *testing.T) {
	dir := tree(t, "good", "bad")
	set(t, dir+"/bad", 0o666)
	tests := []struct {
		name, want string
		told       int
		err        string
	}{
		{"good", "text of good", 0, ""},
		{"bad", "text of bad", 1, ""},
		{"none", "", 0, "no such file"},
	}
	for _, tt := range tests {
		told := 0
		b, err := readAnyway(filepath.Join(dir, tt.name), func(error) { told++ })
		checkError(t, err, tt.err)
		if string(b) != tt.want || told != tt.told {
			t.Errorf("%s: %q, told %d times", tt.name, b, told)
		}
	}
	r, w, err := os.Pipe() // as a shell's <(…)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := w.WriteString("piped"); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if runtime.GOOS == "linux" {
		b, err := readAnyway("/proc/self/fd/"+strconv.Itoa(int(r.Fd())), func(err error) { t.Errorf("of a pipe was told: %v", err) })
		if err != nil || string(b) != "piped" {
			t.Errorf("a pipe: %q, %v", b, err)
		}
	}
}

// TestPolicyReaderChanged holds which changes of its files a daemon sees, and when.
func TestPolicyReaderChanged(t *testing.T) {
	const one, other = "version: 1\nrules: []\n", "version: 1\nrules:   []\n"
	write := func(t *testing.T, path, content string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		reason string
		change func(t *testing.T, dir string)
		want   bool
	}{
		{"nothing", func(*testing.T, string) {}, false},
		{"written in place", func(t *testing.T, dir string) { write(t, dir+"/p.yaml", other) }, true},
		{"another one renamed to it, as editors do", func(t *testing.T, dir string) {
			write(t, dir+"/q", one)
			if err := os.Rename(dir+"/q", dir+"/p.yaml"); err != nil {
				t.Fatal(err)
			}
		}, true},
		{"written with its old time", func(t *testing.T, dir string) {
			info, err := os.Stat(dir + "/p.yaml")
			if err != nil {
				t.Fatal(err)
			}
			write(t, dir+"/p.yaml", one)
			if err := os.Chtimes(dir+"/p.yaml", info.ModTime(), info.ModTime()); err != nil {
				t.Fatal(err)
			}
		}, true},
		{"opened up", func(t *testing.T, dir string) { set(t, dir+"/p.yaml", 0o666) }, true},
		{"removed", func(t *testing.T, dir string) {
			if err := os.Remove(dir + "/p.yaml"); err != nil {
				t.Fatal(err)
			}
		}, true},
		{"what it includes", func(t *testing.T, dir string) { write(t, dir+"/d/a.yaml", other) }, true},
		{"a file more in a directory that it includes", func(t *testing.T, dir string) { write(t, dir+"/d/b.yaml", one) }, true},
		{"something else beside it", func(t *testing.T, dir string) { write(t, dir+"/q.yaml", other) }, false},
	}
	dirs, readers := make([]string, len(tests)), make([]policyReader, len(tests))
	for i := range tests {
		dir := tree(t, "p.yaml", "d/", "d/a.yaml")
		write(t, dir+"/p.yaml", "version: 1\ninclude: [d/]\nrules: []\n")
		write(t, dir+"/d/a.yaml", one)
		dirs[i], readers[i] = dir, policyReader{path: dir + "/p.yaml"}
		if _, err := readers[i].load(); err != nil {
			t.Fatal(err)
		}
		if readers[i].changed() {
			t.Error("at the first look it is not known whether somebody is writing")
		}
		if !readers[i].changed() {
			t.Error("it was written just before it was read: another text may have the same time")
		}
	}
	time.Sleep(settling) // of the clock of the files
	for i, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			dir, r := dirs[i], &readers[i]
			if _, err := r.load(); err != nil {
				t.Fatal(err)
			}
			if r.changed() {
				t.Error("it has changed before anybody did anything")
			}
			tt.change(t, dir)
			if r.changed() && tt.want {
				t.Error("it is seen while it may be written")
			}
			for range 2 { // until it is read again
				if got := r.changed(); got != tt.want {
					t.Errorf("changed: %t, want %t", got, tt.want)
				}
			}
		})
	}
}

// TestReadTrustedRaces reads a file in whose place a link out of the directory is
// put again and again: it is never followed.
func TestReadTrustedRaces(t *testing.T) {
	dir := tree(t, "p", "a/", "a/file")
	exchange := func(from string) {
		if err := os.Rename(from, dir+"/a/p"); err != nil {
			t.Error(err)
		}
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { // ends with stop, for which this test waits
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if err := errors.Join(os.Link(dir+"/a/file", dir+"/a/1"), os.Symlink("../p", dir+"/a/2")); err != nil {
				t.Error(err)
				return
			}
			exchange(dir + "/a/1")
			exchange(dir + "/a/2")
		}
	}()
	read, refused := 0, 0
	for end := time.Now().Add(time.Second); time.Now().Before(end); {
		switch b, err := readTrusted(dir + "/a/p"); {
		case err != nil:
			refused++
		case string(b) != "text of a/file":
			t.Errorf("it reads %q", b)
			end = time.Now()
		default:
			read++
		}
	}
	close(stop)
	<-stopped
	if read == 0 || refused == 0 {
		t.Errorf("read %d times, refused %d times: that was no race", read, refused)
	}
}
