package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// addressCondition asks for an address, or for one of a prefix. The IPv4 address
// of an IPv6 socket is an IPv4 address.
func addressCondition(d *decoder, n *yaml.Node) condition {
	wanted := parsed(d, n, nil, parsePrefix)
	return condition{
		prefixes: wanted,
		test: func(l *Listener, _ *Owner) Answer {
			if !l.Address.IsValid() {
				return Unknown
			}
			at := l.Address.Unmap().WithZone("")
			return truth(slices.ContainsFunc(wanted, func(p netip.Prefix) bool { return p.Contains(at) }))
		},
		value: func(l *Listener, _ *Owner) string { return l.Address.Unmap().String() },
	}
}

// parsePrefix reads 192.0.2.1 or 192.0.2.0/24.
func parsePrefix(text string) (netip.Prefix, error) {
	if !strings.Contains(text, "/") {
		a, err := netip.ParseAddr(text)
		if err != nil || a.Zone() != "" || a.Is4In6() {
			return netip.Prefix{}, fmt.Errorf("%q is no address such as 192.0.2.1, 2001:db8::1 or 192.0.2.0/24", text)
		}
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil || p.Addr().Is4In6():
		return netip.Prefix{}, fmt.Errorf("%q is no prefix such as 192.0.2.0/24 or 2001:db8::/32", text)
	case p != p.Masked():
		return netip.Prefix{}, fmt.Errorf("%q is an address within a prefix: write %s, or the address alone", text, p.Masked())
	}
	return p, nil
}

// interfaceCondition asks for the device that a socket is bound to. That it is
// bound to none is a fact.
func interfaceCondition(d *decoder, n *yaml.Node) condition {
	c := globCondition(func(l *Listener, _ *Owner) string { return l.Interface }, nil)(d, n)
	test := c.test
	c.test = func(l *Listener, o *Owner) Answer {
		if l.Interface == "" {
			return No
		}
		return test(l, o)
	}
	c.value = func(l *Listener, _ *Owner) string {
		if l.Interface == "" {
			return "any"
		}
		return l.Interface
	}
	return c
}

// uidRange is a range of numeric accounts, both ends included.
type uidRange struct{ first, last uint32 }

func uidCondition(d *decoder, n *yaml.Node) condition {
	wanted := parsed(d, n, nil, parseUIDs)
	return condition{
		test: func(_ *Listener, o *Owner) Answer {
			if !o.UID.Known {
				return Unknown
			}
			return truth(slices.ContainsFunc(wanted, func(r uidRange) bool { return r.first <= o.UID.ID && o.UID.ID <= r.last }))
		},
		value: func(_ *Listener, o *Owner) string { return strconv.FormatUint(uint64(o.UID.ID), 10) },
	}
}

// parseUIDs reads 33 or 1000-60000, in plain decimal.
func parseUIDs(text string) (uidRange, error) {
	first, last, isRange := strings.Cut(text, "-")
	if !isRange {
		last = first
	}
	a, ok := parseUID(first)
	b, okLast := parseUID(last)
	switch {
	case !ok || !okLast:
		return uidRange{}, fmt.Errorf("%q is no uid such as 33, and no range such as 1000-60000", text)
	case a > b:
		return uidRange{}, fmt.Errorf("the range %q runs backwards: write %d-%d", text, b, a)
	}
	return uidRange{a, b}, nil
}

func parseUID(text string) (uint32, bool) {
	n, err := strconv.ParseUint(text, 10, 32)
	return uint32(n), err == nil && strconv.FormatUint(n, 10) == text
}

// baseOf returns the last part of a path, of Windows' too; "" of none.
func baseOf(path string) string {
	if isWindowsPath(path) {
		path = strings.ReplaceAll(path, `\`, "/")
	}
	return path[strings.LastIndexByte(path, '/')+1:]
}

// programCondition asks for the name of a program; on Windows the case of letters
// does not matter.
func programCondition(d *decoder, n *yaml.Node) condition {
	c := globCondition(func(_ *Listener, o *Owner) string { return baseOf(o.Executable) }, nameAlone)(d, n)
	test := c.test
	c.test = func(l *Listener, o *Owner) Answer {
		if !isWindowsPath(o.Executable) {
			return test(l, o)
		}
		name := fold(baseOf(o.Executable))
		return truth(slices.ContainsFunc(c.globs, func(g glob) bool { return g.folded.MatchString(name) }))
	}
	return c
}

// nameAlone requires that a pattern can match the name of a program.
func nameAlone(d *decoder, n *yaml.Node, text string) bool {
	if !strings.ContainsAny(text, `/\`) {
		return true
	}
	d.errorf(n, "%q is a path, and can never match a name: ask for \"executable\"", clip(text))
	return false
}

// commandLineCondition asks for the arguments of a program. They may hold
// secrets: explanations do not repeat them.
func commandLineCondition(d *decoder, n *yaml.Node) condition {
	c := globCondition(func(_ *Listener, o *Owner) string { return o.CommandLine }, nil)(d, n)
	c.value = func(*Listener, *Owner) string { return "(not shown)" }
	return c
}

// shared reports whether different programs or users hold the socket.
func (l *Listener) shared() Answer {
	var program, user string
	unknown := len(l.Owners) == 1 && l.Owners[0].How == "" // nobody was seen
	for i := range l.Owners {
		o := &l.Owners[i]
		if differ(&program, o.Executable) || differ(&user, o.User) {
			return Yes
		}
		unknown = unknown || len(l.Owners) > 1 && (o.Executable == "" || o.User == "")
	}
	if unknown {
		return Unknown
	}
	return No
}

// differ reports whether a fact is another than what was known before, of which
// "" is unknown, and remembers it.
func differ(before *string, now string) bool {
	if *before == "" {
		*before = now
	}
	return now != "" && now != *before
}
