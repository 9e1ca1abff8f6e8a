package systemd

import (
	"errors"
	"io"
	"slices"
	"strings"
)

// The names that are asked (org.freedesktop.systemd1(5)).
const (
	service       = "org.freedesktop.systemd1"
	managerPath   = "/org/freedesktop/systemd1"
	managerFace   = "org.freedesktop.systemd1.Manager"
	unitFace      = "org.freedesktop.systemd1.Unit"
	socketFace    = "org.freedesktop.systemd1.Socket"
	propertyFace  = "org.freedesktop.DBus.Properties"
	busName       = "org.freedesktop.DBus"
	busPath       = "/org/freedesktop/DBus"
	socketPattern = "*.socket"
)

// converse asks for the socket units at the other end of rw, which is a service
// manager, or the bus that one is on. The error may come with units: it is
// then of addresses that could not be read.
func converse(rw io.ReadWriter, uid int, bus bool) ([]Unit, error) {
	c := newClient(rw)
	if err := c.authenticate(uid); err != nil {
		return nil, err
	}
	if bus {
		// Without this call first a bus hangs up.
		hello := []call{{destination: busName, path: busPath, inter: busName, member: "Hello"}}
		if err := c.exchange(hello, func(_ int, m message) error { return m.failure() }); err != nil {
			return nil, err
		}
	}
	units, err := c.list()
	if err != nil {
		return nil, err
	}
	if err := c.get(units, "Listen"); err != nil {
		return nil, err
	}
	// Most socket units are of local sockets. The rest of the properties costs
	// the service manager more than the list, so these are not asked for them.
	units = slices.DeleteFunc(units, func(u *record) bool { return !u.network() })
	err = c.get(units, "Triggers", "Accept", "SocketProtocol", "BindToDevice", "PrivateNetwork", "NetworkNamespacePath")
	if err != nil {
		return nil, err
	}
	return finish(units)
}

// record is a unit as it is being read.
type record struct {
	Unit
	path     string // of its D-Bus object
	listen   []entry
	accept   bool
	protocol int32
	gone     bool // since it was listed
}

// entry is one of the property Listen.
type entry struct{ kind, text string }

// network reports whether u may listen on the network; finish tells for sure.
func (u *record) network() bool {
	return !u.gone && slices.ContainsFunc(u.listen, func(e entry) bool {
		a, err := ParseAddress(e.kind, e.text, 0)
		return a.Transport != "" || err != nil
	})
}

// finish makes units of records.
func finish(records []*record) ([]Unit, error) {
	var units []Unit
	var errs []error
	for _, r := range records {
		if r.gone {
			continue
		}
		u := r.Unit
		if r.accept {
			u.Triggers = []string{template(u.Name)}
		}
		for _, e := range r.listen {
			a, err := ParseAddress(e.kind, e.text, r.protocol)
			if err != nil {
				errs = append(errs, err)
			}
			u.Listen = append(u.Listen, a)
		}
		units = append(units, u)
	}
	return units, errors.Join(errs...)
}

// template returns the template of the services that the named socket unit
// starts for its connections: its property Triggers has those that run now, or
// none (socket_load_service_unit in systemd's src/core/socket.c).
func template(socket string) string {
	name := strings.TrimSuffix(socket, ".socket")
	if prefix, _, instance := strings.Cut(name, "@"); instance {
		name = prefix
	}
	return name + "@.service"
}

// list returns the socket units that may hold a socket: a unit in none of these
// states has closed its own.
func (c *client) list() ([]*record, error) {
	states := []string{"active", "reloading", "activating", "deactivating"}
	calls := []call{{
		destination: service, path: managerPath, inter: managerFace, member: "ListUnitsByPatterns",
		signature: "asas", arguments: []any{states, []string{socketPattern}},
	}}
	var units []*record
	err := c.exchange(calls, func(_ int, m message) error {
		if err := m.failure(); err != nil {
			return err
		}
		units = m.body.units()
		return m.body.err
	})
	return units, err
}

// units reads the answer of ListUnitsByPatterns, of type a(ssssssouso).
func (d *decoder) units() []*record {
	var units []*record
	for end := d.array(8); d.more(end); {
		d.align(8)
		u := &record{}
		u.Name = d.string()
		d.string() // description
		d.string() // whether it is loaded
		d.string() // the higher state
		u.State = d.string()
		d.string() // unit that it follows
		u.path = d.string()
		d.uint32() // id, type and path of the job that is queued for it
		d.string()
		d.string()
		units = append(units, u)
	}
	return units
}

// get asks for the properties of each unit. One that this systemd does not know
// stays zero.
func (c *client) get(units []*record, properties ...string) error {
	calls := make([]call, 0, len(units)*len(properties))
	for _, u := range units {
		for _, p := range properties {
			face := socketFace
			if p == "Triggers" {
				face = unitFace
			}
			calls = append(calls, call{
				destination: service, path: u.path, inter: propertyFace, member: "Get",
				signature: "ss", arguments: []any{face, p},
			})
		}
	}
	return c.exchange(calls, func(i int, m message) error {
		u, property := units[i/len(properties)], properties[i%len(properties)]
		err := m.failure()
		var failed *callError
		switch {
		case errors.As(err, &failed) && failed.name == unknownProperty:
			return nil
		case errors.As(err, &failed) && failed.gone():
			u.gone = true
			return nil
		case err != nil:
			return err
		}
		u.read(property, &m.body)
		return m.body.err
	})
}

// read reads the value of a property.
func (u *record) read(property string, d *decoder) {
	switch property {
	case "Listen":
		d.variant("a(ss)")
		for end := d.array(8); d.more(end); {
			d.align(8)
			u.listen = append(u.listen, entry{d.string(), d.string()})
		}
	case "Triggers":
		d.variant("as")
		u.Triggers = d.strings()
	case "Accept":
		d.variant("b")
		u.accept = d.bool()
	case "SocketProtocol":
		d.variant("i")
		u.protocol = int32(d.uint32())
	case "BindToDevice":
		d.variant("s")
		u.Device = d.string()
	case "PrivateNetwork":
		d.variant("b")
		u.Private = d.bool() || u.Private
	case "NetworkNamespacePath":
		d.variant("s")
		u.Private = d.string() != "" || u.Private
	}
}
