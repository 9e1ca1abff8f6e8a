package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// hold opens what a worker holds. The descriptors that are no sockets are
// eventfds, files and pipes in equal parts.
func hold(address string, listeners, files, pairs int) error {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return err
	}
	at := &unix.SockaddrInet4{Addr: a.As4()}
	first := -1
	for i := range listeners {
		kind := unix.SOCK_STREAM
		if i%5 == 4 {
			kind = unix.SOCK_DGRAM
		}
		fd, err := unix.Socket(unix.AF_INET, kind, 0)
		if err != nil {
			return err
		}
		if err := unix.Bind(fd, at); err != nil {
			return fmt.Errorf("bind %s: %w", address, err)
		}
		if kind == unix.SOCK_STREAM {
			if err := unix.Listen(fd, 4096); err != nil {
				return err
			}
			if first < 0 {
				first = fd
			}
		}
	}
	if err := connect(first, pairs); err != nil {
		return err
	}
	return fill(files - 3 - listeners - 2*pairs)
}

// connect makes connections of the process to its own listener.
func connect(listener, pairs int) error {
	if pairs == 0 {
		return nil
	}
	to, err := unix.Getsockname(listener)
	if err != nil {
		return err
	}
	for range pairs {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			return err
		}
		if err := unix.Connect(fd, to); err != nil {
			return fmt.Errorf("connect: %w", err)
		}
		if _, _, err := unix.Accept(listener); err != nil {
			return fmt.Errorf("accept: %w", err)
		}
	}
	return nil
}

func fill(n int) error {
	for n > 0 {
		var err error
		switch n % 3 {
		case 0:
			_, err = unix.Eventfd(0, 0)
		case 1:
			_, err = unix.Open("/dev/null", unix.O_RDWR, 0)
		default:
			var p [2]int
			err = unix.Pipe(p[:])
			n--
		}
		if err != nil {
			return fmt.Errorf("%d descriptors are missing: %w", n, err)
		}
		n--
	}
	return nil
}

// inside runs this program again in namespaces of its own.
func inside(ctx context.Context, o options) error {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", "-load", o.loads, "-runs", fmt.Sprint(o.runs), "-portaudit", o.portaudit,
		"-peers", o.peers, "-svg", o.svg, "-markdown", o.markdown, fmt.Sprintf("-steady=%v", o.steady))
	cmd.Env = append(os.Environ(), insideVariable+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWNS}
	return cmd.Run()
}

// settle makes the new namespaces usable: a procfs of their processes, and a
// loopback device that is up.
func settle() error {
	if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return errors.Join(err, unix.Close(fd))
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return errors.Join(unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo), unix.Close(fd))
}

// kernel names the system and its version.
func kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "Linux"
	}
	return "Linux " + unix.ByteSliceToString(u.Release[:])
}
