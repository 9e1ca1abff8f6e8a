package agent

import (
	"cmp"
	"slices"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
)

// Turn is one turn in the life of a port: a record about it, or a time at which no
// agent was there.
type Turn struct {
	Record   uint64    `json:"record"` // of an absence, the one that ends it
	Time     time.Time `json:"time"`
	Event    string    `json:"event"` // kind of the record, or EventAbsent
	Change   string    `json:"change,omitempty"`
	Listener string    `json:"listener,omitempty"` // its id
	Endpoint string    `json:"endpoint,omitempty"`
	Owners   string    `json:"owners,omitempty"` // for people
	Rule     string    `json:"rule,omitempty"`
	Severity string    `json:"severity,omitempty"`
	Message  string    `json:"message"`
	// Since is when that began which ends here: what is closed was opened, what is
	// cleared was raised, nobody was there. Seconds is for how long it was so.
	Since   *time.Time `json:"since,omitempty"`
	Seconds *float64   `json:"seconds,omitempty"`
	// LastSeen is when a listener that is closed was seen last.
	LastSeen *time.Time `json:"last_seen,omitempty"`
	// Unsure says that no agent was there all the time since then.
	Unsure bool `json:"unsure,omitempty"`
}

// EventAbsent is the Event of a Turn that is no record.
const EventAbsent = "agent.absent"

// LifeSum is what a life comes to.
type LifeSum struct {
	Opened  int `json:"opened"`
	Changed int `json:"changed"`
	Closed  int `json:"closed"`
	Raised  int `json:"raised"`
	Cleared int `json:"cleared"`
	// Absences are the times at which no agent was there, those of under a minute
	// too, which are no turns.
	Absences int        `json:"absences"`
	Open     []LifeOpen `json:"open"`   // what listens still, by the last record
	Untold   int        `json:"untold"` // listeners that there was no room for among these
	Gone     uint64     `json:"gone"`   // records that were removed before the first
	Begins   *time.Time `json:"begins"` // the first record of the log; null: there is none
	Ends     *time.Time `json:"ends"`
}

// LifeOpen is a listener of the port that was not closed.
type LifeOpen struct {
	Listener string    `json:"listener"`
	Endpoint string    `json:"endpoint"`
	Owners   string    `json:"owners"`
	Since    time.Time `json:"since"`
	Record   uint64    `json:"record"`
	Findings []string  `json:"findings"` // rules
}

// absenceWorth is from when on an absence is a turn of its own: a restart takes a
// second.
const absenceWorth = time.Minute

// maxLives bounds the listeners of a port that are held at a time, and the findings
// of each: a port of one transport has few.
const maxLives = 20000

// Life makes the turns of a port's life from the lines of a log, of which each is
// given to Take, from the first on.
type Life struct {
	filter Filter
	since  time.Time // what was before is followed, and not told
	known  bool      // whether something of the port was recorded, told or not
	sum    LifeSum
	open   map[string]*living
	alone  map[string]time.Time // findings without a listener, by id, since when

	ends     time.Time // of the last record
	last     time.Time // of the last that an agent wrote
	present  bool      // between its start and its stop
	absences []span    // the last ones, for what they make unsure
}

type span struct{ from, to time.Time }

// living is a listener that is open.
type living struct {
	LifeOpen
	raised map[string]raisedSince // by id of the finding
}

type raisedSince struct {
	rule string
	at   time.Time
}

// NewLife returns the life of a port since a time, zero for all of it, of which nothing
// is known yet. It is given the lines before that time, too: what ends later may have
// begun there.
func NewLife(ports PortRange32, transport string, since time.Time) *Life {
	return &Life{
		since:  since,
		filter: Selection{Port: ports, Transport: transport}.Filter(),
		open:   map[string]*living{}, alone: map[string]time.Time{},
	}
}

// Take takes the next line, and returns the turns that it makes: mostly none.
func (l *Life) Take(line audit.Line) ([]Turn, error) {
	before := l.sum
	turns, err := l.take(line)
	if line.Time.Before(l.since) {
		begins, gone, untold := l.sum.Begins, l.sum.Gone, l.sum.Untold
		l.sum = before
		l.sum.Begins, l.sum.Gone, l.sum.Untold = begins, gone, untold
		turns = nil
	}
	return turns, err
}

func (l *Life) take(line audit.Line) ([]Turn, error) {
	if l.sum.Begins == nil {
		l.sum.Begins, l.sum.Gone = utcOf(line.Time), line.Seq-1
	}
	l.ends = line.Time
	turns := l.presence(line)
	e, taken, err := l.filter.Select(line)
	if err != nil || !taken {
		return turns, err
	}
	if t, told := l.turn(audit.Clean(e)); told {
		turns = append(turns, t)
	}
	return turns, nil
}

