package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	keepToOneself()
	testscript.Main(m, map[string]func(){"portaudit": main})
}

// TestScripts runs the commands as a user types them (testdata/script).
//
// Beside testscript's own, the scripts have these commands:
//
//	listen NETWORK ADDRESS NAME   listen in the test process; $NAME is the port
//	unlisten NAME                 stop that
//	receive NAME FILE             take HTTP requests; $NAME is the port, each body a line of the file
//	waitfor FILE PATTERN          until a line of the file matches
//	count N FILE PATTERN          exactly so many lines match
//	hangup                        SIGHUP to the last program in the background
//	promlint FILE                 the metrics in it keep to Prometheus' conventions
//	exits CODE[,CODE] PROGRAM…    the program ends with one of the exit codes
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Values["listeners"] = map[string]interface{ Close() error }{}
			env.Setenv("NO_COLOR", "1")
			// What is installed on this host must not change what the tests see.
			none := filepath.Join(env.WorkDir, "none.yaml")
			env.Setenv("NONE", none)
			return os.WriteFile(none, fmt.Appendf(nil, "data_dir: %q\n", filepath.Join(env.WorkDir, "no-data")), 0o600)
		},
		Condition: func(name string) (bool, error) {
			switch name {
			case "wine":
				return os.Getenv("PORTAUDIT_TEST_WINE") != "", nil
			case "root":
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("unknown condition %q", name)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"listen": listenCommand, "unlisten": unlistenCommand, "receive": receiveCommand, "waitfor": waitFor, "count": count, "hangup": hangUp,
			"exits": exits, "promlint": lintMetrics,
		},
	})
}

func listenCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: listen NETWORK ADDRESS NAME")
	}
	var closer interface{ Close() error }
	var address net.Addr
	switch args[0] {
	case "udp", "udp4", "udp6":
		c, err := net.ListenPacket(args[0], args[1])
		ts.Check(err)
		closer, address = c, c.LocalAddr()
	default:
		l, err := net.Listen(args[0], args[1])
		ts.Check(err)
		closer, address = l, l.Addr()
	}
	_, port, err := net.SplitHostPort(address.String())
	ts.Check(err)
	ts.Setenv(args[2], port)
	ts.Setenv("PID", fmt.Sprint(os.Getpid()))
	listeners(ts)[args[2]] = closer
	ts.Defer(func() { closer.Close() })
}

func listeners(ts *testscript.TestScript) map[string]interface{ Close() error } {
	return ts.Value("listeners").(map[string]interface{ Close() error })
}

func unlistenCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: unlisten NAME")
	}
	ts.Check(listeners(ts)[args[0]].Close())
}

// receiveCommand takes requests in the test process. The headers of which a receiver
// makes something stand before the body.
func receiveCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: receive NAME FILE")
	}
	path := ts.MkAbs(args[1])
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	ts.Check(err)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		line := fmt.Sprintf("%s %s webhook-id=%s signed=%v seq=%s %s\n", r.Method, r.URL.Path, r.Header.Get("webhook-id"),
			strings.HasPrefix(r.Header.Get("webhook-signature"), "v1,"), r.Header.Get("X-Portaudit-Seq"), bytes.ReplaceAll(body, []byte("\n"), nil))
		if _, writeErr := f.WriteString(line); err != nil || writeErr != nil {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	ts.Check(err)
	ts.Setenv(args[0], port)
	ts.Defer(func() {
		server.Close()
		f.Close()
	})
}

// patience is how long a script waits for something to happen.
const patience = 30 * time.Second

func waitFor(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: waitfor FILE PATTERN")
	}
	pattern, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	var content []byte
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		content, _ = os.ReadFile(ts.MkAbs(args[0])) // not there yet
		if pattern.Match(content) {
			return
		}
	}
	ts.Fatalf("no line of %s matches %q after %v:\n%s", args[0], args[1], patience, content)
}

func hangUp(ts *testscript.TestScript, neg bool, args []string) {
	commands := ts.BackgroundCmds()
	if neg || len(args) != 0 || len(commands) == 0 {
		ts.Fatalf("usage: hangup, with a program in the background")
	}
	ts.Check(commands[len(commands)-1].Process.Signal(syscall.SIGHUP))
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE[,CODE] PROGRAM…")
	}
	code := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		code = exit.ExitCode()
	}
	if !slices.Contains(strings.Split(args[0], ","), strconv.Itoa(code)) {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

func lintMetrics(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: promlint FILE")
	}
	text := ts.ReadFile(args[0])
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil || len(problems) > 0 || text == "" {
		ts.Fatalf("%+v, %v, in:\n%s", problems, err, text)
	}
}

func count(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: count N FILE PATTERN")
	}
	pattern, err := regexp.Compile(args[2])
	ts.Check(err)
	n := 0
	content := ts.ReadFile(args[1])
	for line := range bytes.Lines([]byte(content)) {
		if pattern.Match(line) {
			n++
		}
	}
	if fmt.Sprint(n) != args[0] {
		ts.Fatalf("%d lines of %s match %q, want %s:\n%s", n, args[1], args[2], args[0], content)
	}
}
