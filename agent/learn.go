package agent

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/portaudit/portaudit/agent/listen"
	"github.com/portaudit/portaudit/policy"
	"github.com/portaudit/portaudit/registry"
)

// LearnOptions is what Learn works with.
type LearnOptions struct {
	// Judge says what is too grave to be allowed without a look: what it finds of
	// severity high or above.
	Judge *policy.Policy
	All   bool     // allow that too
	Head  []string // paragraphs of comment above the policy
}

// Lesson is a policy that was learnt.
type Lesson struct {
	Text  []byte
	Rules int // that allow
	Grave int // rules about something grave, which are comments unless all was to be allowed
	// Unseen and Never are listeners without a rule: of owners that could not be
	// seen, and of what no rule may allow.
	Unseen, Never int
}

// Learn writes a policy that allows what was seen, and no more than that as far
// as the language can tell it apart. It is pure, and but for times and counts the
// same for the same listeners in any order.
func Learn(seen []Sighting, o LearnOptions) Lesson {
	l := Lesson{}
	atoms, refused := map[string]*atom{}, map[string]bool{}
	for _, s := range seen {
		why, unseen := unfit(s)
		if why != "" {
			refused[fmt.Sprintf("- %s, %s: %s", EndpointText(s.Listener), OwnersText(s.Listener.Owners, ProgramText), why)] = unseen
			continue
		}
		a := atomOf(s, o.Judge)
		if before, ok := atoms[a.key()]; ok {
			before.merge(a)
		} else {
			atoms[a.key()] = &a
		}
	}
	draft := policy.Draft{Head: o.Head, Rules: never()}
	ids := map[string]bool{}
	for _, r := range draft.Rules {
		ids[r.ID] = true
	}
	for _, a := range gather(absorb(atoms), o.All) {
		r := a.rule(ids, o.All)
		if len(a.grave) > 0 {
			l.Grave++
		}
		if !r.Out {
			l.Rules++
		}
		draft.Rules = append(draft.Rules, r)
	}
	draft.Tail = l.leave(refused)
	l.Text = draft.Text()
	return l
}

// leave counts what has no rule, by what is said of it and whether for that it was
// not seen, and returns the paragraphs that say it.
func (l *Lesson) leave(refused map[string]bool) (tail []string) {
	for _, text := range slices.Sorted(maps.Keys(refused)) {
		if tail == nil {
			tail = []string{"Seen, and not allowed:"}
		}
		tail = append(tail, text)
		if refused[text] {
			l.Unseen++
		} else {
			l.Never++
		}
	}
	return tail
}

// never are the rules that come before all that is allowed: what is allowed by the
// path of its program is not that program any more.
func never() []policy.DraftRule {
	const run = " ({executable}) listens on {endpoint}"
	return []policy.DraftRule{
		{
			Comment: []string{"These find what may not listen whatever is allowed below, which names programs by their path."},
			ID:      "deleted-program", Alert: policy.High, Always: true, Match: []policy.Clause{policy.Words("deleted", "true")},
			Message: "{program}" + run + ", and its program file was deleted.",
		},
		{
			ID: "program-in-memory", Alert: policy.High, Always: true, Match: []policy.Clause{policy.Words("memory", "true")},
			Message: "{program}" + run + ", and its program never was a file.",
		},
		{
			ID: "concealed-process", Alert: policy.Critical, Always: true, Match: []policy.Clause{policy.Words("concealed", "true")},
			Message: "{program}" + run + ", and a mount over its directory in /proc hides it.",
		},
	}
}

// portKind is how a rule names the port.
type portKind uint8

const (
	fixedPort portKind = iota
	ephemeralPort
	dynamicPort
	noPort
)

// spot is where a listener takes its traffic, as a rule tells it.
type spot struct {
	transport registry.Transport
	kind      portKind
	scope     policy.Scope
	namespace string // "" is any but the host's, where the container tells which
	device    string // of a socket that has no address to tell how far it reaches
}

// trait is what a rule asks of an owner.
type trait struct{ how, executable, user, uid, unit, container string }

