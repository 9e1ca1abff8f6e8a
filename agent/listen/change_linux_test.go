package listen

import (
	"crypto/sha256"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/portaudit/portaudit/registry"
)

// TestPassedDescriptor passes a listener to a process that is no child of its
// owner by a message, which no table of sockets shows: it is seen at the next
// beat at the latest.
func TestPassedDescriptor(t *testing.T) {
	needRoot(t)
	if DefaultBeat != time.Minute {
		t.Errorf("docs/architecture.md says that a passed-on descriptor is seen within a minute, the beat is %v", DefaultBeat)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, way := range []Way{BPF, Proc} {
		t.Run(way.String(), func(t *testing.T) {
			l, at := listenTCP(t, "tcp4", "127.0.0.1:0")
			pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			file, err := l.File()
			if err != nil {
				t.Fatal(err)
			}
			e := openTest(t, Options{Way: way})
			settled(t, e)
			owners := func() []int { t.Helper(); return ownerPIDs(find(t, snapshotOf(t, e), registry.TCP, at)) }
			me := os.Getpid()
			if got := owners(); !slices.Equal(got, []int{me}) {
				t.Fatalf("before it is passed on the owners are %v, want %d", got, me)
			}
			if err := unix.Sendmsg(pair[0], []byte{0}, unix.UnixRights(int(file.Fd())), nil, 0); err != nil {
				t.Fatal(err)
			}
			taker, _ := child(t, self, "receive", os.NewFile(uintptr(pair[1]), "pair"))
			if got := owners(); !slices.Equal(got, []int{me}) {
				t.Logf("within a beat the owners are %v: another socket was opened, which is looked for", got)
			}
			both := []int{me, taker.Pid}
			slices.Sort(both)
			e.beat = time.Time{}
			if got := owners(); !slices.Equal(got, both) {
				t.Errorf("at the beat the owners are %v, want %v", got, both)
			}
			file.Close()
			l.Close()
			e.beat = time.Time{}
			if got := owners(); !slices.Equal(got, []int{taker.Pid}) {
				t.Errorf("after the first one closed it the owners are %v, want %d", got, taker.Pid)
			}
		})
	}
}

// TestExecWhileRead enumerates while a process runs one of two programs after
// the other, a thousand times a second: what is told of it is of one of them.
func TestExecWhileRead(t *testing.T) {
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	paths := []string{filepath.Join(dir, "here"), filepath.Join(dir, "there")}
	sums := map[string][32]byte{}
	for i, p := range paths {
		self = append(self, byte(i)) // behind the program: another digest, and the same program
		sums[p] = sha256.Sum256(self)
		if err := os.WriteFile(p, self, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	l, at := listenTCP(t, "tcp4", "127.0.0.1:0")
	file, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(paths[0])
	cmd.Args = []string{paths[0]}
	cmd.Env = append(os.Environ(), childMode+"=flip "+paths[0]+" "+paths[1])
	cmd.ExtraFiles = []*os.File{file}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	file.Close()
	l.Close()
	for _, way := range []Way{BPF, Proc} {
		e, err := openEngine(Options{Way: way}, procRoot)
		if err != nil {
			t.Logf("%s: not tried: %v", way, err)
			continue
		}
		e.options.Beat = 0 // each look is at everything
		seen := map[string]int{}
		for range 500 {
			for _, o := range find(t, snapshotOf(t, e), registry.TCP, at).Owners {
				if o.How != Process {
					seen[o.How.String()]++ // caught between two programs
					continue
				}
				if len(o.Arguments) == 0 {
					seen["starting"]++ // the kernel took longer than is waited for
					continue
				}
				if o.Arguments[0] != o.Executable || o.Command != filepath.Base(o.Executable) {
					t.Fatalf("%s: a mixture of two programs: %s, %s, %q", way, o.Executable, o.Command, o.Arguments)
				}
				seen[filepath.Base(o.Executable)]++
				if o.SHA256 != ([32]byte{}) && o.SHA256 != sums[o.Executable] {
					t.Fatalf("%s: %s has the digest of the other program", way, o.Executable)
				}
			}
		}
		t.Logf("%s: %v", way, seen)
		if seen["here"] < 50 || seen["there"] < 50 || seen["starting"] > 25 {
			t.Errorf("%s: it was seen running %v, want both programs, and seldom one that is being started", way, seen)
		}
		if err := e.close(); err != nil {
			t.Error(err)
		}
	}
}

// TestVanishingNamespaces enumerates while network namespaces with listeners
// come and go.
func TestVanishingNamespaces(t *testing.T) {
	needRoot(t)
	for _, way := range []Way{BPF, Proc} {
		t.Run(way.String(), func(t *testing.T) {
			e := openTest(t, Options{Way: way})
			settled(t, e)
			e.options.Beat = 0 // each look is at everything
			files := openFiles(t)
			stop, done := make(chan struct{}), make(chan int)
			go func() { // ends when it is told to
				n := 0
				for ; ; n++ {
					select {
					case <-stop:
						done <- n
						return
					default:
					}
					if fd, ok := awayListener(); ok {
						time.Sleep(time.Duration(n%4) * 5 * time.Millisecond)
						unix.Close(fd)
					}
				}
			}()
			away := 0
			longest := time.Duration(0)
			for end := time.Now().Add(time.Second); time.Now().Before(end); {
				began := time.Now()
				s := snapshotOf(t, e)
				longest = max(longest, time.Since(began))
				for _, k := range s.Sockets {
					if k.Namespace == HostNamespace {
						continue
					}
					away++
					if !strings.HasPrefix(k.Namespace, "net:[") {
						t.Errorf("a listener in %q", k.Namespace)
					}
				}
			}
			close(stop)
			n := <-done
			t.Logf("%d namespaces came and went, %d listeners in them were seen; an enumeration took %v at most", n, away, longest)
			if n < 20 || way == BPF && away == 0 {
				t.Errorf("%d namespaces, %d listeners: nothing was tried", n, away)
			}
			for range 50 { // the kernel takes a namespace down in its own time
				snapshotOf(t, e)
				if openFiles(t) == files {
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
			t.Errorf("%d open files, %d before", openFiles(t), files)
		})
	}
}

// awayListener opens a listener in a network namespace of its own, to which
// nothing leads but its descriptor.
func awayListener() (fd int, ok bool) {
	fd = -1
	err := inNewNamespace(func() error {
		var err error
		if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		return errors.Join(unix.Bind(fd, &unix.SockaddrInet4{}), unix.Listen(fd, 1))
	})
	return fd, err == nil
}

// inNewNamespace calls do in a thread that is in a new network namespace, and
// not the first of the process, as inNetworkNamespace.
func inNewNamespace(do func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // the thread ends with the goroutine
		if unix.Gettid() == unix.Getpid() {
			err := inNewNamespace(do)
			runtime.UnlockOSThread()
			done <- err
			return
		}
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			err = do()
		}
		done <- err
	}()
	return <-done
}
