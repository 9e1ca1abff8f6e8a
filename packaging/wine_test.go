package packaging_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestWindowsScan runs the program that users of Windows get beside another
// Windows program that listens, and looks for that one in the scan.
func TestWindowsScan(t *testing.T) {
	wine := os.Getenv("PORTAUDIT_WINE_EXEC")
	if wine == "" {
		t.Skip("PORTAUDIT_WINE_EXEC does not name a program that runs Windows programs, such as .ci/wine")
	}
	// The listener ends in a cleanup function, before which t.Context is done.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 4*time.Minute)
	t.Cleanup(cancel)
	dir := t.TempDir()
	listener := buildWindows(ctx, t, dir, "listener", "./testdata/listener")
	portaudit := buildWindows(ctx, t, dir, "portaudit", "../cmd/portaudit")

	port, pid := startListener(ctx, t, wine, listener)
	found := scan(ctx, t, wine, portaudit)
	i := slices.IndexFunc(found, func(s socket) bool { return s.Transport == "tcp" && s.Port == port })
	if i < 0 {
		t.Fatalf("the scan lists no tcp port %d, on which %s listens; it lists %+v", port, listener, found)
	}
	got := found[i]
	if got.Address != "127.0.0.1" {
		t.Errorf("address of port %d = %q, want 127.0.0.1", port, got.Address)
	}
	if len(got.Owners) != 1 {
		t.Fatalf("owners of port %d = %+v, want the one listener with pid %d", port, got.Owners, pid)
	}
	if got.Owners[0].PID != pid {
		t.Errorf("pid of port %d = %d, want %d", port, got.Owners[0].PID, pid)
	}
	if o := got.Owners[0]; o.How != "process" || o.User == "" || !strings.HasPrefix(o.SID, "S-1-5-") {
		t.Errorf("owner of port %d = %+v, want a process with its account and a SID of Windows NT (S-1-5-...)", port, o)
	}
	// Windows names are equal in any case, and the drive is Wine's choice.
	if want := `\listener.exe`; !strings.HasSuffix(strings.ToLower(got.Owners[0].Executable), want) {
		t.Errorf("executable of port %d = %q, want a path that ends in %s", port, got.Owners[0].Executable, want)
	}
}

// socket is what this test needs of one listener in the output of scan --json.
type socket struct {
	Transport string
	Address   string
	Port      int
	Owners    []struct {
		PID        int
		Executable string
		How        string
		User, SID  string
	}
}

// buildWindows compiles the package for Windows and returns the program's path.
func buildWindows(ctx context.Context, t *testing.T, dir, name, pkg string) string {
	t.Helper()
	exe := filepath.Join(dir, name+".exe")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", exe, pkg)
	cmd.Env = append(os.Environ(), "GOOS=windows", "GOARCH=amd64", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	return exe
}

// startListener starts the listener, which ends with the test, and returns the
// port and the process id that it reports.
func startListener(ctx context.Context, t *testing.T, wine, exe string) (port, pid int) {
	t.Helper()
	cmd := exec.CommandContext(ctx, wine, exe)
	cmd.WaitDelay = 10 * time.Second // a killed Wine may leave its pipes open
	cmd.Stderr = t.Output()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %v", cmd, err)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("%v wrote %q: %v", cmd, line, err)
	}
	if _, err := fmt.Sscan(line, &port, &pid); err != nil {
		t.Fatalf("%v wrote %q, want a port and a process id: %v", cmd, line, err)
	}
	return port, pid
}

// scan returns the listeners that portaudit scan --json shows.
func scan(ctx context.Context, t *testing.T, wine, exe string) []socket {
	t.Helper()
	cmd := exec.CommandContext(ctx, wine, exe, "scan", "--json")
	cmd.WaitDelay = 10 * time.Second
	cmd.Stderr = t.Output()
	out, err := cmd.Output()
	// 3 says that there are findings.
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() == 3 {
		err = nil
	}
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	var doc struct{ Listeners []socket }
	if err := json.Unmarshal(out, &doc); err != nil {
		t.Fatalf("%v wrote what is no JSON: %v\n%s", cmd, err, out)
	}
	return doc.Listeners
}
