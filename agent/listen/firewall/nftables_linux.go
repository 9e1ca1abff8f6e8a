package firewall

import (
	"errors"
	"os"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

var errInterrupted = errors.New("the rules changed during the dump")

// nftConn asks nftables of one network namespace.
type nftConn struct{ *netlink.Conn }

// openNftables opens a socket to the kernel in the network namespace of the
// calling thread; nil where the kernel has no netfilter netlink at all.
func openNftables() (*nftConn, error) {
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if errors.Is(err, unix.EPROTONOSUPPORT) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	// The kernel answers at once; a time-out is the safeguard against a hang.
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return &nftConn{c}, nil
}

// ask sends one question and calls visit with the body of each answer, which
// must not be kept.
func (c *nftConn) ask(kind uint8, flags netlink.HeaderFlags, f family, attributes []byte, visit func(kind uint8, m []byte) error) error {
	body := append([]byte{byte(f), 0, 0, 0}, attributes...) // struct nfgenmsg
	request := netlink.Message{
		Header: netlink.Header{
			Type:  netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | uint16(kind)),
			Flags: netlink.Request | flags,
		},
		Data: body,
	}
	if _, err := c.Send(request); err != nil {
		return ofSystem(err)
	}
	var problem error
	for m, err := range c.ReceiveIter() {
		switch {
		case err != nil:
			return ofSystem(err)
		case m.Header.Flags&netlink.DumpInterrupted != 0:
			problem = errInterrupted
		case problem == nil && m.Header.Type>>8 == unix.NFNL_SUBSYS_NFTABLES:
			problem = visit(uint8(m.Header.Type), m.Data)
		}
	}
	return problem
}

// ofSystem returns the error of the system within one of the netlink library,
// whose type is no business of callers.
func ofSystem(err error) error {
	var e *netlink.OpError
	if errors.As(err, &e) {
		return os.NewSyscallError("netlink "+e.Op, e.Err)
	}
	return err
}

func nftGeneration() (uint32, error) {
	c, err := openNftables()
	if c == nil || err != nil {
		return 0, err
	}
	defer c.Close()
	var g uint32
	err = c.ask(unix.NFT_MSG_GETGEN, 0, 0, nil, func(_ uint8, m []byte) error {
		g, err = parseGeneration(m)
		return err
	})
	if isAbsent(err) {
		return 0, nil
	}
	return g, err
}

// isAbsent says whether the first question to nftables was answered as a kernel
// without it does: nfnetlink_rcv_msg in net/netfilter/nfnetlink.c.
func isAbsent(err error) bool { return errors.Is(err, unix.EINVAL) }

// readNftables reads all tables, whatever their family.
func readNftables() ([]chain, error) {
	d := newDump()
	if err := dumpNftables(d, d.add); err != nil {
		return nil, err
	}
	return d.ruleChains(), nil
}

// dumpNftables calls visit with each message that describes the tables, and
// asks for the elements of the sets that d then has.
func dumpNftables(d *nftDump, visit func(kind uint8, m []byte) error) error {
	c, err := openNftables()
	if c == nil || err != nil {
		return err
	}
	defer c.Close()
	for _, kind := range []uint8{unix.NFT_MSG_GETTABLE, unix.NFT_MSG_GETCHAIN, unix.NFT_MSG_GETSET, unix.NFT_MSG_GETRULE} {
		err := c.ask(kind, netlink.Dump, 0, nil, visit)
		if kind == unix.NFT_MSG_GETTABLE && isAbsent(err) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	for key, s := range d.sets {
		if s.dynamic() {
			continue // what is in it now says little
		}
		a, err := netlink.MarshalAttributes([]netlink.Attribute{
			{Type: listTable, Data: append([]byte(key.table), 0)},
			{Type: listSet, Data: append([]byte(key.name), 0)},
		})
		if err != nil {
			return err
		}
		err = c.ask(unix.NFT_MSG_GETSETELEM, netlink.Dump, key.family, a, visit)
		if errors.Is(err, unix.ENOENT) {
			return errInterrupted // it was there a moment ago
		}
		if err != nil {
			return err
		}
	}
	return nil
}
