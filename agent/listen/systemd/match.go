package systemd

import "net/netip"

// Endpoint is what is known of a socket that a service manager holds.
type Endpoint struct {
	Transport string
	Address   netip.Addr // invalid for vsock
	Port      uint32     // those of vsock have 32 bits
	Device    string     // the device that the socket is bound to, "" if none or unknown
	// Private says that the socket is in another network namespace than the
	// service manager.
	Private bool
}

// Match returns the units that listen at e. More than one may do so: they share
// the port (ReusePort=), or too little is known of e to tell them apart.
//
// The address is compared as it is, a wildcard with a wildcard, because systemd
// binds to the very address that it lists. BindIPv6Only= decides who may connect
// to it, and FreeBind= whether the bind succeeds before the address exists;
// neither changes it.
func Match(units []Unit, e Endpoint) []Unit {
	var matches []Unit
	for _, u := range units {
		if u.Private == e.Private && u.listens(e, false) {
			matches = append(matches, u)
		}
	}
	// A device may have got another name since it was bound to, and a zone may
	// be a name here and a number there: they tell units apart, and exclude none.
	matches = prefer(matches, func(u *Unit) bool { return u.listens(e, true) })
	return prefer(matches, func(u *Unit) bool { return u.Device == e.Device })
}

// prefer returns the units that fit, all where none does.
func prefer(units []Unit, fits func(*Unit) bool) []Unit {
	var fitting []Unit
	for i := range units {
		if fits(&units[i]) {
			fitting = append(fitting, units[i])
		}
	}
	if len(fitting) == 0 {
		return units
	}
	return fitting
}

// listens reports whether u listens at e, in the same zone if that is asked for.
func (u *Unit) listens(e Endpoint, zone bool) bool {
	for _, a := range u.Listen {
		switch {
		case a.Transport == "" || a.Transport != e.Transport:
		case a.Transport == "vsock":
			if a.Port == e.Port {
				return true
			}
		case uint32(a.Local.Port()) == e.Port && equal(a.Local.Addr(), e.Address, zone):
			return true
		}
	}
	return false
}

// equal compares two addresses. Nothing can listen on an IPv4 address and on
// the same one mapped into IPv6, so they are one.
func equal(a, b netip.Addr, zone bool) bool {
	a, b = a.Unmap(), b.Unmap()
	if !zone {
		a, b = a.WithZone(""), b.WithZone("")
	}
	return a.IsValid() && a == b
}
