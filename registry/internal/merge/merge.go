package main

import (
	"fmt"
	"slices"

	"github.com/portaudit/portaudit/registry"
)

// merge returns the rows of the merged registry. Their order matters only
// within one key, where it is that of the names.
func merge(current map[key]registry.Row, earlier map[key][]registry.Row, amendments map[key][]string) ([]registry.Row, error) {
	var rows []registry.Row
	for k, now := range current {
		names, amended := amendments[k]
		if !amended {
			rows = append(rows, single(now, earlier[k])...)
			continue
		}
		chosen, err := amend(now, earlier[k], names)
		if err != nil {
			return nil, err
		}
		rows = append(rows, chosen...)
	}
	for k, then := range earlier {
		rows = append(rows, silent(k, then, current)...)
	}
	for k := range amendments {
		if _, ok := current[k]; !ok {
			return nil, fmt.Errorf("the amendment of %d/%s amends nothing", k.first, k.transport)
		}
	}
	return rows, nil
}

// single returns the rows of a port that the current source has. Where the
// earlier rows contain its name (or are nameless too, and so of the same kind)
// they stand, with their order, further names and notes, and the current
// description replaces that of its name. Elsewhere the port has changed hands
// and the earlier rows are void.
func single(now registry.Row, then []registry.Row) []registry.Row {
	if !slices.ContainsFunc(then, func(r registry.Row) bool { return r.Name == now.Name }) {
		return []registry.Row{now}
	}
	then = slices.Clone(then)
	for i := range then {
		if then[i].Name == now.Name {
			then[i].Description = now.Description
		}
	}
	return then
}

// amend returns the rows of names in their order.
func amend(now registry.Row, then []registry.Row, names []string) ([]registry.Row, error) {
	var rows []registry.Row
	for _, name := range names {
		i := slices.IndexFunc(then, func(r registry.Row) bool { return r.Name == name })
		switch {
		case name == now.Name:
			rows = append(rows, now)
		case i >= 0:
			rows = append(rows, then[i])
		default:
			return nil, fmt.Errorf("the amendment of %d/%s has %s, which neither source has", now.First, now.Transport, name)
		}
	}
	return rows, nil
}

// silent returns earlier rows of which the current source says nothing: ranges,
// and single ports for the transports that it leaves out. A row without a
// transport stands for TCP and UDP.
func silent(k key, then []registry.Row, current map[key]registry.Row) []registry.Row {
	has := func(t registry.Transport) bool {
		_, ok := current[key{k.first, k.last, t}]
		return ok
	}
	switch {
	case k.transport != 0 && has(k.transport):
		return nil
	case k.transport != 0 || !has(registry.TCP) && !has(registry.UDP):
		return then
	}
	var rows []registry.Row
	for _, t := range []registry.Transport{registry.TCP, registry.UDP} {
		if has(t) {
			continue
		}
		for _, r := range then {
			r.Transport = t
			rows = append(rows, r)
		}
	}
	return rows
}
