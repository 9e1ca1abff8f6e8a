package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/portaudit/portaudit/registry"
)

// Warnings returns what is odd in a policy and no mistake, in the order of the
// file: rules that can never match, those that an earlier allowance always comes
// before, allowances that have ended or soon will, and allowances of everything. What it says is certain; a rule of which
// it says nothing may be as odd.
func (p *Policy) Warnings(now time.Time) Errors {
	var list Errors
	for i := range p.rules {
		r := &p.rules[i]
		if r.shipped {
			continue // that it is never reached may be meant
		}
		text, _ := p.odd(i)
		switch {
		case r.over(now):
			text = "allows nothing any more: it ended on " + lastDay(r.expires)
		case text == "" && r.ends(now):
			text = "ends soon, on " + lastDay(r.expires)
		}
		if text != "" {
			list = append(list, Error{File: r.place.file, Line: r.place.line, Column: r.place.column, Message: "rule " + r.id + " " + text})
		}
	}
	for i := range p.required {
		if why := p.required[i].match.impossible(); why != "" {
			at := p.required[i].place
			list = append(list, Error{File: at.file, Line: at.line, Column: at.column, Message: "rule " + p.required[i].id + " can never be met: " + why})
		}
	}
	if p.fallback.verdict == Allow && !slices.ContainsFunc(p.rules, func(r rule) bool { return r.verdict == Alert }) && len(p.required)+len(p.states) == 0 {
		list = append(list, Error{File: p.Source, Message: "the policy finds nothing, whatever listens: no rule alerts, and the default allows"})
	}
	return list
}

// odd says what is odd about a rule, "" if nothing is, and whether for that it
// decides nothing.
func (p *Policy) odd(i int) (text string, idle bool) {
	r := &p.rules[i]
	if why := r.match.impossible(); why != "" {
		return "can never match: " + why, true
	}
	if j := slices.IndexFunc(p.rules[:i], func(before rule) bool { return before.shadows(r) }); j >= 0 {
		return fmt.Sprintf("is never reached: whatever it matches, rule %s %s has allowed before; put it first, or remove it", p.rules[j].id, p.rules[j].place.from(r.place.file)), true
	}
	if r.verdict == Allow && len(r.match.conditions) == 0 {
		return "allows every listener that comes to it: if that is meant, \"default: allow\" says so", false
	}
	return "", false
}

// shadows reports whether no listener gets past r to later.
func (r *rule) shadows(later *rule) bool {
	// An allowance takes every owner, an alert one: it may be for another one.
	if r.verdict != Allow || !r.expires.IsZero() || r.match.owners && later.verdict == Alert {
		return false
	}
	return later.match.implies(&r.match)
}

// implies reports whether all that holds for m is certain to hold for other.
func (m *match) implies(other *match) bool {
	for i := range other.conditions {
		wanted := &other.conditions[i]
		certain := slices.ContainsFunc(wanted.any, func(one match) bool { return m.implies(&one) }) ||
			slices.ContainsFunc(m.conditions, func(c condition) bool { return c.implies(wanted) })
		if !certain {
			return false
		}
	}
	return true
}

// implies reports whether a listener that c holds for is one that other holds
// for.
func (c *condition) implies(other *condition) bool {
	switch {
	case c.any != nil: // each of the alternatives is certain to
		only := match{conditions: []condition{*other}}
		return !slices.ContainsFunc(c.any, func(one match) bool { return !one.implies(&only) })
	case c.key != other.key:
		return false
	case c.inner != nil: // not A implies not B if B implies A
		return other.inner.implies(c.inner)
	case c.key == "address":
		return !slices.ContainsFunc(c.prefixes, func(p netip.Prefix) bool {
			return !slices.ContainsFunc(other.prefixes, func(o netip.Prefix) bool { return o.Bits() <= p.Bits() && o.Contains(p.Addr()) })
		})
	case c.key == "port":
		return !slices.ContainsFunc(c.ports, func(r portRange) bool { return !covered(r, other.ports) })
	}
	for _, v := range c.values {
		if !other.has(v) {
			return false
		}
	}
	return true
}

