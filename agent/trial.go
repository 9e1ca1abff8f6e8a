package agent

import (
	"errors"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/policy"
	"github.com/portaudit/portaudit/registry"
)

// TrialOptions is what Trial works with.
type TrialOptions struct {
	LogDir           string
	Since            time.Time
	Catalog          *registry.Catalog
	Today, Candidate *policy.Policy
}

// Trial is what two policies find on the past, both decided anew by the facts that
// the log holds.
type Trial struct {
	Until     time.Time // of the last record
	Records   int       // about listeners, since then
	Listeners int       // that these are about, or that were open before
	Rules     []TrialRule
	// Decisions were made by each policy; of these Hung hung on a fact that the log
	// does not hold.
	Decisions int
	// Untried are the rules of the candidate that are not about a listener that is
	// there: requirements, and alerts of the host.
	Untried  int
	Hung     Sides
	Unsure   []TrialUnsure
	Recorded TrialRecorded
}

// Sides is a number for each of the two policies.
type Sides struct {
	Today     int `json:"today"`
	Candidate int `json:"candidate"`
}

// What becomes of findings when the candidate takes today's place.
const (
	OutcomeRaised = "raised" // by the candidate alone
	OutcomeGone   = "gone"   // by today's policy alone
	OutcomeSame   = "same"   // by both
)

// TrialRule is what a rule finds, of one outcome.
type TrialRule struct {
	Rule     string         `json:"rule"`
	Outcome  string         `json:"outcome"`
	Severity string         `json:"severity"`
	Was      string         `json:"was,omitempty"` // severity by today's policy, where it is another
	Findings int            `json:"findings"`      // listeners
	Raised   int            `json:"raised"`        // times
	Cleared  int            `json:"cleared"`
	Examples []TrialExample `json:"examples"`
}

// TrialExample is one finding.
type TrialExample struct {
	Listener string    `json:"listener"`
	Endpoint string    `json:"endpoint"`
	Owners   string    `json:"owners"`
	First    time.Time `json:"first"`
}

// TrialUnsure is a rule that hung on a fact that the log does not hold.
type TrialUnsure struct {
	Policy    string `json:"policy"` // today or candidate
	Rule      string `json:"rule"`
	Decisions int    `json:"decisions"`
}

// TrialRecorded compares what the log itself says with what today's policy decides
// anew.
type TrialRecorded struct {
	Compared    int              `json:"compared"`
	Otherwise   int              `json:"otherwise"`
	OtherPolicy int              `json:"other_policy"` // of these, while another policy was in force
	Examples    []TrialOtherwise `json:"examples"`
}

// TrialOtherwise is a record that says otherwise.
type TrialOtherwise struct {
	Time     time.Time `json:"time"`
	Endpoint string    `json:"endpoint"`
	Recorded Verdict   `json:"recorded"`
	Today    Verdict   `json:"today"`
}

// Verdict is a decision in two words.
type Verdict struct {
	Verdict string `json:"verdict"`
	Rule    string `json:"rule"`
}

// maxExamples is how many of each kind are told.
const maxExamples = 3

// Try reads the log once, and keeps of it what was open at a time and what was
// found.
func Try(o TrialOptions) (Trial, error) {
	r := trial{TrialOptions: o, open: map[string]*trialListener{}, findings: map[findingKey]*trialFinding{}, ids: map[string]bool{}, unsure: map[TrialUnsure]int{}}
	for e, err := range audit.ReadFrom(o.LogDir, 0) {
		if errors.Is(err, io.ErrUnexpectedEOF) { // a record that is being written
			break
		}
		if err != nil {
			return Trial{}, err
		}
		r.take(e)
	}
	r.begin(r.Since) // where nothing was recorded since
	for _, id := range slices.Sorted(maps.Keys(r.open)) {
		r.wait(id, r.result.Until)
	}
	return r.sum(), nil
}

// trial is the state of Try.
type trial struct {
	TrialOptions
	begun    bool      // the time that was asked for has come
	first    time.Time // of the first record of all
	open     map[string]*trialListener
	findings map[findingKey]*trialFinding
	ids      map[string]bool // listeners
	inForce  string          // SHA-256 of the policy
	unsure   map[TrialUnsure]int
	result   Trial
}

