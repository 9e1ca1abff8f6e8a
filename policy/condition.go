package policy

import (
	"slices"
	"strconv"
	"strings"

	"github.com/portaudit/portaudit/registry"
	"gopkg.in/yaml.v3"
)

// conditionKey makes the condition of one key of a match.
type conditionKey struct {
	parse func(*decoder, *yaml.Node) condition
	owner bool // whether it asks for an owner
	port  bool // whether it asks for something about a port of IANA's
}

// conditionKeys returns what a match may ask for. A key's own name is put into
// the condition by the caller.
func conditionKeys() map[string]conditionKey {
	return map[string]conditionKey{
		"port":           {parse: portCondition, port: true},
		"transport":      {parse: transportCondition},
		"scope":          {parse: scopeCondition},
		"reachable":      {parse: boolCondition(reachable)},
		"state":          {parse: stateCondition, port: true},
		"range":          {parse: rangeCondition, port: true},
		"service":        {parse: serviceCondition, port: true},
		"risk":           {parse: riskCondition, port: true},
		"privileged":     {parse: boolCondition(func(l *Listener, _ *Owner) Answer { return l.Privileged }), port: true},
		"ephemeral":      {parse: boolCondition(func(l *Listener, _ *Owner) Answer { return l.Ephemeral }), port: true},
		"authority":      {parse: wordCondition(Authorities(), func(l *Listener, _ *Owner) string { return l.Authority }), port: true},
		"reach":          {parse: wordCondition(Reaches(), func(l *Listener, _ *Owner) string { return l.Reach })},
		"owner":          {parse: ownerCondition, owner: true},
		"user":           {parse: userCondition, owner: true},
		"root":           {parse: boolCondition(func(_ *Listener, o *Owner) Answer { return o.Root }), owner: true},
		"address":        {parse: addressCondition},
		"interface":      {parse: interfaceCondition},
		"dual_stack":     {parse: boolCondition(func(l *Listener, _ *Owner) Answer { return l.DualStack })},
		"namespace":      {parse: globCondition(func(l *Listener, _ *Owner) string { return l.Namespace }, nil)},
		"shared":         {parse: boolCondition(func(l *Listener, _ *Owner) Answer { return l.shared() })},
		"shadows":        {parse: boolCondition(func(l *Listener, _ *Owner) Answer { return l.Shadows })},
		"new":            {parse: boolCondition(func(l *Listener, _ *Owner) Answer { return l.New })},
		"changed":        {parse: wordCondition(Changes(), func(l *Listener, _ *Owner) string { return l.Changed })},
		"older_than":     {parse: ageCondition},
		"group":          {parse: groupCondition, owner: true},
		"capabilities":   {parse: capabilityCondition, owner: true},
		"sha256":         {parse: digestCondition, owner: true},
		"image":          {parse: globCondition(func(_ *Listener, o *Owner) string { return o.Image }, nil), owner: true},
		"executable":     {parse: globCondition(func(_ *Listener, o *Owner) string { return o.Executable }, absolute), owner: true},
		"program":        {parse: programCondition, owner: true},
		"unit":           {parse: globCondition(func(_ *Listener, o *Owner) string { return o.Unit }, nil), owner: true},
		"uid":            {parse: uidCondition, owner: true},
		"command_line":   {parse: commandLineCondition, owner: true},
		"parent":         {parse: globCondition(func(_ *Listener, o *Owner) string { return o.Parent }, nil), owner: true},
		"container":      {parse: globCondition(func(_ *Listener, o *Owner) string { return o.Container }, nil), owner: true},
		"deleted":        {parse: boolCondition(func(_ *Listener, o *Owner) Answer { return o.Deleted }), owner: true},
		"memory":         {parse: boolCondition(func(_ *Listener, o *Owner) Answer { return o.Memory }), owner: true},
		"concealed":      {parse: boolCondition(func(_ *Listener, o *Owner) Answer { return o.Concealed }), owner: true},
		"world_writable": {parse: boolCondition(func(_ *Listener, o *Owner) Answer { return o.WorldWritable }), owner: true},
	}
}

func reachable(l *Listener, _ *Owner) Answer { return truth(l.Scope.Reachable()) }

