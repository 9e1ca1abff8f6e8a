package policy

import (
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// consistent checks what each kind of rule needs and must not have. given holds
// the keys of the rule.
func (d *decoder) consistent(n *yaml.Node, r *rule, given map[string]*yaml.Node) {
	switch r.verdict {
	case Allow:
		d.without(given, "an allow rule has no KEY: it raises nothing; say why it is allowed under \"reason\"", "severity", "always", "message", "why", "fix")
		d.without(given, "an allow rule has no KEY", "grace", "when")
		if !r.expires.IsZero() {
			r.foretold()
		}
		return
	case Require:
		d.without(given, "a require rule has no KEY: it is about what does not listen", "always", "when", "expires")
		r.complete("What rule " + r.id + " requires does not listen.")
		d.placeholders(given, r, nil, "a require rule has no listener to tell of")
	default:
		d.without(given, "an alert rule has no end: remove it when it is not wanted any more", "expires")
		d.without(given, "an alert rule has no KEY: it alerts at once", "grace")
		d.alert(n, r, given)
	}
	if given["severity"] == nil {
		d.errorf(n, "%s rule needs a severity: low, medium, high or critical", map[Verdict]string{Alert: "an alert", Require: "a require"}[r.verdict])
	}
}

// alert checks an alert, of listeners or of the host.
func (d *decoder) alert(n *yaml.Node, r *rule, given map[string]*yaml.Node) {
	if given["when"] == nil {
		r.complete("{owners} listens on {endpoint} ({service}): rule " + r.id + ".")
		d.placeholders(given, r, Placeholders(), "{"+statePlaceholder+"} is of rules with \"when\" alone")
		return
	}
	if given["match"] != nil {
		d.errorf(given["match"], "a rule has \"match\", about listeners, or \"when\", about the host, and not both")
	}
	d.without(given, "a rule with \"when\" has no KEY", "always")
	r.complete("{" + statePlaceholder + "}")
	d.placeholders(given, r, []string{statePlaceholder}, "a rule with \"when\" has no listener to tell of, but {"+statePlaceholder+"}")
}

// complete gives a rule a message if it has none.
func (r *rule) complete(message string) {
	if r.message == "" {
		r.message = message
	}
}

// without refuses keys that a rule of its kind does not have, and says why, with
// the name for KEY.
func (d *decoder) without(given map[string]*yaml.Node, why string, keys ...string) {
	for _, key := range keys {
		if k := given[key]; k != nil {
			d.errorf(k, "%s", strings.ReplaceAll(why, "KEY", key))
		}
	}
}

// placeholders refuses those in the texts of a rule that nothing can stand for.
func (d *decoder) placeholders(given map[string]*yaml.Node, r *rule, allowed []string, why string) {
	for key, text := range map[string]string{"message": r.message, "why": r.why, "fix": r.fix} {
		for _, name, rest := cutPlaceholder(text); name != ""; _, name, rest = cutPlaceholder(rest) {
			if known := slices.Contains(Placeholders(), name) || name == statePlaceholder; known && !slices.Contains(allowed, name) && given[key] != nil {
				d.errorf(given[key], "{%s} cannot be filled in: %s", name, why)
			}
		}
	}
}
