package agent

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
)

// Moment is who listened where at a moment, by the log alone.
type Moment struct {
	At        time.Time
	Host      string          // as the records name it, "" if there is none
	Record    uint64          // the last one that was written by then, 0: none
	Recorded  time.Time       // when
	Policy    *audit.Policy   // in force; nil is unknown
	Coverage  *audit.Coverage // what could be seen; nil is unknown
	Listeners []ThenListener  // one for each address
	Findings  []Finding       // of the host and of cross-checks
	Doubts    []Doubt         // what there may have been beside these, and why
	Err       error           // by which the log could be read no further
}

// ThenListener is a listener at a moment, with the record that tells of it.
type ThenListener struct {
	Listener
	Record   uint64    `json:"record"`
	Recorded time.Time `json:"recorded"`
	// LastSeen is when it was seen last as far as the records say, where that is before
	// the moment and it was found gone after it: whether it still listened is not known.
	LastSeen *time.Time `json:"last_seen,omitempty"`
}

// Doubt is one reason why what is told of a moment may not be all.
type Doubt struct {
	Kind  string     `json:"kind"`
	Text  string     `json:"text"` // one sentence
	Since *time.Time `json:"since"`
	Until *time.Time `json:"until"`
}

// The kinds of Doubt.
const (
	DoubtBefore   = "before-log" // the log begins later
	DoubtRemoved  = "removed"    // the log does not begin with its first record
	DoubtAbsent   = "absent"     // no agent was there
	DoubtSilent   = "silent"     // the agent may have been there, and had nothing to say
	DoubtFailing  = "failing"    // its audits failed
	DoubtCoverage = "coverage"   // it could not see everything
	DoubtLost     = "lost"       // records could not be written
	DoubtClock    = "clock"      // was put back
	DoubtDamage   = "damage"     // the log cannot be read as far as that
	DoubtCrowd    = "crowd"      // too many listeners to hold
)

// settleWithin is for how long after the moment the log may still tell of it: a
// listener is recorded when some audits have seen it, and closed when some have not.
const settleWithin = 15 * time.Minute

// roomThen bounds what is held of records, in bytes: of 10,000 listeners, each with
// a finding.
const roomThen = 20 << 20

// Then rebuilds from the lines of a log, from the first on, who listened at a
// moment. now is the time at which it is asked, held says that an agent writes to
// the log. It reads no further than it must, and holds no more of the log than
// roomThen.
func Then(lines iter.Seq2[audit.Line, error], at, now time.Time, held bool) Moment {
	t := then{
		moment: Moment{At: at.UTC(), Listeners: []ThenListener{}, Findings: []Finding{}, Doubts: []Doubt{}},
		kept:   map[string]*keptListener{}, others: map[string]audit.Line{}, room: roomThen,
	}
	for l, err := range lines {
		done := false
		if err == nil {
			done, err = t.read(l)
		}
		if errors.Is(err, io.ErrUnexpectedEOF) { // a record that is being written
			break
		}
		if t.moment.Err = err; done || err != nil {
			break
		}
	}
	t.finish()
	t.doubts(now, held)
	return t.moment
}

// read takes the next line, and reports whether all is known.
func (t *then) read(l audit.Line) (done bool, err error) {
	here := sign{l.Seq, l.Time, l.Kind}
	if t.first.seq == 0 {
		t.first = here
	}
	switch {
	case l.Time.After(t.moment.At):
		t.passed = true
		return t.after(l)
	case !t.passed:
		return false, t.take(l)
	case t.clock.seq == 0: // it was put back
		t.clock = here
	}
	return false, nil
}

// sign is a record as a sign that somebody wrote.
type sign struct {
	seq  uint64
	time time.Time
	kind string
}

// then is the state of Then.
type then struct {
	moment Moment
	kept   map[string]*keptListener // by id
	others map[string]audit.Line    // findings of the host and of cross-checks, by their id
	room   int                      // bytes that may still be held
	crowd  int                      // records that there was no room for

	first, last, next, clock sign // last before the moment, next after it
	alive                    bool // between the words that an agent starts and stops
	passed                   bool // the moment
	settled                  time.Time
	failing                  *sign
	degraded                 time.Time // since when records cannot be written, zero: they can
	lost                     uint64    // records that could not
	lostSince, lostUntil     time.Time
}

// keptListener is what says how a listener is: the last record of the listener
// itself, and of each finding that was not cleared.
type keptListener struct {
	line     audit.Line
	findings map[string]audit.Line // by id
	gone     *time.Time            // last seen before the moment, and found gone after it
	ended    bool                  // after the moment: what is told of its id later is of another
}

