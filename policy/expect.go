package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// Expectations is a list of what one policy is expected to say.
type Expectations struct {
	Source string // where it came from
	Policy string // the policy as the file names it, "" if it names none
	List   []Expectation
}

// Expectation is what a policy is expected to say of one listener.
type Expectation struct {
	Name     string
	Listener Listener
	At       time.Time // at which the policy decides; zero: now
	Verdict  Verdict
	Rule     string
	Severity Severity      // of the gravest finding; None: any
	Findings []Expected    // in any order; of Some alone
	Some     bool          // whether Findings were given
	Meets    []string      // require rules, in any order; nil: any
	Line     int           // of the file, from 1
	Column   int           // as well
	rules    []mentioned   // where rules are named
	age      time.Duration // for how long the listener has been there; 0: unknown
}

// Expected is one finding that is expected.
type Expected struct {
	Rule     string
	Severity Severity // None: any
}

// mentioned is a place where a rule is named.
type mentioned struct {
	rule         string
	line, column int
}

// ParseExpectations reads a list of expectations (docs/policy.md). name is what
// errors call it. An error is of type Errors, as that of Parse.
func ParseExpectations(data []byte, name string) (*Expectations, error) {
	d := newDecoder(name, "list of expectations")
	e := &Expectations{Source: name}
	if root := d.document(data); root != nil {
		d.expectations(root, e)
	}
	if len(d.errors) > 0 {
		return nil, d.inOrder().shortened(name)
	}
	return e, nil
}

func (d *decoder) expectations(root *yaml.Node, e *Expectations) {
	given := map[string]bool{}
	d.mapping(root, "the expectations", []string{"version", "policy", "expectations"}, func(key string, _, v *yaml.Node) {
		given[key] = true
		switch key {
		case "version":
			d.version(v)
		case "policy":
			e.Policy, _ = d.text(v)
		case "expectations":
			e.List = d.expectationList(v)
		}
	})
	if root.Kind != yaml.MappingNode {
		return
	}
	if !given["version"] {
		d.errorf(root, "the version is missing: begin with \"version: 1\"")
	}
	if !given["expectations"] {
		d.errorf(root, "there are no expectations: add \"expectations:\" with a list; a policy belongs into a file of its own")
	}
}

func (d *decoder) expectationList(n *yaml.Node) []Expectation {
	switch {
	case n.Kind != yaml.SequenceNode || len(n.Content) == 0:
		d.errorf(n, "expectations wants a list, each begun by \"- name: …\"")
		return nil
	case len(n.Content) > maxRules:
		d.errorf(n, "%d expectations are too many: the limit is %d", len(n.Content), maxRules)
		return nil
	}
	list := make([]Expectation, 0, len(n.Content))
	for _, item := range n.Content {
		list = append(list, d.expectation(item))
	}
	return list
}

func (d *decoder) expectation(n *yaml.Node) Expectation {
	e := Expectation{Line: n.Line, Column: n.Column}
	keys := []string{"name", "listener", "verdict", "rule", "severity", "findings", "meets", "at"}
	given := map[string]*yaml.Node{}
	d.mapping(n, "an expectation", keys, func(key string, k, v *yaml.Node) {
		given[key] = k
		switch key {
		case "name":
			e.Name = d.name(v)
		case "listener":
			e.Listener, e.age = d.listener(v)
		case "verdict":
			e.Verdict, _ = d.verdict(v, Alert, Allow)
		case "rule":
			e.Rule = d.mention(v, &e)
		case "severity":
			e.Severity = d.severity(v)
		case "at":
			e.At = d.at(v)
		case "meets":
			e.Meets = d.mentions(v, &e)
		case "findings":
			e.Some, e.Findings = true, d.expected(v, &e)
		}
	})
	if n.Kind != yaml.MappingNode {
		return e
	}
	for _, key := range keys[:4] {
		if given[key] == nil {
			d.errorf(n, "an expectation needs the key %q", key)
		}
	}
	d.consistentExpectation(&e, given)
	return e
}

