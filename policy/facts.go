package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

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

// unknownOwner is the word for one that cannot be named, however that is known.
const unknownOwner = "unknown"

// ownerCondition asks how an owner is known. That nobody can be named is a fact,
// too: "unknown".
func ownerCondition(d *decoder, n *yaml.Node) condition {
	c := wordCondition(append(Hows(), unknownOwner), func(_ *Listener, o *Owner) string { return o.How })(d, n)
	if !slices.Contains(d.values(n), unknownOwner) {
		return c
	}
	known := c.test
	c.test = func(l *Listener, o *Owner) Answer {
		if namesNobody(o.How) {
			return Yes
		}
		return known(l, o)
	}
	return c
}

// ageCondition asks for how long a listener has been there.
func ageCondition(d *decoder, n *yaml.Node) condition {
	text, ok := d.text(n)
	age, err := parseAge(clip(text))
	if ok && err != nil {
		d.errorf(n, "%v", err)
	}
	return condition{
		age: age,
		test: func(l *Listener, _ *Owner) Answer {
			if l.FirstSeen.IsZero() || l.now.IsZero() {
				return Unknown
			}
			return truth(l.now.Sub(l.FirstSeen) >= age)
		},
		value: func(l *Listener, _ *Owner) string { return l.now.Sub(l.FirstSeen).Round(time.Second).String() },
	}
}

// maxAge is the longest age that can be asked for: ten years.
const maxAge = 10 * 366 * 24 * time.Hour

// parseAge reads 90s, 10m, 24h or 7d.
func parseAge(text string) (time.Duration, error) {
	days, isDays := strings.CutSuffix(text, "d")
	age, err := time.ParseDuration(text)
	if isDays {
		var n uint64
		n, err = strconv.ParseUint(days, 10, 12)
		age = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || age <= 0 || age > maxAge {
		return 0, fmt.Errorf("%q is no time such as 10m, 24h or 7d", text)
	}
	return age, nil
}

// groupCondition asks for one of the groups of an owner.
func groupCondition(d *decoder, n *yaml.Node) condition {
	wanted := d.texts(n)
	return condition{
		test: func(_ *Listener, o *Owner) Answer {
			if o.Groups == nil {
				return Unknown
			}
			return truth(slices.ContainsFunc(o.Groups, func(g string) bool { return slices.Contains(wanted, g) }))
		},
		value: func(_ *Listener, o *Owner) string { return orNone(o.Groups) },
	}
}

func orNone(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}

// capabilityWords returns the names of the capabilities as they are written.
func capabilityWords() []string {
	var names []string
	for _, name := range CapabilityNames() {
		names = append(names, "CAP_"+name)
	}
	return names
}

// capabilities reads a list of capabilities.
func (d *decoder) capabilities(n *yaml.Node) uint64 {
	names := capabilityWords()
	var set uint64
	for _, item := range d.list(n) {
		if word := d.word(item, names); word != "" {
			set |= 1 << slices.Index(names, word)
		}
	}
	return set
}

// capabilityCondition asks for one of the effective capabilities of an owner.
func capabilityCondition(d *decoder, n *yaml.Node) condition {
	set, names := d.capabilities(n), capabilityWords()
	return condition{
		test: func(_ *Listener, o *Owner) Answer {
			if !o.Capabilities.Known {
				return Unknown
			}
			return truth(o.Capabilities.Set&set != 0)
		},
		value: func(_ *Listener, o *Owner) string {
			var has []string
			for i, name := range names {
				if o.Capabilities.Set&(1<<i) != 0 {
					has = append(has, name)
				}
			}
			return orNone(has)
		},
	}
}

// digestCondition asks for the digest of the file that an owner runs.
func digestCondition(d *decoder, n *yaml.Node) condition {
	wanted := parsed(d, n, nil, parseDigest)
	return oneOf(wanted, func(s string) bool { return s != "" },
		func(_ *Listener, o *Owner) string { return o.SHA256 }, func(s string) string { return s })
}

func parseDigest(text string) (string, error) {
	if b, err := hex.DecodeString(text); err != nil || len(b) != sha256.Size {
		return "", fmt.Errorf("%q is no SHA-256: 64 hexadecimal digits, as sha256sum prints them", text)
	}
	return strings.ToLower(text), nil
}
