package systemd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// askAs is set, to a path, in a copy of the test binary that runs as another
// user: it asks there and prints what came.
const askAs = "PORTAUDIT_TEST_ASK"

func TestMain(m *testing.M) {
	if path := os.Getenv(askAs); path != "" {
		_, err := SocketsOf(context.Background(), path, 0)
		fmt.Println("permission", errors.Is(err, fs.ErrPermission), "absent", errors.Is(err, ErrAbsent), err)
		return
	}
	os.Exit(m.Run())
}

// TestSocketsOf asks a real systemd for socket units of every sort.
func TestSocketsOf(t *testing.T) {
	port, each, apart := freePort(t), freePort(t), freePort(t)
	m := startManager(t, map[string]string{
		"one.socket": fmt.Sprintf("[Socket]\nListenStream=127.0.0.1:%d\nListenStream=[::1]:%[1]d\nListenDatagram=%[1]d\n"+
			"ListenStream=%%t/one\nListenStream=@portaudit-test-%[1]d\nListenNetlink=route 1\nService=other.service\n", port),
		"other.service": sleeper,
		"each.socket":   fmt.Sprintf("[Socket]\nAccept=yes\nListenStream=0.0.0.0:%d\nBindToDevice=lo\nFreeBind=yes\n", each),
		"each@.service": sleeper,
		// The same address as another unit, which only its namespace allows.
		"apart.socket":    fmt.Sprintf("[Socket]\nListenStream=[::]:%d\nBindIPv6Only=both\nPrivateNetwork=yes\n", apart),
		"apart.service":   sleeper,
		"local.socket":    "[Socket]\nListenStream=%t/local\n",
		"local.service":   sleeper,
		"stopped.socket":  "[Socket]\nListenStream=[::]:1\n",
		"stopped.service": sleeper,
	})
	units, err := SocketsOf(t.Context(), m.path, m.pid)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(units, func(a, b Unit) int { return strings.Compare(a.Name, b.Name) })
	var got []string
	for _, u := range units {
		line := fmt.Sprintf("%s %s %q %q %v:", u.Name, u.State, u.Triggers, u.Device, u.Private)
		for _, a := range u.Listen {
			line += " " + a.Kind + "/" + a.Transport + "/" + a.Text
		}
		got = append(got, line)
	}
	want := []string{
		fmt.Sprintf(`apart.socket listening ["apart.service"] "" true: Stream/tcp/[::]:%d`, apart),
		fmt.Sprintf(`each.socket listening ["each@.service"] "lo" false: Stream/tcp/0.0.0.0:%d`, each),
		fmt.Sprintf(`one.socket listening ["other.service"] "" false: Stream/tcp/127.0.0.1:%d Stream/tcp/[::1]:%[1]d Datagram/udp/[::]:%[1]d `+
			`Stream//%s/one Stream//@portaudit-test-%[1]d Netlink//route 1`, port, m.dir),
	}
	if !slices.Equal(got, want) {
		t.Errorf("units are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}

	// Each endpoint that the kernel has is matched with its unit, and connecting
	// to one shows that it is there and makes the unit's state another.
	e := Endpoint{Transport: "tcp", Address: netip.MustParseAddr("127.0.0.1"), Port: uint32(port)}
	if matches := Match(units, e); len(matches) != 1 || matches[0].Name != "one.socket" {
		t.Errorf("%+v is of %+v", e, matches)
	}
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for state := ""; state != "running"; {
		units, err := SocketsOf(ctx, m.path, m.pid)
		if err != nil {
			t.Fatalf("%v; the state is %q", err, state)
		}
		state = Match(units, e)[0].State
	}
}

// busConfig is of a bus that lets everybody do everything.
const busConfig = `<busconfig><type>session</type><listen>unix:path=%s</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/></policy></busconfig>`

// TestBus asks over a real bus, on which the manager is.
func TestBus(t *testing.T) {
	needRoot(t)
	daemon := program(t, "dbus-daemon", "dbus-daemon")
	config := filepath.Join(t.TempDir(), "config")
	write(t, config, fmt.Sprintf(busConfig, "/nonexistent"))
	port := freePort(t)
	m := startManager(t, map[string]string{
		"one.socket":  fmt.Sprintf("[Socket]\nListenStream=127.0.0.1:%d\n", port),
		"one.service": sleeper,
		// A bus that has this unit's name is the one that systemd goes to.
		"dbus.socket":  "[Socket]\nListenStream=%t/bus\n",
		"dbus.service": "[Service]\nType=notify\nExecStart=" + daemon + " --config-file=" + config + " --address=systemd: --nofork --systemd-activation\n",
	})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	path := filepath.Join(m.dir, "bus")
	units, err := ask(ctx, path, 0, true)
	for errors.Is(err, ErrAbsent) && ctx.Err() == nil { // systemd comes on it after this call has started it
		units, err = ask(ctx, path, 0, true)
	}
	if err != nil || len(units) != 1 || units[0].Name != "one.socket" || units[0].Listen[0].Local.Port() != port {
		t.Errorf("units are %+v, %v", units, err)
	}

	// The way of Sockets: first the manager, then the bus.
	tests := []struct {
		reason, path string
		pid          int
		bus          string
		absent       bool
	}{
		{reason: "the manager answers", path: m.path, pid: m.pid, bus: m.dir},
		{reason: "no manager, but a bus", path: m.dir + "/none", bus: path},
		{reason: "another manager, but a bus", path: m.path, pid: os.Getpid(), bus: path},
		{reason: "another manager, and no bus", path: m.path, pid: os.Getpid(), bus: m.dir + "/none", absent: true},
		{reason: "neither", path: m.dir + "/none", bus: m.dir + "/none", absent: true},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			units, err := sockets(t.Context(), tt.path, tt.pid, tt.bus)
			if errors.Is(err, ErrAbsent) != tt.absent || !tt.absent && (err != nil || len(units) != 1) {
				t.Errorf("got %+v, %v", units, err)
			}
		})
	}
}

