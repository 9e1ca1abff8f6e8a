package listen

import (
	"cmp"
	"context"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/portaudit/portaudit/registry"
)

// CrossReport is what came of comparing several views of the same sockets.
type CrossReport struct {
	Views         []string // the views that were compared
	Discrepancies []Discrepancy
	Bound         []Bound
	Probed        int   // ports that were tried, on all transports
	Gaps          []Gap // views and ports that could not be looked at
}

// Endpoint is where a socket is, without its owners.
type Endpoint struct {
	Namespace string
	Transport registry.Transport
	Address   netip.Addr // invalid where a view does not tell it
	Port      registry.Port
}

// Bound is a TCP socket that has a port and neither listens nor is connected.
type Bound struct {
	Endpoint
	Owners []Owner // as far as processes show their descriptors
}

// Discrepancy is a socket that one view shows and another one does not, each
// time that they were compared.
type Discrepancy struct {
	Endpoint
	Shown, Missing []string // views
}

// bindProbe is the view in which a port shows that cannot be bound.
const bindProbe = "bind"

// CrossOptions say how thorough a cross-check is.
type CrossOptions struct {
	// Probe tries to bind every port of TCP and UDP, in every network namespace
	// that can be entered. It never connects and never listens, but holds each port for
	// some microseconds, in which a service that starts could miss it.
	Probe bool
}

// crossLooks is how often views must disagree before that is reported: a
// socket that opens or closes between two looks is no discrepancy.
const crossLooks = 3

// view is one way to see the sockets of a host.
type view struct {
	name string
	see  func(context.Context) (map[Endpoint]bool, []Gap, error)
	// covers says whether the view would show a socket such as this one.
	covers func(Endpoint) bool
}

// compareViews looks through every view several times and returns what some
// show and others miss each time.
func compareViews(ctx context.Context, views []view) (CrossReport, error) {
	var r CrossReport
	for _, v := range views {
		r.Views = append(r.Views, v.name)
	}
	var steady map[Endpoint]Discrepancy
	for look := range crossLooks {
		seen := make([]map[Endpoint]bool, len(views))
		for i, v := range views {
			var gaps []Gap
			var err error
			if seen[i], gaps, err = v.see(ctx); err != nil {
				return CrossReport{}, err
			}
			if look == 0 {
				r.Gaps = append(r.Gaps, gaps...)
			}
		}
		now := disagreements(views, seen)
		if look > 0 {
			maps.DeleteFunc(now, func(e Endpoint, d Discrepancy) bool {
				before, there := steady[e]
				return !there || !slices.Equal(before.Missing, d.Missing) || !slices.Equal(before.Shown, d.Shown)
			})
		}
		if steady = now; len(steady) == 0 {
			break
		}
	}
	r.Discrepancies = slices.SortedFunc(maps.Values(steady), func(a, b Discrepancy) int {
		return compareEndpoints(a.Endpoint, b.Endpoint)
	})
	return r, nil
}

// disagreements returns what some views show and others, which would, do not.
func disagreements(views []view, seen []map[Endpoint]bool) map[Endpoint]Discrepancy {
	found := map[Endpoint]Discrepancy{}
	anywhere := make([]map[Endpoint]bool, len(views)) // what each view shows, without addresses
	for i, shown := range seen {
		anywhere[i] = make(map[Endpoint]bool, len(shown))
		for e := range shown {
			anywhere[i][e.anywhere()] = true
		}
	}
	for _, shown := range seen {
		for e := range shown {
			if _, done := found[e]; done {
				continue
			}
			d := Discrepancy{Endpoint: e}
			for j, v := range views {
				switch {
				// A view that tells no address has it under any.
				case seen[j][e], seen[j][e.anywhere()], !e.Address.IsValid() && anywhere[j][e]:
					d.Shown = append(d.Shown, v.name)
				case v.covers(e):
					d.Missing = append(d.Missing, v.name)
				}
			}
			if len(d.Missing) > 0 {
				found[e] = d
			}
		}
	}
	// Where a view tells no address, and another shows the same port with one,
	// the port is told of once.
	for e := range found {
		if e.Address.IsValid() {
			delete(found, e.anywhere())
		}
	}
	return found
}

// anywhere returns the endpoint without its address.
func (e Endpoint) anywhere() Endpoint {
	e.Address = netip.Addr{}
	return e
}

func compareEndpoints(a, b Endpoint) int {
	return cmp.Or(
		strings.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Transport, b.Transport),
		cmp.Compare(a.Port, b.Port), a.Address.Compare(b.Address),
	)
}
