package agent

import (
	"fmt"
	"slices"
	"strings"

	"github.com/portaudit/portaudit/policy"
	"github.com/portaudit/portaudit/registry"
)

// rule writes the rule for what was seen, with an id that no other has.
func (a *atom) rule(ids map[string]bool, all bool) policy.DraftRule {
	r := policy.DraftRule{
		ID: a.id(ids), Verdict: policy.Allow, Reason: a.seenText(), Match: slices.Concat(a.where(), whose(a.traits)),
		Out: len(a.grave) > 0 && !all,
	}
	if r.Out {
		r.Comment = append(r.Comment, "Not allowed before somebody has looked; if it belongs here, take the marks away from the rule.")
	}
	for _, f := range a.grave {
		r.Comment = append(r.Comment, strings.ToUpper(f.Severity)+" "+f.Rule+": "+f.Message)
	}
	if a.kind == ephemeralPort || a.kind == dynamicPort {
		r.Comment = append(r.Comment, "The system gave out its port: seen on "+strings.Join(few(portTexts(a.ports)), ", ")+".")
	}
	if !a.exact {
		r.Comment = append(r.Comment, "A ? stands for a character that no pattern can name, and fits any.")
	}
	return r
}

// few leaves of a list what a reader wants to see.
func few(texts []string) []string {
	const many = 8
	if len(texts) <= many {
		return texts
	}
	return append(texts[:many-1:many-1], fmt.Sprintf("and %d more", len(texts)-many+1))
}

// where are the conditions on the socket.
func (a *atom) where() []policy.Clause {
	m := []policy.Clause{policy.Words("transport", a.transport.String())}
	switch a.kind {
	case fixedPort:
		m = append(m, policy.Words("port", portTexts(a.ports)...))
	case ephemeralPort:
		m = append(m, policy.Words("ephemeral", "true"))
	case dynamicPort:
		m = append(m, policy.Words("range", registry.Dynamic.String()))
	}
	if a.scope != policy.UnknownScope {
		m = append(m, policy.Words("scope", a.scope.String()))
	}
	if a.device != "" {
		device, _ := policy.Literal(a.device)
		m = append(m, policy.Texts("interface", device))
	}
	if a.namespace == "" {
		return append(m, policy.Not(policy.Words("namespace", "host")))
	}
	namespace, _ := policy.Literal(a.namespace)
	return append(m, policy.Texts("namespace", namespace))
}

// portTexts writes ports that are in order, three and more in a row as a range.
func portTexts(ports []registry.Port) []string {
	var texts []string
	for i := 0; i < len(ports); {
		end := i
		for end+1 < len(ports) && ports[end+1] == ports[end]+1 {
			end++
		}
		if end-i < 2 {
			end = i
			texts = append(texts, ports[i].String())
		} else {
			texts = append(texts, ports[i].String()+"-"+ports[end].String())
		}
		i = end + 1
	}
	return texts
}

// ownerKey is a condition on an owner.
type ownerKey struct {
	name string
	of   func(trait) string
	word bool // of the language
}

func ownerKeys() []ownerKey {
	return []ownerKey{
		{"owner", func(t trait) string { return t.how }, true},
		{"executable", func(t trait) string { return t.executable }, false},
		{"user", func(t trait) string { return t.user }, false},
		{"uid", func(t trait) string { return t.uid }, true},
		{"unit", func(t trait) string { return t.unit }, false},
		{"container", func(t trait) string { return t.container }, false},
	}
}

func (k ownerKey) clause(values []string) policy.Clause {
	if k.word {
		return policy.Words(k.name, values...)
	}
	return policy.Texts(k.name, values...)
}

// whose are the conditions on the owners. Lists beside each other allow every
// combination: where not all of them were seen, each owner has a group.
func whose(traits []trait) []policy.Clause {
	if m, ok := together(traits); ok {
		return m
	}
	byProgram := map[trait][]trait{}
	var programs []trait
	for _, t := range traits {
		program := t
		program.user = ""
		if byProgram[program] == nil {
			programs = append(programs, program)
		}
		byProgram[program] = append(byProgram[program], t)
	}
	var groups [][]policy.Clause
	for _, p := range programs {
		if m, ok := together(byProgram[p]); ok { // they differ in the user alone
			groups = append(groups, m)
		}
	}
	return []policy.Clause{policy.Any(groups...)}
}

// together writes the traits as lists, if these allow no other combination.
func together(traits []trait) (m []policy.Clause, ok bool) {
	combinations := 1
	for _, k := range ownerKeys() {
		var values []string
		missing := 0
		for _, t := range traits {
			if v := k.of(t); v == "" {
				missing++
			} else if !slices.Contains(values, v) {
				values = append(values, v)
			}
		}
		if len(values) == 0 {
			continue
		}
		if missing > 0 {
			return nil, false
		}
		combinations *= len(values)
		slices.Sort(values)
		m = append(m, k.clause(values))
	}
	return m, combinations == len(traits)
}

// id names the rule by its program and ports. Another that would have the same
// name is told apart by transport and scope, then by a number.
func (a *atom) id(taken map[string]bool) string {
	what := map[portKind]string{ephemeralPort: "-ephemeral", dynamicPort: "-dynamic"}[a.kind]
	if a.kind == fixedPort {
		texts := portTexts(a.ports)
		if len(texts) > 3 {
			texts = append(texts[:2:2], fmt.Sprintf("and-%d-more", len(texts)-2))
		}
		what = "-" + strings.Join(texts, "-")
	}
	if a.transport != registry.TCP {
		what += "-" + a.transport.String()
	}
	id := idName(a.name, what)
	if taken[id] && a.scope != policy.UnknownScope {
		id = idName(a.name, what+"-"+a.scope.String())
	}
	for n := 2; taken[id]; n++ {
		id = idName(a.name, fmt.Sprintf("%s-%d", what, n))
	}
	taken[id] = true
	return id
}

// idName makes an id of the name of a program and of what follows, which is at
// most 50 characters long.
func idName(name, what string) string {
	const longest = 64
	name = strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9', r == '.':
			return r
		}
		return '-'
	}, strings.TrimSuffix(strings.ToLower(name), ".exe"))
	if name = strings.Trim(name, "-."); name == "" {
		name = "program"
	}
	return strings.TrimRight(name[:min(len(name), longest-len(what))], "-.") + what
}
