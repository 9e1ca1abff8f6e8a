package policy

import (
	"maps"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// Fact is a fact of a supposed listener, by the name of the condition that asks
// for it, and its value as a policy would write it: several values in brackets,
// with commas in between.
type Fact struct{ Name, Value string }

// OfOwner reports whether a fact is one of an owner.
func OfOwner(name string) bool { return ownerFacts()[name] != nil }

// Suppose returns l with facts put in place of its own, and one owner if any is of
// an owner. What follows from these facts is derived, as for an expectation; now is
// the time from which ages count. An error is of type Errors, with the names of
// facts in place of files.
func Suppose(l Listener, facts []Fact, now time.Time) (Listener, error) {
	d := newDecoder("", "fact")
	s := aged{Listener: l}
	var o Owner
	ofListener, ofOwner := listenerFacts(), ownerFacts()
	known := slices.Sorted(maps.Keys(ofListener))
	known = append(known, slices.Sorted(maps.Keys(ofOwner))...)
	given, ownerGiven := map[string]bool{}, map[string]bool{}
	for _, f := range facts {
		d.file = f.Name
		n := supposedNode(f.Value)
		read, isListeners := ofListener[f.Name]
		readOwner, isOwners := ofOwner[f.Name]
		switch {
		case given[f.Name] || ownerGiven[f.Name]:
			d.errorf(n, "it is given twice")
		case slices.Contains([]string{"transport", "port", "address"}, f.Name):
			d.errorf(n, "it is a part of what is asked for")
		case isListeners:
			given[f.Name] = true
			read(d, n, &s)
		case isOwners:
			ownerGiven[f.Name] = true
			readOwner(d, n, &o)
		default:
			d.errorf(n, "no condition asks for it%s", suggest(f.Name, known))
		}
	}
	if len(d.errors) > 0 {
		return l, d.errors
	}
	if len(ownerGiven) > 0 {
		o.derive(ownerGiven)
		s.Owners = []Owner{o}
	}
	if s.age > 0 {
		s.FirstSeen = now.Add(-s.age)
	}
	s.deriveAuthority(given)
	return s.Listener, nil
}

// supposedNode makes the node that a value would be in a policy. It has no place.
func supposedNode(text string) *yaml.Node {
	inner, isList := strings.CutPrefix(text, "[")
	inner, ended := strings.CutSuffix(inner, "]")
	if !isList || !ended {
		n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}
		if text == "true" || text == "false" {
			n.Tag = "!!bool"
		}
		return n
	}
	list := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
	if strings.TrimSpace(inner) == "" {
		return list
	}
	for _, item := range strings.Split(inner, ",") {
		list.Content = append(list.Content, supposedNode(strings.TrimSpace(item)))
	}
	return list
}