// consistentExpectation checks what an alert needs and an allowance cannot have.
func (d *decoder) consistentExpectation(e *Expectation, given map[string]*yaml.Node) {
	switch {
	case given["verdict"] == nil:
	case e.Verdict == Allow && given["severity"] != nil:
		d.errorf(given["severity"], "where the verdict is allow nothing is found, and nothing has a severity: remove it")
	case e.Verdict == Allow && len(e.Findings) > 0:
		d.errorf(given["findings"], "where the verdict is allow nothing is found: remove them, or expect an alert")
	case e.Verdict == Alert && e.Some && len(e.Findings) == 0:
		d.errorf(given["findings"], "an alert has a finding: list them, or remove the key if any will do")
	}
}

// at reads at which time a policy is to decide: at the beginning of a day, in UTC,
// or at a time.
func (d *decoder) at(n *yaml.Node) time.Time {
	if n.Kind == yaml.ScalarNode {
		for _, layout := range []string{time.DateOnly, time.RFC3339} {
			if at, err := time.Parse(layout, n.Value); err == nil && !at.IsZero() {
				return at.UTC()
			}
		}
	}
	d.errorf(n, "a day is wanted, such as 2027-03-31, or a time, such as 2027-03-31T18:00:00Z")
	return time.Time{}
}

// name reads what an expectation is called, which no other may be.
func (d *decoder) name(n *yaml.Node) string {
	name := d.sentence(n, false)
	if name == "" {
		return ""
	}
	if before := d.ids[name]; before.line > 0 {
		d.errorf(n, "%q is already the name of the expectation %s", clip(name), before.from(d.file))
		return name
	}
	d.ids[name] = d.place(n)
	return name
}

// mention reads the id of a rule and remembers its place: whether there is such
// a rule is known when there is a policy.
func (d *decoder) mention(n *yaml.Node, e *Expectation) string {
	id, ok := d.text(n)
	switch {
	case !ok:
		return ""
	case !ruleID.MatchString(id):
		d.errorf(n, "%q is no id of a rule", clip(id))
		return ""
	}
	e.rules = append(e.rules, mentioned{id, n.Line, n.Column})
	return id
}

// mentions reads ids of rules, of which there may be none.
func (d *decoder) mentions(n *yaml.Node, e *Expectation) []string {
	ids := []string{}
	if n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
		return ids
	}
	for _, item := range d.list(n) {
		ids = append(ids, d.mention(item, e))
	}
	return ids
}

// expected reads the findings that are expected: ids of rules, or mappings with
// a severity.
func (d *decoder) expected(n *yaml.Node, e *Expectation) []Expected {
	if n.Kind != yaml.SequenceNode {
		d.errorf(n, "findings wants a list, such as [default] or [{rule: default, severity: medium}]")
		return nil
	}
	var list []Expected
	for _, item := range n.Content {
		var f Expected
		if item.Kind == yaml.ScalarNode {
			f.Rule = d.mention(item, e)
		} else {
			d.mapping(item, "a finding", []string{"rule", "severity"}, func(key string, _, v *yaml.Node) {
				if key == "rule" {
					f.Rule = d.mention(v, e)
					return
				}
				f.Severity = d.severity(v)
			})
			if item.Kind == yaml.MappingNode && f.Rule == "" {
				d.errorf(item, "a finding needs the key \"rule\"")
			}
		}
		if slices.ContainsFunc(list, func(other Expected) bool { return f.Rule != "" && other.Rule == f.Rule }) {
			d.errorf(item, "%q is expected twice: a rule finds a listener once", f.Rule)
		}
		list = append(list, f)
	}
	return list
}

// Result is what became of an expectation.
type Result struct {
	Expectation
	Decision Decision
	Met      []string // require rules that the listener fulfils, in the order of the policy
	Passed   bool
}

// Coverage says which rules of a policy, its default among them, matched the
// listener of some expectation. Those of a policy that it extends are not counted,
// nor those about the host.
type Coverage struct {
	Matched   []string // ids, in the order of the policy
	Unmatched []string
}