// trialListener is a listener that is open.
type trialListener struct {
	record audit.Event
	track  track             // what is remembered of it
	at     time.Time         // of the last decision
	now    map[string]graded // what is found of it, by rule
}

// graded is the severity of a finding by each policy, None where it makes none.
type graded struct{ today, candidate policy.Severity }

type findingKey struct{ rule, listener string }

// trialFinding is a finding over time.
type trialFinding struct {
	graded
	today, candidate trialTimes
	example          TrialExample
}

type trialTimes struct{ raised, cleared int }

// take brings the state up to a record.
func (r *trial) take(e audit.Event) {
	if r.first.IsZero() {
		r.first = e.Time
	}
	if !r.begun && !e.Time.Before(r.Since) {
		r.begin(r.Since)
	}
	r.result.Until = e.Time
	if e.Policy != nil && (e.Event == audit.AgentStarted || e.Event == audit.PolicyLoaded) {
		r.inForce = e.Policy.SHA256
	}
	if facts, _ := factsOf(e, r.Catalog); len(facts) > 0 {
		r.listener(e, facts)
	}
}

// listener brings the state up to a record of a listener.
func (r *trial) listener(e audit.Event, facts []policy.Listener) {
	if r.begun {
		r.result.Records++
	}
	for _, id := range []string{e.Replaces, e.Listener} {
		r.wait(id, e.Time)
	}
	r.close(e.Replaces)
	l, here := r.open[e.Listener]
	if !here || e.Event == audit.ListenerOpened || e.Event == audit.ListenerChanged {
		t := trackOf(e)
		if here && t.Change == "" {
			t.Change, t.ChangedAt = l.track.Change, l.track.ChangedAt
		}
		if !here {
			l = &trialListener{}
			r.open[e.Listener] = l
		}
		l.record, l.track = e, t
		r.decide(e, facts)
	}
	if e.Event == audit.ListenerClosed {
		r.close(e.Listener)
	}
}

// begin decides what was open when the time that was asked for began.
func (r *trial) begin(at time.Time) {
	if r.begun {
		return
	}
	r.begun = true
	for _, id := range slices.Sorted(maps.Keys(r.open)) {
		r.again(r.open[id], at)
	}
}

// again decides on a listener that is as it was.
func (r *trial) again(l *trialListener, at time.Time) {
	e := l.record
	e.Time, e.Verdict = at, "" // nothing was recorded of it
	facts, _ := factsOf(e, r.Catalog)
	r.decide(e, facts)
}

// wait decides on a listener at each time until one at which a policy decides
// otherwise by the clock alone.
func (r *trial) wait(id string, until time.Time) {
	l, here := r.open[id]
	if !here || !r.begun {
		return
	}
	alone := map[string]track{id: l.track}
	for {
		next := earliest(decideAgain(r.Today, alone, l.at), decideAgain(r.Candidate, alone, l.at))
		if next.IsZero() || next.After(until) {
			return
		}
		r.again(l, next)
	}
}

// decide decides on a listener by both policies, and counts what that changes.
func (r *trial) decide(e audit.Event, facts []policy.Listener) {
	if !r.begun {
		return
	}
	l := r.open[e.Listener]
	l.at = e.Time
	r.ids[e.Listener] = true
	for i := range facts {
		past := pastOf(map[string]track{e.Listener: l.track}, r.first)(e.Listener, e.Time)
		facts[i].FirstSeen, facts[i].New, facts[i].Changed = past.firstSeen, past.isNew, past.changed
	}
	today, first, hungToday := findingsOf(r.Today, facts, e.Time)
	candidate, _, hungCandidate := findingsOf(r.Candidate, facts, e.Time)
	r.count(hungToday, hungCandidate)
	r.compare(e, first)
	now := map[string]graded{}
	for rule, severity := range today {
		now[rule] = graded{today: severity}
	}
	for rule, severity := range candidate {
		now[rule] = graded{now[rule].today, severity}
	}
	for rule, g := range now {
		was := l.now[rule]
		f := r.finding(e, rule)
		f.graded = graded{max(f.graded.today, g.today), max(f.graded.candidate, g.candidate)}
		f.today.step(was.today, g.today)
		f.candidate.step(was.candidate, g.candidate)
	}
	for rule, was := range l.now {
		if _, still := now[rule]; !still {
			r.clear(e.Listener, rule, was)
		}
	}
	l.now = now
}