// TestBusWithoutSystemd asks on a real bus on which no manager is.
func TestBusWithoutSystemd(t *testing.T) {
	daemon := program(t, "dbus-daemon", "dbus-daemon")
	dir := t.TempDir()
	path, config := filepath.Join(dir, "bus"), filepath.Join(dir, "config")
	write(t, config, fmt.Sprintf(busConfig, path))
	cmd := exec.Command(daemon, "--config-file="+config, "--nofork", "--print-address")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	start(t, cmd)
	if _, err := out.Read(make([]byte, 1)); err != nil { // the address: it listens
		t.Fatal(err)
	}
	if units, err := ask(t.Context(), path, 0, true); !errors.Is(err, ErrAbsent) {
		t.Errorf("got %+v, %v", units, err)
	}
}

// TestAnotherProcess asks a systemd that is not the process that it should be.
func TestAnotherProcess(t *testing.T) {
	m := startManager(t, nil)
	if units, err := SocketsOf(t.Context(), m.path, os.Getpid()); !errors.Is(err, ErrAbsent) {
		t.Errorf("as if it were this process: %+v, %v", units, err)
	}
	if units, err := SocketsOf(t.Context(), m.path, 0); err != nil || len(units) != 0 {
		t.Errorf("whatever it is: %+v, %v", units, err)
	}
	// As one in a container is reached, through its own view of the files.
	if units, err := SocketsOf(t.Context(), fmt.Sprintf("/proc/%d/root%s", m.pid, m.path), m.pid); err != nil || len(units) != 0 {
		t.Errorf("through its root: %+v, %v", units, err)
	}
}

// TestDenied asks as nobody, whom systemd's socket does not let in.
func TestDenied(t *testing.T) {
	m := startManager(t, nil)
	// nobody may come as far as the socket.
	for _, dir := range []string{filepath.Dir(m.dir), m.dir, filepath.Dir(m.path)} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("/proc/self/exe") // the test binary lies in a directory of root's
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), askAs+"="+m.path)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "permission true absent false ") {
		t.Errorf("nobody got %v and\n%s", err, out)
	}
}

func TestAbsent(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	write(t, file, "")
	tests := []struct{ reason, path string }{
		{"no such file", filepath.Join(dir, "nothing")},
		{"no such directory", filepath.Join(dir, "nothing", "nothing")},
		{"below a file", filepath.Join(file, "nothing")},
		{"a file that is no socket", file},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			if units, err := SocketsOf(t.Context(), tt.path, 0); !errors.Is(err, ErrAbsent) {
				t.Errorf("got %+v, %v", units, err)
			}
		})
	}
}

// TestSockets asks this host, of which is known only whether systemd booted it.
func TestSockets(t *testing.T) {
	units, err := Sockets(t.Context())
	_, booted := os.Lstat("/run/systemd/system") // sd_booted(3)
	if booted != nil && (!errors.Is(err, ErrAbsent) || units != nil) {
		t.Errorf("there is no systemd, and the answer is %+v, %v", units, err)
	}
	if booted == nil && err != nil && !errors.Is(err, fs.ErrPermission) {
		t.Errorf("there is systemd, and the error is %v", err)
	}
}

// TestHang asks somebody who takes the call and says nothing.
func TestHang(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join("/proc/self/fd", openDir(t), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	path := l.Addr().String()
	before := runtime.NumGoroutine()

	canceled, cancel := context.WithCancel(t.Context())
	accepted := make(chan error)
	go func() { // ends with the one connection that it takes
		c, err := l.Accept()
		cancel()
		accepted <- err
		<-accepted
		if err == nil {
			c.Close()
		}
	}()
	_, err = SocketsOf(canceled, path, os.Getpid())
	if !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	if err := <-accepted; err != nil {
		t.Error(err)
	}
	close(accepted)

	start := time.Now()
	_, err = SocketsOf(t.Context(), path, 0) // waits in the listener's queue
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("no answer: %v", err)
	}
	if took := time.Since(start); took < timeout || took > 2*timeout {
		t.Errorf("it took %v, want %v", took, timeout)
	}
	if after := runtime.NumGoroutine(); after > before {
		t.Errorf("%d goroutines before, %d after", before, after)
	}
}

// openDir returns the descriptor of a directory: the path of a socket in it is
// short enough through it, whatever the directory's own is.
func openDir(t *testing.T) string {
	t.Helper()
	d, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return strconv.Itoa(int(d.Fd()))
}

// BenchmarkSocketsOf asks a manager with as many socket units as a server has:
// most of them local, three on the network.
func BenchmarkSocketsOf(b *testing.B) {
	files := map[string]string{}
	for i := range 20 {
		name := fmt.Sprintf("local%d", i)
		files[name+".socket"] = "[Socket]\nListenStream=%t/" + name + "\n"
		files[name+".service"] = sleeper
	}
	for i := range 3 {
		name := fmt.Sprintf("net%d", i)
		files[name+".socket"] = fmt.Sprintf("[Socket]\nListenStream=%d\n", freePort(b))
		files[name+".service"] = sleeper
	}
	m := startManager(b, files)
	b.ReportAllocs()
	for b.Loop() {
		units, err := SocketsOf(b.Context(), m.path, m.pid)
		if err != nil || len(units) != 3 {
			b.Fatalf("%d units, %v", len(units), err)
		}
	}
}