// atom is what a rule is made of: listeners that differ in their ports alone.
type atom struct {
	spot
	ports       []registry.Port // one, until gather; of a port that the system gave out all that were seen
	traits      []trait         // of its owners, in order
	name        string          // of its program
	exact       bool
	first, last time.Time
	times       int
	grave       []Finding
}

// addGrave adds a finding, of each rule one: the rest says the same of another
// address or port.
func (a *atom) addGrave(f Finding) {
	i := slices.IndexFunc(a.grave, func(g Finding) bool { return g.Rule == f.Rule })
	if i < 0 {
		a.grave = append(a.grave, f)
		return
	}
	if f.Message < a.grave[i].Message { // whichever was seen first
		a.grave[i] = f
	}
}

func atomOf(s Sighting, judge *policy.Policy) atom {
	f := s.Facts
	a := atom{
		spot:  spot{transport: f.Transport, scope: f.Scope, namespace: f.Namespace, kind: kindOf(f)},
		exact: true, first: s.First, last: s.Last, times: s.Times,
	}
	if a.kind == noPort && f.Scope == policy.UnknownScope {
		a.device = f.Interface
	}
	if a.kind != noPort {
		a.ports = []registry.Port{f.Port}
	}
	contained := true
	for _, o := range f.Owners {
		t, exact := traitOf(o)
		a.traits, a.exact, contained = append(a.traits, t), a.exact && exact, contained && t.container != ""
	}
	if contained && strings.HasPrefix(f.Namespace, "net:[") {
		a.namespace = "" // that number is another one after a restart
	}
	slices.SortFunc(a.traits, compareTraits)
	a.traits = slices.Compact(a.traits)
	a.name = nameOf(f.Owners)
	for _, finding := range judge.Decide(f, s.Last).Findings {
		if finding.Severity >= policy.High {
			a.addGrave(findingOf(finding, s.Listener))
		}
	}
	return a
}

func kindOf(f policy.Listener) portKind {
	switch {
	case !ported(f.Transport):
		return noPort
	case f.Ephemeral == policy.Yes:
		return ephemeralPort
	case registry.RangeOf(f.Port) == registry.Dynamic:
		return dynamicPort
	}
	return fixedPort
}

func traitOf(o policy.Owner) (t trait, exact bool) {
	exact = true
	pattern := func(text string) string {
		p, is := policy.Literal(text)
		if !policy.Writable(p) {
			return ""
		}
		exact = exact && is
		return p
	}
	if o.How == listen.Kernel.String() {
		return trait{how: o.How}, true
	}
	if o.How == listen.Ring.String() {
		t.how = o.How
	}
	t.executable, t.container = pattern(o.Executable), pattern(o.Container)
	if policy.Writable(o.User) {
		t.user = o.User
	} else {
		t.uid = fmt.Sprint(o.UID.ID)
	}
	if !strings.HasSuffix(o.Unit, ".scope") { // one of a login, or of a container: the next has another name
		t.unit = pattern(o.Unit)
	}
	return t, exact
}

func compareTraits(a, b trait) int {
	return cmp.Or(cmp.Compare(a.executable, b.executable), cmp.Compare(a.user, b.user), cmp.Compare(a.uid, b.uid),
		cmp.Compare(a.unit, b.unit), cmp.Compare(a.container, b.container), cmp.Compare(a.how, b.how))
}

