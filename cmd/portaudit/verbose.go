package main

import (
	"fmt"
	"strings"

	"github.com/portaudit/portaudit/agent"
	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/policy"
)

// writeExposures says from where listeners can be reached and why, those of
// which the same is said together.
func writeExposures(b *strings.Builder, s screen, r agent.Report) {
	var exposures []agent.Exposure
	endpoints := map[agent.Exposure][]string{}
	for _, l := range r.Listeners {
		e := l.Exposure
		if e == (agent.Exposure{}) {
			continue
		}
		if endpoints[e] == nil {
			exposures = append(exposures, e)
		}
		endpoints[e] = append(endpoints[e], agent.EndpointText(l))
	}
	if len(exposures) == 0 {
		return
	}
	b.WriteString("\n" + s.paint("bold", "From where they can be reached:") + "\n")
	for _, e := range exposures {
		b.WriteString(s.wrap("  ", s.paint("bold", e.Reach)+": "+strings.Join(endpoints[e], ", ")+". "+e.Sentence))
	}
}

// writeSources says how an audit was made, and what this host does not have.
func writeSources(b *strings.Builder, s screen, c audit.Coverage) {
	b.WriteString("\n" + s.paint("bold", "How it was looked for:") + "\n")
	if len(c.Sources) > 0 {
		b.WriteString(s.wrap("  ", audit.Visible("Asked: "+strings.Join(c.Sources, ", ")+".")))
	}
	for _, n := range c.Notes {
		b.WriteString(s.wrap("  ", audit.Visible(n.Source+": "+n.Text+".")))
	}
}

// writeCrossCheck says which views of the system were compared, whether they
// agree, and what could not be compared.
func writeCrossCheck(b *strings.Builder, s screen, r agent.Report) {
	c := r.CrossCheck
	if c == nil {
		return
	}
	b.WriteString("\n" + s.paint("bold", "Cross-check:") + "\n")
	hidden := 0
	for _, f := range r.Findings {
		if f.Rule == policy.HiddenPort {
			hidden++
		}
	}
	result := "they agree"
	if hidden > 0 {
		result = "they differ in " + counted(hidden, "socket")
	}
	b.WriteString(s.wrap("  ", "Compared: "+strings.Join(c.Views, ", ")+"; "+result+"."))
	if c.Probed > 0 {
		b.WriteString(s.wrap("  ", fmt.Sprintf("Tried to bind %d ports.", c.Probed)))
	}
	for _, g := range c.Gaps {
		b.WriteString(s.wrap("  ", gapText(g)))
	}
}

// writeNamespaces lists the network namespaces that were read.
func writeNamespaces(b *strings.Builder, s screen, r agent.Report) {
	columns := []column{
		{title: "NAMESPACE"}, {title: "CONTAINER", least: []int{9}}, {title: "LISTENERS", right: true},
		{title: "UNPRIVILEGED"}, {title: "EPHEMERAL"}, {title: "READ"},
	}
	listeners := map[string]int{}
	for _, l := range r.Listeners {
		listeners[l.Namespace]++
	}
	for _, ns := range r.Namespaces {
		row := []string{ns.Label, shortID(ns.Container), fmt.Sprint(listeners[ns.Label]), "unknown", "unknown", "whole"}
		if ns.UnprivilegedStart != nil {
			row[3] = fmt.Sprintf("from %d", *ns.UnprivilegedStart)
		}
		if e := ns.Ephemeral; e != nil {
			row[4] = fmt.Sprintf("%d-%d", e.First, e.Last)
		}
		if !ns.Complete {
			row[5] = "in part"
		}
		for i := range columns {
			columns[i].cells = append(columns[i].cells, row[i])
		}
	}
	if len(r.Namespaces) == 0 {
		return
	}
	b.WriteString("\n")
	layOut(b, s, columns, make([]string, len(r.Namespaces)))
}

// shortID shortens the id of a container as their engines do.
func shortID(id string) string {
	if id == "" {
		return "-"
	}
	return id[:min(12, len(id))]
}