// boolCondition asks for a fact to be true or false.
func boolCondition(fact func(*Listener, *Owner) Answer) func(*decoder, *yaml.Node) condition {
	return func(d *decoder, n *yaml.Node) condition {
		wanted := truth(d.bool(n))
		return condition{
			test: func(l *Listener, o *Owner) Answer {
				is := fact(l, o)
				if is == Unknown {
					return Unknown
				}
				return truth(is == wanted)
			},
			value: func(l *Listener, o *Owner) string { return strconv.FormatBool(fact(l, o) == Yes) },
		}
	}
}

// oneOf asks for a fact to be one of several values.
func oneOf[T comparable](wanted []T, known func(T) bool, fact func(*Listener, *Owner) T, text func(T) string) condition {
	return condition{
		test: func(l *Listener, o *Owner) Answer {
			is := fact(l, o)
			if !known(is) {
				return Unknown
			}
			return truth(slices.Contains(wanted, is))
		},
		value: func(l *Listener, o *Owner) string { return text(fact(l, o)) },
	}
}

// portless reports whether the transport of l is known and none of those whose
// ports IANA assigns: to a raw, packet or vsock socket no fact about a port
// applies.
func (l *Listener) portless() bool { return l.Transport != 0 && l.Transport.Assigned() == 0 }

// aboutPort restricts a condition to listeners that have a port of IANA's: of
// another it is false, whatever is asked for.
func aboutPort(c condition) condition {
	test := c.test
	c.test = func(l *Listener, o *Owner) Answer {
		if l.portless() {
			return No
		}
		return test(l, o)
	}
	c.port = true
	return c
}

func always[T any](T) bool { return true }

// wordCondition asks for one of a fixed set of words; "" is an unknown fact.
func wordCondition(words []string, fact func(*Listener, *Owner) string) func(*decoder, *yaml.Node) condition {
	return func(d *decoder, n *yaml.Node) condition {
		var wanted []string
		for _, item := range d.list(n) {
			if word := d.word(item, words); word != "" {
				wanted = append(wanted, word)
			}
		}
		return oneOf(wanted, func(s string) bool { return s != "" }, fact, func(s string) string { return s })
	}
}

// texts reads a list of texts.
func (d *decoder) texts(n *yaml.Node) []string {
	var texts []string
	for _, item := range d.list(n) {
		if text, ok := d.text(item); ok {
			texts = append(texts, text)
		}
	}
	return texts
}

// parsed reads each item of a list by a parser of its own.
func parsed[T any](d *decoder, n *yaml.Node, words []string, parse func(string) (T, error)) []T {
	var values []T
	for _, item := range d.list(n) {
		text, ok := d.text(item)
		if !ok {
			continue
		}
		v, err := parse(clip(text)) // a text that is clipped is none of the words
		if err != nil {
			d.errorf(item, "%v%s", err, suggest(text, words))
			continue
		}
		values = append(values, v)
	}
	return values
}

func transportCondition(d *decoder, n *yaml.Node) condition {
	wanted := parsed(d, n, registry.TransportNames(), registry.ParseSocketTransport)
	return oneOf(wanted, func(t registry.Transport) bool { return t != 0 },
		func(l *Listener, _ *Owner) registry.Transport { return l.Transport }, registry.Transport.String)
}

func scopeCondition(d *decoder, n *yaml.Node) condition {
	wanted := parsed(d, n, scopeNames[1:], ParseScope)
	return oneOf(wanted, func(s Scope) bool { return s != UnknownScope },
		func(l *Listener, _ *Owner) Scope { return l.Scope }, Scope.String)
}

func stateCondition(d *decoder, n *yaml.Node) condition {
	wanted := parsed(d, n, []string{"assigned", "unassigned", "reserved", "no statement"}, registry.ParseState)
	return oneOf(wanted, always[registry.State],
		func(l *Listener, _ *Owner) registry.State { return l.State }, registry.State.String)
}

func rangeCondition(d *decoder, n *yaml.Node) condition {
	wanted := parsed(d, n, []string{"well-known", "registered", "dynamic"}, registry.ParseRange)
	return oneOf(wanted, always[registry.Range],
		func(l *Listener, _ *Owner) registry.Range { return registry.RangeOf(l.Port) }, registry.Range.String)
}