// take brings the state up to a record of before the moment.
func (t *then) take(l audit.Line) error {
	t.moment.Record, t.moment.Recorded = l.Seq, l.Time.UTC()
	t.last = sign{l.Seq, l.Time, l.Kind}
	t.alive = t.alive || !byLog(l.Kind) // of an agent whose start was removed
	switch l.Kind {
	case audit.ListenerOpened, audit.ListenerChanged, audit.ListenerClosed, audit.FindingRaised, audit.FindingCleared:
		t.failing = nil
		return t.listener(l)
	case audit.AuditFailed:
		t.failing = cmp.Or(t.failing, &sign{l.Seq, l.Time, l.Kind})
	case audit.AgentStopped:
		t.alive = false
	case audit.AgentStarted, audit.PolicyLoaded, audit.CoverageChanged, audit.LogRestored, audit.LogDegraded:
		e, err := l.Event()
		if err != nil {
			return err
		}
		t.host(audit.Clean(e))
	}
	return nil
}

// host brings the state up to a record of the agent or of the log itself.
func (t *then) host(e audit.Event) {
	t.moment.Host = e.Host
	switch e.Event {
	case audit.AgentStarted:
		t.alive, t.failing, t.moment.Policy = true, nil, e.Policy
		if t.moment.Coverage == nil && t.first.seq == 1 {
			// It is recorded where it is not so, and when that changes.
			t.moment.Coverage = &audit.Coverage{Complete: true, Sources: []string{}, Gaps: []audit.Gap{}, Notes: []audit.Note{}}
		}
	case audit.PolicyLoaded:
		t.moment.Policy = e.Policy
	case audit.CoverageChanged:
		t.failing, t.moment.Coverage = nil, e.Coverage
	case audit.LogDegraded:
		t.degraded = e.Time
	case audit.LogRestored:
		if e.Lost != nil && *e.Lost > 0 {
			t.lost += *e.Lost
			t.lostSince, t.lostUntil = earliest(t.lostSince, t.degraded), e.Time
		}
		t.degraded = time.Time{}
	}
}

// mentions are the ids that a record of a listener or finding has.
type mentions struct{ listener, replaces, finding, transport string }

// mentioned returns them, by a glance if that is enough.
func mentioned(l audit.Line) (mentions, error) {
	var m mentions
	clear := members(l.Raw, func(key, value []byte) bool {
		var to *string
		switch string(key) {
		case "listener":
			to = &m.listener
		case "replaces":
			to = &m.replaces
		case "id":
			to = &m.finding
		case "transport":
			to = &m.transport
		default:
			return true
		}
		text, ok := plainText(value)
		*to = string(text)
		return ok
	})
	if clear {
		return m, nil
	}
	e, err := l.Event()
	return mentions{e.Listener, e.Replaces, e.ID, e.Transport}, err
}

// listener keeps what has to be told of a listener or finding; it is what replay
// does, without knowing more than it must.
func (t *then) listener(l audit.Line) error {
	m, err := mentioned(l)
	if err != nil {
		return err
	}
	if m.listener == "" {
		t.free(t.others[m.finding])
		delete(t.others, m.finding)
		if l.Kind == audit.FindingRaised {
			if k, ok := t.keep(l); ok {
				t.others[m.finding] = k
			}
		}
		return nil
	}
	if l.Kind == audit.ListenerClosed {
		t.forget(m.listener)
		return nil
	}
	if m.replaces != m.listener {
		t.forget(m.replaces)
	}
	k := t.kept[m.listener]
	if k == nil || l.Kind == audit.ListenerOpened || l.Kind == audit.ListenerChanged {
		line, ok := t.keep(l)
		if !ok {
			return nil // what is told of it may be old, and the crowd is told of
		}
		if k == nil {
			k = &keptListener{}
			t.kept[m.listener] = k
		}
		t.free(k.line)
		k.line = line
	}
	t.free(k.findings[m.finding])
	delete(k.findings, m.finding)
	if l.Kind == audit.FindingRaised {
		t.raise(k, l, m.finding)
	}
	return nil
}

// raise keeps a finding of a listener.
func (t *then) raise(k *keptListener, l audit.Line, id string) {
	line, ok := t.keep(l)
	if !ok {
		return
	}
	if k.findings == nil {
		k.findings = map[string]audit.Line{}
	}
	k.findings[id] = line
}

// perLine is what holding a line takes beside its bytes.
const perLine = 200

// keep holds a line, if there is room for its bytes.
func (t *then) keep(l audit.Line) (audit.Line, bool) {
	if t.room < len(l.Raw)+perLine {
		t.crowd++
		return audit.Line{}, false
	}
	t.room -= len(l.Raw) + perLine
	l.Raw = slices.Clone(l.Raw)
	return l, true
}

