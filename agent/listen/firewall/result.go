package firewall

import (
	"fmt"
	"strings"
)

// Outcome is what happens to a packet. The zero value is Unknown.
type Outcome uint8

// The outcomes.
const (
	Unknown  Outcome = iota // it hangs on a rule that is not understood
	Accepted                // it reaches the listener
	Dropped                 // no answer
	Rejected                // the sender is told: RST or ICMP
	Diverted                // address translation hands it to somebody else (Ruleset.Published)
	Partly                  // it depends on what the query leaves open
)

var outcomeNames = [...]string{"unknown", "accepted", "dropped", "rejected", "diverted", "partly"}

// String returns the lower-case name.
func (o Outcome) String() string {
	if int(o) >= len(outcomeNames) {
		return fmt.Sprintf("Outcome(%d)", uint8(o))
	}
	return outcomeNames[o]
}

// Dependence is a set of things that decide on a packet and are not in a query.
type Dependence uint16

// The dependences.
const (
	SourceAddress Dependence = 1 << iota
	SourcePort
	DestinationAddress // which of the host's addresses
	Interface
	Rate       // rates, counts, quotas, chance
	Time       // of day
	Mark       // of the packet or its connection, which another rule sets
	Tracking   // whether connection tracking knows the packet
	Content    // of the packet, beside addresses and ports
	SetContent // of a set that changes as packets come
	Unreadable // a rule that is not understood
)

var dependenceNames = [...]string{
	"the source address", "the source port", "the destination address", "the interface", "a rate or chance",
	"the time", "a mark", "connection tracking", "the content of the packet", "a set that changes",
	"a rule that is not understood",
}

// String names them, separated by commas; "nothing" for none.
func (d Dependence) String() string {
	var names []string
	for i, n := range dependenceNames {
		if d&(1<<i) != 0 {
			names = append(names, n)
		}
	}
	if names == nil {
		return "nothing"
	}
	return strings.Join(names, ", ")
}

// Result answers a query.
type Result struct {
	Outcome Outcome
	On      Dependence // of Partly and Unknown: what decides
	Because string     // a sentence without capital and full stop
}

// place is where something was decided: a rule, the policy of a base chain, or
// nowhere, because nothing objected.
type place struct {
	chain int // of Ruleset.chains; -1: nowhere
	rule  int // of the chain; -1: its policy
}

var nowhere = place{-1, -1}

func (r *Ruleset) describe(p place) string {
	if p.chain < 0 {
		return "no rule concerns it"
	}
	c := &r.chains[p.chain]
	where := fmt.Sprintf("chain %s of %s table %s %s", c.key.name, c.key.origin, c.key.family, c.key.table)
	switch {
	case p.rule < 0:
		return "policy of " + where
	case c.key.origin == iptables:
		return fmt.Sprintf("rule %d of %s", c.rules[p.rule].number, where)
	}
	return fmt.Sprintf("rule with handle %d of %s", c.rules[p.rule].number, where)
}

// result puts the possible ends of a packet into one answer.
func (r *Ruleset) result(e ends) Result {
	single := func(o Outcome, at end) Result {
		return Result{Outcome: o, Because: fmt.Sprintf("%s: %s", o, r.describe(e.at[at]))}
	}
	switch {
	case e.only(endAccept):
		return single(Accepted, endAccept)
	case e.only(endDivert):
		return single(Diverted, endDivert)
	case e.only(endReject):
		return single(Rejected, endReject)
	case e.only(endDrop), e.only(endDrop, endReject):
		return single(Dropped, endDrop)
	case e.has(endOpaque):
		return Result{Unknown, e.on | Unreadable, "not understood: " + r.describe(e.at[endOpaque])}
	case e.on&Unreadable != 0:
		return Result{Unknown, e.on, "it depends on " + e.on.String()}
	}
	var parts []string
	for at, verb := range [...]string{endAccept: "accepted", endDrop: "dropped", endReject: "rejected", endDivert: "diverted"} {
		if verb != "" && e.has(end(at)) {
			parts = append(parts, verb+" by "+r.describe(e.at[at]))
		}
	}
	return Result{Partly, e.on, fmt.Sprintf("it depends on %s: %s", e.on, strings.Join(parts, "; "))}
}
