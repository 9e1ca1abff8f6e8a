package audit

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// limits bounds what a record takes over from an event.
type limits struct {
	text    int // bytes of a string
	message int // bytes of the message
	list    int // entries of a list
}

// fullLimits is what every record gets that stays under maxRecord with it.
func fullLimits() limits { return limits{text: 4 << 10, message: 32 << 10, list: 256} }

func (l limits) half() limits {
	return limits{l.text / 2, l.message / 2, max(l.list/2, 1)}
}

// Clean returns e as a log would record it: every string bounded and visible. A
// record that was read may have been written by anybody.
func Clean(e Event) Event { return sanitize(e, fullLimits()) }

// sanitize returns e with every string bounded and visible, every list bounded
// and every time in UTC. What e points to is never changed. Lists come
// out empty rather than nil, for a list is [] in JSON and never null.
func sanitize(e Event, l limits) Event {
	e.Message = Visible(Clip(e.Message, l.message))
	for _, s := range []*string{
		&e.Event, &e.Host, &e.Boot, &e.Prev,
		&e.Listener, &e.Change, &e.Replaces, &e.Transport, &e.Address, &e.Interface, &e.Namespace, &e.Scope, &e.Reach, &e.Authority, &e.Verdict,
		&e.ID, &e.Rule, &e.Severity, &e.Why, &e.Fix, &e.Program,
	} {
		*s = l.string(*s)
	}
	e.Time = e.Time.UTC()
	e.FirstSeen, e.LastSeen = utc(e.FirstSeen), utc(e.LastSeen)
	e.Addresses = l.strings(e.Addresses)
	e.Owners = list(e.Owners, l, l.owner, func(rest string) Owner { return Owner{How: rest} })
	e.Errors, e.Tags = l.strings(e.Errors), l.given(e.Tags)
	e.Removed, e.Tree = l.given(e.Removed), l.given(e.Tree)
	e.Checkpoint = l.note(e.Checkpoint)
	if e.Registry != nil {
		e.Registry = &Registry{
			Range:       l.string(e.Registry.Range),
			State:       l.string(e.Registry.State),
			Names:       l.strings(e.Registry.Names),
			Description: l.string(e.Registry.Description),
		}
	}
	e.Escaped, e.Clipped = l.kept(e.Escaped), l.kept(e.Clipped)
	e.Policy, e.Refused = l.policy(e.Policy), l.policy(e.Refused)
	if e.Coverage != nil {
		e.Coverage = l.coverage(*e.Coverage)
	}
	return e
}

func (l limits) policy(p *Policy) *Policy {
	if p == nil {
		return nil
	}
	return &Policy{Source: l.string(p.Source), SHA256: l.string(p.SHA256)}
}

func (l limits) owner(o Owner) Owner {
	for _, s := range []*string{
		&o.Executable, &o.SHA256, &o.Command, &o.User, &o.SID, &o.ParentName, &o.How, &o.Unit, &o.Container, &o.ContainerName, &o.Image,
	} {
		*s = l.string(*s)
	}
	o.Started = utc(o.Started)
	o.Services, o.Escaped = l.given(o.Services), l.given(o.Escaped)
	if p := o.Package; p != nil {
		o.Package = &Package{Manager: l.string(p.Manager), Name: l.string(p.Name), Version: l.string(p.Version)}
	}
	if o.OwnerDetail != nil {
		detail := l.detail(*o.OwnerDetail)
		o.OwnerDetail = &detail
	}
	return o
}

func (l limits) detail(d OwnerDetail) OwnerDetail {
	d.Unhashed, d.Cgroup, d.Integrity = l.string(d.Unhashed), l.string(d.Cgroup), l.string(d.Integrity)
	if d.Parents != nil {
		clean := func(p Process) Process { return Process{PID: p.PID, Command: l.string(p.Command)} }
		d.Parents = list(d.Parents, l, clean, func(rest string) Process { return Process{Command: rest} })
	}
	if d.Groups != nil {
		clean := func(g Group) Group { return Group{GID: g.GID, Name: l.string(g.Name)} }
		d.Groups = list(d.Groups, l, clean, func(rest string) Group { return Group{Name: rest} })
	}
	if c := d.Capabilities; c != nil {
		d.Capabilities = &Capabilities{Effective: l.given(c.Effective), Permitted: l.given(c.Permitted)}
	}
	return d
}

func (l limits) coverage(c Coverage) *Coverage {
	c.Sources = l.strings(c.Sources)
	c.Gaps = list(c.Gaps, l, l.gap, func(rest string) Gap { return Gap{Reason: rest} })
	clean := func(n Note) Note { return Note{Source: l.string(n.Source), Text: l.string(n.Text)} }
	c.Notes = list(c.Notes, l, clean, func(rest string) Note { return Note{Text: rest} })
	return &c
}

func (l limits) gap(g Gap) Gap {
	for _, s := range []*string{&g.Source, &g.Reason, &g.Hides, &g.Fix} {
		*s = l.string(*s)
	}
	return g
}

func (l limits) string(s string) string { return Visible(Clip(s, l.text)) }

// note keeps the newlines of a signed note, which is nothing without them. Any other
// text has none.
func (l limits) note(s string) string {
	lines := strings.Split(s, "\n")
	hostile := func(line string) bool { return Visible(line) != line }
	if len(s) <= l.text && strings.Contains(s, "\n\n— ") && !slices.ContainsFunc(lines, hostile) {
		return s
	}
	return l.string(s)
}

func (l limits) strings(in []string) []string {
	return list(in, l, l.string, func(rest string) string { return rest })
}

// given is strings for a list that is absent where there is nothing in it.
func (l limits) given(in []string) []string {
	if len(in) == 0 {
		return nil
	}
	return l.strings(in)
}

// kept is strings for a list of which it matters whether it is there.
func (l limits) kept(in []string) []string {
	if in == nil {
		return nil
	}
	return l.strings(in)
}

// list copies in, each entry made clean, up to the bound of l. If there are
// more, one entry made by mark from "…[+12 more]" follows.
func list[T any](in []T, l limits, clean func(T) T, mark func(rest string) T) []T {
	n := min(len(in), l.list)
	out := make([]T, 0, n+1)
	for _, v := range in[:n] {
		out = append(out, clean(v))
	}
	if n < len(in) {
		out = append(out, mark(fmt.Sprintf("…[+%d more]", len(in)-n)))
	}
	return out
}

func utc(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	u := t.UTC()
	return &u
}
