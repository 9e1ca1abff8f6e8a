package listen

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/windows"
)

// What netsh may take and print. All that it is asked for takes a fraction of a
// second and some kilobytes.
const (
	netshTimeout = 10 * time.Second
	netshOutput  = 1 << 20
)

// hostNamespace returns the rules for ports of this host, as netsh tells them.
func hostNamespace(ctx context.Context) (Namespace, []Gap) {
	ctx, cancel := context.WithTimeout(ctx, netshTimeout)
	defer cancel()
	answers := make([]portAnswer, len(portQuestions))
	commands := make([]func() ([]byte, error), len(portQuestions))
	for i, q := range portQuestions { // all at once: they mostly wait
		commands[i], answers[i].err = startNetsh(ctx, "int", q.version, "show", q.what, q.transport)
	}
	for i, wait := range commands {
		if answers[i].err == nil {
			answers[i].output, answers[i].err = wait()
		}
	}
	return hostRules(answers)
}

// startNetsh starts netsh and returns how to wait for its output.
func startNetsh(ctx context.Context, arguments ...string) (wait func() ([]byte, error), err error) {
	dir, err := windows.GetSystemDirectory()
	if err != nil {
		return nil, fmt.Errorf("find the system's directory: %w", err)
	}
	// The full path: a netsh.exe in the current directory must not be run.
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "netsh.exe"), arguments...)
	cmd.SysProcAttr = &syscall.SysProcAttr{HideWindow: true, CreationFlags: windows.CREATE_NO_WINDOW}
	cmd.WaitDelay = time.Second
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return func() ([]byte, error) {
		b, err := io.ReadAll(io.LimitReader(out, netshOutput))
		if len(b) == netshOutput {
			err = fmt.Errorf("netsh printed more than %d bytes", netshOutput)
		}
		if err != nil {
			return nil, errors.Join(err, cmd.Cancel(), cmd.Wait())
		}
		return b, cmd.Wait()
	}, nil
}
