package policy

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

func (d *decoder) version(n *yaml.Node) {
	switch {
	case n.Kind != yaml.ScalarNode || n.Tag == "!!null":
		d.errorf(n, "a version is wanted: write \"version: 1\"")
	case n.Value != "1":
		d.errorf(n, "version %q is not known: this program reads version 1", clip(n.Value))
	case n.Tag != "!!int":
		d.errorf(n, "%q is in quotes: write it without", n.Value)
	}
}

// fallback reads the default verdict: a word, or a mapping with a severity.
func (d *decoder) fallback(n *yaml.Node) fallback {
	f := fallback{Alert, Medium}
	if n.Kind == yaml.ScalarNode {
		f.verdict, _ = d.verdict(n, Alert, Allow)
		return f
	}
	hasVerdict, hasSeverity := false, false
	d.mapping(n, "default", []string{"verdict", "severity"}, func(key string, k, v *yaml.Node) {
		switch key {
		case "verdict":
			hasVerdict = true
			f.verdict, _ = d.verdict(v, Alert, Allow)
		case "severity":
			hasSeverity = true
			f.severity = d.severity(v)
		}
	})
	if n.Kind == yaml.MappingNode && !hasVerdict {
		d.errorf(n, "default needs the key \"verdict\"")
	}
	if hasSeverity && f.verdict == Allow {
		d.errorf(n, "a severity belongs to an alert: remove it, or make the verdict alert")
	}
	return f
}

func (d *decoder) verdict(n *yaml.Node, verdicts ...Verdict) (v Verdict, ok bool) {
	var words []string
	for _, v := range verdicts {
		words = append(words, v.String())
	}
	i := slices.Index(words, d.word(n, words))
	if i < 0 {
		return Alert, false
	}
	return verdicts[i], true
}

func (d *decoder) severity(n *yaml.Node) Severity {
	s, err := ParseSeverity(d.word(n, severityNames[1:]))
	if err != nil {
		return Low // d.word has said what is wrong
	}
	return s
}

func (d *decoder) rules(n *yaml.Node) []rule {
	if n.Kind != yaml.SequenceNode {
		d.errorf(n, "rules wants a list, each rule begun by \"- id: …\"")
		return nil
	}
	if len(n.Content) > maxRules {
		d.errorf(n, "%d rules are too many: the limit is %d", len(n.Content), maxRules)
		return nil
	}
	rules := make([]rule, 0, len(n.Content))
	for _, item := range n.Content {
		rules = append(rules, d.rule(item))
	}
	return rules
}