func (t *then) free(l audit.Line) {
	if l.Raw != nil {
		t.room += len(l.Raw) + perLine
	}
}

func (t *then) forget(id string) {
	k := t.kept[id]
	if k == nil {
		return
	}
	t.free(k.line)
	for _, f := range k.findings {
		t.free(f)
	}
	delete(t.kept, id)
}

// after looks at a record of after the moment, which may still tell of it, and
// reports whether all is known.
func (t *then) after(l audit.Line) (done bool, err error) {
	if t.settled.IsZero() {
		t.settled = t.moment.At.Add(settleWithin)
	}
	if t.next.seq == 0 && !byLog(l.Kind) {
		t.next = sign{l.Seq, l.Time, l.Kind}
	}
	if l.Kind == audit.AgentStarted { // what was seen before it may be recorded after
		t.settled = l.Time.Add(settleWithin)
	}
	if l.Time.After(t.settled) && t.next.seq > 0 {
		return true, nil
	}
	switch l.Kind {
	case audit.ListenerOpened, audit.ListenerChanged, audit.ListenerClosed, audit.FindingRaised:
		return false, t.afterwards(l)
	}
	return false, nil
}

// afterwards takes from a record of after the moment what it tells of before: that
// a listener was seen first by then, and last before then.
func (t *then) afterwards(l audit.Line) error {
	if t.last.seq == 0 {
		return nil // what the first audits saw was there before, but nobody knows since when
	}
	e, err := l.Event()
	if err != nil {
		return err
	}
	at := t.moment.At
	k := t.kept[e.Listener]
	switch {
	case k != nil && k.ended && (!heldBy(e) || e.FirstSeen == nil || e.FirstSeen.After(at)): // of another life
	case k != nil && e.Event == audit.ListenerClosed:
		k.ended = true
		if e.LastSeen != nil && e.LastSeen.Before(at) {
			k.gone = utcOf(*e.LastSeen)
		}
	case k != nil && e.Event == audit.FindingRaised && k.line.Seq > t.last.seq:
		t.raise(k, l, e.ID)
	case (k == nil || k.ended) && heldBy(e) && e.FirstSeen != nil && !e.FirstSeen.After(at):
		t.forget(e.Listener)
		if line, ok := t.keep(l); ok {
			t.kept[e.Listener] = &keptListener{line: line}
		}
		if was := t.kept[e.Replaces]; was != nil && !was.ended {
			// Both may have been there at the moment: it was not yet given up for this one.
			was.ended, was.gone = true, utcOf(was.line.Time)
		}
	}
	return nil
}

// heldBy reports whether a record says how a listener is.
func heldBy(e audit.Event) bool {
	return e.Event == audit.ListenerOpened || e.Event == audit.ListenerChanged
}

func utcOf(t time.Time) *time.Time {
	t = t.UTC()
	return &t
}

// byLog reports whether a kind is one of those that the log writes of itself, which
// say nothing of whether an agent was there.
func byLog(kind string) bool { return len(kind) > 4 && kind[:4] == "log." }

// finish makes documents of what was kept.
func (t *then) finish() {
	shared := interned{}
	for _, id := range slices.Sorted(maps.Keys(t.kept)) {
		k := t.kept[id]
		delete(t.kept, id) // its bytes are needed no more
		if err := t.tell(k, shared); err != nil {
			t.moment.Err = errors.Join(t.moment.Err, err)
		}
	}
	slices.SortStableFunc(t.moment.Listeners, func(a, b ThenListener) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Transport, b.Transport), cmp.Compare(a.Port, b.Port), cmp.Compare(a.Address, b.Address), cmp.Compare(a.ID, b.ID))
	})
	for _, id := range slices.Sorted(maps.Keys(t.others)) {
		e, err := t.others[id].Event()
		if err != nil {
			t.moment.Err = errors.Join(t.moment.Err, err)
			continue
		}
		e = audit.Clean(e)
		t.moment.Findings = append(t.moment.Findings, Finding{ID: e.ID, Rule: e.Rule, Severity: e.Severity, Message: e.Message, Why: e.Why, Fix: e.Fix, Tags: e.Tags})
	}
}

