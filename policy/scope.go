package policy

import (
	"fmt"
	"net/netip"
)

// Scope is from how far away an address can be reached. The zero value is
// unknown, and counts as reachable.
type Scope uint8

// The scopes, from the narrowest to the widest.
const (
	UnknownScope Scope = iota
	Loopback           // 127.0.0.0/8, ::1 (RFC 1122, RFC 4291)
	LinkLocal          // 169.254.0.0/16, fe80::/10, and link-local multicast
	Private            // RFC 1918, RFC 4193, RFC 6598
	Public             // everything else
	Wildcard           // 0.0.0.0, ::
)

var scopeNames = [...]string{"unknown", "loopback", "link-local", "private", "public", "wildcard"}

var sharedAddressSpace = netip.MustParsePrefix("100.64.0.0/10") // RFC 6598

// ScopeOf returns the scope of a. An IPv4-mapped address has the scope of the
// IPv4 address inside.
func ScopeOf(a netip.Addr) Scope {
	a = a.Unmap()
	switch {
	case !a.IsValid():
		return UnknownScope
	case a.IsUnspecified():
		return Wildcard
	case a.IsLoopback(), a.IsInterfaceLocalMulticast():
		return Loopback
	case a.IsLinkLocalUnicast(), a.IsLinkLocalMulticast():
		return LinkLocal
	case a.IsPrivate(), sharedAddressSpace.Contains(a):
		return Private
	default:
		return Public
	}
}

// ParseScope reads a scope's name.
func ParseScope(s string) (Scope, error) {
	for i, name := range scopeNames {
		if name == s && i > 0 {
			return Scope(i), nil
		}
	}
	return UnknownScope, fmt.Errorf("%q is no scope: use loopback, link-local, private, public or wildcard", s)
}

// Reachable reports whether other hosts may reach an address of this scope.
func (s Scope) Reachable() bool { return s != Loopback }

// String returns the scope's name.
func (s Scope) String() string {
	if int(s) >= len(scopeNames) {
		return fmt.Sprintf("Scope(%d)", uint8(s))
	}
	return scopeNames[s]
}
