package systemd

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func needRoot(t testing.TB) {
	t.Helper()
	if os.Getenv("PORTAUDIT_TEST_ROOT") == "" || os.Geteuid() != 0 {
		t.Skip("needs root and PORTAUDIT_TEST_ROOT=1")
	}
}

// program returns the path of a program, and skips the test where it is missing.
func program(t testing.TB, path, debian string) string {
	t.Helper()
	found, err := exec.LookPath(path)
	if err != nil {
		t.Skipf("%v: install the package %s", err, debian)
	}
	return found
}

// manager is a systemd that runs as a user's service manager.
type manager struct {
	path string // of its private socket
	pid  int
	dir  string
}

// startManager starts a service manager of its own with the unit files given;
// those that are sockets are started.
func startManager(t testing.TB, files map[string]string) manager {
	t.Helper()
	needRoot(t)
	systemd := program(t, "/lib/systemd/systemd", "systemd")
	dir := t.TempDir()
	var wants []string
	for name, text := range files {
		write(t, filepath.Join(dir, "units", name), text)
		if strings.HasSuffix(name, ".socket") && !strings.HasPrefix(name, "stopped") {
			wants = append(wants, name)
		}
	}
	write(t, filepath.Join(dir, "units", "default.target"), "[Unit]\nWants="+strings.Join(wants, " ")+"\n")
	ready, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer ready.Close()

	cmd := exec.Command("unshare", "--mount", "--propagation=private", "sh", "-c", box, "sh", systemd, "--user")
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+dir, "HOME="+dir, "SYSTEMD_UNIT_PATH="+dir+"/units:",
		"SYSTEMD_LOG_TARGET=console", "NOTIFY_SOCKET="+dir+"/notify")
	t.Cleanup(func() { // runs once the command has ended
		if t.Failed() || t.Skipped() {
			t.Log(log.String())
		}
	})
	start(t, cmd)
	if err := waitReady(ready); err != nil {
		t.Skipf("systemd did not start, as what it wrote tells: %v", err)
	}
	return manager{filepath.Join(dir, "systemd", "private"), cmd.Process.Pid, dir}
}

// box starts a systemd in a mount namespace of its own, where it finds what
// tells it that it was booted (sd_booted(3)), and below a control group of its
// own, which it sees as the root. Without that it would take the control groups
// of the host for its own, and move every process that is in their root.
const box = `set -e
name=portaudit-test-$$
top=/sys/fs/cgroup
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system /run/cgroup
if [ -e $top/cgroup.procs ]; then
	mkdir $top/$name
	echo $$ > $top/$name/cgroup.procs
	mount --bind $top/$name $top
else
	for h in systemd unified; do
		[ -d $top/$h ] || continue
		mkdir $top/$h/$name /run/cgroup/$h
		echo $$ > $top/$h/$name/cgroup.procs
		mount --bind $top/$h/$name /run/cgroup/$h
	done
	mount -t tmpfs tmpfs $top
	for h in systemd unified; do
		[ -d /run/cgroup/$h ] || continue
		mkdir $top/$h
		mount --move /run/cgroup/$h $top/$h
	done
fi
exec unshare --cgroup "$@"`

// start starts a command, and ends it with the test.
func start(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		kill := time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() })
		defer kill.Stop()
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		cmd.Wait()
		removeGroups(t, "portaudit-test-"+strconv.Itoa(cmd.Process.Pid))
	})
}

// removeGroups removes the control groups of a manager; the kernel refuses to
// while a process of it is left.
func removeGroups(t testing.TB, name string) {
	t.Helper()
	for _, pattern := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
		tops, _ := filepath.Glob(pattern + name)
		for _, top := range tops {
			var groups []string
			err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
				if err == nil && d.IsDir() {
					groups = append(groups, path)
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
			for _, g := range slices.Backward(groups) {
				if err := syscall.Rmdir(g); err != nil {
					t.Errorf("remove %s: %v", g, err)
				}
			}
		}
	}
}

func waitReady(c *net.UnixConn) error {
	var b [4096]byte
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	for {
		n, err := c.Read(b[:])
		if err != nil {
			return err
		}
		if slices.Contains(strings.Split(string(b[:n]), "\n"), "READY=1") { // sd_notify(3)
			return nil
		}
	}
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// freePort returns a port that was free a moment ago, of those that the kernel
// gives nobody who does not ask for them.
func freePort(t testing.TB) uint16 {
	t.Helper()
	for range 100 {
		port := 10000 + rand.N(uint16(20000))
		at := fmt.Sprintf("[::]:%d", port)
		l, err := net.Listen("tcp", at)
		if err != nil {
			continue
		}
		l.Close()
		c, err := net.ListenPacket("udp", at)
		if err != nil {
			continue
		}
		c.Close()
		return port
	}
	t.Fatal("no port is free")
	return 0
}

const sleeper = "[Service]\nExecStart=/bin/sleep 1000\n"