// tell makes the documents of one listener, by what the loop itself would remember
// of it.
func (t *then) tell(k *keptListener, shared interned) error {
	lines := append([]audit.Line{k.line}, slices.Collect(maps.Values(k.findings))...)
	slices.SortFunc(lines, func(a, b audit.Line) int { return cmp.Compare(a.Seq, b.Seq) })
	tracks, id := map[string]track{}, ""
	for _, l := range lines {
		e, err := l.Event()
		if err != nil {
			return err
		}
		e = audit.Clean(e)
		t.moment.Host, id = cmp.Or(t.moment.Host, e.Host), e.Listener
		replay(tracks, e)
	}
	was := tracks[id]
	l := was.Listener
	if len(l.Registry.Names) > 0 {
		l.Service = l.Registry.Names[0] // as it was known then
	}
	l.Findings = []Finding{}
	for _, id := range slices.Sorted(maps.Keys(was.Raised)) {
		l.Findings = append(l.Findings, shared.finding(was.Raised[id]))
	}
	for _, address := range was.Addresses {
		l.Address = address
		t.moment.Listeners = append(t.moment.Listeners, ThenListener{Listener: l, Record: k.line.Seq, Recorded: k.line.Time.UTC(), LastSeen: k.gone})
	}
	return nil
}

// interned holds texts that many findings share, once.
type interned map[string]string

func (i interned) text(s string) string {
	if same, here := i[s]; here {
		return same
	}
	if len(i) < 1000 {
		i[s] = s
	}
	return s
}

func (i interned) finding(f Finding) Finding {
	f.Rule, f.Severity, f.Why, f.Fix = i.text(f.Rule), i.text(f.Severity), i.text(f.Why), i.text(f.Fix)
	return f
}

// doubts says what there may have been beside what is told.
func (t *then) doubts(now time.Time, held bool) {
	add := func(kind string, since, until time.Time, format string, args ...any) {
		t.moment.Doubts = append(t.moment.Doubts, Doubt{kind, fmt.Sprintf(format, args...), knownTime(since), knownTime(until)})
	}
	m := &t.moment
	began := t.first.time
	if t.moment.Err != nil && t.next.seq == 0 {
		add(DoubtDamage, t.last.time, time.Time{}, "The log is damaged, and cannot be read further than record %d.", t.last.seq)
	}
	switch {
	case t.first.seq == 0 && m.Err == nil:
		add(DoubtBefore, time.Time{}, time.Time{}, "The log has no record.")
		return
	case t.last.seq == 0 && t.first.seq > 0:
		add(DoubtBefore, time.Time{}, began, "The log begins with record %d, after that time: of what listened then it knows nothing.", t.first.seq)
	case t.first.seq > 1:
		add(DoubtRemoved, time.Time{}, began, "The records before %d were removed: a listener that did not change since they were written is not told of.", t.first.seq)
	}
	t.presence(add, now, held)
	if t.failing != nil {
		add(DoubtFailing, t.failing.time, t.next.time, "The audits failed at that time: what opened and closed is not known.")
	}
	if c := m.Coverage; c != nil && !c.Complete && t.last.seq > 0 {
		add(DoubtCoverage, time.Time{}, time.Time{}, "Not everything could be seen at that time.")
	}
	if t.lost > 0 {
		add(DoubtLost, t.lostSince, t.lostUntil, "%d records could not be written, and what they would tell is missing.", t.lost)
	}
	if !t.degraded.IsZero() {
		add(DoubtLost, t.degraded, time.Time{}, "The log could not be written at that time: what opened and closed since may be missing.")
	}
	if t.clock.seq > 0 {
		add(DoubtClock, t.clock.time, time.Time{}, "The clock was put back: record %d has an earlier time than one before it, and what it and later ones tell of that time is left out.", t.clock.seq)
	}
	if t.crowd > 0 {
		add(DoubtCrowd, time.Time{}, time.Time{}, "There was no room for %d records: more listened than is shown.", t.crowd)
	}
}

// presence says whether an agent was there at the moment.
func (t *then) presence(add func(kind string, since, until time.Time, format string, args ...any), now time.Time, held bool) {
	if t.last.seq == 0 || t.moment.Err != nil && t.next.seq == 0 {
		return
	}
	const blind = "what opened and closed meanwhile is not known"
	startsNext := t.next.kind == audit.AgentStarted
	switch {
	case !t.alive:
		add(DoubtAbsent, t.last.time, t.next.time, "No daemon was there at that time: %s.", blind)
	case startsNext:
		add(DoubtSilent, t.last.time, t.next.time, "The daemon ended without a word, and may not have been there any more at that time: %s.", blind)
	case t.next.seq == 0 && !held:
		add(DoubtSilent, t.last.time, time.Time{}, "The daemon does not work now, and did not say when it ended: it may not have been there any more at that time.")
	case t.next.seq == 0 && t.moment.At.After(now):
		add(DoubtSilent, now, time.Time{}, "That time is yet to come.")
	}
}

func knownTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return utcOf(t)
}
