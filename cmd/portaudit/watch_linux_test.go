package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// openTerminal makes a terminal of 80x24: what is written to the first file is
// typed at the second, which a program draws on.
func openTerminal(t *testing.T) (keyboard, screen *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no pseudo-terminal here: ", err)
	}
	t.Cleanup(func() { keyboard.Close() })
	connection, err := keyboard.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var number int
	var failed error
	err = connection.Control(func(fd uintptr) {
		if failed = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); failed != nil {
			return
		}
		if number, failed = unix.IoctlGetInt(int(fd), unix.TIOCGPTN); failed != nil {
			return
		}
		failed = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80})
	})
	if err != nil || failed != nil {
		t.Fatal(err, failed)
	}
	screen, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return keyboard, screen
}

// TestWatchOnATerminal lets the program draw, tells it to quit by each of three
// ways, and finds the terminal as it was.
func TestWatchOnATerminal(t *testing.T) {
	program, err := exec.LookPath("portaudit") // testscript put it there
	if err != nil {
		program = filepath.Join(t.TempDir(), "portaudit")
		if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	for _, tt := range []struct {
		reason string
		end    func(keyboard *os.File, p *os.Process) error
	}{
		{"q", func(k *os.File, _ *os.Process) error { _, err := k.WriteString("q"); return err }},
		{"ctrl+c", func(k *os.File, _ *os.Process) error { _, err := k.WriteString("\x03"); return err }},
		{"a signal", func(_ *os.File, p *os.Process) error { return p.Signal(syscall.SIGTERM) }},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			keyboard, screen := openTerminal(t)
			before, err := unix.IoctlGetTermios(int(screen.Fd()), unix.TCGETS)
			if err != nil {
				t.Fatal(err)
			}
			none := filepath.Join(t.TempDir(), "none.yaml")
			if err := os.WriteFile(none, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(program, "watch", "--config", none)
			cmd.Env = append(os.Environ(), "TERM=xterm", "NO_COLOR=1")
			cmd.Stdin, cmd.Stdout, cmd.Stderr = screen, screen, screen
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = cmd.Process.Kill() }()
			drawn := readUntil(t, keyboard, "VERDICT")
			if !strings.Contains(drawn, "\x1b[?1049h") {
				t.Errorf("it drew %q, want a table on the other screen", drawn)
			}
			if strings.Contains(drawn, "\x1b[31m") || strings.Contains(drawn, "\x1b[1;31m") {
				t.Errorf("it drew in colour: %q", drawn)
			}
			if err := tt.end(keyboard, cmd.Process); err != nil {
				t.Fatal(err)
			}
			readUntil(t, keyboard, "\x1b[?1049l") // back from the other screen
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
			after, err := unix.IoctlGetTermios(int(screen.Fd()), unix.TCGETS)
			if err != nil || *after != *before {
				t.Errorf("the terminal is left as %+v, %v; it was %+v", after, err, before)
			}
			screen.Close()
		})
	}
}

// readUntil reads what is drawn until it has the text.
func readUntil(t *testing.T, terminal *os.File, text string) string {
	t.Helper()
	var all bytes.Buffer
	b := make([]byte, 4096)
	if err := terminal.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Logf("no deadline: %v", err)
	}
	for !strings.Contains(all.String(), text) {
		n, err := terminal.Read(b)
		all.Write(b[:n])
		if err != nil {
			t.Fatalf("%v before %q was drawn, after %q", err, text, all.String())
		}
	}
	return all.String()
}
