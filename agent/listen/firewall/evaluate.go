package firewall

// Input says what becomes of a packet on its way to a listener: it passes the
// base chains of the ingress, prerouting and input hooks, in the order of their
// priorities, and each must accept it. A query without a port, or without an
// address, is answered Unknown.
func (r Ruleset) Input(q Query) Result {
	p, ok := newPacket(q, &r)
	if !ok {
		return Result{Unknown, Unreadable, "packet filters are evaluated for addresses and ports only"}
	}
	w := walk{rules: &r, packet: &p, done: make(map[int]ends)}
	return r.result(w.hooks(ingress, prerouting, input))
}

// end is how the way of a packet through a chain may end.
type end uint8

const (
	endNone   end = iota // it comes to the end of the chain, or returns
	endAccept            // it leaves the base chain
	endDrop
	endReject
	endDivert
	endOpaque
	endCount
)

// ends are the ends that are possible, each with the place of the first rule
// that makes it, and what it depends on where there are several.
type ends struct {
	set uint8
	on  Dependence
	at  [endCount]place
}

func ending(e end, at place) ends {
	var s ends
	s.set = 1 << e
	s.at[e] = at
	return s
}

func (s ends) has(e end) bool { return s.set&(1<<e) != 0 }

// only says whether all of these ends are possible, and no others.
func (s ends) only(list ...end) bool {
	var set uint8
	for _, e := range list {
		set |= 1 << e
	}
	return s.set == set
}

func (s ends) certain() bool { return s.set&(s.set-1) == 0 }

// or adds the ends of t; where both have one, the place of s stays.
func (s ends) or(t ends) ends {
	for e := range endCount {
		if t.has(e) && !s.has(e) {
			s.at[e] = t.at[e]
		}
	}
	s.set |= t.set
	s.on |= t.on
	if s.certain() {
		s.on = 0
	}
	return s
}

// then replaces the end e of s by what comes after it.
func (s ends) then(e end, after ends) ends {
	if !s.has(e) {
		return s
	}
	if s.only(e) {
		return after
	}
	s.set &^= 1 << e
	return s.or(after)
}

// maxDepth is how deep chains may jump: NFT_JUMP_STACK_SIZE of
// include/net/netfilter/nf_tables.h. The kernel refuses loops and deeper ones.
const maxDepth = 16

// walk follows one packet through the chains. A chain does the same to it
// whoever jumps to it, so each is evaluated once: the time is that of the rules
// which are reached.
type walk struct {
	rules  *Ruleset
	packet *packet
	done   map[int]ends
	depth  int
}

// hooks returns how the way through all base chains of the hooks ends. It is
// put together from the last one back.
func (w *walk) hooks(list ...hook) ends {
	all := ending(endAccept, nowhere)
	for h := len(list) - 1; h >= 0; h-- {
		chains := w.rules.bases(list[h], w.packet.family)
		for i := len(chains) - 1; i >= 0; i-- {
			all = w.base(chains[i], all)
		}
	}
	return all
}

// base returns how the way through a base chain and on through what comes after
// it ends.
func (w *walk) base(chain int, after ends) ends {
	b := w.rules.chains[chain].base
	policy := b.policy.end()
	if policy == endNone { // no kernel has such a policy
		policy = endOpaque
	}
	s := w.chain(chain).then(endNone, ending(policy, place{chain, -1}))
	// Of several chains that accept, a rule that names the packet is a better
	// reason than a policy or nothing.
	if s.has(endAccept) && after.has(endAccept) && after.at[endAccept].rule < 0 && s.at[endAccept].rule >= 0 {
		after.at[endAccept] = s.at[endAccept]
	}
	s = s.then(endAccept, after)
	if b.hook != ingress {
		return s
	}
	devices := make([]interval, len(b.devices))
	for i, d := range b.devices {
		devices[i] = name(d)
	}
	m := one(fieldInterface, devices...)
	t, on := m.holds(w.packet)
	return either(t, on, s, after)
}

// either returns how it ends where a condition is true, false, or may be both.
func either(t truth, on Dependence, then, otherwise ends) ends {
	switch {
	case t == yes:
		return then
	case t == no || then == otherwise:
		return otherwise
	}
	s := then.or(otherwise)
	if !s.certain() {
		s.on |= on
	}
	return s
}

// step is a rule that the packet may reach and match.
type step struct {
	rule  int
	truth truth
	on    Dependence
}

// chain returns how the way through a chain ends.
func (w *walk) chain(chain int) ends {
	if s, ok := w.done[chain]; ok {
		return s
	}
	// A loop, which the kernel refuses, finds this.
	w.done[chain] = ending(endOpaque, place{chain, -1})
	c := &w.rules.chains[chain]
	var steps []step
	for i := range c.rules {
		t, on := w.matches(&c.rules[i])
		if t == no || c.rules[i].action == proceed {
			continue
		}
		steps = append(steps, step{i, t, on})
		if t == yes && c.rules[i].action.terminal() {
			break
		}
	}
	s := ending(endNone, place{chain, -1})
	for i := len(steps) - 1; i >= 0; i-- {
		at := place{chain, steps[i].rule}
		s = either(steps[i].truth, steps[i].on, w.act(&c.rules[steps[i].rule], c.key, at, s), s)
	}
	w.done[chain] = s
	return s
}

// matches says whether all conditions of a rule hold, and what that depends on.
func (w *walk) matches(r *rule) (truth, Dependence) {
	result, all := yes, Dependence(0)
	for i := range r.matches {
		t, on := r.matches[i].holds(w.packet)
		if t == no {
			return no, 0
		}
		result, all = min(result, t), all|on
	}
	return result, all
}

// act returns how it ends where a rule applies; after is what comes after it.
func (w *walk) act(r *rule, from chainKey, at place, after ends) ends {
	switch r.action {
	case jump, leap:
		from.name = r.target
		target, ok := w.rules.index[from]
		if !ok || w.depth >= maxDepth {
			return ending(endOpaque, at)
		}
		w.depth++
		s := w.chain(target)
		w.depth--
		if r.action == leap {
			return s
		}
		return s.then(endNone, after)
	}
	return ending(r.action.end(), at)
}

// terminal says whether no rule of the chain follows on an action.
func (a action) terminal() bool { return a != proceed && a != jump }

// end returns how a verdict ends the way through a chain.
func (a action) end() end {
	switch a {
	case accept:
		return endAccept
	case drop:
		return endDrop
	case reject:
		return endReject
	case translate:
		return endDivert
	case opaque:
		return endOpaque
	}
	return endNone
}
