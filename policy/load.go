package policy

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"gopkg.in/yaml.v3"
)

// Files is where a policy comes from that is made of several. What is nil is not
// to be had.
type Files struct {
	Read func(path string) ([]byte, error)
	// List returns the paths of the *.yaml files of a directory, in lexical order.
	List func(dir string) ([]string, error)
	// Shipped are the policies that "extends" may name.
	Shipped map[string][]byte
}

// Bounds of a policy that is made of several files.
const (
	maxFiles   = 1000
	maxInclude = 8 // files that include each other in a chain
)

// Parse compiles a policy of language version 1 (docs/policy.md) that is all in
// data. name is what errors and Policy.Source call it. An error is of type Errors
// and holds every mistake, up to 1000.
func Parse(data []byte, name string) (*Policy, error) { return Compile(data, name, Files{}) }

// Compile is Parse, of a policy that may include and extend others.
func Compile(data []byte, name string, files Files) (*Policy, error) {
	d := newDecoder(name, "policy")
	d.files = files
	d.gather(data, name, 0)
	p := &Policy{Source: name, SHA256: d.digest(), fallback: fallback{Alert, Medium}}
	for i, f := range d.gathered {
		d.file = f.name
		d.policy(f.root, p, i == 0)
	}
	d.file = name
	d.extend(p)
	if len(d.errors) > 0 {
		return nil, d.inOrder().shortened(name)
	}
	p.sort()
	return p, nil
}

// sort puts the rules where they belong, and notes what they ask for.
func (p *Policy) sort() {
	all := p.rules
	p.rules, p.asked, p.facets = nil, map[string]bool{}, facets()
	for i := range all {
		r := all[i]
		r.match.inTrialOrder()
		p.note(&r.match)
		switch {
		case r.state != "":
			p.states = append(p.states, r)
		case r.verdict == Require:
			p.required = append(p.required, r)
		default:
			p.rules = append(p.rules, r)
		}
	}
	p.rules = inOrderOfTrial(p.rules)
	p.index = indexOf(p.rules, p.facets)
	p.questions = &sync.Pool{}
}

// inOrderOfTrial puts alerts first that no allowance may silence.
func inOrderOfTrial(rules []rule) []rule {
	slices.SortStableFunc(rules, func(a, b rule) int {
		switch {
		case a.always == b.always:
			return 0
		case a.always:
			return -1
		}
		return 1
	})
	return rules
}