// Run compares what a policy says with what is expected of it: now, but where an
// expectation is for another time. An error is of type Errors: an expectation names
// rules that the policy does not have.
func Run(p *Policy, e *Expectations, now time.Time) ([]Result, Coverage, error) {
	rules := slices.Concat(p.rules, p.required)
	if err := p.unknown(e, rules); err != nil {
		return nil, Coverage{}, err
	}
	matched := map[string]bool{}
	results := make([]Result, 0, len(e.List))
	for _, one := range e.List {
		if one.At.IsZero() {
			one.At = now
		}
		if one.age > 0 {
			one.Listener.FirstSeen = one.At.Add(-one.age)
		}
		for _, s := range p.Explain(one.Listener, one.At) {
			matched[s.Rule] = matched[s.Rule] || s.Outcome == Matched
		}
		r := Result{Expectation: one, Decision: p.Decide(one.Listener, one.At)}
		met := make([]Answer, len(p.required))
		p.Meets(met, one.Listener, one.At)
		for i := range p.required {
			if met[i] == Yes {
				r.Met = append(r.Met, p.required[i].id)
				matched[p.required[i].id] = true
			}
		}
		r.Passed = r.fits()
		results = append(results, r)
	}
	var c Coverage
	for _, r := range append(rules, rule{id: DefaultRule}) {
		switch {
		case r.shipped: // tested where it is written
		case matched[r.id]:
			c.Matched = append(c.Matched, r.id)
		default:
			c.Unmatched = append(c.Unmatched, r.id)
		}
	}
	return results, c, nil
}

// unknown tells which rules expectations name that a policy does not have.
func (p *Policy) unknown(e *Expectations, rules []rule) error {
	ids, known := []string{DefaultRule}, map[string]bool{DefaultRule: true, ExpiringRule: true, ExpiredRule: true}
	for _, r := range rules {
		ids, known[r.id] = append(ids, r.id), true
	}
	var mistakes Errors
	for _, one := range e.List {
		for _, m := range one.rules {
			if !known[m.rule] {
				mistakes = append(mistakes, Error{
					File: e.Source, Line: m.line, Column: m.column,
					Message: fmt.Sprintf("no rule of %s is called %q%s", p.Source, m.rule, suggest(m.rule, ids)),
				})
			}
		}
	}
	if len(mistakes) == 0 {
		return nil
	}
	return mistakes.shortened(e.Source)
}

// fits reports whether what came is what was wanted.
func (r *Result) fits() bool {
	d, e := &r.Decision, &r.Expectation
	if e.Meets != nil && !slices.Equal(slices.Sorted(slices.Values(r.Met)), slices.Compact(slices.Sorted(slices.Values(e.Meets)))) {
		return false
	}
	if d.Verdict != e.Verdict || d.Rule != e.Rule || e.Severity != None && d.Severity() != e.Severity {
		return false
	}
	if !e.Some {
		return true
	}
	return len(d.Findings) == len(e.Findings) && !slices.ContainsFunc(e.Findings, func(want Expected) bool {
		return !slices.ContainsFunc(d.Findings, func(f Finding) bool {
			return f.Rule == want.Rule && (want.Severity == None || f.Severity == want.Severity)
		})
	})
}

// Wanted says what is expected, and Came what a policy decided, in the same
// words.
func (e *Expectation) Wanted() string {
	return outcome(e.Verdict, e.Rule, e.Severity, e.Findings, e.Some) + meets(e.Meets, e.Meets != nil)
}

// Came says what was decided in place of what is Wanted.
func (r *Result) Came() string {
	var found []Expected
	for _, f := range r.Decision.Findings {
		found = append(found, Expected{f.Rule, f.Severity})
	}
	return outcome(r.Decision.Verdict, r.Decision.Rule, r.Decision.Severity(), found, r.Some || len(found) > 1) + meets(r.Met, r.Meets != nil)
}

func meets(ids []string, told bool) string {
	switch {
	case !told:
		return ""
	case len(ids) == 0:
		return ", meets nothing"
	}
	return ", meets " + strings.Join(ids, ", ")
}

func outcome(v Verdict, rule string, s Severity, findings []Expected, some bool) string {
	text := v.String() + " by rule " + rule
	if s != None {
		text += ", severity " + s.String()
	}
	if !some {
		return text
	}
	var parts []string
	for _, f := range findings {
		part := f.Rule
		if f.Severity != None {
			part += " (" + f.Severity.String() + ")"
		}
		parts = append(parts, part)
	}
	if len(parts) == 0 {
		return text + ", no findings"
	}
	return text + ", findings " + strings.Join(parts, ", ")
}