// nameOf is what an id calls the owners: the first program in alphabetical order
// that is not the service manager's, if there is another.
func nameOf(owners []policy.Owner) string {
	var names, managers []string
	for _, o := range owners {
		switch name := baseName(cmp.Or(o.Executable, o.How)); o.How {
		case listen.SocketUnit.String():
			managers = append(managers, name)
		default:
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		names = managers
	}
	return slices.Min(names)
}

// group tells apart what cannot be one rule.
func (a atom) group() string { return fmt.Sprintf("%+v %q", a.spot, a.traits) }

func (a atom) key() string {
	if a.kind != fixedPort {
		return a.group()
	}
	return fmt.Sprintf("%s %v", a.group(), a.ports)
}

// merge adds what b saw to a.
func (a *atom) merge(b atom) {
	if !b.first.IsZero() && (b.first.Before(a.first) || a.first.IsZero()) {
		a.first = b.first
	}
	if b.last.After(a.last) {
		a.last = b.last
	}
	a.times += b.times
	a.ports = append(a.ports, b.ports...)
	slices.Sort(a.ports)
	a.ports = slices.Compact(a.ports)
	for _, f := range b.grave {
		a.addGrave(f)
	}
	a.exact, a.name = a.exact && b.exact, min(a.name, b.name)
}

// absorb merges what was seen with some of its owners alone, as a server before
// its workers start, into what was seen of the same spot with all of them: their
// rule would allow it. What was grave of it stays so.
func absorb(atoms map[string]*atom) []*atom {
	at := map[string][]*atom{}
	for _, key := range slices.Sorted(maps.Keys(atoms)) {
		a := atoms[key]
		place := fmt.Sprintf("%+v", a.spot)
		if a.kind == fixedPort {
			place += fmt.Sprint(a.ports)
		}
		at[place] = append(at[place], a)
	}
	var all []*atom
	for _, place := range slices.Sorted(maps.Keys(at)) {
		var widest []*atom
		for i, a := range at[place] {
			covered := false
			for j, b := range at[place] {
				covered = covered || i != j && a.within(b) && (j < i || !b.within(a))
			}
			if !covered {
				widest = append(widest, a)
			}
		}
		for _, a := range at[place] {
			if i := slices.IndexFunc(widest, a.within); widest[i] != a {
				widest[i].merge(*a)
			}
		}
		all = append(all, widest...)
	}
	return all
}

// within reports whether the rule of b, of the same spot, allows the owners of a.
func (a *atom) within(b *atom) bool {
	return !slices.ContainsFunc(a.traits, func(t trait) bool { return !slices.ContainsFunc(b.traits, t.within) })
}

// within reports whether k asks for nothing that t does not have.
func (t trait) within(k trait) bool {
	return !slices.ContainsFunc(ownerKeys(), func(key ownerKey) bool { return key.of(k) != "" && key.of(k) != key.of(t) })
}

// gather makes one of what differs in its port alone, and puts all in order. What
// is grave stays alone, with its reason, unless it is to be allowed.
func gather(atoms []*atom, all bool) []*atom {
	groups := map[string]*atom{}
	for _, a := range atoms {
		key := a.group()
		if len(a.grave) > 0 && !all {
			key = "grave " + a.key()
		}
		if g, ok := groups[key]; ok {
			g.merge(*a)
		} else {
			groups[key] = a
		}
	}
	list := slices.Collect(maps.Values(groups))
	slices.SortFunc(list, compareAtoms)
	return list
}

// compareAtoms puts a rule that fits more than it should behind those it might
// fit too, and one for every device behind those for one: else these would be
// told to decide nothing.
func compareAtoms(a, b *atom) int {
	last := func(is bool) int {
		if is {
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(last(!a.exact), last(!b.exact)), cmp.Compare(last(a.device == ""), last(b.device == "")),
		cmp.Compare(last(a.namespace != listen.HostNamespace), last(b.namespace != listen.HostNamespace)), cmp.Compare(a.kind, b.kind),
		cmp.Compare(a.transport, b.transport), slices.Compare(a.ports, b.ports), cmp.Compare(a.group(), b.group()))
}

// seenText says when and how often something was seen.
func (a *atom) seenText() string {
	text := "Seen once"
	if a.times != 1 {
		text = fmt.Sprintf("Seen %d times", a.times)
	}
	last := a.last.UTC().Format(time.RFC3339)
	switch first := a.first.UTC().Format(time.RFC3339); {
	case a.first.IsZero():
		text += ", last " + last
	case first == last:
		text += ", " + last
	default:
		text += ", first " + first + ", last " + last
	}
	return text + "."
}