// inOrder returns the mistakes in the order of the files and their lines, each
// once.
func (d *decoder) inOrder() Errors {
	rank := map[string]int{}
	for i, name := range d.names {
		rank[name] = i
	}
	slices.SortStableFunc(d.errors, func(a, b Error) int {
		return cmp.Or(cmp.Compare(rank[a.File], rank[b.File]), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return slices.Compact(d.errors)
}

// gathered is a file of the policy whose rules are still to be read.
type gathered struct {
	name string
	root *yaml.Node
	sum  [sha256.Size]byte
}

// gather reads a file and those that it includes: their sets first, for rules may
// use sets of all of them.
func (d *decoder) gather(data []byte, name string, depth int) {
	outer := d.file
	d.file = name
	defer func() { d.file = outer }()
	d.names = append(d.names, name)
	f := gathered{name: name, sum: sha256.Sum256(data)}
	if f.root = d.document(data); f.root == nil {
		return
	}
	d.gathered = append(d.gathered, f)
	if sets := valueOf(f.root, "sets"); sets != nil {
		d.addSets(sets)
	}
	include := valueOf(f.root, "include")
	if include == nil {
		return
	}
	if depth == maxInclude {
		d.errorf(include, "files include each other more than %d deep", maxInclude)
		return
	}
	for _, item := range d.list(include) {
		if text, ok := d.text(item); ok {
			d.include(item, filepath.FromSlash(text), depth)
		}
	}
}

// include reads a file, or the files of a directory, whose name ends with a slash.
func (d *decoder) include(n *yaml.Node, path string, depth int) {
	if d.files.Read == nil || d.files.List == nil {
		d.errorf(n, "this policy is no file, and includes none")
		return
	}
	whole := path
	if !filepath.IsAbs(path) {
		whole = filepath.Join(filepath.Dir(d.file), path)
	}
	paths := []string{whole}
	if strings.HasSuffix(path, string(filepath.Separator)) {
		var err error
		if paths, err = d.files.List(whole); err != nil {
			d.errorf(n, "%v", err)
			return
		}
	}
	for _, one := range paths {
		if slices.ContainsFunc(d.names, func(name string) bool { return filepath.Clean(name) == filepath.Clean(one) }) {
			d.errorf(n, "%s is included already, or is this file", one)
			continue
		}
		if len(d.names) == maxFiles {
			d.errorf(n, "more than %d files are included", maxFiles)
			return
		}
		data, err := d.files.Read(one)
		if err != nil {
			d.errorf(n, "%v", err)
			continue
		}
		d.gather(data, one, depth+1)
	}
}

// valueOf returns the value of a key of a mapping, nil if it has none.
func valueOf(n *yaml.Node, key string) *yaml.Node {
	if n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// digest is that of the text of one file; of several, that of a list of theirs.
func (d *decoder) digest() string {
	if len(d.gathered) == 1 {
		return hex.EncodeToString(d.gathered[0].sum[:])
	}
	h := sha256.New()
	for _, f := range d.gathered {
		fmt.Fprintf(h, "%x  %s\n", f.sum, f.name)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// policyKeys are the keys of a policy, in the order in which they read best. The
// first ones are of the file alone that includes others.
func policyKeys() (own, all []string) {
	own = []string{"extends", "changes", "default", "command_lines"}
	return own, append([]string{"version"}, append(own, "include", "sets", "rules")...)
}

// policy reads the keys of a file into p: of the first one, or of one that is
// included.
func (d *decoder) policy(root *yaml.Node, p *Policy, first bool) {
	own, keys := policyKeys()
	given := map[string]*yaml.Node{}
	var rules []rule
	d.mapping(root, "the policy", keys, func(key string, k, v *yaml.Node) {
		given[key] = v
		if !first && slices.Contains(own, key) {
			d.errorf(k, "%s belongs into the file that includes this one", key)
			return
		}
		switch key {
		case "version":
			d.version(v)
		case "default":
			p.fallback = d.fallback(v)
		case "command_lines":
			p.CommandLines = d.bool(v)
		case "rules":
			rules = d.rules(v)
		}
	})
	p.rules = append(p.rules, rules...)
	if root.Kind != yaml.MappingNode {
		return
	}
	if given["version"] == nil {
		d.errorf(root, "the version is missing: begin with \"version: 1\"")
	}
	if given["rules"] == nil && given["extends"] == nil && given["include"] == nil && (first || given["sets"] == nil) {
		d.errorf(root, "there are no rules: add \"rules:\" with a list, or \"rules: []\" for the default alone")
	}
	if first {
		d.extended = given
	}
}

// extend adds the rules of the policy that this one builds on behind its own.
func (d *decoder) extend(p *Policy) {
	extends, changes := d.extended["extends"], d.extended["changes"]
	if extends == nil {
		if changes != nil {
			d.errorf(changes, "changes are of the rules of another policy: name it under \"extends\"")
		}
		return
	}
	name := d.word(extends, slices.Sorted(maps.Keys(d.files.Shipped)))
	if name == "" {
		return
	}
	base, err := Parse(d.files.Shipped[name], "policy "+name)
	if err != nil {
		d.errorf(extends, "%v", err)
		return
	}
	if d.extended["default"] == nil {
		p.fallback = base.fallback
	}
	if d.extended["command_lines"] == nil {
		p.CommandLines = base.CommandLines
	}
	for _, r := range d.changed(base, changes) {
		if at, taken := d.ids[r.id]; taken {
			d.errors = append(d.errors, Error{
				File: at.file, Line: at.line, Column: at.column,
				Message: fmt.Sprintf("the id %q is that of a rule of the policy %s: choose another, or turn that one off under \"changes\"", r.id, name),
			})
		}
		r.shipped = true
		p.rules = append(p.rules, r)
	}
}

// off is what a rule is changed to that is not wanted.
const off = "off"

// changed returns the rules of the policy that is extended, as changes have them.
func (d *decoder) changed(base *Policy, changes *yaml.Node) []rule {
	rules := slices.Concat(base.rules, base.required, base.states)
	if changes == nil {
		return rules
	}
	var ids []string
	for _, r := range rules {
		ids = append(ids, r.id)
	}
	d.mapping(changes, "changes", ids, func(id string, k, v *yaml.Node) {
		i := slices.IndexFunc(rules, func(r rule) bool { return r.id == id })
		word := d.word(v, append([]string{off}, severityNames[1:]...))
		switch severity, err := ParseSeverity(word); {
		case word == off:
			rules = slices.Delete(rules, i, i+1)
		case err != nil: // d.word has said what is wrong
		case rules[i].verdict == Allow:
			d.errorf(v, "rule %s allows, and has no severity: only \"off\" can be said of it", id)
		default:
			rules[i].severity = severity
		}
	})
	return rules
}
