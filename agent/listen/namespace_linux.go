package listen

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The rules for ports of a network namespace, below /proc/sys/net/ipv4; they
// hold for IPv6 too (Linux Documentation/networking/ip-sysctl.rst).
const (
	sysctlUnprivilegedStart = "sys/net/ipv4/ip_unprivileged_port_start"
	sysctlEphemeral         = "sys/net/ipv4/ip_local_port_range"
	sysctlReserved          = "sys/net/ipv4/ip_local_reserved_ports"
)

// namespaceRules reads the rules for ports of one network namespace. /proc/sys
// shows those of the thread that reads, so a thread has to enter the namespace.
func (p *procfs) namespaceRules(link string, pid int) Namespace {
	ns := Namespace{Label: p.label(link)}
	read := func() error { return p.readRules(&ns) }
	var err error
	if pid == 0 {
		err = read()
	} else {
		err = inNetworkNamespace(p.path(pid, "ns/net"), read)
	}
	if err != nil {
		p.gap(Gap{
			Source: "/proc/sys/net of " + ns.Label, Reason: err.Error(), Hides: HidesFacts,
			Fix: "run as root, or with CAP_SYS_ADMIN",
		})
	}
	return ns
}

// readRules reads the rules that hold for the calling thread.
func (p *procfs) readRules(ns *Namespace) error {
	start, err := os.ReadFile(filepath.Join(p.root, sysctlUnprivilegedStart))
	switch {
	case os.IsNotExist(err): // before Linux 4.11: a constant, PROT_SOCK
		ns.UnprivilegedStart, ns.StartKnown = 1024, true
	case err != nil:
		return err
	default:
		n, err := strconv.ParseUint(strings.TrimSpace(string(start)), 10, 17)
		if err != nil {
			return fmt.Errorf("%s: %q is no port", sysctlUnprivilegedStart, clip(start))
		}
		ns.UnprivilegedStart, ns.StartKnown = uint32(n), true
	}
	ephemeral, err := os.ReadFile(filepath.Join(p.root, sysctlEphemeral))
	if err != nil {
		return err
	}
	if ns.Ephemeral, err = parsePortRange(ephemeral); err != nil {
		return fmt.Errorf("%s: %w", sysctlEphemeral, err)
	}
	ns.EphemeralKnown = true
	reserved, err := os.ReadFile(filepath.Join(p.root, sysctlReserved))
	if err != nil {
		return err
	}
	if ns.Excluded, err = parsePortList(reserved); err != nil {
		return fmt.Errorf("%s: %w", sysctlReserved, err)
	}
	return nil
}

// inNetworkNamespace calls do in a thread that has entered the network
// namespace at path. The goroutine ends before the call returns; it never
// unlocks its thread, so that the runtime ends the thread with it and no other
// goroutine can run in the wrong namespace.
func inNetworkNamespace(path string, do func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		done <- func() error {
			f, err := os.Open(path)
			if err != nil {
				return err
			}
			defer f.Close()
			if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("enter %s: %w", path, err)
			}
			return do()
		}()
	}()
	return <-done
}
