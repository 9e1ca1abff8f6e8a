package agent

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/portaudit/portaudit/agent/listen"
	"github.com/portaudit/portaudit/configs"
	"github.com/portaudit/portaudit/policy"
	"github.com/portaudit/portaudit/registry"
)

// opened is what a child has opened: nothing of it is closed or collected.
var opened []any

// openAll listens on endpoints such as tcp4/127.0.0.1:22. In a child.
func openAll(endpoints []string) error {
	for _, e := range endpoints {
		network, address, _ := strings.Cut(e, "/")
		if strings.HasPrefix(network, "udp") {
			c, err := net.ListenPacket(network, address)
			if err != nil {
				return err
			}
			opened = append(opened, c)
			continue
		}
		l, err := net.Listen(network, address)
		if err != nil {
			return err
		}
		opened = append(opened, l)
	}
	return nil
}

// service is a program of a user that listens.
type service struct {
	program   string // base name of its path
	user      uint32
	endpoints string
}

// start starts a service and returns when it listens; stop ends it.
func (s service) start(t *testing.T, dir string) (stop func()) {
	t.Helper()
	path := filepath.Join(dir, s.program)
	if _, err := os.Lstat(path); err != nil {
		if err := os.Link(filepath.Join(dir, "binary"), path); err != nil { // another path is another program
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	c := exec.CommandContext(ctx, path)
	c.Env = []string{childMode + "=open " + s.endpoints}
	if s.user != 0 {
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: s.user, Gid: s.user}}
	}
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	stop = func() {
		in.Close()
		_ = c.Wait() // it ends with its input
		cancel()
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		stop()
		t.Fatalf("%+v: %q %v", s, line, err)
	}
	return stop
}

// freePorts returns ports outside of the range for automatic binds on which
// nothing listens, in order.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	var ports []int
	for p := 21000; len(ports) < n && p < 32000; p++ {
		l, err := net.Listen("tcp", fmt.Sprintf(":%d", p))
		if err != nil {
			continue
		}
		l.Close()
		c, err := net.ListenPacket("udp", fmt.Sprintf(":%d", p))
		if err != nil {
			continue
		}
		c.Close()
		ports = append(ports, p)
	}
	if len(ports) < n {
		t.Fatalf("only the ports %v are free", ports)
	}
	return ports
}

// TestLearnHost learns twenty listeners of this host: under that policy they are
// quiet, and each further one that differs in one thing is found.
func TestLearnHost(t *testing.T) {
	root := os.Geteuid() == 0
	if !root {
		t.Log("not root: no listener of another user")
	}
	p := freePorts(t, 12)
	dir := t.TempDir()
	for d := dir; d != "/" && root && d != os.TempDir(); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil { // for the other users
			t.Fatal(err)
		}
	}
	binary, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "binary"), binary, 0o755); err != nil {
		t.Fatal(err)
	}
	at := func(format string, ports ...any) string { return fmt.Sprintf(format, ports...) }
	services := []service{ // twenty endpoints
		{"web", 0, at("tcp4/0.0.0.0:%d tcp6/[::]:%d tcp4/0.0.0.0:%d tcp6/[::]:%d", p[0], p[0], p[1], p[1])},
		{"dns", 0, at("tcp4/127.0.0.1:%d udp4/127.0.0.1:%d tcp6/[::1]:%d udp6/[::1]:%d", p[2], p[2], p[2], p[2])},
		{"cache", 0, at("tcp4/127.0.0.1:%d", p[3])},
		{"app one", 0, at("tcp4/127.0.0.1:%d tcp4/127.0.0.1:%d tcp4/127.0.0.1:%d", p[4], p[5], p[6])},
		{"a*{b}?", 0, at("tcp4/127.0.0.1:%d", p[7])},
		{"rpc", 0, "tcp4/127.0.0.1:0 tcp6/[::1]:0 udp4/127.0.0.1:0"},
		{"newline\n- id: x", 0, at("udp4/127.0.0.1:%d", p[8])},
	}
	users := []service{
		{"web", 1, at("tcp4/127.0.0.1:%d", p[9])},
		{"cache", nobody, at("tcp4/127.0.0.1:%d udp4/127.0.0.1:%d", p[10], p[10])},
	}
	if root {
		services = append(services, users...)
	}
	for _, s := range services {
		t.Cleanup(s.start(t, dir))
	}
	sockets, err := listen.Open(listen.Options{MaxDigest: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sockets.Close() })
	judge := mustPolicy(t, string(configs.Policy()))
	o := ScanOptions{List: sockets.List, Catalog: &registry.Catalog{}, Policy: judge, Host: "test", StateDir: t.TempDir()}
	seen, _, err := See(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	ours := slices.DeleteFunc(seen, func(s Sighting) bool { return !of(s.Listener, dir) })
	if want := 17 + 3*len(services[7:])/2; len(ours) != want { // of users 3 endpoints in 2 services
		t.Fatalf("%d listeners were seen, want %d", len(ours), want)
	}
	lesson := Learn(ours, LearnOptions{Judge: judge, All: true}) // the test lies where every user may write
	learnt, err := policy.Parse(lesson.Text, "learnt")
	if err != nil || len(learnt.Warnings(time.Time{})) > 0 || lesson.Unseen+lesson.Never > 0 {
		t.Fatalf("%+v: %v %v\n%s", lesson, err, learnt.Warnings(time.Time{}), lesson.Text)
	}
	o.Policy = learnt
	found := func() (list []string) {
		r, err := Scan(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range r.Listeners {
			if of(l, dir) && len(l.Findings) > 0 {
				list = append(list, EndpointText(l))
			}
		}
		return list
	}
	if list := found(); len(list) > 0 {
		t.Fatalf("what was learnt is found: %q by\n%s", list, lesson.Text)
	}
	more := []struct {
		reason string
		service
		root bool
	}{
		{"another port", service{"web", 0, at("tcp4/0.0.0.0:%d", p[11])}, false},
		{"another program on the same port", service{"evil", 0, at("tcp4/127.0.0.2:%d", p[3])}, false},
		{"a wider scope", service{"cache", 0, at("tcp6/[::]:%d", p[3])}, false},
		{"the other transport", service{"cache", 0, at("udp4/127.0.0.1:%d", p[3])}, false},
		{"a port of another program", service{"dns", 0, at("tcp4/127.0.0.2:%d", p[4])}, false},
		{"a port that the system gave out, to a program that was given none", service{"dns", 0, "tcp4/127.0.0.1:0"}, false},
		{"the same with a wider scope", service{"rpc", 0, "tcp4/0.0.0.0:0"}, false},
		{"a program that a star would fit", service{"aXX{b}Y", 0, at("tcp4/127.0.0.2:%d", p[7])}, false},
		{"another user", service{"dns", nobody, at("tcp4/127.0.0.2:%d", p[2])}, true},
		{"root, of a user's", service{"web", 0, at("tcp4/127.0.0.2:%d", p[9])}, true},
	}
	for _, m := range more {
		if m.root && !root {
			continue
		}
		stop := m.start(t, dir)
		if list := found(); len(list) != 1 {
			t.Errorf("%s: found %q, want it alone, by\n%s", m.reason, list, lesson.Text)
		}
		stop()
	}
	if testing.Verbose() {
		t.Logf("%d listeners:\n%s", len(ours), lesson.Text)
	}
}

// of reports whether a listener is of a program in dir.
func of(l Listener, dir string) bool {
	return strings.HasPrefix(l.Owners[0].Executable, dir)
}
