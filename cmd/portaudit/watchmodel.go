package main

import (
	"cmp"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/portaudit/portaudit/agent"
	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/policy"
)

// markFor is how long a change stays marked.
const markFor = 10 * time.Second

// mark is what happened to a listener a moment ago.
type mark struct {
	sign string // of marks
	at   time.Time
}

// The signs of what happened, for screens without colour too.
const (
	markOpened  = "+"
	markChanged = "~"
	markClosed  = "-"
)

// pane is what covers the table.
type pane uint8

const (
	noPane pane = iota
	detailPane
	findingsPane
	coveragePane
	helpPane
)

// watchModel is what portaudit watch shows. Update and View return values and
// wait for nothing, as the library asks.
type watchModel struct {
	screen screen
	height int
	now    time.Time

	view  agent.View
	seen  bool            // whether there was a view yet
	marks map[string]mark // by id of the listener
	gone  []agent.Listener

	order    int // index of watchOrders
	reverse  bool
	alerts   bool // alone
	filter   string
	typing   bool // a filter
	rows     []agent.Listener
	columns  []column // of rows
	chosen   int      // index of rows
	top      int      // the first row that is shown
	pane     pane
	detail   agent.Listener // of the pane
	text     []string       // of the pane
	scrolled int            // lines of it above the screen

	everyRule bool // the pane tells of those that did not match too
}

func newWatchModel(s screen) watchModel {
	return watchModel{screen: s, height: 24, now: time.Now(), marks: map[string]mark{}}
}

// second is the message that a second has passed: ages grow, marks fade.
type second time.Time

func tick() tea.Cmd { return tea.Tick(time.Second, func(t time.Time) tea.Msg { return second(t) }) }

// Init starts the clock.
func (m watchModel) Init() tea.Cmd { return tick() }

// Update takes a view of the host, a key, a second or another size.
func (m watchModel) Update(message tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := message.(type) {
	case tea.WindowSizeMsg:
		m.screen.width, m.height = max(msg.Width, 20), max(msg.Height, 6)
		m = m.arrange().retell()
	case agent.View:
		m = m.take(msg).arrange().retell()
	case second:
		m.now = time.Time(msg)
		m = m.fade().arrange()
		return m, tick()
	case tea.PasteMsg:
		if m.typing {
			m.filter += printable(msg.Content)
			m = m.arrange()
		}
	case tea.KeyPressMsg:
		return m.press(msg)
	}
	return m, nil
}

// take shows a view, and marks what changed.
func (m watchModel) take(v agent.View) watchModel {
	if m.seen {
		m.marks = cloneMarks(m.marks)
		m.gone = slices.Clone(m.gone)
		for _, e := range v.Changes {
			switch e.Event {
			case audit.ListenerOpened:
				m.marks[e.Listener] = mark{markOpened, v.Time}
			case audit.ListenerChanged:
				m.marks[e.Listener] = mark{markChanged, v.Time}
			case audit.FindingRaised, audit.FindingCleared:
				if _, marked := m.marks[e.Listener]; !marked {
					m.marks[e.Listener] = mark{markChanged, v.Time}
				}
			case audit.ListenerClosed:
				m.marks[e.Listener] = mark{markClosed, v.Time}
				m.gone = append(m.gone, closedListener(e))
			}
		}
	}
	m.view, m.seen, m.now = v, true, v.Time
	here := map[string]bool{}
	for _, l := range v.Listeners {
		here[l.ID] = true
	}
	m.gone = slices.DeleteFunc(m.gone, func(l agent.Listener) bool { return here[l.ID] })
	return m.fade()
}

func cloneMarks(marks map[string]mark) map[string]mark {
	all := make(map[string]mark, len(marks))
	for id, k := range marks {
		all[id] = k
	}
	return all
}

// closedListener is what a record tells of a listener that is gone.
func closedListener(e audit.Event) agent.Listener {
	l := agent.Listener{
		ID: e.Listener, Transport: e.Transport, Address: e.Address, Port: e.Port, Interface: e.Interface, Namespace: e.Namespace,
		Scope: e.Scope, Exposure: agent.Exposure{Reach: e.Reach}, Owners: e.Owners, Verdict: e.Verdict, Rule: e.Rule,
	}
	if e.Registry != nil {
		l.Registry = *e.Registry
		if len(l.Registry.Names) > 0 {
			l.Service = l.Registry.Names[0]
		}
	}
	if e.FirstSeen != nil {
		l.FirstSeen = *e.FirstSeen
	}
	return l
}