// has reports whether one of the values of c stands for a value, too.
func (c *condition) has(value string) bool {
	switch {
	case slices.Contains(c.values, value):
		return true
	case c.key == "service":
		return slices.ContainsFunc(c.values, func(v string) bool { return strings.EqualFold(v, value) })
	case strings.ContainsAny(value, "*?{"): // a pattern in a pattern: who knows
		return false
	}
	return slices.ContainsFunc(c.globs, func(g glob) bool { return g.match(value) })
}

// covered reports whether all ports of a range lie in some of others.
func covered(r portRange, others []portRange) bool {
	for next := int(r.first); next <= int(r.last); {
		i := slices.IndexFunc(others, func(o portRange) bool {
			return (o.transport == 0 || o.transport == r.transport) && int(o.first) <= next && next <= int(o.last)
		})
		if i < 0 {
			return false
		}
		next = int(others[i].last) + 1
	}
	return true
}

// impossible says why no listener can fulfil all conditions, "" if one may.
func (m *match) impossible() string {
	by := map[string]*condition{}
	for i := range m.conditions {
		by[m.conditions[i].key] = &m.conditions[i]
	}
	for _, contradiction := range []func(*match, map[string]*condition) string{
		withoutPort, outOfRange, notReachable, ofMemory, ofNobody, excluded,
	} {
		if why := contradiction(m, by); why != "" {
			return why
		}
	}
	return ""
}

// withoutPort: what asks for a port, of sockets that have none.
func withoutPort(m *match, by map[string]*condition) string {
	transports := by["transport"]
	if transports == nil || slices.ContainsFunc(transports.values, func(name string) bool {
		t, err := registry.ParseSocketTransport(name)
		return err != nil || t.Assigned() != 0
	}) {
		return ""
	}
	for _, c := range m.conditions {
		if c.port {
			return fmt.Sprintf("%s asks for a port, and a %s socket has none of IANA's", c.key, transports.want)
		}
	}
	return ""
}

// outOfRange: ports that lie in none of the ranges that are asked for.
func outOfRange(_ *match, by map[string]*condition) string {
	ports, ranges := by["port"], by["range"]
	if ports == nil || ranges == nil {
		return ""
	}
	for _, r := range ports.ports {
		if slices.ContainsFunc(ranges.values, func(name string) bool {
			wanted, err := registry.ParseRange(name)
			return err != nil || registry.RangeOf(r.first) <= wanted && wanted <= registry.RangeOf(r.last)
		}) {
			return ""
		}
	}
	return fmt.Sprintf("port %s lies in no range that is asked for (%s)", ports.want, ranges.want)
}

// notReachable: addresses that other hosts reach and cannot reach at once.
func notReachable(_ *match, by map[string]*condition) string {
	scopes, wanted := by["scope"], by["reachable"]
	if scopes == nil || wanted == nil || slices.ContainsFunc(scopes.values, func(name string) bool {
		s, err := ParseScope(name)
		return err != nil || fmt.Sprint(s.Reachable()) == wanted.want
	}) {
		return ""
	}
	return fmt.Sprintf("of scope %s reachable is never %s", scopes.want, wanted.want)
}

// ofMemory: facts of a file, of a program that has none.
func ofMemory(_ *match, by map[string]*condition) string {
	if by["memory"] == nil || by["memory"].want != "true" {
		return ""
	}
	for _, key := range []string{"deleted", "world_writable"} {
		if by[key] != nil {
			return key + " is unknown of a program that runs from memory"
		}
	}
	return ""
}

// ofNobody: facts of a process, of what is held by none that is known.
func ofNobody(_ *match, by map[string]*condition) string {
	how := by["owner"]
	if how == nil || slices.ContainsFunc(how.values, func(word string) bool {
		return !slices.Contains([]string{"kernel", "raced", "unheld"}, word)
	}) {
		return ""
	}
	for _, key := range []string{"executable", "program", "command_line", "parent", "container", "unit", "deleted", "memory", "concealed", "world_writable"} {
		if by[key] != nil {
			return fmt.Sprintf("%s is unknown where the owner is %s", key, how.want)
		}
	}
	return ""
}

// excluded: conditions that a "not" takes back.
func excluded(m *match, by map[string]*condition) string {
	if c := by["not"]; c != nil && m.implies(c.inner) {
		return "all that the other conditions leave, \"not\" takes away"
	}
	return ""
}
