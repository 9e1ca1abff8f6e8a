package firewall

import (
	"errors"
	"fmt"
	"net"
)

// attempts is how often rules are read that changed under way.
const attempts = 4

// ErrChanging is the error of Read when the rules changed each time that they
// were read.
var ErrChanging = errors.New("the packet filter changed during each reading")

// Read reads the packet filter of the network namespace of the calling thread,
// which must be locked if it is not that of the process. It needs
// CAP_NET_ADMIN over the namespace, and root's right to read
// /proc/net/ip_tables_names; without them the error matches fs.ErrPermission.
// A kernel without nftables, or without legacy iptables, has no rules of that
// kind. Other errors are ErrChanging, a *ParseError, and those of the system.
func Read() (Ruleset, error) {
	for range attempts {
		before, err := ReadGeneration()
		if err != nil {
			return Ruleset{}, err
		}
		r, err := read()
		if errors.Is(err, errInterrupted) {
			continue
		}
		if err != nil {
			return Ruleset{}, err
		}
		after, err := ReadGeneration()
		if err != nil {
			return Ruleset{}, err
		}
		if before == after {
			return r, nil
		}
	}
	return Ruleset{}, ErrChanging
}

func read() (Ruleset, error) {
	chains, err := readNftables()
	if err != nil {
		return Ruleset{}, fmt.Errorf("read nftables: %w", err)
	}
	legacy, err := readIptables()
	if err != nil {
		return Ruleset{}, fmt.Errorf("read iptables: %w", err)
	}
	devices, err := deviceNames()
	if err != nil {
		return Ruleset{}, fmt.Errorf("read interfaces: %w", err)
	}
	return newRuleset(append(chains, legacy...), devices), nil
}

// ReadGeneration returns a number that changes when the rules of the calling
// thread's network namespace change; it costs a few system calls. Rights and
// errors are those of Read. Of nftables it tells each change (its generation,
// 32 bits). Of legacy iptables the kernel tells only the number and size of the
// rules, so a rule that was replaced by one of the same size goes unseen: who
// watches reads such rules again from time to time. Elements that rules add to
// sets, or that expire, do not count.
func ReadGeneration() (uint64, error) {
	g, err := nftGeneration()
	if err != nil {
		return 0, fmt.Errorf("read the generation of nftables: %w", err)
	}
	h, err := iptablesGeneration()
	if err != nil {
		return 0, fmt.Errorf("read the size of iptables: %w", err)
	}
	return uint64(h)<<32 | uint64(g), nil
}

// deviceNames returns the names of the interfaces by their index.
func deviceNames() (map[uint32]string, error) {
	list, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	names := make(map[uint32]string, len(list))
	for _, i := range list {
		names[uint32(i.Index)] = i.Name
	}
	return names, nil
}
