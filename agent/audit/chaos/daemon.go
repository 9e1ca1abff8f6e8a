package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// chaosRule is the rule that finds each listener that this program opens, and
// no other.
const chaosRule = "chaos-listener"

const chaosPolicy = `version: 1
default: allow
rules:
  - id: ` + chaosRule + `
    verdict: alert
    severity: low
    match: {address: "` + chaosAddress + `"}
`

// chaosAddress is a loopback address that nothing else on this host uses.
const chaosAddress = "127.77.0.1"

// patience is how long something is waited for that comes at once, but for the
// summary of a flood, which takes a minute: the machine may be slow.
const patience = 5 * time.Minute

// buildPortaudit builds portaudit, unless there is one to use.
func (l *lab) buildPortaudit(ctx context.Context) error {
	if l.portaudit != "" {
		return nil
	}
	path := filepath.Join(l.work, "portaudit")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", path, "github.com/portaudit/portaudit/cmd/portaudit")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build portaudit (or name one with -portaudit): %w: %s", err, out)
	}
	l.portaudit = path
	return nil
}

// daemon is a portaudit run of its own, with a policy that finds the listeners
// of this program.
type daemon struct {
	cmd   *exec.Cmd
	log   string
	said  safeBuffer // on standard error: its alerts
	ended chan struct{}
	wait  error // how it ended, then
}

// daemon starts portaudit on a log, with a configuration and more flags, and
// waits until it has audited once. What else it keeps lies in dir.
func (l *lab) daemon(ctx context.Context, dir, log, config string, flags ...string) (*daemon, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	policy, configFile, state := filepath.Join(dir, "policy.yaml"), filepath.Join(dir, "portaudit.yaml"), filepath.Join(dir, "state")
	if err := errors.Join(os.WriteFile(policy, []byte(chaosPolicy), 0o600), os.WriteFile(configFile, []byte(config), 0o600)); err != nil {
		return nil, err
	}
	args := []string{"run", "--config", configFile, "--policy", policy, "--log-dir", log, "--state-dir", state, "--interval", "1s", "--confirm", "1", "--gone", "1"}
	d := &daemon{cmd: exec.Command(l.portaudit, append(args, flags...)...), log: log, ended: make(chan struct{})}
	d.cmd.Stderr = &d.said
	tie(d.cmd)
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { // ends with the daemon, which stop ends
		d.wait = d.cmd.Wait()
		close(d.ended)
	}()
	err := d.await(ctx, patience, "its first audit", func() bool {
		_, err := os.Stat(filepath.Join(state, "state.json"))
		return err == nil
	})
	if err != nil {
		return nil, errors.Join(err, d.stop(false), errors.New(d.said.String()))
	}
	return d, nil
}

// await waits until something holds.
func (d *daemon) await(ctx context.Context, limit time.Duration, what string, holds func() bool) error {
	for start := time.Now(); !holds(); {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-d.ended:
			return fmt.Errorf("portaudit ended while it was waited for %s: %v: %s", what, d.wait, last(d.said.String()))
		case <-time.After(20 * time.Millisecond):
		}
		if time.Since(start) > limit {
			return fmt.Errorf("%s did not come in %v; portaudit said: %s", what, limit, last(d.said.String()))
		}
	}
	return nil
}

// last returns the last lines of a text.
func last(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-12):], "\n")
}

// awaitEnd waits until the daemon ends by itself.
func (d *daemon) awaitEnd(ctx context.Context) error {
	select {
	case <-d.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(patience):
		return fmt.Errorf("portaudit goes on; it said: %s", last(d.said.String()))
	}
}

// stop ends the daemon as systemctl stop does; failed says that it is to have
// ended with an error.
func (d *daemon) stop(failed bool) error {
	_ = d.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-d.ended:
	case <-time.After(patience):
		err := fmt.Errorf("portaudit did not stop in %v; it said: %s", patience, last(d.said.String()))
		return errors.Join(err, kill(d.cmd))
	}
	if (d.wait != nil) != failed {
		return fmt.Errorf("portaudit ended: %v: %s", d.wait, last(d.said.String()))
	}
	return nil
}

// listeners are sockets that listen.
type listeners []net.Listener

// open opens count listeners on the address of chaos, evenly over some time, on
// ports behind that many.
func open(ctx context.Context, count int, over time.Duration, behind int) (ls listeners, err error) {
	start := time.Now()
	for port := 20_000 + behind; len(ls) < count; port++ {
		if port > 65_535 {
			return ls, errors.New("too few free ports")
		}
		if wait := over*time.Duration(len(ls))/time.Duration(count) - time.Since(start); wait > time.Millisecond {
			time.Sleep(wait)
		}
		if ctx.Err() != nil {
			return ls, ctx.Err()
		}
		l, err := net.Listen("tcp4", fmt.Sprintf("%s:%d", chaosAddress, port))
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			return ls, err
		}
		ls = append(ls, l)
	}
	return ls, nil
}

func (ls listeners) close() error {
	var errs []error
	for _, l := range ls {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}
