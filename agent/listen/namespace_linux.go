package listen

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// The rules for ports of a network namespace, below /proc/sys/net/ipv4; they
// hold for IPv6 too (Linux Documentation/networking/ip-sysctl.rst).
const (
	sysctlUnprivilegedStart = "sys/net/ipv4/ip_unprivileged_port_start"
	sysctlEphemeral         = "sys/net/ipv4/ip_local_port_range"
	sysctlReserved          = "sys/net/ipv4/ip_local_reserved_ports"
)

// readRules reads the rules that hold for the calling thread: /proc/sys shows
// those of its network namespace.
func readRules(root string, ns *Namespace) error {
	start, err := os.ReadFile(filepath.Join(root, sysctlUnprivilegedStart))
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
		ns.UnprivilegedStart, ns.StartKnown, ns.StartSet = uint32(n), true, true
	}
	ephemeral, err := os.ReadFile(filepath.Join(root, sysctlEphemeral))
	if err != nil {
		return err
	}
	if ns.Ephemeral, err = parsePortRange(ephemeral); err != nil {
		return fmt.Errorf("%s: %w", sysctlEphemeral, err)
	}
	ns.EphemeralKnown = true
	reserved, err := os.ReadFile(filepath.Join(root, sysctlReserved))
	if err != nil {
		return err
	}
	if ns.Excluded, err = parsePortList(reserved); err != nil {
		return fmt.Errorf("%s: %w", sysctlReserved, err)
	}
	return nil
}
