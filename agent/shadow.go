package agent

import (
	"slices"

	"github.com/portaudit/portaudit/agent/listen"
	"github.com/portaudit/portaudit/policy"
	"github.com/portaudit/portaudit/registry"
)

// shadows finds the listeners that take from another one what comes to their
// address: of two sockets of a port the kernel chooses the one with the address
// (ip(7)), whoever has the one without.
type shadows map[shadowPort][]listen.Socket

type shadowPort struct {
	namespace string
	transport registry.Transport
	port      registry.Port
}

// shadowsOf notes the sockets on wildcard addresses.
func shadowsOf(sockets []listen.Socket) shadows {
	s := shadows{}
	for _, k := range sockets {
		if ported(k.Transport) && k.Address.IsValid() && k.Address.IsUnspecified() {
			at := shadowPort{k.Namespace, k.Transport, k.Port}
			s[at] = append(s[at], k)
		}
	}
	return s
}

// by reports whether a socket shadows one of another program.
func (s shadows) by(k listen.Socket) policy.Answer {
	if !ported(k.Transport) || !k.Address.IsValid() || k.Address.IsUnspecified() {
		return policy.No
	}
	answer := policy.No
	for _, wide := range s[shadowPort{k.Namespace, k.Transport, k.Port}] {
		if !covers(wide, k) || wide.Interface != "" && wide.Interface != k.Interface {
			continue
		}
		switch differ(wide.Owners, k.Owners) {
		case policy.Yes:
			return policy.Yes
		case policy.Unknown:
			answer = policy.Unknown
		}
	}
	return answer
}

// covers reports whether a socket on a wildcard address would get what comes to
// the address of another.
func covers(wide, k listen.Socket) bool {
	if k.Address.Unmap().Is4() {
		return wide.Address.Is4() || wide.DualStack == listen.Yes
	}
	return wide.Address.Is6()
}

// differ reports whether two sockets are of different programs or users: none of
// the one is among the other's.
func differ(a, b []listen.Owner) policy.Answer {
	type who struct{ executable, user, container string }
	var known []who
	for _, o := range a {
		if o.Executable == "" {
			return policy.Unknown
		}
		known = append(known, who{o.Executable, o.User, o.Container})
	}
	if len(a) == 0 || len(b) == 0 {
		return policy.Unknown
	}
	for _, o := range b {
		if o.Executable == "" {
			return policy.Unknown
		}
		if slices.Contains(known, who{o.Executable, o.User, o.Container}) {
			return policy.No
		}
	}
	return policy.Yes
}
