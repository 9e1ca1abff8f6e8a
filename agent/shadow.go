package agent

import (
	"slices"

	"github.com/portaudit/portaudit/agent/listen"
	"github.com/portaudit/portaudit/policy"
	"github.com/portaudit/portaudit/registry"
)

// shadows finds the listeners that take from another one what was meant for it: of
// two sockets of a port the kernel chooses the one with the address, whoever has
// the one without (ip(7)), and between two with the same address (SO_REUSEPORT,
// socket(7)) it deals out.
type shadows map[shadowPort][]*listen.Socket

type shadowPort struct {
	namespace string
	transport registry.Transport
	port      registry.Port
}

func shadowPortOf(k *listen.Socket) shadowPort { return shadowPort{k.Namespace, k.Transport, k.Port} }

// shadowsOf notes the sockets by port.
func shadowsOf(sockets []listen.Socket) shadows {
	s := make(shadows, len(sockets))
	for i := range sockets {
		if k := &sockets[i]; ported(k.Transport) {
			s[shadowPortOf(k)] = append(s[shadowPortOf(k)], k)
		}
	}
	return s
}

// by reports whether a socket shadows one of another program.
func (s shadows) by(k *listen.Socket) policy.Answer {
	if !ported(k.Transport) || !k.Address.IsValid() || k.Address.IsMulticast() { // a group is for many
		return policy.No
	}
	answer := policy.No
	for _, other := range s[shadowPortOf(k)] {
		same := other.Address == k.Address && other.Interface == k.Interface
		if !same && !covers(other, k) {
			continue
		}
		switch differ(other.Owners, k.Owners) {
		case policy.Yes:
			return policy.Yes
		case policy.Unknown:
			if !same { // else it is k itself, as a rule
				answer = policy.Unknown
			}
		}
	}
	return answer
}

// covers reports whether a socket on a wildcard address would get what comes to
// the address of another.
func covers(wide, k *listen.Socket) bool {
	switch {
	case !wide.Address.IsValid() || !wide.Address.IsUnspecified() || k.Address.IsUnspecified():
		return false
	case wide.Interface != "" && wide.Interface != k.Interface:
		return false
	case k.Address.Unmap().Is4():
		return wide.Address.Is4() || wide.DualStack == listen.Yes
	}
	return wide.Address.Is6()
}

// differ reports whether two sockets are of different programs or users: none of
// the one is among the other's, nor of the same service.
func differ(a, b []listen.Owner) policy.Answer {
	unknown := func(o listen.Owner) bool { return o.Executable == "" }
	if len(a) == 0 || len(b) == 0 || slices.ContainsFunc(a, unknown) || slices.ContainsFunc(b, unknown) {
		return policy.Unknown
	}
	for _, o := range a {
		if slices.ContainsFunc(b, func(p listen.Owner) bool { return kin(o, p) }) {
			return policy.No
		}
	}
	return policy.Yes
}

// kin reports whether two owners belong together.
func kin(o, p listen.Owner) bool {
	if o.Unit != "" && o.Unit == p.Unit {
		return true
	}
	return o.Executable == p.Executable && o.User == p.User && o.Container == p.Container
}