// ruleID is what an id may look like: it is printed, matched and typed.
var ruleID = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{0,63}$`)

// ruleKeys are the keys of a rule, in the order in which they read best.
func ruleKeys() []string {
	return []string{"id", "verdict", "severity", "always", "match", "when", "grace", "reason", "owner", "expires", "tags", "message", "why", "fix"}
}

func (d *decoder) rule(n *yaml.Node) rule {
	r := rule{place: d.place(n), grace: defaultGrace}
	consistent := false
	given := map[string]*yaml.Node{}
	d.mapping(n, "a rule", ruleKeys(), func(key string, k, v *yaml.Node) {
		given[key] = k
		switch key {
		case "id":
			r.id = d.id(v)
		case "verdict":
			r.verdict, consistent = d.verdict(v, Alert, Allow, Require)
		case "severity":
			r.severity = d.severity(v)
		case "always":
			r.always = d.bool(v)
		case "match":
			r.match = d.match(v)
		case "when":
			r.state = d.word(v, States())
		case "grace":
			r.grace = d.grace(v)
		case "reason":
			r.reason = d.sentence(v, false)
		case "owner":
			r.owner = d.sentence(v, false)
		case "expires":
			r.expires = d.expires(v)
		case "tags":
			r.tags = d.tags(v)
		case "message":
			r.message = d.sentence(v, true)
		case "why":
			r.why = d.sentence(v, true)
		case "fix":
			r.fix = d.sentence(v, true)
		}
	})
	if n.Kind != yaml.MappingNode {
		return r
	}
	for _, key := range []string{"id", "verdict", "match"} {
		if given[key] == nil && (key != "match" || given["when"] == nil) {
			d.errorf(n, "a rule needs the key %q", key)
		}
	}
	if consistent {
		d.consistent(n, &r, given)
	}
	return r
}

func (d *decoder) id(n *yaml.Node) string {
	text, ok := d.text(n)
	switch {
	case !ok:
		return ""
	case !ruleID.MatchString(text):
		d.errorf(n, "%q is no id: use lower-case letters, digits, - and ., at most 64", clip(text))
		return ""
	case text == DefaultRule:
		d.errorf(n, "the id %q belongs to the default verdict: choose another", text)
		return ""
	case text == ExpiringRule || text == ExpiredRule:
		d.errorf(n, "the id %q belongs to allowances that end: choose another", text)
		return ""
	case text == HiddenPort || text == BoundPort:
		d.errorf(n, "the id %q belongs to the findings of cross-checks: choose another", text)
		return ""
	case d.ids[text].line > 0:
		d.errorf(n, "the id %q is already that of the rule %s", text, d.ids[text].from(d.file))
		return text
	}
	d.ids[text] = d.place(n)
	return text
}

// tag is what a tag may look like: it is searched for and typed.
var tag = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)

// tags reads the names under which others look for a rule: those of a standard's
// controls.
func (d *decoder) tags(n *yaml.Node) []string {
	var tags []string
	for _, item := range d.list(n) {
		text, ok := d.text(item)
		switch {
		case !ok:
		case !tag.MatchString(text):
			d.errorf(item, "%q is no tag: use lower-case letters, digits, ., - and _, such as pci-dss-2.2.4", clip(text))
		case slices.Contains(tags, text):
			d.errorf(item, "the tag %q is given twice", text)
		default:
			tags = append(tags, text)
		}
	}
	return tags
}

// sentence reads a text for people, on one line whatever its YAML style.
func (d *decoder) sentence(n *yaml.Node, placeholders bool) string {
	text, ok := d.text(n)
	if !ok {
		return ""
	}
	if placeholders {
		for _, name, rest := cutPlaceholder(text); name != ""; _, name, rest = cutPlaceholder(rest) {
			if !slices.Contains(Placeholders(), name) && name != statePlaceholder {
				d.errorf(n, "unknown placeholder {%s}%s", name, suggest(name, Placeholders()))
			}
		}
	}
	return strings.Join(strings.Fields(text), " ")
}

// match reads the conditions of a rule. "any" stands for none: that everything
// matches has to be said.
func (d *decoder) match(n *yaml.Node) match {
	if n.Kind == yaml.ScalarNode && n.Value == "any" {
		return match{}
	}
	m := d.all(n, "match")
	if n.Kind == yaml.MappingNode && len(n.Content) == 0 {
		d.errorf(n, "no condition: write \"match: any\" if every listener is meant")
	}
	return m
}

// all reads conditions that must all hold.
func (d *decoder) all(n *yaml.Node, what string) match {
	keys := append(slices.Sorted(maps.Keys(d.conditions)), "not", "any", "all")
	var m match
	d.mapping(n, what, keys, func(key string, k, v *yaml.Node) {
		switch key {
		case "not":
			inner := d.all(v, "not")
			if v.Kind == yaml.MappingNode && len(v.Content) == 0 {
				d.errorf(v, "no condition: nothing is left that could match")
			}
			m.add(inner.owners, negation(inner))
			return
		case "any":
			several := d.several(v, "any")
			m.add(slices.ContainsFunc(several, func(m match) bool { return m.owners }), alternative(several))
			return
		case "all":
			for _, inner := range d.several(v, "all") {
				m.add(inner.owners, inner.conditions...)
			}
			return
		}
		known := d.conditions[key]
		c := known.parse(d, v)
		if known.port {
			c = aboutPort(c)
		}
		c.key, c.want, c.values = key, written(v), d.values(v)
		m.add(known.owner, c)
	})
	return m
}

// add adds conditions, of which some may ask for an owner.
func (m *match) add(owners bool, conditions ...condition) {
	m.owners = m.owners || owners
	m.conditions = append(m.conditions, conditions...)
}

// several reads a list of groups of conditions.
func (d *decoder) several(n *yaml.Node, what string) []match {
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		d.errorf(n, "%s wants a list of conditions, such as \"%s: [{port: 22}, {service: http}]\"", what, what)
		return nil
	}
	var list []match
	for _, item := range n.Content {
		list = append(list, d.all(item, "an item of "+what))
		if item.Kind == yaml.MappingNode && len(item.Content) == 0 {
			d.errorf(item, "no condition: fill it, or remove it from the list")
		}
	}
	return list
}

// alternative is the condition that one of several holds.
func alternative(several []match) condition {
	return condition{
		key: "any", any: several,
		test: func(l *Listener, o *Owner) Answer {
			one := No
			for i := range several {
				if one = or(one, several[i].holds(l, o)); one == Yes {
					return Yes
				}
			}
			return one
		},
	}
}

// negation is the condition that not all of m holds.
func negation(m match) condition {
	return condition{
		key: "not", inner: &m,
		test: func(l *Listener, o *Owner) Answer { return not(m.holds(l, o)) },
	}
}

// scalars returns the values of a list as they stand in the policy, or the one
// value.
func scalars(n *yaml.Node) []string {
	if n.Kind == yaml.ScalarNode {
		return []string{n.Value}
	}
	var list []string
	for _, c := range n.Content {
		list = append(list, scalars(c)...)
	}
	return list
}

// written returns a value as it stands in the policy.
func written(n *yaml.Node) string {
	if n.Kind == yaml.ScalarNode {
		return clip(n.Value)
	}
	var parts []string
	for _, c := range n.Content {
		parts = append(parts, written(c))
	}
	return strings.Join(parts, " or ")
}