// fade forgets what happened a while ago.
func (m watchModel) fade() watchModel {
	marks := make(map[string]mark, len(m.marks))
	for id, k := range m.marks {
		if m.now.Sub(k.at) < markFor {
			marks[id] = k
		}
	}
	m.gone = slices.DeleteFunc(slices.Clone(m.gone), func(l agent.Listener) bool { return marks[l.ID].sign == "" })
	m.marks = marks
	return m
}

// key names a row: several addresses are one listener.
func key(l agent.Listener) string { return l.ID + "\t" + l.Address + "\t" + l.Interface }

// watchOrders are the orders of the table, each by its column; equals by port.
var watchOrders = []struct {
	title   string
	compare func(a, b agent.Listener) int
}{
	{"verdict", func(a, b agent.Listener) int { return cmp.Compare(gravity(b), gravity(a)) }},
	{"port", func(a, b agent.Listener) int { return cmp.Compare(a.Port, b.Port) }},
	{"program", func(a, b agent.Listener) int { return cmp.Compare(programText(a), programText(b)) }},
	{"user", func(a, b agent.Listener) int { return cmp.Compare(userText(a), userText(b)) }},
	{"reach", func(a, b agent.Listener) int { return cmp.Compare(reachText(a), reachText(b)) }},
	{"age", ageOrder},
}

// gravity ranks a listener by what was found of it: alerts before the rest.
func gravity(l agent.Listener) int {
	rank, err := policy.ParseSeverity(worst(l))
	if err != nil {
		rank = policy.None
	}
	n := 2 * int(rank)
	if l.Verdict == policy.Alert.String() {
		n++
	}
	return n
}

// ageOrder puts the youngest first.
func ageOrder(a, b agent.Listener) int {
	first, _ := bornAt(a)
	second, _ := bornAt(b)
	return second.Compare(first)
}

// bornAt returns since when a listener is there, and whether that is known; else
// the start of its first owner, which may have opened it later.
func bornAt(l agent.Listener) (at time.Time, known bool) {
	if !l.FirstSeen.IsZero() {
		return l.FirstSeen, true
	}
	for _, o := range l.Owners {
		if o.Started != nil && (at.IsZero() || o.Started.Before(at)) {
			at = *o.Started
		}
	}
	return at, false
}

// arrange makes the rows that are asked for, in the order that is asked for. The
// row that was chosen stays so.
func (m watchModel) arrange() watchModel {
	chosen := ""
	if m.chosen < len(m.rows) {
		chosen = key(m.rows[m.chosen])
	}
	var rows []agent.Listener
	terms := strings.Fields(strings.ToLower(m.filter))
	for _, l := range slices.Concat(m.view.Listeners, m.gone) {
		if (!m.alerts || l.Verdict == policy.Alert.String()) && matches(l, terms) {
			rows = append(rows, l)
		}
	}
	slices.SortStableFunc(rows, func(a, b agent.Listener) int {
		n := watchOrders[m.order].compare(a, b)
		if m.reverse {
			n = -n
		}
		return cmp.Or(n, cmp.Compare(a.Port, b.Port), cmp.Compare(a.Transport, b.Transport), cmp.Compare(key(a), key(b)))
	})
	m.rows, m.columns = rows, m.watchColumns(rows)
	if at := slices.IndexFunc(rows, func(l agent.Listener) bool { return key(l) == chosen }); at >= 0 {
		m.chosen = at
	}
	return m.clamp()
}

// clamp keeps the chosen row within the rows, and on the screen.
func (m watchModel) clamp() watchModel {
	m.chosen = max(0, min(m.chosen, len(m.rows)-1))
	n := m.tableHeight()
	m.top = max(0, min(m.top, m.chosen, len(m.rows)-n))
	m.top = max(m.top, m.chosen-n+1)
	m.scrolled = max(0, min(m.scrolled, len(m.text)-m.paneHeight()))
	return m
}

// matches reports whether what is known of a listener has every term.
func matches(l agent.Listener, terms []string) bool {
	if len(terms) == 0 {
		return true
	}
	parts := []string{l.Transport, agent.AddressText(l), agent.EndpointText(l), agent.PortText(l), l.Service, l.Namespace, l.Verdict, l.Rule, worst(l), reachText(l), l.Interface}
	for _, o := range l.Owners {
		parts = append(parts, agent.OwnerText(o), o.Executable, o.User, o.Unit, o.Container)
	}
	for _, f := range l.Findings {
		parts = append(parts, f.Rule)
	}
	all := strings.ToLower(strings.Join(parts, "\n"))
	return !slices.ContainsFunc(terms, func(t string) bool { return !strings.Contains(all, t) })
}