// presence follows whether an agent is there.
func (l *Life) presence(line audit.Line) []Turn {
	if byLog(line.Kind) {
		return nil
	}
	before := l.last
	l.last = line.Time
	switch {
	case line.Kind == audit.AgentStopped:
		l.present = false
		return nil
	case line.Kind != audit.AgentStarted:
		l.present = true // its start may have been removed
		return nil
	}
	died := l.present
	l.present = true
	gap := line.Time.Sub(before)
	if before.IsZero() || gap < 0 {
		return nil
	}
	l.sum.Absences++
	if l.absences = append(l.absences, span{before, line.Time}); len(l.absences) > maxLives {
		l.absences = append([]span{{l.absences[0].from, l.absences[1].to}}, l.absences[2:]...) // no shorter than they were
	}
	if gap < absenceWorth || !l.known {
		return nil
	}
	message := "no daemon was there"
	if died {
		message = "the daemon ended without a word, at some time in this span"
	}
	return []Turn{{Record: line.Seq, Time: line.Time.UTC(), Event: EventAbsent, Message: message, Since: utcOf(before), Seconds: seconds(gap)}}
}

func seconds(d time.Duration) *float64 {
	s := d.Round(time.Millisecond).Seconds()
	return &s
}

// turn makes the turn of a record about the port.
func (l *Life) turn(e audit.Event) (Turn, bool) {
	t := Turn{
		Record: e.Seq, Time: e.Time.UTC(), Event: e.Event, Change: e.Change, Listener: e.Listener,
		Endpoint: EndpointText(trackOf(e).Listener), Owners: OwnersText(e.Owners, OwnerText), Message: e.Message,
	}
	switch e.Event {
	case audit.ListenerOpened, audit.ListenerChanged:
		l.known = true
		l.begins(e, &t)
	case audit.ListenerClosed:
		l.sum.Closed++
		t.LastSeen = e.LastSeen
		since := time.Time{}
		if k := l.open[e.Listener]; k != nil {
			since = k.Since
		} else if e.FirstSeen != nil {
			since = *e.FirstSeen
		}
		end := e.Time
		if e.LastSeen != nil && !e.LastSeen.IsZero() {
			end = *e.LastSeen
		}
		l.lasted(&t, since, end, e.Time)
		delete(l.open, e.Listener)
	case audit.FindingRaised:
		l.known = true
		l.sum.Raised++
		t.Rule, t.Severity = e.Rule, e.Severity
		l.raised(e)
	case audit.FindingCleared:
		l.sum.Cleared++
		t.Rule, t.Severity = e.Rule, e.Severity
		l.lasted(&t, l.cleared(e), e.Time, e.Time)
	default:
		return Turn{}, false
	}
	return t, true
}

// begins notes that a listener is open, or how it is now.
func (l *Life) begins(e audit.Event, t *Turn) {
	if e.Event == audit.ListenerOpened {
		l.sum.Opened++
	} else {
		l.sum.Changed++
	}
	since := e.Time
	if e.FirstSeen != nil && !e.FirstSeen.IsZero() {
		since = *e.FirstSeen
	}
	k := l.open[e.Listener]
	if k == nil || e.Event == audit.ListenerOpened {
		k = &living{raised: map[string]raisedSince{}}
	}
	if was := l.open[e.Replaces]; was != nil {
		l.lasted(t, was.Since, e.Time, e.Time)
		delete(l.open, e.Replaces)
	}
	k.LifeOpen = LifeOpen{Listener: e.Listener, Endpoint: t.Endpoint, Owners: t.Owners, Since: since.UTC(), Record: e.Seq}
	if l.open[e.Listener] == nil && len(l.open) >= maxLives {
		l.sum.Untold++
		return
	}
	l.open[e.Listener] = k
}

func (l *Life) raised(e audit.Event) {
	if e.Listener == "" {
		if len(l.alone) < maxLives {
			l.alone[e.ID] = e.Time
		}
		return
	}
	if k := l.open[e.Listener]; k != nil && len(k.raised) < maxLives {
		k.raised[e.ID] = raisedSince{e.Rule, e.Time}
	}
}

// cleared forgets a finding, and returns since when it was raised, zero if that is
// not known.
func (l *Life) cleared(e audit.Event) time.Time {
	if e.Listener == "" {
		at := l.alone[e.ID]
		delete(l.alone, e.ID)
		return at
	}
	if k := l.open[e.Listener]; k != nil {
		at := k.raised[e.ID].at
		delete(k.raised, e.ID)
		return at
	}
	return time.Time{}
}

// lasted notes for how long something was so, until end, which is known since told.
func (l *Life) lasted(t *Turn, since, end, told time.Time) {
	if since.IsZero() || end.Before(since) {
		return
	}
	t.Since, t.Seconds = utcOf(since), seconds(end.Sub(since))
	for _, a := range l.absences {
		if a.from.Before(told) && a.to.After(since) {
			t.Unsure = true
		}
	}
}

// Sum returns what the life comes to.
func (l *Life) Sum() LifeSum {
	sum := l.sum
	sum.Ends = knownTime(l.ends)
	sum.Open = []LifeOpen{}
	for _, k := range l.open {
		still := k.LifeOpen
		still.Findings = []string{}
		for _, f := range k.raised {
			still.Findings = append(still.Findings, f.rule)
		}
		slices.Sort(still.Findings)
		sum.Open = append(sum.Open, still)
	}
	slices.SortFunc(sum.Open, func(a, b LifeOpen) int { return cmp.Compare(a.Record, b.Record) })
	return sum
}
