package registry

import (
	"slices"
	"strings"
)

// Catalog brings together what is known of ports. Overlay and Services may be
// nil; a nil Registry stands for the embedded one.
type Catalog struct {
	Registry *Registry
	Overlay  *Overlay
	Services *Services
}

// Facts is all that a Catalog knows of a port on a transport. The facts stand
// side by side: no name from a site or a host changes IANA's state, and what is
// commonly found on a port is no name of it.
type Facts struct {
	Port      Port
	Transport Transport
	Range     Range
	Historic  bool // within 0-255, once all there was

	// What IANA's registry holds, see Entry.
	State        State
	IANA         []string // IANA's names alone, the preferred one first; never nil
	Description  string
	Note         string
	Unauthorized string

	// Names holds every name once, without regard to case: the site's own, then
	// IANA's, then those of the services file. It is never nil.
	Names  []string
	Site   *Site // nil where the overlay names nothing
	Common *Use  // nil where nothing is commonly found
}

// Describe returns what is known of p on t, or on the transport whose ports t
// shares; of a transport without ports nothing is known.
func (c Catalog) Describe(p Port, t Transport) Facts {
	t = t.Assigned()
	e := c.registry().Lookup(p, t)
	f := Facts{
		Port: p, Transport: t, Range: RangeOf(p), Historic: p <= LastHistoric,
		State: e.State, IANA: e.Names(), Description: e.Description(), Note: e.Note(), Unauthorized: e.Unauthorized(),
		Names: []string{},
	}
	if site, ok := c.Overlay.Lookup(p, t); ok {
		f.Site = &site
		f.rank(site.Name)
	}
	for _, name := range f.IANA {
		f.rank(name)
	}
	for _, name := range c.Services.Lookup(p, t) {
		f.rank(name)
	}
	if use, ok := CommonUse(p, t); ok {
		f.Common = &use
	}
	return f
}

func (f *Facts) rank(name string) {
	if !slices.ContainsFunc(f.Names, func(s string) bool { return strings.EqualFold(s, name) }) {
		f.Names = append(f.Names, name)
	}
}

// ByName returns every port and range that the site, IANA or the services file
// calls name, each once, by port and transport.
func (c Catalog) ByName(name string) []Ref {
	refs := slices.Concat(c.Overlay.ByName(name), c.registry().ByName(name), c.Services.ByName(name))
	slices.SortFunc(refs, Ref.compare)
	return slices.Compact(refs)
}

func (c Catalog) registry() *Registry {
	if c.Registry == nil {
		return Embedded()
	}
	return c.Registry
}