// findingsOf returns what a policy finds of a listener, all of its addresses
// taken together, its decision on the first of these, and the rules that hung on
// an unknown fact.
func findingsOf(p *policy.Policy, facts []policy.Listener, at time.Time) (found map[string]policy.Severity, first policy.Decision, hung map[string]bool) {
	found, hung = map[string]policy.Severity{}, map[string]bool{}
	for i, l := range facts {
		d := p.Decide(l, at)
		if i == 0 {
			first = d
		}
		for _, f := range d.Findings {
			found[f.Rule] = max(found[f.Rule], f.Severity)
		}
		for _, rule := range p.Unsure(l, at) {
			hung[rule] = true
		}
	}
	return found, first, hung
}

// count notes a decision, and the rules that hung on an unknown fact.
func (r *trial) count(today, candidate map[string]bool) {
	r.result.Decisions++
	if len(today) > 0 {
		r.result.Hung.Today++
	}
	if len(candidate) > 0 {
		r.result.Hung.Candidate++
	}
	for rule := range today {
		r.unsure[TrialUnsure{Policy: "today", Rule: rule}]++
	}
	for rule := range candidate {
		r.unsure[TrialUnsure{Policy: "candidate", Rule: rule}]++
	}
}

// step counts what becomes of a finding that was of a severity and now is of
// another, None where there is none.
func (t *trialTimes) step(was, now policy.Severity) {
	switch {
	case was == policy.None && now != policy.None:
		t.raised++
	case was != policy.None && now == policy.None:
		t.cleared++
	}
}

// finding returns what is known of a finding of a listener over time.
func (r *trial) finding(e audit.Event, rule string) *trialFinding {
	key := findingKey{rule, e.Listener}
	f := r.findings[key]
	if f == nil {
		l := trackOf(e).Listener
		f = &trialFinding{example: TrialExample{Listener: e.Listener, Endpoint: EndpointText(l), Owners: OwnersText(l.Owners, userText), First: e.Time.UTC()}}
		r.findings[key] = f
	}
	return f
}

// userText names an owner without its pid, which is another after a restart.
func userText(o audit.Owner) string {
	text := ProgramText(o)
	if o.User != "" {
		text += " (user " + o.User + ")"
	}
	return text
}

// clear counts that a finding is cleared.
func (r *trial) clear(listener, rule string, was graded) {
	f := r.findings[findingKey{rule, listener}]
	f.today.step(was.today, policy.None)
	f.candidate.step(was.candidate, policy.None)
}

// close clears all findings of a listener.
func (r *trial) close(id string) {
	if l, here := r.open[id]; here {
		for rule, was := range l.now {
			r.clear(id, rule, was)
		}
		delete(r.open, id)
	}
}

// compare holds what a record says of its decision against today's policy.
func (r *trial) compare(e audit.Event, d policy.Decision) {
	if e.Verdict == "" || e.Event != audit.ListenerOpened && e.Event != audit.ListenerChanged {
		return // the rule of a finding is its own
	}
	recorded, today := Verdict{e.Verdict, e.Rule}, Verdict{d.Verdict.String(), d.Rule}
	c := &r.result.Recorded
	c.Compared++
	if recorded == today {
		return
	}
	c.Otherwise++
	if r.inForce != r.Today.SHA256 {
		c.OtherPolicy++
	}
	if len(c.Examples) < maxExamples {
		c.Examples = append(c.Examples, TrialOtherwise{e.Time.UTC(), EndpointText(trackOf(e).Listener), recorded, today})
	}
}
