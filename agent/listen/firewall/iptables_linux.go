package firewall

import (
	"errors"
	"hash/crc32"
	"io/fs"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The options of getsockopt, alike for IPv4 and IPv6: IPT_SO_GET_INFO and
// IPT_SO_GET_ENTRIES.
const (
	optionInfo    = 64
	optionEntries = 65
)

// iptablesKind is one of the two legacy packet filters.
type iptablesKind struct {
	layout   xtLayout
	names    string
	domain   int
	protocol int
}

// The list of tables says which are in use: to ask for one that is not would
// create it, with its hooks, and slow down every packet.
func iptablesKinds() [2]iptablesKind {
	return [...]iptablesKind{
		{layoutIPv4, "/proc/thread-self/net/ip_tables_names", unix.AF_INET, unix.IPPROTO_IP},
		{layoutIPv6, "/proc/thread-self/net/ip6_tables_names", unix.AF_INET6, unix.IPPROTO_IPV6},
	}
}

// tables calls visit for each table in use. No list means that the kernel has
// no legacy iptables, or that its module is not loaded: no rules.
func (k *iptablesKind) tables(visit func(fd int, name string, raw []byte) error) error {
	b, err := os.ReadFile(k.names)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(b) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	names, err := parseTableNames(b)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(k.domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	for _, n := range names {
		raw := make([]byte, infoSize)
		copy(raw, n)
		if err = k.get(fd, optionInfo, raw); err == nil {
			err = visit(fd, n, raw)
		}
		if err != nil {
			break
		}
	}
	return errors.Join(err, unix.Close(fd))
}

// get calls getsockopt with b as question and answer, which golang.org/x/sys
// has no function for.
func (k *iptablesKind) get(fd, option int, b []byte) error {
	size := uint32(len(b))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(k.protocol), uintptr(option),
		uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(unsafe.Pointer(&size)), 0)
	switch {
	case errno == unix.EAGAIN: // the size is not that of GET_INFO any more
		return errInterrupted
	case errno != 0:
		return os.NewSyscallError("getsockopt", errno)
	}
	return nil
}

func readIptables() ([]chain, error) {
	var chains []chain
	for _, k := range iptablesKinds() {
		err := k.dump(func(name string, raw, entries []byte) error {
			found, err := parseTable(k.layout, name, raw, entries)
			chains = append(chains, found...)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return chains, nil
}

// dump calls visit with what the kernel tells of each table, and its entries.
func (k *iptablesKind) dump(visit func(name string, raw, entries []byte) error) error {
	return k.tables(func(fd int, name string, raw []byte) error {
		i, err := parseInfo(raw)
		if err != nil {
			return err
		}
		const header = 40 // struct ipt_get_entries: name, size, and 4 bytes to align
		b := make([]byte, header+i.size)
		copy(b, name)
		native.PutUint32(b[32:], i.size)
		if err := k.get(fd, optionEntries, b); err != nil {
			return err
		}
		return visit(name, raw, b[header:])
	})
}

// iptablesGeneration is a sum over the numbers and sizes of rules of all tables.
func iptablesGeneration() (uint32, error) {
	sum := crc32.NewIEEE()
	for _, k := range iptablesKinds() {
		err := k.tables(func(_ int, _ string, raw []byte) error {
			_, err := sum.Write(raw)
			return err
		})
		if err != nil {
			return 0, err
		}
	}
	return sum.Sum32(), nil
}
