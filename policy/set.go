package policy

import (
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// maxItems bounds the values that sets stand for, over a whole policy: sets of
// sets grow fast.
const maxItems = 100_000

// set is a list of values with a name.
type set struct {
	items []*yaml.Node
	place place
}

var (
	setName      = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,63}$`)
	setReference = regexp.MustCompile(`^\$[a-z][a-z0-9_-]*$`)
)

// addSets reads the named lists of a file. Each may hold those before it.
func (d *decoder) addSets(n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		d.errorf(n, "sets wants names and lists, such as \"web: [80/tcp, 443/tcp]\"")
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		before, given := d.sets[k.Value]
		switch {
		case k.Kind != yaml.ScalarNode || !setName.MatchString(k.Value):
			d.errorf(k, "%q is no name of a set: use lower-case letters, digits, - and _, with a letter first", clip(k.Value))
		case given:
			d.errorf(k, "the set %q is given already %s", k.Value, before.place.from(d.file))
		default:
			items := slices.Clone(d.list(v))
			for _, item := range items {
				d.text(item)
			}
			d.sets[k.Value] = set{items, d.place(k)}
		}
	}
}

// expand returns what a value stands for: itself, or the values of the set that it
// names, as if they stood in its place.
func (d *decoder) expand(n *yaml.Node) []*yaml.Node {
	if n.Kind != yaml.ScalarNode || !setReference.MatchString(n.Value) {
		return []*yaml.Node{n}
	}
	known, ok := d.sets[n.Value[1:]]
	if !ok {
		d.refuse(n, "there is no set %q%s", n.Value[1:], suggest(n.Value[1:], d.setNames()))
		return nil
	}
	items := make([]*yaml.Node, 0, len(known.items))
	for _, item := range known.items {
		if d.items++; d.items > maxItems {
			d.refuse(n, "sets stand for more than %d values: let a pattern or a range stand for several", maxItems)
			return nil
		}
		here := *item
		here.Line, here.Column = n.Line, n.Column
		items = append(items, &here)
	}
	return items
}

func (d *decoder) setNames() []string {
	var names []string
	for name := range d.sets {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// values returns the values of a list, or the one value, with sets written out.
// What is wrong with them is for others to say.
func (d *decoder) values(n *yaml.Node) []string {
	var list []string
	for _, s := range scalars(n) {
		known, ok := d.sets[strings.TrimPrefix(s, "$")]
		if !ok || !setReference.MatchString(s) {
			list = append(list, s)
			continue
		}
		for _, item := range known.items {
			list = append(list, item.Value)
		}
	}
	return list
}
