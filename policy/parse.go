package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Parse compiles a policy of language version 1 (docs/policy.md). name is what
// errors and Policy.Source call it. An error is of type Errors and holds every
// mistake of the file.
func Parse(data []byte, name string) (*Policy, error) {
	d := &decoder{file: name}
	sum := sha256.Sum256(data)
	p := &Policy{Source: name, SHA256: hex.EncodeToString(sum[:]), fallback: fallback{Alert, Medium}}
	if root := d.document(data); root != nil {
		d.policy(root, p)
	}
	if len(d.errors) > 0 {
		slices.SortStableFunc(d.errors, func(a, b Error) int {
			if a.Line != b.Line {
				return a.Line - b.Line
			}
			return a.Column - b.Column
		})
		return nil, d.errors
	}
	return p, nil
}

func (d *decoder) policy(root *yaml.Node, p *Policy) {
	hasVersion, hasRules := false, false
	d.mapping(root, "the policy", []string{"version", "default", "command_lines", "rules"}, func(key string, k, v *yaml.Node) {
		switch key {
		case "version":
			hasVersion = true
			if v.Value != "1" || v.Tag != "!!int" {
				d.errorf(v, "version %q is not known: this program reads version 1", clip(v.Value))
			}
		case "default":
			p.fallback = d.fallback(v)
		case "command_lines":
			p.CommandLines = d.bool(v)
		case "rules":
			hasRules = true
			p.rules = d.rules(v)
		}
	})
	if root.Kind != yaml.MappingNode {
		return
	}
	if !hasVersion {
		d.errorf(root, "the version is missing: begin with \"version: 1\"")
	}
	if !hasRules {
		d.errorf(root, "there are no rules: add \"rules:\" with a list, or \"rules: []\" for the default alone")
	}
}

// fallback reads the default verdict: a word, or a mapping with a severity.
func (d *decoder) fallback(n *yaml.Node) fallback {
	f := fallback{Alert, Medium}
	if n.Kind == yaml.ScalarNode {
		f.verdict = d.verdict(n)
		return f
	}
	hasSeverity := false
	d.mapping(n, "default", []string{"verdict", "severity"}, func(key string, k, v *yaml.Node) {
		switch key {
		case "verdict":
			f.verdict = d.verdict(v)
		case "severity":
			hasSeverity = true
			f.severity = d.severity(v)
		}
	})
	if hasSeverity && f.verdict == Allow {
		d.errorf(n, "a severity belongs to an alert: remove it, or make the verdict alert")
	}
	return f
}

func (d *decoder) verdict(n *yaml.Node) Verdict {
	if d.word(n, []string{"alert", "allow"}) == "allow" {
		return Allow
	}
	return Alert
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
	lines := map[string]int{}
	for _, item := range n.Content {
		r := d.rule(item)
		if line, twice := lines[r.id]; twice && r.id != "" {
			d.errorf(item, "the id %q is already that of the rule on line %d", r.id, line)
		}
		lines[r.id] = item.Line
		rules = append(rules, r)
	}
	return rules
}

// ruleID is what an id may look like: it is printed, matched and typed.
var ruleID = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{0,63}$`)

func (d *decoder) rule(n *yaml.Node) rule {
	var r rule
	var severity *yaml.Node
	seen := map[string]bool{}
	keys := []string{"id", "verdict", "severity", "match", "reason", "message", "why", "fix"}
	d.mapping(n, "a rule", keys, func(key string, k, v *yaml.Node) {
		seen[key] = true
		switch key {
		case "id":
			r.id = d.id(v)
		case "verdict":
			r.verdict = d.verdict(v)
		case "severity":
			severity = v
			r.severity = d.severity(v)
		case "match":
			r.match = d.match(v)
		case "reason":
			r.reason = d.sentence(v, false)
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
		if !seen[key] {
			d.errorf(n, "a rule needs the key %q", key)
		}
	}
	if seen["verdict"] {
		d.consistent(n, &r, severity, seen)
	}
	return r
}

// consistent checks what an alert needs and an allowance must not have.
func (d *decoder) consistent(n *yaml.Node, r *rule, severity *yaml.Node, seen map[string]bool) {
	if r.verdict == Allow {
		if severity != nil {
			d.errorf(severity, "an allow rule has no severity: it raises nothing")
		}
		for _, key := range []string{"message", "why", "fix"} {
			if seen[key] {
				d.errorf(n, "an allow rule has no %s: it raises nothing; say why it is allowed under \"reason\"", key)
			}
		}
		return
	}
	if severity == nil {
		d.errorf(n, "an alert rule needs a severity: low, medium, high or critical")
	}
	if r.message == "" {
		r.message = "{owners} listens on {address} port {port}/{transport} ({service}): rule " + r.id + "."
	}
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
	}
	return text
}

// sentence reads a text for people, on one line whatever its YAML style.
func (d *decoder) sentence(n *yaml.Node, placeholders bool) string {
	text, ok := d.text(n)
	if !ok {
		return ""
	}
	if placeholders {
		for _, p := range placeholder.FindAllString(text, -1) {
			if name := p[1 : len(p)-1]; !slices.Contains(Placeholders(), name) {
				d.errorf(n, "unknown placeholder %s%s", p, suggest(name, Placeholders()))
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
	known := conditionKeys()
	keys := append(slices.Sorted(maps.Keys(known)), "not")
	if n.Kind == yaml.MappingNode && len(n.Content) == 0 {
		d.errorf(n, "no condition: write \"match: any\" if every listener is meant")
	}
	var m match
	d.mapping(n, "match", keys, func(key string, k, v *yaml.Node) {
		if key == "not" {
			inner := d.match(v)
			m.owners = m.owners || inner.owners
			m.conditions = append(m.conditions, negation(inner))
			return
		}
		c := known[key].parse(d, v)
		c.key, c.want = key, written(v)
		m.owners = m.owners || known[key].owner
		m.conditions = append(m.conditions, c)
	})
	return m
}

// negation is the condition that not all of m holds.
func negation(m match) condition {
	var parts []string
	for _, c := range m.conditions {
		parts = append(parts, c.key+" "+c.want)
	}
	return condition{
		key: "not", want: "anything else than " + strings.Join(parts, " and "),
		test:  func(l *Listener, o *Owner) Answer { return not(m.holds(l, o)) },
		value: func(*Listener, *Owner) string { return strings.Join(parts, " and ") },
	}
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