// riskCondition asks how gravely the port is abused. That it is not known to
// be abused is a fact too.
func riskCondition(d *decoder, n *yaml.Node) condition {
	wanted := parsed(d, n, severityNames[1:], ParseSeverity)
	return oneOf(wanted, always[Severity],
		func(l *Listener, _ *Owner) Severity { return l.Risk }, Severity.String)
}

// userCondition asks for the account that an owner runs as. DOMAIN\name is one
// of Windows, where the case of letters does not matter.
func userCondition(d *decoder, n *yaml.Node) condition {
	wanted := d.texts(n)
	return condition{
		test: func(_ *Listener, o *Owner) Answer {
			if o.User == "" {
				return Unknown
			}
			windows := strings.Contains(o.User, `\`)
			return truth(slices.ContainsFunc(wanted, func(w string) bool {
				return w == o.User || windows && strings.EqualFold(w, o.User)
			}))
		},
		value: func(_ *Listener, o *Owner) string { return o.User },
	}
}

// serviceCondition asks for any of the port's names (RFC 6335 section 5.1:
// names differ in more than the case of their letters).
func serviceCondition(d *decoder, n *yaml.Node) condition {
	wanted := d.texts(n)
	return condition{
		test: func(l *Listener, _ *Owner) Answer {
			return truth(slices.ContainsFunc(l.Names, func(name string) bool {
				return slices.ContainsFunc(wanted, func(w string) bool { return strings.EqualFold(w, name) })
			}))
		},
		value: func(l *Listener, _ *Owner) string {
			if len(l.Names) == 0 {
				return "unnamed"
			}
			return strings.Join(l.Names, ", ")
		},
	}
}

// absolute requires that a pattern can match a whole path.
func absolute(d *decoder, n *yaml.Node, text string) bool {
	if strings.HasPrefix(text, "/") || strings.HasPrefix(text, "**") || strings.HasPrefix(text, "{") || windowsPattern.MatchString(text) {
		return true
	}
	text = clip(text)
	d.errorf(n, "%q can never match: write the whole path, or **/%s for any directory", text, strings.TrimLeft(text, "./"))
	return false
}

// globCondition asks for a text to fit one of several patterns.
func globCondition(fact func(*Listener, *Owner) string, valid func(*decoder, *yaml.Node, string) bool) func(*decoder, *yaml.Node) condition {
	return func(d *decoder, n *yaml.Node) condition {
		var globs []glob
		for _, item := range d.list(n) {
			text, ok := d.text(item)
			if !ok || valid != nil && !valid(d, item, text) {
				continue
			}
			if d.globs++; d.globs > maxGlobs {
				d.errorf(item, "more than %d patterns: let one stand for several", maxGlobs)
				break
			}
			g, err := compileGlob(text)
			if err != nil {
				d.errorf(item, "%v", err)
				continue
			}
			globs = append(globs, g)
		}
		return condition{
			globs: globs,
			test: func(l *Listener, o *Owner) Answer {
				text := fact(l, o)
				if text == "" {
					return Unknown
				}
				return truth(slices.ContainsFunc(globs, func(g glob) bool { return g.match(text) }))
			},
			value: fact,
		}
	}
}

// portRange is a range of ports, both ends included, of one transport or, with
// 0, of any.
type portRange struct {
	first, last registry.Port
	transport   registry.Transport
}

func (r portRange) holds(l *Listener) Answer {
	switch {
	case l.Port < r.first || r.last < l.Port:
		return No
	case r.transport != 0 && l.Transport == 0:
		return Unknown
	}
	return truth(r.transport == 0 || r.transport == l.Transport)
}

func portCondition(d *decoder, n *yaml.Node) condition {
	ranges := parsed(d, n, nil, parsePorts)
	return condition{
		ports: ranges,
		test: func(l *Listener, _ *Owner) Answer {
			one := No
			for _, r := range ranges {
				one = or(one, r.holds(l))
			}
			return one
		},
		value: func(l *Listener, _ *Owner) string {
			if slices.ContainsFunc(ranges, func(r portRange) bool { return r.transport != 0 }) {
				return l.Port.String() + "/" + l.Transport.String()
			}
			return l.Port.String()
		},
	}
}
